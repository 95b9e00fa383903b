//! Convolutions with their endings, and batch normalization, which may be one or stand alone.

use burn::tensor::Tensor;

use super::Pass;
use super::blocks::Ending;
use super::layers::Weights;
use super::ops::{self, Value, Window, scale_and_shift};
use crate::architecture::{Activation, BatchNormalization};

/// Convolves, and does what is to be done at the end.
pub(super) fn convolve(
    x: Value,
    (kernel, bias): (Tensor<4>, Option<Tensor<1>>),
    window: &Window,
    groups: usize,
    ending: Ending,
    training: Option<(&mut Pass, usize)>,
) -> Value {
    let Ending {
        norm,
        activation,
        pool,
    } = ending;
    if let (Some(mut norm), Some((pass, _))) = (norm, training) {
        let weights = norm_weights(norm.layer, &mut norm.weights);
        let moving = [norm.weights.vector(), norm.weights.vector()];
        let (x, moments) =
            ops::conv2d_normalized(x, kernel, bias, window, groups, weights, activation);
        move_statistics(norm.layer, moving, moments, (pass, norm.node));
        return x;
    }
    let x = x.tensor();
    Value::Tensor(match pool {
        Some(pool) => ops::conv2d_pooled(x, kernel, bias, window, groups, activation, &pool),
        None => ops::conv2d(x, kernel, bias, window, groups, activation),
    })
}

/// Keras' depthwise kernel `[kh, kw, in, multiplier]` is a grouped one, `[kh, kw, 1, in · multiplier]`,
/// as it lies; and its groups.
pub(super) fn depthwise(kernel: Tensor<4>) -> (Tensor<4>, usize) {
    let [kh, kw, channels, multiplier] = kernel.dims();
    (kernel.reshape([kh, kw, 1, channels * multiplier]), channels)
}

/// The activation of what is normalized, by the batch's own moments in training.
pub(super) fn batch_normalization(
    x: Tensor<4>,
    layer: &BatchNormalization,
    activation: Activation,
    mut weights: Weights,
    training: Option<(&mut Pass, usize)>,
) -> Tensor<4> {
    let norm = norm_weights(layer, &mut weights);
    let moving = [weights.vector(), weights.vector()];
    let Some(training) = training else {
        let [mean, variance] = moving.map(Tensor::unsqueeze);
        let x = (x - mean) / (variance + layer.epsilon).sqrt();
        let (scale, shift) = (norm.gamma, norm.beta);
        return scale_and_shift(
            x,
            scale.map(Tensor::unsqueeze),
            shift.map(Tensor::unsqueeze),
        );
    };
    let (x, moments) = ops::batch_norm(x, norm, activation);
    move_statistics(layer, moving, moments, training);
    x
}

fn norm_weights(layer: &BatchNormalization, weights: &mut Weights) -> ops::Norm {
    ops::Norm {
        gamma: layer.scale.then(|| weights.vector()),
        beta: layer.center.then(|| weights.vector()),
        epsilon: layer.epsilon,
    }
}

/// Notes the moving mean and variance as they are after a batch with these moments.
fn move_statistics(
    layer: &BatchNormalization,
    moving: [Tensor<1>; 2],
    moments: [Tensor<1>; 2],
    (pass, node): (&mut Pass, usize),
) {
    let place = usize::from(layer.scale) + usize::from(layer.center);
    for (index, (moving, batch)) in moving.into_iter().zip(moments).enumerate() {
        let moved = moving * layer.momentum + batch * (1.0 - layer.momentum);
        pass.moving.push((node, place + index, moved));
    }
}
