//! Fully connected layers.
mod prepared;

pub use self::prepared::PreparedDense;
use crate::activation::Activation;
use crate::error::{ShapeError, batch, length, nonzero, terms, volume};
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::tasks::{calls, tasks};
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
        terms(inputs)?;
        terms(outputs)?;
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

    /// Whether so many examples are enough for the other threads of the caller's pool to be called.
    pub fn splits(&self, examples: usize) -> bool {
        calls(self.work(examples))
    }

    fn work(&self, examples: usize) -> usize {
        examples.saturating_mul(self.inputs * self.outputs)
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
        let pieces = tasks(self.work(y.len() / self.outputs));
        let bounds = activation.bounds();
        let finish = Finish {
            bias,
            bounds: bounds.unwrap_or(Finish::NONE.bounds),
        };
        split(
            MatrixMut::new(y, self.outputs),
            (0, 0),
            pieces,
            &|mut part, (row, column)| {
                let bias = finish.bias.map(|bias| &bias[column..]);
                let product = Product {
                    factor: Factor::Broadcast,
                    x,
                    grid: Grid::line(row * self.inputs, self.inputs),
                    rows: (0, part.rows()),
                    chunks: &self.forward,
                    weights: Weights {
                        values: kernel,
                        stride: self.outputs,
                        column,
                    },
                    start: Start::Replace,
                    finish: Finish { bias, ..finish },
                    windows: None,
                };
                product.run(self.level, &mut part);
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
            &|mut part, (row, column)| {
                with_scratch(PANEL * self.outputs, |room| {
                    for from in (0..part.columns()).step_by(PANEL) {
                        let width = PANEL.min(part.columns() - from);
                        let rows = &kernel[(column + from) * self.outputs..];
                        transpose(rows, self.outputs, width, self.outputs, room);
                        let product = Product {
                            factor: Factor::Broadcast,
                            x: dy,
                            grid: Grid::line(row * self.outputs, self.outputs),
                            rows: (0, part.rows()),
                            chunks: &self.back,
                            weights: Weights {
                                values: &room[..self.outputs * width],
                                stride: width,
                                column: 0,
                            },
                            start: Start::Replace,
                            finish: Finish::NONE,
                            windows: None,
                        };
                        product.run(self.level, &mut part.columns_mut(from, width));
                    }
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
            &|mut part, (row, column)| {
                let product = Product {
                    factor: Factor::Broadcast,
                    x,
                    grid: Grid::line(row, 1),
                    rows: (0, part.rows()),
                    chunks: &chunks,
                    weights: Weights {
                        values: dy,
                        stride: self.outputs,
                        column,
                    },
                    start: Start::Replace,
                    finish: Finish::NONE,
                    windows: None,
                };
                product.run(self.level, &mut part);
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

/// Columns of the kernel's transpose that are packed at a time: with 128 outputs 32 KiB.
const PANEL: usize = 64;

/// Splits `part`, whose first element is at `(row, column)`, into about `pieces` parts and calls `work` on each.
fn split<F>(part: MatrixMut, (row, column): (usize, usize), pieces: usize, work: &F)
where
    F: Fn(MatrixMut, (usize, usize)) + Sync,
{
    const TALL: usize = 8;
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
