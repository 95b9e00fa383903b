//! The forward pass of each kind of layer.

use burn::tensor::{Tensor, TensorData, activation as burn_activation, ops::PadMode};
use rand::RngExt;
use rand_distr::StandardNormal;

use super::blocks::Ending;
use super::convolution::{batch_normalization, convolve, depthwise};
use super::geometry::{center_crop, crop, resample, resize};
use super::ops::{self, Padding, Value, Window, scale_and_shift};
use super::{Pass, Weight};
use crate::architecture::{
    self, Activation, Layer, LayerNormalization, Node, Normalization, Pooling2D, Shape,
};

/// Added to what `Normalization` divides by where it is smaller.
const SMALLEST_DEVIATION: f64 = 1e-7;

/// The weights of one node, taken in Keras' order.
pub(super) struct Weights<'a>(pub(super) std::slice::Iter<'a, Weight>);

// A network is built with exactly the variables of its architecture (`Network::new`), so each layer
// finds weights of its kinds in its order.
impl Weights<'_> {
    pub(super) fn vector(&mut self) -> Tensor<1> {
        match self.0.next() {
            Some(Weight::Vector(param)) => param.val(),
            other => unreachable!("a vector is next in the architecture, not {other:?}"),
        }
    }

    fn matrix(&mut self) -> Tensor<2> {
        match self.0.next() {
            Some(Weight::Matrix(param)) => param.val(),
            other => unreachable!("a matrix is next in the architecture, not {other:?}"),
        }
    }

    fn kernel(&mut self) -> Tensor<4> {
        match self.0.next() {
            Some(Weight::Kernel(param)) => param.val(),
            other => unreachable!("a kernel is next in the architecture, not {other:?}"),
        }
    }

    /// A weight of any rank, to be spread over `extents`.
    fn spread(&mut self, extents: [usize; 4]) -> Tensor<4> {
        match self.0.next() {
            Some(Weight::Vector(param)) => param.val().reshape(extents),
            Some(Weight::Matrix(param)) => param.val().reshape(extents),
            Some(Weight::Kernel(param)) => param.val().reshape(extents),
            None => unreachable!("a weight is next in the architecture"),
        }
    }
}

/// The last three of a tensor's axes, for a shape without the batch axis.
fn extents(shape: &Shape) -> [usize; 3] {
    match *shape.dims() {
        [] => [1, 1, 1],
        [c] => [1, 1, c],
        [w, c] => [1, w, c],
        [h, w, c] => [h, w, c],
        // The architecture has no more axes than an image.
        _ => unreachable!("a shape of {} axes", shape.rank()),
    }
}

/// The extents of `n` values of this shape.
pub(super) fn batch_of(shape: &Shape, n: usize) -> [usize; 4] {
    let [h, w, c] = extents(shape);
    [n, h, w, c]
}

/// `[N, …]` in the extents of `shape`.
fn reshape(x: Tensor<4>, shape: &Shape) -> Tensor<4> {
    let extents = batch_of(shape, x.dims()[0]);
    x.reshape(extents)
}

fn size(x: &Tensor<4>) -> [usize; 2] {
    let [_, h, w, _] = x.dims();
    [h, w]
}

/// A layer's window over an image of this height and width.
pub(super) fn window([h, w]: [usize; 2], window: &architecture::Window) -> Window {
    let (size, strides, dilation) = (window.kernel_size, window.strides, window.dilation_rate);
    Window {
        size,
        strides,
        dilation,
        padding: match window.padding {
            architecture::Padding::Valid => Padding::default(),
            architecture::Padding::Same => Padding::same([h, w], size, strides, dilation),
        },
    }
}

/// The activation at the end of a layer.
pub(super) fn activation(layer: &Layer) -> Activation {
    match layer {
        Layer::Dense(layer) => layer.activation,
        Layer::Conv2D(layer) => layer.activation,
        Layer::DepthwiseConv2D(layer) => layer.activation,
        Layer::SeparableConv2D(layer) => layer.activation,
        Layer::Activation(activation) => *activation,
        Layer::Softmax => Activation::Softmax,
        Layer::ReLU {
            max_value,
            negative_slope: 0.0,
            threshold: 0.0,
        } => match max_value {
            None => Activation::Relu,
            Some(6.0) => Activation::Relu6,
            Some(_) => Activation::Linear,
        },
        _ => Activation::Linear,
    }
}

/// The value of a node, and of those that its `ending` stands for; `input` is the shape that comes in.
///
/// `training` holds what a training pass needs, and the node's place, or nothing in serving.
pub(super) fn forward(
    x: Value,
    node: &Node,
    input: &Shape,
    ending: Ending,
    mut weights: Weights,
    training: Option<(&mut Pass, usize)>,
) -> Value {
    match &node.layer {
        Layer::Conv2D(conv) => {
            let kernel = weights.kernel();
            let bias = conv.use_bias.then(|| weights.vector());
            let window = window(x.size(), &conv.window);
            convolve(x, (kernel, bias), &window, conv.groups, ending, training)
        }
        Layer::DepthwiseConv2D(conv) => {
            let (kernel, channels) = depthwise(weights.kernel());
            let bias = conv.use_bias.then(|| weights.vector());
            let window = window(x.size(), &conv.window);
            convolve(x, (kernel, bias), &window, channels, ending, training)
        }
        Layer::SeparableConv2D(conv) => {
            let (kernel, channels) = depthwise(weights.kernel());
            let pointwise = weights.kernel();
            let bias = conv.use_bias.then(|| weights.vector());
            let window = window(x.size(), &conv.window);
            let x = ops::conv2d(
                x.tensor(),
                kernel,
                None,
                &window,
                channels,
                Activation::Linear,
            );
            let x = Value::Tensor(x);
            convolve(x, (pointwise, bias), &Window::POINT, 1, ending, training)
        }
        _ => {
            let then = ending.activation;
            Value::Tensor(of_tensor(x.tensor(), node, input, then, weights, training))
        }
    }
}

/// As [`forward`], of a layer that doesn't convolve.
fn of_tensor(
    x: Tensor<4>,
    node: &Node,
    input: &Shape,
    then: Activation,
    mut weights: Weights,
    training: Option<(&mut Pass, usize)>,
) -> Tensor<4> {
    let output = &node.output_shape;
    match &node.layer {
        Layer::Input | Layer::Augmentation(_) => x,
        Layer::Activation(_) | Layer::Softmax => ops::activated(x, then),
        layer @ Layer::ReLU { .. } if activation(layer) != Activation::Linear => {
            ops::activated(x, then)
        }
        Layer::Dense(dense) => {
            let kernel = weights.matrix();
            let bias = dense.use_bias.then(|| weights.vector());
            ops::dense(x, kernel, bias, then)
        }
        Layer::MaxPooling2D(pooling) => {
            let window = pooling_window(size(&x), pooling);
            ops::max_pool2d(x, &window)
        }
        Layer::AveragePooling2D(pooling) => {
            let window = pooling_window(size(&x), pooling);
            ops::average_pool2d(x, &window)
        }
        Layer::GlobalMaxPooling2D { .. } => x.max_dim(1).max_dim(2),
        Layer::GlobalAveragePooling2D { .. } => {
            let window = Window::whole(size(&x));
            ops::average_pool2d(x, &window)
        }
        Layer::Flatten | Layer::Reshape { .. } => reshape(x, output),
        Layer::Permute { dims } => permute(x, dims, input.rank()),
        Layer::ZeroPadding2D(sides) => x.pad(
            [
                (0, 0),
                (sides.top, sides.bottom),
                (sides.left, sides.right),
                (0, 0),
            ],
            PadMode::Constant(0.0),
        ),
        Layer::Cropping2D(sides) => crop(x, *sides),
        Layer::UpSampling2D { interpolation, .. } => {
            let [height, width, _] = extents(output);
            resample(x, [height, width], *interpolation)
        }
        &Layer::ReLU {
            max_value,
            negative_slope,
            threshold,
        } => relu(x, max_value, negative_slope, threshold),
        &Layer::LeakyReLU { negative_slope } => burn_activation::leaky_relu(x, negative_slope),
        &Layer::ELU { alpha } => burn_activation::elu(x, alpha),
        &Layer::Dropout { rate, .. } => match training {
            Some((pass, _)) => {
                let mask = x.dims();
                dropout(x, rate, mask, pass)
            }
            None => x,
        },
        &Layer::SpatialDropout2D { rate, .. } => match training {
            Some((pass, _)) => {
                let [n, _, _, c] = x.dims();
                dropout(x, rate, [n, 1, 1, c], pass)
            }
            None => x,
        },
        &Layer::GaussianNoise { stddev, .. } => match training {
            Some((pass, _)) => gaussian_noise(x, stddev, pass),
            None => x,
        },
        // A frozen one stays as it is in serving, in Keras too.
        Layer::BatchNormalization(norm) => {
            let training = training.filter(|_| node.trainable);
            batch_normalization(x, norm, then, weights, training)
        }
        Layer::LayerNormalization(norm) => layer_normalization(x, norm, input.rank(), weights),
        Layer::Normalization(norm) => normalization(x, norm, weights),
        Layer::Rescaling { scale, offset } => {
            let scale = per_channel(&x, scale);
            let offset = per_channel(&x, offset);
            x * scale + offset
        }
        Layer::Resizing(resizing) => resize(x, resizing),
        &Layer::CenterCrop { height, width } => center_crop(x, [height, width]),
        Layer::Conv2D(_) | Layer::DepthwiseConv2D(_) | Layer::SeparableConv2D(_) => {
            unreachable!("a layer that convolves")
        }
    }
}

/// A pooling's window over an image of this height and width.
pub(super) fn pooling_window(size: [usize; 2], layer: &Pooling2D) -> Window {
    window(
        size,
        &architecture::Window {
            kernel_size: layer.pool_size,
            strides: layer.strides,
            padding: layer.padding,
            dilation_rate: [1, 1],
        },
    )
}

/// Keras counts axes from 1, after the batch axis; ours lie behind leading axes of size 1.
fn permute(x: Tensor<4>, dims: &[usize], rank: usize) -> Tensor<4> {
    let lead = 4 - rank;
    let mut axes = [0, 1, 2, 3];
    for (place, &axis) in dims.iter().enumerate() {
        if let Some(slot) = axes.get_mut(lead + place) {
            *slot = (lead + axis - 1) as isize;
        }
    }
    x.permute(axes)
}

fn relu(x: Tensor<4>, max_value: Option<f64>, negative_slope: f64, threshold: f64) -> Tensor<4> {
    let below = x.clone().lower_elem(threshold);
    let falling = (x.clone() - threshold) * negative_slope;
    let x = match max_value {
        Some(max_value) => x.clamp_max(max_value),
        None => x,
    };
    x.mask_where(below, falling)
}

/// A constant for each channel, or one for all.
fn per_channel(x: &Tensor<4>, values: &[f64]) -> Tensor<4> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    let count = values.len();
    Tensor::from_data(TensorData::new(values, [1, 1, 1, count]), &x.device())
}

fn normalization(x: Tensor<4>, layer: &Normalization, mut weights: Weights) -> Tensor<4> {
    let (mean, variance) = match &layer.statistics {
        Some(statistics) => (
            per_channel(&x, &statistics.mean),
            per_channel(&x, &statistics.variance),
        ),
        None => (weights.vector().unsqueeze(), weights.vector().unsqueeze()),
    };
    let deviation = variance.sqrt().clamp_min(SMALLEST_DEVIATION);
    if layer.invert {
        mean + x * deviation
    } else {
        (x - mean) / deviation
    }
}

fn layer_normalization(
    x: Tensor<4>,
    layer: &LayerNormalization,
    rank: usize,
    mut weights: Weights,
) -> Tensor<4> {
    let axes: Vec<usize> = layer.axes.iter().map(|axis| axis + 4 - rank).collect();
    let dims = x.dims();
    let spread: [usize; 4] =
        std::array::from_fn(|axis| if axes.contains(&axis) { dims[axis] } else { 1 });
    let gamma = layer.scale.then(|| weights.spread(spread));
    let beta = layer.center.then(|| weights.spread(spread));
    let mean_over = |x: Tensor<4>| axes.iter().fold(x, |x, &axis| x.mean_dim(axis));
    let centred = x.clone() - mean_over(x);
    let variance = mean_over(centred.clone() * centred.clone());
    scale_and_shift(centred / (variance + layer.epsilon).sqrt(), gamma, beta)
}

/// Inverted dropout: what is kept is scaled up, so that serving changes nothing.
fn dropout(x: Tensor<4>, rate: f64, mask: [usize; 4], pass: &mut Pass) -> Tensor<4> {
    if rate >= 1.0 {
        return x.zeros_like();
    }
    let kept = (1.0 / (1.0 - rate)) as f32;
    let values: Vec<f32> = (0..mask.iter().product())
        .map(|_| {
            if pass.rng.random_bool(rate) {
                0.0
            } else {
                kept
            }
        })
        .collect();
    let mask = Tensor::<4>::from_data(TensorData::new(values, mask), &x.device());
    x * mask
}

fn gaussian_noise(x: Tensor<4>, stddev: f64, pass: &mut Pass) -> Tensor<4> {
    let dims = x.dims();
    let values: Vec<f32> = (0..dims.iter().product())
        .map(|_| pass.rng.sample::<f32, _>(StandardNormal) * stddev as f32)
        .collect();
    let noise = Tensor::<4>::from_data(TensorData::new(values, dims), &x.device());
    x + noise
}
