//! Maxima and averages over windows of an image.
mod found;
mod grads;
mod lines;

use self::lines::{AverageForward, Lines, MaxForward};
use crate::conv2d::Padding2d;
use crate::error::{ShapeError, batch, length, nonzero, volume};
use crate::frame::Frame;
use crate::level::Level;
use crate::tasks::{parts_mut, tasks};
use crate::window::Axis;

/// What a pooling is made of. Pairs are `(vertical, horizontal)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool2dShape {
    /// Height and width of an input image.
    pub input: (usize, usize),
    /// Channels, the same in and out.
    pub channels: usize,
    /// Height and width of the window.
    pub window: (usize, usize),
    /// Input pixels from one output pixel to the next.
    pub stride: (usize, usize),
    /// Rows and columns around the input that belong to no window's maximum or average; less on every side than the window.
    pub padding: Padding2d,
}

/// The largest value of each window, channel by channel, for batches of any size.
///
/// `x` is `[n, height, width, channels]`, `y` is `[n, output height, output width, channels]`. NaN is larger than
/// everything. The gradient goes to the first of several equal maxima, in rows from top to bottom and from left to right.
#[derive(Debug, Clone)]
pub struct MaxPool2d(Pool);

/// The mean of each window, channel by channel, for batches of any size; padding isn't counted.
///
/// `x` is `[n, height, width, channels]`, `y` is `[n, output height, output width, channels]`.
#[derive(Debug, Clone)]
pub struct AveragePool2d(Pool);

macro_rules! plan {
    ($name:ident, $forward:ident) => {
        impl $name {
            /// Plans the pooling of `shape`.
            ///
            /// # Errors
            ///
            /// [`ShapeError`] if a size is 0 or the sizes are too large, the window spans more than the padded image, or
            /// the padding reaches the window's span.
            pub fn new(shape: Pool2dShape) -> Result<Self, ShapeError> {
                Pool::new(shape).map(Self)
            }

            /// The same pooling on another instruction set.
            pub fn with_level(self, level: Level) -> Self {
                Self(Pool { level, ..self.0 })
            }

            /// Height and width of an output image.
            pub fn output(&self) -> (usize, usize) {
                (self.0.output.height, self.0.output.width)
            }

            /// Values in an input image.
            pub fn input_len(&self) -> usize {
                self.0.input.len()
            }

            /// Values in an output image.
            pub fn output_len(&self) -> usize {
                self.0.output.len()
            }

            /// Fills `y` from `x`.
            ///
            /// # Errors
            ///
            /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
            pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
                self.0.check(x.len(), y.len())?;
                let (pool, line) = (&self.0, self.0.output.width * self.0.output.channels);
                // Lines per task, so that about `tasks` of them cover the batch.
                let work = y.len() * pool.shape.window.0 * pool.shape.window.1;
                let lines = (y.len() / line).div_ceil(tasks(work)).max(1);
                parts_mut(y, lines * line, |index, y| {
                    pool.level.run($forward(Lines {
                        pool,
                        x,
                        y,
                        first: index * lines,
                    }));
                });
                Ok(())
            }
        }
    };
}

plan!(MaxPool2d, MaxForward);
plan!(AveragePool2d, AverageForward);

/// What both poolings share.
#[derive(Debug, Clone)]
struct Pool {
    shape: Pool2dShape,
    stride: (usize, usize),
    input: Frame,
    output: Frame,
    level: Level,
}

impl Pool {
    fn new(shape: Pool2dShape) -> Result<Self, ShapeError> {
        let Pool2dShape {
            input,
            channels,
            window,
            stride,
            padding,
        } = shape;
        nonzero(&[
            ("the input height", input.0),
            ("the input width", input.1),
            ("the number of channels", channels),
            ("the window height", window.0),
            ("the window width", window.1),
            ("the vertical stride", stride.0),
            ("the horizontal stride", stride.1),
        ])?;
        let height = Axis::new(
            input.0,
            window.0,
            stride.0,
            1,
            (padding.top, padding.bottom),
        )?;
        let width = Axis::new(
            input.1,
            window.1,
            stride.1,
            1,
            (padding.left, padding.right),
        )?;
        let input = Frame {
            height: input.0,
            width: input.1,
            channels,
        };
        let output = Frame {
            height: height.output,
            width: width.output,
            channels,
        };
        volume("an input image", &[input.height, input.width, channels])?;
        volume("an output image", &[output.height, output.width, channels])?;
        Ok(Self {
            shape,
            stride: (height.stride, width.stride),
            input,
            output,
            level: Level::default(),
        })
    }

    fn check(&self, x: usize, y: usize) -> Result<(), ShapeError> {
        let images = batch("the input", x, self.input.len())?;
        length(
            "the output",
            y,
            volume("the output", &[images, self.output.len()])?,
        )
    }

    /// The part of an image, rows and columns, under the window of output pixel `(y, x)`. Never empty: the padding is
    /// less than the window.
    #[inline(always)]
    fn window(&self, y: usize, x: usize) -> Window {
        let Pool2dShape {
            window, padding, ..
        } = self.shape;
        let side = |at: usize, stride: usize, before: usize, size: usize, input: usize| {
            let from = at * stride;
            (
                from.saturating_sub(before),
                (from + size - before).min(input),
            )
        };
        Window {
            rows: side(y, self.stride.0, padding.top, window.0, self.input.height),
            columns: side(x, self.stride.1, padding.left, window.1, self.input.width),
        }
    }

    /// Where in an image the values of pixel `(y, x)` begin.
    #[inline(always)]
    fn pixel(&self, y: usize, x: usize) -> usize {
        (y * self.input.width + x) * self.input.channels
    }
}

/// Rows and columns of an image.
#[derive(Clone, Copy)]
struct Window {
    rows: (usize, usize),
    columns: (usize, usize),
}

impl Window {
    #[inline(always)]
    fn len(self) -> usize {
        (self.rows.1 - self.rows.0) * (self.columns.1 - self.columns.0)
    }
}
