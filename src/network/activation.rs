//! Keras' activations on channels-last tensors.
//!
//! Formulas: `keras/src/activations/activations.py` (Keras 3).

use burn::tensor::{Tensor, activation as burn_activation};

use crate::architecture::Activation;

/// The constants of `selu` (Klambauer et al., 2017).
const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;
const SELU_SCALE: f64 = 1.050_700_987_355_480_5;

/// Applies an activation; those that look at a whole vector look along the last axis.
pub(super) fn apply(activation: Activation, x: Tensor<4>) -> Tensor<4> {
    match activation {
        Activation::Linear => x,
        Activation::Relu => burn_activation::relu(x),
        Activation::Relu6 => x.clamp(0.0, 6.0),
        Activation::LeakyRelu { negative_slope } => burn_activation::leaky_relu(x, negative_slope),
        Activation::Elu { alpha } => elu(x, alpha),
        Activation::Celu => elu(x, 1.0),
        Activation::Selu => elu(x, SELU_ALPHA) * SELU_SCALE,
        Activation::Gelu => burn_activation::gelu(x),
        Activation::Softplus => softplus(x),
        Activation::Softsign => x.clone() / (x.abs() + 1.0),
        Activation::Sigmoid => burn_activation::sigmoid(x),
        Activation::LogSigmoid => -softplus(-x),
        Activation::HardSigmoid => hard_sigmoid(x),
        Activation::SparseSigmoid => (x.clamp(-1.0, 1.0) + 1.0) / 2.0,
        Activation::Silu => x.clone() * burn_activation::sigmoid(x),
        Activation::HardSilu => x.clone() * hard_sigmoid(x),
        Activation::Mish => x.clone() * softplus(x).tanh(),
        Activation::Tanh => x.tanh(),
        Activation::HardTanh => x.clamp(-1.0, 1.0),
        Activation::TanhShrink => x.clone() - x.tanh(),
        Activation::SoftShrink => {
            burn_activation::relu(x.clone() - 0.5) - burn_activation::relu(-x - 0.5)
        }
        Activation::HardShrink => {
            let is_small = x.clone().abs().lower_equal_elem(0.5);
            x.mask_fill(is_small, 0.0)
        }
        Activation::Exponential => x.exp(),
        Activation::Squareplus => (x.clone() + (x.clone() * x + 4.0).sqrt()) / 2.0,
        Activation::SparsePlus => {
            let bend = x.clone().clamp(-1.0, 1.0) + 1.0;
            bend.clone() * bend / 4.0 + burn_activation::relu(x - 1.0)
        }
        Activation::Softmax => burn_activation::softmax(x, 3),
        Activation::LogSoftmax => burn_activation::log_softmax(x, 3),
        Activation::Sparsemax => sparsemax(x),
    }
}

/// `x` above zero, `alpha · (eˣ - 1)` below.
fn elu(x: Tensor<4>, alpha: f64) -> Tensor<4> {
    burn_activation::elu(x, alpha)
}

/// log(1 + eˣ), without overflow.
fn softplus(x: Tensor<4>) -> Tensor<4> {
    burn_activation::relu(x.clone()) + (-x.abs()).exp().log1p()
}

fn hard_sigmoid(x: Tensor<4>) -> Tensor<4> {
    (x + 3.0).clamp(0.0, 6.0) / 6.0
}

/// A projection of each vector onto the simplex (Martins and Astudillo, 2016, algorithm 1), but with
/// Keras' threshold: Keras 3 sums the running sums over the support, where the paper takes the last.
fn sparsemax(x: Tensor<4>) -> Tensor<4> {
    let classes = x.dims()[3];
    let sorted = x.clone().sort_descending(3);
    let places: Vec<f32> = (1..=classes).map(|place| place as f32).collect();
    let places = Tensor::<1>::from_data(places.as_slice(), &x.device());
    let sums = sorted.clone().cumsum(3);
    let support = (sorted * places.unsqueeze() + 1.0)
        .greater(sums.clone())
        .float();
    let sum = (sums * support.clone()).sum_dim(3);
    let threshold = (sum - 1.0) / support.sum_dim(3);
    burn_activation::relu(x - threshold)
}
