//! Fully connected layers.
use pulp::{Simd, WithSimd};

use crate::activation::Activation;
use crate::correlation::tasks;
use crate::error::{ShapeError, batch, length, nonzero, volume};
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Finish, Grid, Start, Weights, product};
use crate::scratch::with_scratch;
use crate::transpose::transpose;

/// A dense layer of one shape, for batches of any size.
///
/// `x` is `[n, inputs]`, `kernel` is `[inputs, outputs]`, `y` is `[n, outputs]`.
#[derive(Debug, Clone)]
pub struct Dense {
    inputs: usize,
    outputs: usize,
    forward: Vec<Chunk>,
    back: Vec<Chunk>,
    level: Level,
}

impl Dense {
    /// Plans a layer from `inputs` values to `outputs`.
    ///
    /// # Errors
    ///
    /// [`ShapeError`] if a size is 0 or the kernel is too large.
    pub fn new(inputs: usize, outputs: usize) -> Result<Self, ShapeError> {
        nonzero(&[
            ("the number of inputs", inputs),
            ("the number of outputs", outputs),
        ])?;
        volume("the kernel", &[inputs, outputs])?;
        let chunks = |terms| Chunk::cut(&Vec::from_iter(0..terms), 0);
        Ok(Self {
            inputs,
            outputs,
            forward: chunks(inputs),
            back: chunks(outputs),
            level: Level::default(),
        })
    }

    /// The same layer on another instruction set.
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// `y = activation(x · kernel + bias)`; the bias is one value per output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward(
        &self,
        x: &[f32],
        kernel: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check(x.len(), kernel.len(), y.len())?;
        if let Some(bias) = bias {
            length("the bias", bias.len(), self.outputs)?;
        }
        let pieces = tasks(y.len().saturating_mul(self.inputs));
        let bounds = activation.bounds();
        let finish = Finish {
            bias,
            bounds: bounds.flatten(),
        };
        split(
            MatrixMut::new(y, self.outputs),
            (0, 0),
            pieces,
            &|part, (row, column)| {
                self.level.run(Forward {
                    dense: self,
                    x,
                    kernel,
                    finish,
                    part,
                    row,
                    column,
                });
            },
        );
        if bounds.is_none() {
            activation.apply(self.level, y);
        }
        Ok(())
    }

    /// `dx = dy · kernelᵀ`, the gradient of the input from `dy`, that of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, dy: &[f32], kernel: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        self.check(dx.len(), kernel.len(), dy.len())?;
        let pieces = tasks(dx.len().saturating_mul(self.outputs));
        split(
            MatrixMut::new(dx, self.inputs),
            (0, 0),
            pieces,
            &|part, (row, column)| {
                with_scratch(PANEL * self.outputs, |room| {
                    self.level.run(GradInput {
                        dense: self,
                        dy,
                        kernel,
                        part,
                        row,
                        column,
                        room,
                    });
                });
            },
        );
        Ok(())
    }

    /// `dkernel = xᵀ · dy`, the gradient of the kernel from the input and `dy`, the gradient of the output.
    ///
    /// The gradient of the bias is [`column_sums`](crate::column_sums) of `dy`.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_kernel(
        &self,
        x: &[f32],
        dy: &[f32],
        dkernel: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check(x.len(), dkernel.len(), dy.len())?;
        let examples = x.len() / self.inputs;
        let chunks = Chunk::cut(&Vec::from_iter((0..examples).map(|n| n * self.inputs)), 0);
        let pieces = tasks(dkernel.len().saturating_mul(examples));
        split(
            MatrixMut::new(dkernel, self.outputs),
            (0, 0),
            pieces,
            &|part, (row, column)| {
                self.level.run(GradKernel {
                    dense: self,
                    x,
                    dy,
                    chunks: &chunks,
                    part,
                    row,
                    column,
                });
            },
        );
        Ok(())
    }

    fn check(&self, x: usize, kernel: usize, y: usize) -> Result<(), ShapeError> {
        let examples = batch("the input", x, self.inputs)?;
        length("the kernel", kernel, self.inputs * self.outputs)?;
        length(
            "the output",
            y,
            volume("the output", &[examples, self.outputs])?,
        )
    }
}

/// Splits `part`, whose first element is at `(row, column)`, into about `pieces` parts and calls `work` on each.
fn split<F>(part: MatrixMut, (row, column): (usize, usize), pieces: usize, work: &F)
where
    F: Fn(MatrixMut, (usize, usize)) + Sync,
{
    const TALL: usize = 9;
    // In tiles: splitting inside one would leave both halves with less than full registers.
    let (tall, wide) = (part.rows().div_ceil(TALL), part.columns().div_ceil(32));
    if pieces < 2 || (tall < 2 && wide < 2) {
        return work(part, (row, column));
    }
    let ((first, second), next) = if tall >= wide {
        let at = tall / 2 * TALL;
        (part.split_rows(at), (row + at, column))
    } else {
        let at = wide / 2 * 32;
        (part.split_columns(at), (row, column + at))
    };
    rayon::join(
        || split(first, (row, column), pieces / 2, work),
        || split(second, next, pieces - pieces / 2, work),
    );
}

/// Rows of a product that begin at equal steps.
fn rows(first: usize, step: usize, count: usize) -> Grid {
    Grid {
        width: count.max(1),
        input: first * step,
        input_row: 0,
        input_column: step,
        output: 0,
        skipped: 0,
        output_row: 0,
        output_column: 1,
    }
}

struct Forward<'a> {
    dense: &'a Dense,
    x: &'a [f32],
    kernel: &'a [f32],
    finish: Finish<'a>,
    part: MatrixMut<'a>,
    row: usize,
    column: usize,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dense,
            x,
            kernel,
            finish,
            mut part,
            row,
            column,
        } = self;
        let count = part.rows();
        let weights = Weights {
            values: kernel,
            stride: dense.outputs,
            column,
        };
        let finish = Finish {
            bias: finish.bias.map(|bias| &bias[column..]),
            ..finish
        };
        let grid = rows(row, dense.inputs, count);
        product(
            simd,
            x,
            &grid,
            (0, count),
            &dense.forward,
            weights,
            &mut part,
            Start::Replace,
            finish,
        );
    }
}

/// Columns of the kernel's transpose that are packed at a time: with 128 outputs 32 KiB.
const PANEL: usize = 64;

struct GradInput<'a> {
    dense: &'a Dense,
    dy: &'a [f32],
    kernel: &'a [f32],
    part: MatrixMut<'a>,
    row: usize,
    column: usize,
    room: &'a mut [f32],
}

impl WithSimd for GradInput<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dense,
            dy,
            kernel,
            mut part,
            row,
            column,
            room,
        } = self;
        let (outputs, count, columns) = (dense.outputs, part.rows(), part.columns());
        let grid = rows(row, outputs, count);
        for from in (0..columns).step_by(PANEL) {
            let width = PANEL.min(columns - from);
            transpose(
                &kernel[(column + from) * outputs..],
                outputs,
                width,
                outputs,
                room,
            );
            let weights = Weights {
                values: &room[..outputs * width],
                stride: width,
                column: 0,
            };
            let mut part = part.columns_mut(from, width);
            product(
                simd,
                dy,
                &grid,
                (0, count),
                &dense.back,
                weights,
                &mut part,
                Start::Replace,
                Finish::NONE,
            );
        }
    }
}

struct GradKernel<'a> {
    dense: &'a Dense,
    x: &'a [f32],
    dy: &'a [f32],
    chunks: &'a [Chunk],
    part: MatrixMut<'a>,
    row: usize,
    column: usize,
}

impl WithSimd for GradKernel<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            dense,
            x,
            dy,
            chunks,
            mut part,
            row,
            column,
        } = self;
        let count = part.rows();
        let weights = Weights {
            values: dy,
            stride: dense.outputs,
            column,
        };
        let grid = rows(row, 1, count);
        product(
            simd,
            x,
            &grid,
            (0, count),
            chunks,
            weights,
            &mut part,
            Start::Replace,
            Finish::NONE,
        );
    }
}
