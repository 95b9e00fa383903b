//! CPU kernels on plain slices for channels-last networks: convolution, pooling, dense; forward and gradients.
//!
//! Everything is `f32`. Images are `[batch, height, width, channels]`, convolution kernels
//! `[kernel height, kernel width, input channels / groups, output channels]` and dense kernels `[inputs, outputs]`, the
//! layouts of Keras; nothing is transposed or unrolled before it is multiplied.
//!
//! An operation is a small plan, made once for its shape ([`Conv2d`], [`Dense`], [`MaxPool2d`], …) and then called with
//! slices; each call checks the lengths of what it is given and answers a [`ShapeError`] instead of panicking.
//!
//! * **Vectors.** One source over [`pulp`] runs as AVX-512, AVX2 with FMA, NEON or scalar code; [`Level`] says which.
//! * **Threads.** Work is split over the rayon pool that the caller is in.
//! * **The same bits.** An output element is summed in an order that depends on the operation's shape alone, so the
//!   result for an image doesn't change with the batch it arrives in, its place there or the number of threads.
//!   Gradients of parameters sum over the batch, and depend on it, but not on the number of threads.
//! * **NaN and infinity** go through sums and products as IEEE 754 says. Padding is multiplied like any other zero, so an
//!   infinite weight over padding gives NaN. Maxima, `relu` and their like keep NaN.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod activation;
mod aligned;
mod batch_norm;
mod conv2d;
mod correlation;
mod dense;
mod error;
mod exponential;
mod grid;
mod kernel_grad;
mod level;
mod matrix;
mod pool;
mod product;
mod scratch;
mod softmax;
mod sums;
mod tile;
mod transpose;
mod window;
mod winograd;

pub use activation::Activation;
pub use batch_norm::{BatchNorm, BatchNormGrads};
pub use conv2d::{Conv2d, Conv2dShape, Padding2d, PreparedKernel};
pub use dense::Dense;
pub use error::ShapeError;
pub use level::Level;
pub use pool::{AveragePool2d, MaxPool2d, Pool2dShape};
pub use softmax::{softmax, softmax_grad};
pub use sums::column_sums;
