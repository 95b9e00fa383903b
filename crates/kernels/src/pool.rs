//! Maxima and averages over windows of an image.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::conv2d::Padding2d;
use crate::error::{ShapeError, batch, length, nonzero, volume};
use crate::frame::Frame;
use crate::level::{Level, larger, load, store};
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

impl MaxPool2d {
    /// Fills `dx`, the gradient of the input, from the input and `dy`, the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        let pool = &self.0;
        pool.check(x.len(), dy.len())?;
        length("the input's gradient", dx.len(), x.len())?;
        let images = dx.par_chunks_mut(pool.input.len());
        images
            .zip(x.par_chunks(pool.input.len()))
            .zip(dy.par_chunks(pool.output.len()))
            .for_each(|((dx, x), dy)| {
                pool.level.run(MaxGrad { pool, x, dy, dx });
            });
        Ok(())
    }
}

impl AveragePool2d {
    /// Fills `dx`, the gradient of the input, from `dy`, the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        let pool = &self.0;
        pool.check(dx.len(), dy.len())?;
        let images = dx.par_chunks_mut(pool.input.len());
        images
            .zip(dy.par_chunks(pool.output.len()))
            .for_each(|(dx, dy)| {
                pool.level.run(AverageGrad { pool, dy, dx });
            });
        Ok(())
    }
}

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

/// Lines of output to fill, counted over the whole batch from `first` on.
struct Lines<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    y: &'a mut [f32],
    first: usize,
}

impl Lines<'_> {
    /// Fills each vector of channels with `finish(sum, count)`, where the sum is of a window's values by `join`.
    #[inline(always)]
    fn fill<S: Simd>(
        self,
        simd: S,
        identity: f32,
        join: impl Fn(S::f32s, S::f32s) -> S::f32s,
        finish: impl Fn(S::f32s, usize) -> S::f32s,
    ) {
        let Self { pool, x, y, first } = self;
        let (channels, output) = (pool.input.channels, pool.output);
        let quads = pool.shape.window == (2, 2)
            && pool.shape.padding == Padding2d::default()
            && channels.is_multiple_of(S::F32_LANES);
        for (line, y) in y.chunks_mut(output.width * channels).enumerate() {
            let (image, row) = (
                (first + line) / output.height,
                (first + line) % output.height,
            );
            let x = &x[image * pool.input.len()..][..pool.input.len()];
            if quads {
                // The usual window, without a look at its borders and with whole vectors alone.
                let lines = [0, 1].map(|below| &x[pool.pixel(row * pool.stride.0 + below, 0)..]);
                for (column, y) in y.chunks_exact_mut(channels).enumerate() {
                    let at = column * pool.stride.1 * channels;
                    let [above, below] = lines.map(|line| {
                        let (left, right) = line[at..at + 2 * channels].split_at(channels);
                        left.chunks_exact(S::F32_LANES)
                            .zip(right.chunks_exact(S::F32_LANES))
                    });
                    let vectors = y.chunks_exact_mut(S::F32_LANES).zip(above.zip(below));
                    for (y, ((a, b), (c, d))) in vectors {
                        let pairs = (
                            join(load(simd, a), load(simd, b)),
                            join(load(simd, c), load(simd, d)),
                        );
                        store(simd, y, finish(join(pairs.0, pairs.1), 4));
                    }
                }
                continue;
            }
            for (column, y) in y.chunks_mut(channels).enumerate() {
                let window = pool.window(row, column);
                for from in (0..channels).step_by(S::F32_LANES) {
                    let to = channels.min(from + S::F32_LANES);
                    let mut value = simd.splat_f32s(identity);
                    for wy in window.rows.0..window.rows.1 {
                        for wx in window.columns.0..window.columns.1 {
                            let at = pool.pixel(wy, wx);
                            value = join(value, load(simd, &x[at + from..at + to]));
                        }
                    }
                    store(simd, &mut y[from..to], finish(value, window.len()));
                }
            }
        }
    }
}

struct MaxForward<'a>(Lines<'a>);

impl WithSimd for MaxForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.fill(
            simd,
            f32::NEG_INFINITY,
            #[inline(always)]
            |largest, value| larger(simd, largest, value),
            #[inline(always)]
            |largest, _| largest,
        );
    }
}

struct AverageForward<'a>(Lines<'a>);

impl WithSimd for AverageForward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.fill(
            simd,
            0.0,
            #[inline(always)]
            |sum, value| simd.add_f32s(sum, value),
            #[inline(always)]
            |sum, count| simd.div_f32s(sum, simd.splat_f32s(count as f32)),
        );
    }
}

/// One image's work.
struct MaxGrad<'a> {
    pool: &'a Pool,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for MaxGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, x, dy, dx } = self;
        let channels = pool.input.channels;
        dx.fill(0.0);
        for (index, dy) in dy.chunks_exact(channels).enumerate() {
            let window = pool.window(index / pool.output.width, index % pool.output.width);
            for from in (0..channels).step_by(S::F32_LANES) {
                let to = channels.min(from + S::F32_LANES);
                let mut largest = simd.splat_f32s(f32::NEG_INFINITY);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        largest = larger(simd, largest, load(simd, &x[at + from..at + to]));
                    }
                }
                // What is left to give away: the gradient, until the first value that is the largest (or NaN, if that is).
                let zero = simd.splat_f32s(0.0);
                let mut rest = load(simd, &dy[from..to]);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        let value = load(simd, &x[at + from..at + to]);
                        let other = simd.select_f32s(simd.equal_f32s(value, largest), rest, zero);
                        let given = simd.select_f32s(simd.equal_f32s(value, value), other, rest);
                        let here = &mut dx[at + from..at + to];
                        store(simd, here, simd.add_f32s(load(simd, here), given));
                        rest = simd.select_f32s(simd.equal_f32s(given, zero), rest, zero);
                    }
                }
            }
        }
    }
}

/// One image's work.
struct AverageGrad<'a> {
    pool: &'a Pool,
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for AverageGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pool, dy, dx } = self;
        let channels = pool.input.channels;
        dx.fill(0.0);
        for (index, dy) in dy.chunks_exact(channels).enumerate() {
            let window = pool.window(index / pool.output.width, index % pool.output.width);
            let count = simd.splat_f32s(window.len() as f32);
            for from in (0..channels).step_by(S::F32_LANES) {
                let to = channels.min(from + S::F32_LANES);
                let share = simd.div_f32s(load(simd, &dy[from..to]), count);
                for wy in window.rows.0..window.rows.1 {
                    for wx in window.columns.0..window.columns.1 {
                        let at = pool.pixel(wy, wx);
                        let here = &mut dx[at + from..at + to];
                        store(simd, here, simd.add_f32s(load(simd, here), share));
                    }
                }
            }
        }
    }
}
