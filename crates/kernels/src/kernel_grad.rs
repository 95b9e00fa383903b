//! The gradient of a convolution's kernel: the products of input and output gradient, summed over pixels and images.
use crate::conv2d::{Conv2dShape, Padding2d};
use crate::correlation::Correlation;
use crate::frame::Frame;
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::sliding_grad::SlidingGrad;
use crate::tasks::tasks;

/// The plan, derived from that of the forward pass.
///
/// The kernel is a matrix whose rows are taps × input channels and whose columns are output channels. As a [`Product`]
/// its rows begin at the taps, its terms are the pixels, and its weights the output gradient.
pub(crate) struct KernelGrad {
    input: Frame,
    margins: Padding2d,
    output: Frame,
    groups: usize,
    /// Rows that lie at two nested steps: all of them if taps touch in memory, or else those of one row of taps.
    strips: Vec<Grid>,
    strip_rows: usize,
    pixels: Chunk,
    /// Pixels from one window to the next, down and across.
    steps: (usize, usize),
    /// Whether the taps are 3 × 3 neighbouring pixels.
    slides: bool,
}

impl KernelGrad {
    pub fn new(shape: &Conv2dShape, forward: &Correlation) -> Self {
        let Correlation {
            input,
            margins,
            output,
            groups,
            ..
        } = *forward;
        let (height, width) = shape.kernel;
        let used = input.channels / groups;
        let row = margins.around(input).width * input.channels;
        let steps = forward.phases[0].steps;
        let (down, across) = (shape.dilation.0 * row, shape.dilation.1 * input.channels);
        let strips = if used == 1 {
            vec![Grid {
                width,
                input: 0,
                input_row: down,
                input_column: across,
                output: 0,
                skipped: 0,
                output_row: width,
                output_column: 1,
            }]
        } else if across == used {
            vec![Grid {
                width: width * used,
                input: 0,
                input_row: down,
                input_column: 1,
                output: 0,
                skipped: 0,
                output_row: width * used,
                output_column: 1,
            }]
        } else {
            let strip = |y| Grid {
                width: used,
                input: y * down,
                input_row: across,
                input_column: 1,
                output: y * width * used,
                skipped: 0,
                output_row: used,
                output_column: 1,
            };
            (0..height).map(strip).collect()
        };
        let strip_rows = height * width * used / strips.len();
        let pixel = |y, x| y * steps.0 * row + x * steps.1 * input.channels;
        let pixels = (0..output.height).flat_map(|y| (0..output.width).map(move |x| pixel(y, x)));
        let pixels = Chunk::new(pixels.collect(), 0);
        Self {
            input,
            margins,
            output,
            groups,
            strips,
            strip_rows,
            pixels,
            steps,
            slides: shape.kernel == (3, 3) && shape.dilation == (1, 1),
        }
    }

    fn rows(&self) -> usize {
        self.strips.len() * self.strip_rows
    }

    /// Adds what these images give to `dkernel`.
    pub fn add(&self, level: Level, x: &[f32], dy: &[f32], dkernel: &mut [f32]) {
        let job = Job {
            plan: self,
            level,
            x,
            dy,
        };
        let out = MatrixMut::new(dkernel, self.output.channels);
        job.split(0, out, tasks(dy.len().saturating_mul(self.rows())));
    }
}

/// One call's work.
#[derive(Clone, Copy)]
struct Job<'a> {
    plan: &'a KernelGrad,
    level: Level,
    x: &'a [f32],
    dy: &'a [f32],
}

impl Job<'_> {
    /// Adds to rows from `first` on.
    fn split(&self, first: usize, out: MatrixMut, pieces: usize) {
        // A tile's worth of rows isn't worth splitting: every task walks its images anew.
        const FEW: usize = 8;
        if pieces < 2 || out.rows() <= FEW {
            return with_scratch(self.plan.margins.room(self.plan.input), |room| {
                self.compute(first, out, room);
            });
        }
        let at = (out.rows() / 2).next_multiple_of(FEW).min(out.rows());
        let (top, bottom) = out.split_rows(at);
        rayon::join(
            || self.split(first, top, pieces / 2),
            || self.split(first + at, bottom, pieces - pieces / 2),
        );
    }
}

impl Job<'_> {
    /// Adds to a task's rows; `room` is for padding an image.
    fn compute(&self, first: usize, mut out: MatrixMut, room: &mut [f32]) {
        let Self { plan, level, x, dy } = *self;
        // A depthwise convolution is one group whose columns each have their own input.
        let lanes = plan.groups > 1
            && plan.groups == plan.input.channels
            && plan.groups == plan.output.channels;
        let (factor, groups) = if lanes {
            (Factor::Lanes, 1)
        } else {
            (Factor::Broadcast, plan.groups)
        };
        let (inputs, outputs) = (plan.input.channels / groups, plan.output.channels / groups);
        let end = first + out.rows();
        let padded = plan.margins.around(plan.input);
        let images = x.chunks_exact(plan.input.len());
        for (pixels, values) in images.zip(dy.chunks_exact(plan.output.len())) {
            let pixels = plan
                .margins
                .pad(pixels, plan.input, (0, padded.height), room);
            if lanes && plan.slides && (first, end) == (0, plan.rows()) {
                let slid = level.run(SlidingGrad {
                    pixels,
                    row: padded.width * padded.channels,
                    steps: plan.steps,
                    dy: values,
                    output: plan.output,
                    out: &mut out,
                });
                if slid {
                    continue;
                }
            }
            for group in 0..groups {
                let column = group * outputs;
                let mut out = out.columns_mut(column, outputs);
                for (index, strip) in plan.strips.iter().enumerate() {
                    let base = index * plan.strip_rows;
                    let (low, high) = (first.max(base), end.min(base + plan.strip_rows));
                    if low >= high {
                        continue;
                    }
                    let product = Product {
                        factor,
                        x: &pixels[group * inputs..],
                        grid: Grid {
                            skipped: first,
                            ..*strip
                        },
                        rows: (low - base, high - base),
                        chunks: std::slice::from_ref(&plan.pixels),
                        weights: Weights {
                            values,
                            stride: plan.output.channels,
                            column,
                        },
                        start: Start::Add,
                        finish: Finish::NONE,
                        windows: None,
                    };
                    product.run(level, &mut out);
                }
            }
        }
    }
}
