//! Each layer with each of its options, as Keras computed it.

use burn::tensor::{Device, Tensor, TensorData};
use irori::architecture::Architecture;
use irori::network::{Network, Predictor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::{Fixtures, largest_difference};

const TOLERANCE: f32 = 1e-5;

/// As a network, and in the form that serves.
#[test]
fn layers_compute_what_keras_computes() {
    let fixtures = Fixtures::read("keras-layers");
    let mut wrong = Vec::new();
    let mut compared = 0;
    for case in &fixtures.cases {
        let name = case["name"].as_str().unwrap();
        let architecture = Architecture::from_value(&case["architecture"])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let weights = fixtures.parameters(case, "weights");
        let input = fixtures.tensor(&case["input"]);
        let expected = fixtures.tensor(&case["output"]);
        let batch = input.shape[0];
        let is_training = case["training"] == true;
        let device = if is_training {
            Device::flex().autodiff()
        } else {
            Device::flex()
        };
        let mut network = Network::new(&architecture, &weights, &device)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let found: Vec<f32> = if is_training {
            let data = TensorData::new(input.values.clone(), network.input_extents(batch));
            let mut rng = ChaCha8Rng::seed_from_u64(0);
            let output = network.forward_training(Tensor::from_data(data, &device), &mut rng);
            let after = network.parameters();
            for (variable, expected) in fixtures.parameters(case, "after").iter() {
                let found = &after.get(variable).unwrap().values;
                let difference = largest_difference(found, &expected.values);
                if difference > TOLERANCE {
                    wrong.push(format!("{name}: {variable} differs by {difference}"));
                }
            }
            output.scores().into_data().try_into_vec().unwrap()
        } else {
            let predictor = Predictor::new(&architecture, &weights, &device).unwrap();
            let mut scores = vec![0.0; batch * predictor.outputs()];
            predictor.predict(&input.values, &mut scores);
            let difference = largest_difference(&scores, &expected.values);
            if difference > TOLERANCE {
                wrong.push(format!("{name}: the predictor differs by {difference}"));
            }
            network.predict(input.values.clone(), batch)
        };
        let difference = largest_difference(&found, &expected.values);
        if difference > TOLERANCE {
            wrong.push(format!("{name}: differs by {difference}"));
        }
        compared += 1;
    }
    assert!(
        wrong.is_empty(),
        "{} of {compared}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 400, "only {compared} cases were compared");
}
