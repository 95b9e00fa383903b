//! The operations of a network on channels-last tensors: the one seam between layers and devices.
//!
//! Images are `[N, H, W, C]`, convolution kernels `[kh, kw, in / groups, out]`, dense kernels
//! `[in, out]`, as Keras lays them out. On Burn's Flex device the operations run on our own kernels,
//! gradients included (`flex.rs`); on any other device they are Burn's own, with the permutes around
//! them that Burn's channels-first layout needs (`portable.rs`).

mod flex;
mod portable;

use burn::tensor::{Device, Tensor};

use super::activation::apply;
use crate::architecture::Activation;

pub use flex::Memory;
pub(super) use flex::{checked, conv2d_shape, fuse, pool2d_shape};
pub use kernels::Update;

/// Rows and columns added on each side of an image before a window slides over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Padding {
    /// Rows above.
    pub top: usize,
    /// Rows below.
    pub bottom: usize,
    /// Columns to the left.
    pub left: usize,
    /// Columns to the right.
    pub right: usize,
}

impl Padding {
    /// Keras' `padding="same"`: the output has `ceil(size / stride)` rows and columns, and the odd
    /// row or column of padding goes below or to the right (`tensorflow/core/framework/
    /// kernel_shape_util.cc`).
    pub fn same(
        size: [usize; 2],
        window: [usize; 2],
        strides: [usize; 2],
        dilation: [usize; 2],
    ) -> Self {
        let around = |axis: usize| {
            let out = size[axis].div_ceil(strides[axis]);
            let reach = (window[axis] - 1) * dilation[axis] + 1;
            let total = ((out - 1) * strides[axis] + reach).saturating_sub(size[axis]);
            (total / 2, total - total / 2)
        };
        let ((top, bottom), (left, right)) = (around(0), around(1));
        Self {
            top,
            bottom,
            left,
            right,
        }
    }
}

/// A window that slides over an image: rows first, then columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Height and width.
    pub size: [usize; 2],
    /// Steps between neighbouring outputs.
    pub strides: [usize; 2],
    /// Distance between neighbouring taps.
    pub dilation: [usize; 2],
    /// What is added around the image.
    pub padding: Padding,
}

impl Window {
    /// A single pixel at a time.
    pub const POINT: Self = Self::whole([1, 1]);

    /// A window of this size that moves by a pixel, without padding.
    pub const fn whole(size: [usize; 2]) -> Self {
        Self {
            size,
            strides: [1, 1],
            dilation: [1, 1],
            padding: Padding {
                top: 0,
                bottom: 0,
                left: 0,
                right: 0,
            },
        }
    }
}

/// The weights of a batch normalization; no `gamma` is 1, no `beta` is 0.
#[derive(Clone, Debug)]
pub struct Norm {
    /// The scale of each channel.
    pub gamma: Option<Tensor<1>>,
    /// The offset of each channel.
    pub beta: Option<Tensor<1>>,
    /// Added to the variance.
    pub epsilon: f64,
}

/// Convolves `[N, H, W, C]` with `[kh, kw, C / groups, F]` and applies `activation`: `[N, H', W', F]`.
pub fn conv2d(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    activation: Activation,
) -> Tensor<4> {
    if is_flex(&x.device()) {
        let (fused, rest) = flex::fuse(activation);
        apply(
            rest,
            flex::conv2d(x, kernel, bias, window, groups, fused, None),
        )
    } else {
        apply(
            activation,
            portable::conv2d(x, kernel, bias, window, groups),
        )
    }
}

/// [`max_pool2d`] over `pool` of [`conv2d`].
pub fn conv2d_pooled(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    activation: Activation,
    pool: &Window,
) -> Tensor<4> {
    let (fused, rest) = flex::fuse(activation);
    if is_flex(&x.device()) && rest == Activation::Linear {
        flex::conv2d(x, kernel, bias, window, groups, fused, Some(pool))
    } else {
        max_pool2d(conv2d(x, kernel, bias, window, groups, activation), pool)
    }
}

/// What a layer gives to the next: a tensor, or a batch normalization of a convolution that is still to be made. The next
/// convolution makes it as it goes, so that it never lies in memory as a whole. Only one operation may use that.
#[derive(Clone, Debug)]
pub enum Value {
    /// The tensor, `[N, H, W, C]`.
    Tensor(Tensor<4>),
    /// What is still to be made.
    Normalized(flex::Normalized),
}

impl Value {
    /// The tensor.
    pub fn tensor(self) -> Tensor<4> {
        match self {
            Self::Tensor(tensor) => tensor,
            Self::Normalized(normalized) => normalized.tensor(),
        }
    }

    /// Height and width.
    pub fn size(&self) -> [usize; 2] {
        let [_, h, w, _] = match self {
            Self::Tensor(tensor) => tensor.dims(),
            Self::Normalized(normalized) => normalized.convolved.dims(),
        };
        [h, w]
    }
}

/// [`batch_norm`] of [`conv2d`].
pub fn conv2d_normalized(
    x: Value,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    norm: Norm,
    activation: Activation,
) -> (Value, [Tensor<1>; 2]) {
    if let Some(fused) = flex::bounds(activation)
        && is_flex(&kernel.device())
    {
        let (y, moments) = flex::conv2d_normalized(x, kernel, bias, window, groups, norm, fused);
        return (Value::Normalized(y), moments);
    }
    let x = conv2d(x.tensor(), kernel, bias, window, groups, Activation::Linear);
    let (y, moments) = batch_norm(x, norm, activation);
    (Value::Tensor(y), moments)
}

/// `activation(x · kernel + bias)` along the last axis: `[N, H, W, in]` to `[N, H, W, out]`.
pub fn dense(
    x: Tensor<4>,
    kernel: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<4> {
    let [n, h, w, inputs] = x.dims();
    let [_, outputs] = kernel.dims();
    let is_flex = is_flex(&x.device());
    let rows = x.reshape([n * h * w, inputs]);
    let extents = [n, h, w, outputs];
    if is_flex {
        let (fused, rest) = flex::fuse(activation);
        apply(
            rest,
            flex::dense(rows, kernel, bias, fused).reshape(extents),
        )
    } else {
        apply(
            activation,
            portable::dense(rows, kernel, bias).reshape(extents),
        )
    }
}

/// `activation(x)`.
pub fn activated(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    if is_flex(&x.device()) {
        match flex::fuse(activation) {
            (kernels::Activation::Linear, rest) => apply(rest, x),
            (fused, rest) => apply(rest, flex::activated(x, fused)),
        }
    } else {
        apply(activation, x)
    }
}

/// The largest value under each window, channel by channel; padding never wins.
pub fn max_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    if is_flex(&x.device()) {
        flex::max_pool2d(x, window)
    } else {
        portable::max_pool2d(x, window)
    }
}

/// The mean of the values under each window, channel by channel; padding does not count.
pub fn average_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    if is_flex(&x.device()) {
        flex::average_pool2d(x, window)
    } else {
        portable::average_pool2d(x, window)
    }
}

/// `activation(gamma · (x - mean) / √(variance + epsilon) + beta)` with the mean and the variance of the batch, channel
/// by channel; and those, through which no gradient goes.
pub fn batch_norm(x: Tensor<4>, norm: Norm, activation: Activation) -> (Tensor<4>, [Tensor<1>; 2]) {
    if is_flex(&x.device()) {
        match flex::bounds(activation) {
            Some(fused) => flex::batch_norm(x, norm, fused),
            None => {
                let (y, moments) = flex::batch_norm(x, norm, kernels::Activation::Linear);
                (activated(y, activation), moments)
            }
        }
    } else {
        let (y, moments) = portable::batch_norm(x, norm);
        (apply(activation, y), moments)
    }
}

/// Moves `weight` against `gradient` by `update`, and what the rule remembers with it: as many tensors of the weight's
/// shape as [`Update::remembers`] says.
pub fn update<const D: usize>(
    weight: Tensor<D>,
    gradient: Tensor<D>,
    memory: Vec<Tensor<D>>,
    update: Update,
) -> (Tensor<D>, Vec<Tensor<D>>) {
    if is_flex(&weight.device()) {
        flex::update(weight, gradient, memory, update)
    } else {
        portable::update(weight, gradient, memory, update)
    }
}

/// `x · scale + shift`, as far as there are the two.
pub(super) fn scale_and_shift(
    x: Tensor<4>,
    scale: Option<Tensor<4>>,
    shift: Option<Tensor<4>>,
) -> Tensor<4> {
    let x = match scale {
        Some(scale) => x * scale,
        None => x,
    };
    match shift {
        Some(shift) => x + shift,
        None => x,
    }
}

/// Whether the device is Burn's Flex; devices are equal with or without autodiff around them.
pub(super) fn is_flex(device: &Device) -> bool {
    *device == Device::flex()
}
