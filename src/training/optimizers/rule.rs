//! The update rules on Burn's optimizer API: what Keras computes in each step.

use burn::optim::{LearningRate, Optimizer as BurnOptimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

use super::Optimizer;
use crate::network::ops::{self, Update};

/// What an optimizer remembers of one parameter: how many steps were made, and tensors of the parameter's shape, whose
/// meaning is that of the rule (momentum, mean square, …).
#[derive(Clone)]
pub(super) struct Memory<const D: usize> {
    steps: usize,
    tensors: Vec<Tensor<D>>,
}

/// Names of the tensors of a [`Memory`] in Burn's records.
const SLOTS: [&str; 3] = ["first", "second", "third"];

// By hand, since the derive of Burn 0.22 compiles only inside Burn.
impl<const D: usize> RecordState for Memory<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "steps", self.steps.into());
        for (name, tensor) in SLOTS.iter().zip(&self.tensors) {
            out.push_tensor(prefix, name, tensor.to_data());
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let steps = usize::try_from(source.take_scalar(prefix, "steps")?).ok()?;
        let slots = SLOTS
            .iter()
            .map_while(|name| source.take_tensor(prefix, name));
        let tensors = slots.map(|data| Tensor::from_data(data, device));
        Some(Self {
            steps,
            tensors: tensors.collect(),
        })
    }
}

/// The update rule of one optimizer for one parameter.
#[derive(Clone)]
pub(super) struct Rule(pub(super) Optimizer);

impl Rule {
    /// The numbers of a step, and what every memory holds before the first.
    fn update(&self, learning_rate: f64, step: usize) -> (Update, f64) {
        let rate = learning_rate as f32;
        match self.0 {
            Optimizer::SGD { momentum: 0.0, .. } => (Update::Descent { rate }, 0.0),
            Optimizer::SGD {
                momentum, nesterov, ..
            } => {
                let momentum = momentum as f32;
                let update = Update::Momentum {
                    rate,
                    momentum,
                    nesterov,
                };
                (update, 0.0)
            }
            Optimizer::RMSprop {
                rho,
                momentum,
                epsilon,
                centered,
                ..
            } => {
                let update = Update::RmsProp {
                    rate,
                    rho: rho as f32,
                    epsilon: epsilon as f32,
                    momentum: momentum as f32,
                    centered,
                };
                (update, 0.0)
            }
            Optimizer::Adagrad {
                initial_accumulator_value,
                epsilon,
                ..
            } => {
                let epsilon = epsilon as f32;
                (Update::Adagrad { rate, epsilon }, initial_accumulator_value)
            }
            Optimizer::Adadelta { rho, epsilon, .. } => {
                let (rho, epsilon) = (rho as f32, epsilon as f32);
                (Update::Adadelta { rate, rho, epsilon }, 0.0)
            }
            Optimizer::Adam {
                beta_1,
                beta_2,
                epsilon,
                amsgrad,
                ..
            } => {
                let step = step as f64;
                // Keras puts both bias corrections into the step size, so epsilon is added to the uncorrected root
                // ("epsilon hat" in Kingma & Ba, 2014, section 2).
                let corrected =
                    learning_rate * (1.0 - beta_2.powf(step)).sqrt() / (1.0 - beta_1.powf(step));
                let update = Update::Adam {
                    rate: corrected as f32,
                    gain_1: (1.0 - beta_1) as f32,
                    gain_2: (1.0 - beta_2) as f32,
                    epsilon: epsilon as f32,
                    amsgrad,
                };
                (update, 0.0)
            }
        }
    }
}

impl BurnOptimizer for Rule {
    type State<const D: usize> = Memory<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        memory: Option<Memory<D>>,
    ) -> (Tensor<D>, Option<Memory<D>>) {
        let steps = memory.as_ref().map_or(0, |memory| memory.steps) + 1;
        let (update, first) = self.update(learning_rate, steps);
        let tensors = memory.map(|memory| memory.tensors).unwrap_or_else(|| {
            let slot = |_| Tensor::full(weight.shape(), first, &weight.device());
            (0..update.remembers()).map(slot).collect()
        });
        let (weight, tensors) = ops::update(weight, gradient, tensors, update);
        (weight, Some(Memory { steps, tensors }))
    }

    fn to_device<const D: usize>(memory: Memory<D>, device: &Device) -> Memory<D> {
        let tensors = memory.tensors.into_iter();
        Memory {
            steps: memory.steps,
            tensors: tensors.map(|tensor| tensor.to_device(device)).collect(),
        }
    }
}
