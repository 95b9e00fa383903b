//! The update rules: Keras' arithmetic on Burn's optimizer API.

use burn::optim::{LearningRate, Optimizer as BurnOptimizer, RecordState, StateSink, StateSource};
use burn::tensor::{Device, Tensor};

use super::Optimizer;

/// What an optimizer remembers of one parameter: how many steps were made, and up to three running
/// tensors, whose meaning is that of the rule (momentum, squared gradient, …).
#[derive(Clone)]
pub(super) struct Memory<const D: usize> {
    steps: usize,
    first: Option<Tensor<D>>,
    second: Option<Tensor<D>>,
    third: Option<Tensor<D>>,
}

impl<const D: usize> Memory<D> {
    fn empty() -> Self {
        Self {
            steps: 0,
            first: None,
            second: None,
            third: None,
        }
    }
}

/// Names of the tensors of a [`Memory`] in Burn's records.
const SLOTS: [&str; 3] = ["first", "second", "third"];

// By hand, since the derive of Burn 0.22 compiles only inside Burn.
impl<const D: usize> RecordState for Memory<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        out.push_scalar(prefix, "steps", self.steps.into());
        for (name, slot) in SLOTS.iter().zip([&self.first, &self.second, &self.third]) {
            if let Some(tensor) = slot {
                out.push_tensor(prefix, name, tensor.to_data());
            }
        }
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, device: &Device) -> Option<Self> {
        let steps = usize::try_from(source.take_scalar(prefix, "steps")?).ok()?;
        let [first, second, third] = SLOTS.map(|name| {
            let data = source.take_tensor(prefix, name)?;
            Some(Tensor::from_data(data, device))
        });
        Some(Self {
            steps,
            first,
            second,
            third,
        })
    }
}

/// A slot's tensor, or one filled with `value` in the shape of `like` at the first step.
fn slot<const D: usize>(slot: Option<Tensor<D>>, like: &Tensor<D>, value: f64) -> Tensor<D> {
    slot.unwrap_or_else(|| Tensor::full(like.shape(), value, &like.device()))
}

/// The update rule of one optimizer for one parameter.
#[derive(Clone)]
pub(super) struct Rule(pub(super) Optimizer);

impl BurnOptimizer for Rule {
    type State<const D: usize> = Memory<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        weight: Tensor<D>,
        gradient: Tensor<D>,
        memory: Option<Memory<D>>,
    ) -> (Tensor<D>, Option<Memory<D>>) {
        let mut memory = memory.unwrap_or_else(Memory::empty);
        memory.steps += 1;
        let g = gradient;
        let weight = match self.0 {
            Optimizer::SGD {
                momentum, nesterov, ..
            } => {
                if momentum == 0.0 {
                    weight - g * lr
                } else {
                    let velocity = slot(memory.first.take(), &g, 0.0) * momentum - g.clone() * lr;
                    memory.first = Some(velocity.clone());
                    if nesterov {
                        weight + velocity * momentum - g * lr
                    } else {
                        weight + velocity
                    }
                }
            }
            Optimizer::RMSprop {
                rho,
                momentum,
                epsilon,
                centered,
                ..
            } => {
                let square =
                    slot(memory.first.take(), &g, 0.0) * rho + g.clone() * g.clone() * (1.0 - rho);
                memory.first = Some(square.clone());
                let denominator = if centered {
                    let average =
                        slot(memory.second.take(), &g, 0.0) * rho + g.clone() * (1.0 - rho);
                    memory.second = Some(average.clone());
                    square - average.clone() * average + epsilon
                } else {
                    square + epsilon
                };
                let increment = g * lr / denominator.sqrt();
                if momentum > 0.0 {
                    let velocity =
                        slot(memory.third.take(), &increment, 0.0) * momentum + increment;
                    memory.third = Some(velocity.clone());
                    weight - velocity
                } else {
                    weight - increment
                }
            }
            Optimizer::Adagrad {
                initial_accumulator_value,
                epsilon,
                ..
            } => {
                let sum = slot(memory.first.take(), &g, initial_accumulator_value)
                    + g.clone() * g.clone();
                memory.first = Some(sum.clone());
                weight - g * lr / (sum + epsilon).sqrt()
            }
            Optimizer::Adadelta { rho, epsilon, .. } => {
                let gradients =
                    slot(memory.first.take(), &g, 0.0) * rho + g.clone() * g.clone() * (1.0 - rho);
                let deltas = slot(memory.second.take(), &g, 0.0);
                let delta =
                    (deltas.clone() + epsilon).sqrt() * g / (gradients.clone() + epsilon).sqrt();
                memory.first = Some(gradients);
                memory.second = Some(deltas * rho + delta.clone() * delta.clone() * (1.0 - rho));
                weight - delta * lr
            }
            Optimizer::Adam {
                beta_1,
                beta_2,
                epsilon,
                amsgrad,
                ..
            } => {
                let step = memory.steps as f64;
                // Keras puts both bias corrections into the step size, so epsilon is added to the
                // uncorrected root ("epsilon hat" in Kingma & Ba, 2014, section 2).
                let alpha = lr * (1.0 - beta_2.powf(step)).sqrt() / (1.0 - beta_1.powf(step));
                let m = slot(memory.first.take(), &g, 0.0);
                let m = m.clone() + (g.clone() - m) * (1.0 - beta_1);
                let v = slot(memory.second.take(), &g, 0.0);
                let v = v.clone() + (g.clone() * g - v) * (1.0 - beta_2);
                memory.first = Some(m.clone());
                memory.second = Some(v.clone());
                let v = if amsgrad {
                    let largest = slot(memory.third.take(), &v, 0.0).max_pair(v);
                    memory.third = Some(largest.clone());
                    largest
                } else {
                    v
                };
                weight - m * alpha / (v.sqrt() + epsilon)
            }
        };
        (weight, Some(memory))
    }

    fn to_device<const D: usize>(memory: Memory<D>, device: &Device) -> Memory<D> {
        let moved = |tensor: Option<Tensor<D>>| tensor.map(|tensor| tensor.to_device(device));
        Memory {
            steps: memory.steps,
            first: moved(memory.first),
            second: moved(memory.second),
            third: moved(memory.third),
        }
    }
}
