//! A window moved over a padded image, its products summed over channels: what a convolution is, and the gradient of its
//! input too.
use crate::conv2d::Padding2d;
use crate::frame::Frame;
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::sliding::Sliding;
use crate::tasks::tasks;

/// Output pixels, at equal steps in each direction, that the same taps of the window fall on.
///
/// A convolution has one phase. The gradient of the input of a convolution with stride `s` has `s` in each direction.
#[derive(Debug, Clone)]
pub(crate) struct Phase {
    /// First output row, the step between rows, and how many there are; then the same for columns.
    pub rows: (usize, usize, usize),
    pub columns: (usize, usize, usize),
    /// Row and column of the padded input under the window's first tap at the first output pixel.
    pub first: (usize, usize),
    /// Steps in the padded input from one output row or column to the next.
    pub steps: (usize, usize),
    /// Rows of the padded input that the taps span.
    pub tall: usize,
    pub chunks: Vec<Chunk>,
}

/// The plan: from images of one size to images of another.
#[derive(Debug, Clone)]
pub(crate) struct Correlation {
    pub input: Frame,
    pub margins: Padding2d,
    pub output: Frame,
    /// Zeros that are written around each image of the output, for who pads it next.
    pub border: Padding2d,
    /// Whether an output pixel is the largest of the results of four windows: one, the next in its line, and those below.
    pub pooled: bool,
    /// Input and output channels fall into so many groups, each computed from its own.
    pub groups: usize,
    pub phases: Vec<Phase>,
    /// Products to compute for one output pixel, for judging how finely to split the work.
    pub terms: usize,
}

/// Values of padded input that are copied at a time, about: 128 KiB.
const BAND: usize = 1 << 15;

/// A result that is begun and written takes as long as so many products.
pub(crate) const RESULT: usize = 16;

/// Lines of output, counted over the whole batch, and a range of their channels.
pub(crate) struct Task<'a> {
    pub lines: (usize, usize),
    pub column: usize,
    pub out: MatrixMut<'a>,
}

impl Correlation {
    /// Fills `out` from the images in `x` and `weights`, whose rows are the chunks' and whose columns are the output's
    /// channels.
    pub fn run(&self, level: Level, x: &[f32], weights: &[f32], out: &mut [f32], finish: Finish) {
        let lines = out.len() / self.bordered().len() * self.output.height;
        let task = Task {
            lines: (0, lines),
            column: 0,
            out: MatrixMut::new(out, self.output.channels),
        };
        self.split(
            level,
            x,
            weights,
            task,
            finish,
            tasks(self.work(lines / self.output.height)),
        );
    }

    fn split(
        &self,
        level: Level,
        x: &[f32],
        weights: &[f32],
        task: Task,
        finish: Finish,
        pieces: usize,
    ) {
        let Task {
            lines: (from, to),
            column,
            out,
        } = task;
        let (height, width) = (self.output.height, self.output.width);
        let lines = to - from;
        // Between images where there are several; then between rows while the parts keep their tiles of pixels full; and
        // between channels only where an image is that small.
        let images = lines / height;
        let at = if images >= 2 {
            images / 2 * height
        } else if self.phases.len() == 1 && lines >= 2 && lines * width >= 48 {
            lines / 2
        } else {
            0
        };
        let half = (out.columns() / 2).next_multiple_of(32);
        let ((first_lines, first_column, first), (second_lines, second_column, second)) =
            if pieces >= 2 && at > 0 {
                let (first, second) = out.split_rows(self.row(from + at) - self.row(from));
                (
                    ((from, from + at), column, first),
                    ((from + at, to), column, second),
                )
            } else if pieces >= 2 && self.groups == 1 && half < out.columns() {
                let (first, second) = out.split_columns(half);
                (
                    ((from, to), column, first),
                    ((from, to), column + half, second),
                )
            } else {
                let task = Task {
                    lines: (from, to),
                    column,
                    out,
                };
                return with_scratch(self.margins.room(self.input), |room| {
                    self.compute(level, x, weights, task, finish, room);
                });
            };
        let first = Task {
            lines: first_lines,
            column: first_column,
            out: first,
        };
        let second = Task {
            lines: second_lines,
            column: second_column,
            out: second,
        };
        rayon::join(
            || self.split(level, x, weights, first, finish, pieces / 2),
            || self.split(level, x, weights, second, finish, pieces - pieces / 2),
        );
    }
}

impl Correlation {
    /// Computes one task; `room` is for padding an image.
    pub fn compute(
        &self,
        level: Level,
        x: &[f32],
        weights: &[f32],
        mut task: Task,
        finish: Finish,
        room: &mut [f32],
    ) {
        let (input, output) = (self.input, self.output);
        let row = self.margins.around(input).width * input.channels;
        let wide = self.bordered().width;
        let (from, to) = task.lines;
        let band = self.band((to - from).min(output.height));
        let mut line = from;
        while line < to {
            let image = line / output.height;
            let begin = line % output.height;
            let end = (begin + to - line).min(output.height).min(begin + band);
            let start = self.row(from);
            self.clear_border(image, (begin, end), start, &mut task.out);
            let base = self.pixel(image, begin) - start;

            let needed = self
                .phases
                .iter()
                .filter_map(|phase| phase.input_rows(phase.within(begin, end)));
            let needed = needed
                .reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
                .unwrap_or((0, 0));
            let pixels = &x[image * input.len()..(image + 1) * input.len()];
            let pixels = self.margins.pad(pixels, input, needed, room);
            for phase in &self.phases {
                let (low, high) = phase.within(begin, end);
                if low == high {
                    continue;
                }
                let ((first, step, _), (left, across, count)) = (phase.rows, phase.columns);
                let grid = Grid {
                    width: count,
                    input: (phase.first.0 + low * phase.steps.0 - needed.0) * row
                        + phase.first.1 * input.channels,
                    input_row: phase.steps.0 * row,
                    input_column: phase.steps.1 * input.channels,
                    output: base + (first + low * step - begin) * wide + left,
                    skipped: 0,
                    output_row: step * wide,
                    output_column: across,
                };
                let product = Product {
                    factor: Factor::Broadcast,
                    x: pixels,
                    grid,
                    rows: (0, (high - low) * count),
                    chunks: &phase.chunks,
                    weights: Weights {
                        values: weights,
                        stride: output.channels,
                        column: task.column,
                    },
                    start: Start::Replace,
                    finish,
                    windows: self.pooled.then(|| {
                        let (down, across) = (grid.input_row / 2, grid.input_column / 2);
                        [0, across, down, down + across]
                    }),
                };
                self.run_groups(level, product, &mut task.out);
            }
            line += end - begin;
        }
    }

    /// How many multiplications so many images are worth.
    pub fn work(&self, images: usize) -> usize {
        let results = images.saturating_mul(self.output.len());
        results.saturating_mul(self.terms + RESULT)
    }

    /// An image of output with the zeros around it.
    pub fn bordered(&self) -> Frame {
        self.border.around(self.output)
    }

    /// The first row of the output that belongs to a line and those after it, zeros included. Lines are counted over the
    /// whole batch.
    fn row(&self, line: usize) -> usize {
        let (image, line) = (line / self.output.height, line % self.output.height);
        let first = self.pixel(image, line) - self.border.left;
        first
            - if line == 0 {
                self.border.top * self.bordered().width
            } else {
                0
            }
    }

    /// The row of the output that is the first pixel of a line of an image.
    fn pixel(&self, image: usize, line: usize) -> usize {
        let placed = self.bordered();
        (image * placed.height + self.border.top + line) * placed.width + self.border.left
    }

    /// Writes the zeros around lines `begin..end` of an image, where `out` begins with row `base`.
    fn clear_border(
        &self,
        image: usize,
        (begin, end): (usize, usize),
        base: usize,
        out: &mut MatrixMut,
    ) {
        let Padding2d {
            top,
            bottom,
            left,
            right,
        } = self.border;
        let (height, width, wide) = (self.output.height, self.output.width, self.bordered().width);
        let mut clear = |from: usize, to: usize| {
            for row in from - base..to - base {
                out.row(row).fill(0.0);
            }
        };
        if begin == 0 {
            let first = self.pixel(image, 0) - left;
            clear(first - top * wide, first);
        }
        for line in begin..end {
            let first = self.pixel(image, line);
            clear(first - left, first);
            clear(first + width, first + width + right);
        }
        if end == height {
            let last = self.pixel(image, height) - left;
            clear(last, last + bottom * wide);
        }
    }

    /// How many of `lines` of output to compute at a time, so that the copies of their input stay in the cache.
    fn band(&self, lines: usize) -> usize {
        if self.margins == Padding2d::default() || self.phases.len() > 1 {
            return self.output.height;
        }
        let padded = self.margins.around(self.input);
        let row = padded.width * padded.channels * self.phases[0].steps.0;
        lines.div_ceil((lines * row).div_ceil(BAND).max(1)).max(1)
    }

    /// Runs `product`, which is that of the first group, for all of them.
    fn run_groups(&self, level: Level, product: Product, out: &mut MatrixMut) {
        let Product {
            x, weights, finish, ..
        } = product;
        let (inputs, outputs) = (
            self.input.channels / self.groups,
            self.output.channels / self.groups,
        );
        if self.groups == 1 {
            let bias = finish.bias.map(|bias| &bias[weights.column..]);
            return Product {
                finish: Finish { bias, ..finish },
                ..product
            }
            .run(level, out);
        }
        if inputs == 1 && outputs == 1 {
            let product = Product {
                factor: Factor::Lanes,
                ..product
            };
            let slid = product.grid.output_column == 1
                && level.run(Sliding {
                    product: &product,
                    out,
                    channels: self.input.channels,
                });
            if !slid {
                product.run(level, out);
            }
            return;
        }
        for group in 0..self.groups {
            let column = group * outputs;
            let bias = finish.bias.map(|bias| &bias[column..]);
            let product = Product {
                x: &x[group * inputs..],
                weights: Weights { column, ..weights },
                finish: Finish { bias, ..finish },
                ..product
            };
            product.run(level, &mut out.columns_mut(column, outputs));
        }
    }
}

impl Phase {
    /// Which of the phase's rows fall on output rows `begin..end`.
    fn within(&self, begin: usize, end: usize) -> (usize, usize) {
        let (first, step, count) = self.rows;
        let before = |row: usize| row.saturating_sub(first).div_ceil(step).min(count);
        (before(begin), before(end))
    }

    /// The rows of the padded input that the phase's rows `low..high` are computed from.
    fn input_rows(&self, (low, high): (usize, usize)) -> Option<(usize, usize)> {
        let last = high.checked_sub(1).filter(|_| low < high)?;
        Some((
            self.first.0 + low * self.steps.0,
            self.first.0 + last * self.steps.0 + self.tall,
        ))
    }
}
