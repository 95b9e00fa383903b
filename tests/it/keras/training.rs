//! Each optimizer with each loss over thirty batches, as Keras trained.

use burn::tensor::{Device, Tensor, TensorData};
use irori::architecture::Architecture;
use irori::network::Network;
use irori::training::{Compile, Learner};
use serde_json::json;

use super::{Fixtures, largest_difference};

/// Relative, for each step's loss.
const LOSS_TOLERANCE: f64 = 1e-3;
/// Absolute, for the weights after the last step.
const WEIGHT_TOLERANCE: f32 = 2e-3;

#[test]
fn optimizers_and_losses_follow_keras() {
    let fixtures = Fixtures::read("keras-training");
    let device = Device::flex().autodiff();
    let mut wrong = Vec::new();
    for case in &fixtures.cases {
        let name = case["name"].as_str().unwrap();
        let architecture = Architecture::from_value(&case["architecture"]).unwrap();
        let initial = fixtures.parameters(case, "initial");
        let network = Network::new(&architecture, &initial, &device).unwrap();
        let outputs = network.outputs();
        let compile = Compile::try_from(json!({
            "optimizer": case["optimizer"],
            "loss": case["loss"],
        }))
        .unwrap();
        let mut learner = Learner::new(network, compile, 0);

        let (x, y) = (fixtures.tensor(&case["x"]), fixtures.tensor(&case["y"]));
        let (steps, batch) = (x.shape[0], x.shape[1]);
        let per_step = x.values.len() / steps;
        let losses = case["losses"].as_array().unwrap();
        assert_eq!(losses.len(), steps);
        for (step, expected) in losses.iter().enumerate() {
            let extents = learner.network().input_extents(batch);
            let images = x.values[step * per_step..][..per_step].to_vec();
            let targets = &y.values[step * y.values.len() / steps..][..y.values.len() / steps];
            let target = one_hot(targets, batch, outputs);
            let (loss, _) = learner.train_on_batch(
                Tensor::from_data(TensorData::new(images, extents), &device),
                Tensor::from_data(TensorData::new(target, [batch, outputs]), &device),
            );
            let expected = expected.as_f64().unwrap();
            if (loss - expected).abs() > LOSS_TOLERANCE * expected.abs() {
                wrong.push(format!("{name}: step {step}: {loss}, Keras {expected}"));
                break;
            }
        }
        let found = learner.network().parameters();
        for (variable, expected) in fixtures.parameters(case, "final").iter() {
            let difference =
                largest_difference(&found.get(variable).unwrap().values, &expected.values);
            if difference > WEIGHT_TOLERANCE {
                wrong.push(format!("{name}: {variable} ends {difference} apart"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Class indices become rows; rows stay as they are.
fn one_hot(targets: &[f32], batch: usize, outputs: usize) -> Vec<f32> {
    if targets.len() == batch * outputs {
        return targets.to_vec();
    }
    assert_eq!(targets.len(), batch);
    let mut rows = vec![0.0; batch * outputs];
    for (row, &class) in rows.chunks_exact_mut(outputs).zip(targets) {
        row[class as usize] = 1.0;
    }
    rows
}
