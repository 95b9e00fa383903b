//! Keras' losses by name, averaged over the batch (`sum_over_batch_size`).
//!
//! Formulas: `keras/src/losses/losses.py` and `keras/src/backend/tensorflow/nn.py` (Keras 3). Where
//! the network ends in softmax or sigmoid, Keras computes the crossentropy from the values before
//! that activation, which neither overflows nor loses digits; so does this.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::CompileError;
use crate::architecture::Activation;
use crate::network::Output;

/// `keras.config.epsilon()`: probabilities are kept this far from 0 and 1.
const EPSILON: f32 = 1e-7;

/// A loss by Keras' name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Loss {
    MeanSquaredError,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    BinaryCrossentropy,
}

/// Names accepted for a loss.
pub const NAMES: [&str; 4] = [
    "mean_squared_error",
    "categorical_crossentropy",
    "sparse_categorical_crossentropy",
    "binary_crossentropy",
];

impl Loss {
    /// The loss of this name: Keras' function name, class name (`MeanSquaredError`) or `mse`.
    pub fn named(name: &str) -> Result<Self, CompileError> {
        match name {
            "mean_squared_error" | "MeanSquaredError" | "mse" | "MSE" => Ok(Self::MeanSquaredError),
            "categorical_crossentropy" | "CategoricalCrossentropy" => {
                Ok(Self::CategoricalCrossentropy)
            }
            "sparse_categorical_crossentropy" | "SparseCategoricalCrossentropy" => {
                Ok(Self::SparseCategoricalCrossentropy)
            }
            "binary_crossentropy" | "BinaryCrossentropy" | "bce" => Ok(Self::BinaryCrossentropy),
            _ => Err(CompileError::new(
                "loss",
                format!("\"{name}\""),
                NAMES.join(", "),
            )),
        }
    }

    /// Keras' name.
    pub fn name(self) -> &'static str {
        match self {
            Self::MeanSquaredError => NAMES[0],
            Self::CategoricalCrossentropy => NAMES[1],
            Self::SparseCategoricalCrossentropy => NAMES[2],
            Self::BinaryCrossentropy => NAMES[3],
        }
    }

    /// Whether the loss needs one output per class (rather than also allowing a single output).
    pub fn is_categorical(self) -> bool {
        matches!(
            self,
            Self::CategoricalCrossentropy | Self::SparseCategoricalCrossentropy
        )
    }

    /// The loss of each example, `[batch]`. `target` is `[batch, outputs]`: one-hot, or the class 0
    /// or 1 itself where the network has a single output.
    pub fn per_example(self, output: &Output, target: Tensor<2>) -> Tensor<1> {
        let loss = match self {
            Self::MeanSquaredError => {
                let difference = output.scores() - target;
                (difference.clone() * difference).mean_dim(1)
            }
            Self::CategoricalCrossentropy => match output.activation {
                Activation::Softmax => crossentropy(log_softmax(output), target),
                _ => {
                    let scores = output.scores();
                    let sum = scores.clone().sum_dim(1);
                    let scores = (scores / sum).clamp(EPSILON, 1.0 - EPSILON);
                    crossentropy(scores.log(), target)
                }
            },
            Self::SparseCategoricalCrossentropy => match output.activation {
                Activation::Softmax => crossentropy(log_softmax(output), target),
                _ => {
                    let scores = output.scores().clamp(EPSILON, 1.0 - EPSILON);
                    crossentropy(activation::log_softmax(scores.log(), 1), target)
                }
            },
            Self::BinaryCrossentropy => match output.activation {
                Activation::Sigmoid => {
                    let z = output.before_activation();
                    let loss =
                        activation::relu(z.clone()) - z.clone() * target + (-z.abs()).exp().log1p();
                    loss.mean_dim(1)
                }
                _ => {
                    let p = output.scores().clamp(EPSILON, 1.0 - EPSILON);
                    let loss =
                        target.clone() * p.clone().log() + (-target + 1.0) * (-p + 1.0).log();
                    -loss.mean_dim(1)
                }
            },
        };
        loss.squeeze_dim(1)
    }
}

fn log_softmax(output: &Output) -> Tensor<2> {
    activation::log_softmax(output.before_activation(), 1)
}

fn crossentropy(log_probabilities: Tensor<2>, target: Tensor<2>) -> Tensor<2> {
    -(log_probabilities * target).sum_dim(1)
}
