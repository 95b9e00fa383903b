//! A dense layer whose weights don't change any more.
use super::{Dense, split};
use crate::activation::Activation;
use crate::aligned::Aligned;
use crate::error::{ShapeError, length};
use crate::grid::Grid;
use crate::matrix::MatrixMut;
use crate::product::{Factor, Finish, Product, Start, Weights};
use crate::tasks::tasks;

/// Columns of the kernel that lie together.
const PANEL: usize = 32;

/// A dense layer with its weights laid out as they are read.
///
/// A small batch does so little with each weight that the layer takes as long as the memory does to deliver them, and memory
/// is at its fastest where it can tell what is read next.
#[derive(Debug, Clone)]
pub struct PreparedDense {
    plan: Dense,
    /// `[inputs / terms, outputs / PANEL, terms, PANEL]` with as many terms as there are in a chunk of the plan; the last chunk
    /// may have fewer, and the last panel fewer columns.
    panels: Aligned,
    bias: Vec<f32>,
    activation: Activation,
}

impl PreparedDense {
    /// The layer of `plan` with these weights, `[inputs, outputs]`; the bias is one value per output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if the weights don't have the lengths that the plan gives them.
    pub fn new(
        plan: Dense,
        kernel: &[f32],
        bias: &[f32],
        activation: Activation,
    ) -> Result<Self, ShapeError> {
        let (inputs, outputs) = (plan.inputs, plan.outputs);
        length("the kernel", kernel.len(), inputs * outputs)?;
        length("the bias", bias.len(), outputs)?;
        let mut panels = Aligned::zeros(kernel.len());
        let mut done = 0;
        for chunk in &plan.forward {
            let rows = &kernel[chunk.weight * outputs..][..chunk.offsets.len() * outputs];
            for column in (0..outputs).step_by(PANEL) {
                let width = PANEL.min(outputs - column);
                for row in rows.chunks_exact(outputs) {
                    panels[done..done + width].copy_from_slice(&row[column..column + width]);
                    done += width;
                }
            }
        }
        Ok(Self {
            plan,
            panels,
            bias: bias.to_vec(),
            activation,
        })
    }

    /// Weights of the kernel.
    pub fn kernel_len(&self) -> usize {
        self.panels.len()
    }

    /// Whether so many examples are enough for the other threads of the caller's pool to be called.
    pub fn splits(&self, examples: usize) -> bool {
        self.plan.splits(examples)
    }

    /// `y = activation(x · kernel + bias)` for any number of examples.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward(&self, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
        let outputs = self.plan.outputs;
        self.plan.check(x.len(), self.panels.len(), y.len())?;
        let pieces = tasks(self.plan.work(y.len() / outputs));
        split(
            MatrixMut::new(y, outputs),
            (0, 0),
            pieces,
            &|mut part, at| self.fill(x, &mut part, at),
        );
        if self.activation.bounds().is_none() {
            self.activation.apply(self.plan.level, y);
        }
        Ok(())
    }

    /// Fills a part of the output whose first element is at `(row, column)`, and which begins and ends where panels do.
    fn fill(&self, x: &[f32], part: &mut MatrixMut, (row, column): (usize, usize)) {
        let Dense {
            inputs,
            outputs,
            ref forward,
            level,
            ..
        } = self.plan;
        let bounds = self.activation.bounds();
        let last = forward.len() - 1;
        for (index, chunk) in forward.iter().enumerate() {
            let terms = chunk.offsets.len();
            for from in (0..part.columns()).step_by(PANEL) {
                let width = PANEL.min(part.columns() - from);
                let first = column + from;
                let finish = Finish {
                    bias: Some(&self.bias[first..]),
                    bounds: bounds.unwrap_or(Finish::NONE.bounds),
                };
                // The product passes over the rows of weights of the chunks before.
                let panel = chunk.weight * outputs + first * terms - chunk.weight * width;
                let rows = chunk.weight + terms;
                let product = Product {
                    factor: Factor::Broadcast,
                    x,
                    grid: Grid::line(row * inputs, inputs),
                    rows: (0, part.rows()),
                    chunks: std::slice::from_ref(chunk),
                    weights: Weights {
                        values: &self.panels[panel..][..rows * width],
                        stride: width,
                        column: 0,
                    },
                    start: if index == 0 {
                        Start::Replace
                    } else {
                        Start::Add
                    },
                    finish: if index == last { finish } else { Finish::NONE },
                    windows: None,
                };
                product.run(level, &mut part.columns_mut(from, width));
            }
        }
    }
}
