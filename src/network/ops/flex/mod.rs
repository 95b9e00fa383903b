//! The operations on Burn's Flex device: a backend extension over our own kernels, with their
//! gradients.
//!
//! Each operation has a room. `Autodiff` registers the backward passes by hand. What follows a convolution can be
//! part of it, so that what lies between the two passes through memory less often, or never.

mod activated;
mod batch_norm;
mod conv2d;
mod dense;
mod memory;
mod normalized;
mod pooled;
mod update;

use burn::backend::flex::FlexTensor;
use burn::tensor::{Shape, TensorData};
use kernels::{Activation, Conv2dShape, Padding2d, Pool2dShape, ShapeError};

use super::{Norm, Padding, Value, Window};
use crate::architecture;

pub use activated::activated;
pub use batch_norm::batch_norm;
pub use conv2d::conv2d;
pub use dense::dense;
pub use memory::Memory;
pub use normalized::{Normalized, conv2d_normalized};
pub use pooled::{average_pool2d, max_pool2d};
pub use update::update;

/// A tensor's numbers, row by row.
struct Values(FlexTensor);

impl Values {
    fn of(tensor: &FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    fn new(tensor: FlexTensor) -> Self {
        if tensor.is_contiguous() {
            Self(tensor)
        } else {
            Self::of(&tensor)
        }
    }
}

impl std::ops::Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0
            .as_slice()
            .unwrap_or_else(|| unreachable!("a contiguous tensor of f32"))
    }
}

/// A new tensor that `kernel` fills.
fn fill(shape: Shape, kernel: impl FnOnce(&mut [f32]) -> Result<(), ShapeError>) -> FlexTensor {
    let mut values = memory::take(shape.num_elements());
    checked(kernel(&mut values));
    tensor(values, shape)
}

/// Two new tensors that `kernel` fills.
fn fill_both(
    shapes: [Shape; 2],
    kernel: impl FnOnce(&mut [f32], &mut [f32]) -> Result<(), ShapeError>,
) -> [FlexTensor; 2] {
    let mut values = shapes
        .each_ref()
        .map(|shape| memory::take(shape.num_elements()));
    let [first, second] = values.each_mut();
    checked(kernel(first, second));
    let [first, second] = values;
    let [of_first, of_second] = shapes;
    [tensor(first, of_first), tensor(second, of_second)]
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The architecture has checked every shape before a network is made of it.
pub fn checked<T>(result: Result<T, ShapeError>) -> T {
    result.unwrap_or_else(|error| unreachable!("a shape that was checked: {error}"))
}

fn padding(padding: Padding) -> Padding2d {
    Padding2d {
        top: padding.top,
        bottom: padding.bottom,
        left: padding.left,
        right: padding.right,
    }
}

/// The shape of a convolution over images of this height and width.
pub fn conv2d_shape(
    input: [usize; 2],
    in_channels: usize,
    out_channels: usize,
    window: &Window,
    groups: usize,
) -> Conv2dShape {
    Conv2dShape {
        input: input.into(),
        in_channels,
        out_channels,
        kernel: window.size.into(),
        stride: window.strides.into(),
        dilation: window.dilation.into(),
        padding: padding(window.padding),
        groups,
    }
}

/// The shape of a pooling over images of this height and width.
pub fn pool2d_shape(input: [usize; 2], channels: usize, window: &Window) -> Pool2dShape {
    Pool2dShape {
        input: input.into(),
        channels,
        window: window.size.into(),
        stride: window.strides.into(),
        padding: padding(window.padding),
    }
}

/// The activation as far as the kernels can apply it on the way out, and what is left to do.
pub fn fuse(activation: architecture::Activation) -> (Activation, architecture::Activation) {
    use architecture::Activation as Keras;
    let fused = match activation {
        Keras::Relu => Activation::Relu,
        Keras::Relu6 => Activation::Relu6,
        Keras::Elu { alpha: 1.0 } => Activation::Elu,
        Keras::Selu => Activation::Selu,
        Keras::Sigmoid => Activation::Sigmoid,
        Keras::HardSigmoid => Activation::HardSigmoid,
        Keras::Tanh => Activation::Tanh,
        Keras::Exponential => Activation::Exponential,
        Keras::Softsign => Activation::Softsign,
        other => return (Activation::Linear, other),
    };
    (fused, Keras::Linear)
}

/// The activation as it can be part of a batch normalization, if it can.
pub fn bounds(activation: architecture::Activation) -> Option<Activation> {
    match fuse(activation) {
        (
            fused @ (Activation::Linear | Activation::Relu | Activation::Relu6),
            architecture::Activation::Linear,
        ) => Some(fused),
        _ => None,
    }
}
