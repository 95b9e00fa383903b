//! CPU kernels on plain slices for channels-last networks: convolution, pooling, dense; forward and gradients.
//!
//! Everything is `f32`. Images are `[batch, height, width, channels]`, convolution kernels
//! `[kernel height, kernel width, input channels / groups, output channels]` and dense kernels `[inputs, outputs]`, the
//! layouts of Keras; no image is unrolled into a matrix before it is multiplied.
//!
//! ```
//! use kernels::{Activation, Dense};
//!
//! // Two examples of three values, a layer of two outputs.
//! let dense = Dense::new(3, 2)?;
//! let x = [1.0, 2.0, 3.0, -1.0, 0.0, 1.0];
//! let kernel = [1.0, 0.0, 0.0, 1.0, 1.0, -2.0];
//! let mut y = [0.0; 4];
//! dense.forward(&x, &kernel, Some(&[0.5, 0.0]), Activation::Relu, &mut y)?;
//! assert_eq!(y, [4.5, 0.0, 0.5, 0.0]);
//! # Ok::<(), kernels::ShapeError>(())
//! ```
//!
//! An operation is a small plan, made once for its shape ([`Conv2d`], [`Dense`], [`MaxPool2d`], …) and then called with
//! slices; each call checks the lengths of what it is given and answers a [`ShapeError`] instead of panicking.
//!
//! * **Vectors.** One source over [`pulp`] runs as AVX-512, AVX2 with FMA, NEON or scalar code; [`Level`] says which.
//! * **Threads.** Work is split over the rayon pool that the caller is in, unless it asks to be left [`alone`].
//! * **Methods.** Convolutions with 3 × 3 kernels use Winograd's where the shape makes it faster: a quarter of the
//!   multiplications, and errors of a few millionths of the largest result. Everything else is computed directly.
//! * **The same bits.** An output element is summed in an order that depends on the operation's shape alone, so the
//!   result for an image doesn't change with the batch it arrives in, its place there or the number of threads.
//!   Gradients of parameters sum over the batch, and depend on it, but not on the number of threads.
//! * **NaN and infinity** go through sums and products as IEEE 754 says. Padding is multiplied like any other zero, so an
//!   infinite weight over padding gives NaN. Where a faster method would spread what isn't finite, the direct one is used. Maxima, `relu` and their like keep NaN.
#![warn(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]

mod activation;
mod aligned;
mod batch_norm;
mod columns;
mod conv2d;
mod correlation;
mod dense;
mod error;
mod exponential;
mod frame;
mod grid;
mod kernel_grad;
mod level;
mod matrix;
mod narrow;
mod peak;
mod pool;
mod product;
mod scratch;
mod sliding;
mod sliding_grad;
mod softmax;
mod sums;
mod tasks;
mod tile;
mod transpose;
mod update;
mod window;
mod winograd;

pub use activation::Activation;
pub use aligned::Aligned;
pub use batch_norm::{BatchNorm, BatchNormBack, Normalizer, ScaleShift};
pub use conv2d::{Conv2d, Conv2dGrads, Conv2dShape, Input, OutputGrad, Padding2d, PreparedConv2d};
pub use dense::{Dense, PreparedDense};
pub use error::ShapeError;
pub use level::Level;
pub use peak::peak_flops;
pub use pool::{AveragePool2d, MaxPool2d, Pool2dShape};
pub use softmax::{softmax, softmax_grad};
pub use sums::column_sums;
pub use tasks::{alone, threads};
pub use update::Update;
