//! Depthwise convolution of few channels: the vectors are filled with the values of neighbouring pixels.
//!
//! A line of output is the sum, over the taps, of lines of input that begin at the tap, each value times the weight of its
//! channel. So the line is the row of a product and its values are the columns, whose weights repeat from pixel to pixel.
//! With a horizontal stride `s` the columns of the input are first put apart into `s` runs, of which the first holds every
//! `s`-th column from the first one on, and so forth: the values under a tap then follow each other too.
use crate::aligned::Aligned;
use crate::conv2d::Padding2d;
use crate::correlation::{Correlation, RESULT};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::level::{Level, WIDEST};
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::tasks::tasks;
use crate::window::{Axis, Tap};

/// The plan, made from that of the direct method.
#[derive(Debug, Clone)]
pub(crate) struct Narrow {
    input: Frame,
    margins: Padding2d,
    output: Frame,
    /// Lines and columns of input from one of output to the next.
    steps: (usize, usize),
    /// Lines of padded input under a window.
    tall: usize,
    /// Values of a run.
    run: usize,
    chunks: Vec<Chunk>,
    /// After so many columns the weights repeat, at a whole number of vectors.
    period: usize,
    terms: usize,
}

/// Whole vectors, as many as a tile has side by side; so many pixels are vectors of any number of channels.
const VECTORS: usize = 2 * WIDEST;

/// The longest period.
const PERIOD: usize = VECTORS * (WIDEST - 1);

/// Values that the repeated kernel may have: 256 KiB.
const KERNEL: usize = 1 << 16;

/// Values of padded input that are copied at a time, about: 16 KiB, half of a first-level cache.
const BAND: usize = 1 << 12;

/// Lines that a tile has.
const LINES: usize = 8;

impl Narrow {
    /// The plan for the same as `direct`, whose window moves along `axes`, if this is faster.
    pub fn new(
        direct: &Correlation,
        taps: &[Tap],
        (height, width): (&Axis, &Axis),
    ) -> Option<Self> {
        let Correlation {
            input,
            margins,
            output,
            groups,
            terms,
            ..
        } = *direct;
        let channels = input.channels;
        // Where a pixel fills a vector there is nothing to gain.
        let depthwise = groups == channels && output.channels == channels;
        let period = VECTORS * channels;
        if !depthwise || channels >= WIDEST || output.width == 1 || taps.len() * period > KERNEL {
            return None;
        }
        let run = width.padded.div_ceil(width.stride) * channels;
        let row = run * width.stride;
        let offset = |tap: &Tap| {
            let (run_of, column) = (tap.x % width.stride, tap.x / width.stride);
            tap.y * row + run_of * run + column * channels
        };
        Some(Self {
            input,
            margins,
            output,
            steps: (height.stride, width.stride),
            tall: height.span,
            run,
            chunks: Chunk::cut(&Vec::from_iter(taps.iter().map(offset)), 0),
            period,
            terms,
        })
    }

    /// The kernel, `[taps, channels]`, repeated to `[taps, period]`.
    pub fn turn(&self, kernel: &[f32]) -> Aligned {
        let taps = kernel.len() / self.input.channels;
        let mut turned = Aligned::zeros(taps * self.period);
        let rows = turned.chunks_exact_mut(self.period);
        for (to, weights) in rows.zip(kernel.chunks_exact(self.input.channels)) {
            repeat(weights, to);
        }
        turned
    }

    /// How many multiplications so many images are worth.
    pub fn work(&self, images: usize) -> usize {
        let results = images.saturating_mul(self.output.len());
        results.saturating_mul(self.terms + RESULT) / self.lanes()
    }

    /// How many pixels share a vector.
    fn lanes(&self) -> usize {
        (WIDEST / self.input.channels).min(self.output.width)
    }

    /// Fills `out` from the images in `x` and the repeated kernel.
    pub fn run(&self, level: Level, x: &[f32], turned: &[f32], out: &mut [f32], finish: Finish) {
        let images = x.len() / self.input.len();
        let mut bias = [0.0; PERIOD];
        let bias = &mut bias[..self.period];
        if let Some(values) = finish.bias {
            repeat(values, bias);
        }
        let job = Job {
            plan: self,
            level,
            x,
            turned,
            finish: Finish {
                bias: Some(bias),
                ..finish
            },
        };
        let lines = MatrixMut::new(out, self.output.width * self.output.channels);
        job.split(0, lines, tasks(self.work(images)));
    }

    /// Values of a line of padded input.
    fn row(&self) -> usize {
        self.run * self.steps.1
    }

    /// Whether the input is copied, to be padded or put apart.
    fn copies(&self) -> bool {
        self.margins != Padding2d::default() || self.steps.1 > 1
    }

    /// How many lines of output to compute at a time.
    fn band(&self) -> usize {
        if self.copies() {
            (BAND / (self.row() * self.steps.0))
                .next_multiple_of(LINES)
                .max(LINES)
        } else {
            self.output.height
        }
    }

    /// How much room copies of the input need. The last vector of the last line is read whole.
    fn room(&self) -> usize {
        if self.copies() {
            (self.band().min(self.output.height) * self.steps.0 + self.tall) * self.row()
                + self.period
        } else {
            0
        }
    }

    /// Copies lines `from..` of an image and its padding to `to`, their columns put apart.
    fn lay(&self, image: &[f32], from: usize, to: &mut [f32]) {
        let Padding2d { top, left, .. } = self.margins;
        let Frame {
            height,
            width,
            channels,
        } = self.input;
        for (line, to) in to.chunks_exact_mut(self.row()).enumerate() {
            let Some(y) = (from + line).checked_sub(top).filter(|&y| y < height) else {
                to.fill(0.0);
                continue;
            };
            let pixels = &image[y * width * channels..][..width * channels];
            for (run, to) in to.chunks_exact_mut(self.run).enumerate() {
                // The first column of the run that isn't padding, and which one of the image it is.
                let before = left.saturating_sub(run).div_ceil(self.steps.1);
                let first = before * self.steps.1 + run - left;
                let count = width.saturating_sub(first).div_ceil(self.steps.1);
                let (zeros, to) = to.split_at_mut(before * channels);
                let (to, after) = to.split_at_mut(count * channels);
                zeros.fill(0.0);
                after.fill(0.0);
                let pixels = pixels.get(first * channels..).unwrap_or_default();
                match (self.steps.1, channels) {
                    (1, _) => to.copy_from_slice(pixels),
                    (2, 1) => halve::<1>(pixels, to),
                    (2, 2) => halve::<2>(pixels, to),
                    (2, 3) => halve::<3>(pixels, to),
                    (2, 4) => halve::<4>(pixels, to),
                    _ => {
                        let pixels = pixels.chunks(channels).step_by(self.steps.1);
                        for (to, pixel) in to.chunks_exact_mut(channels).zip(pixels) {
                            to.copy_from_slice(pixel);
                        }
                    }
                }
            }
        }
    }
}

/// Copies every second pixel of `CHANNELS` values: eight at a time, so that the compiler knows where all of them are.
fn halve<const CHANNELS: usize>(pixels: &[f32], to: &mut [f32]) {
    let (to, _) = to.as_chunks_mut::<CHANNELS>();
    let (pixels, _) = pixels.as_chunks::<CHANNELS>();
    let (eights, _) = to.as_chunks_mut::<8>();
    let (sixteens, _) = pixels.as_chunks::<16>();
    for (to, pixels) in eights.iter_mut().zip(sixteens) {
        for (index, to) in to.iter_mut().enumerate() {
            *to = pixels[2 * index];
        }
    }
    let copied = 8 * (to.len() / 8).min(pixels.len() / 16);
    for (to, pixels) in to[copied..].iter_mut().zip(pixels[2 * copied..].chunks(2)) {
        *to = pixels[0];
    }
}

/// Fills `to` with `values` again and again.
fn repeat(values: &[f32], to: &mut [f32]) {
    for to in to.chunks_exact_mut(values.len()) {
        to.copy_from_slice(values);
    }
}

/// One call's work: lines of output, counted over the whole batch.
#[derive(Clone, Copy)]
struct Job<'a> {
    plan: &'a Narrow,
    level: Level,
    x: &'a [f32],
    turned: &'a [f32],
    finish: Finish<'a>,
}

impl Job<'_> {
    /// Fills lines from `first` on.
    fn split(&self, first: usize, out: MatrixMut, pieces: usize) {
        if pieces < 2 || out.rows() < 2 {
            return with_scratch(self.plan.room(), |room| self.compute(first, out, room));
        }
        let half = out.rows() / 2;
        let (top, bottom) = out.split_rows(half);
        rayon::join(
            || self.split(first, top, pieces / 2),
            || self.split(first + half, bottom, pieces - pieces / 2),
        );
    }

    fn compute(&self, first: usize, mut out: MatrixMut, room: &mut [f32]) {
        let Self {
            plan,
            level,
            x,
            turned,
            finish,
        } = *self;
        let mut done = 0;
        while done < out.rows() {
            let (image, line) = (
                (first + done) / plan.output.height,
                (first + done) % plan.output.height,
            );
            let lines = plan
                .band()
                .min(plan.output.height - line)
                .min(out.rows() - done);
            let needed = (lines - 1) * plan.steps.0 + plan.tall;
            let (x, from_line) = (&x[image * plan.input.len()..], line * plan.steps.0);
            let x = if plan.copies() {
                let room = &mut *room;
                plan.lay(x, from_line, &mut room[..needed * plan.row()]);
                room
            } else {
                &x[from_line * plan.row()..]
            };
            for from in (0..out.columns()).step_by(plan.period) {
                let columns = plan.period.min(out.columns() - from);
                let product = Product {
                    factor: Factor::Lanes,
                    x: &x[from..],
                    grid: Grid {
                        output: done,
                        ..Grid::line(0, plan.steps.0 * plan.row())
                    },
                    rows: (0, lines),
                    chunks: &plan.chunks,
                    weights: Weights {
                        values: turned,
                        stride: plan.period,
                        column: 0,
                    },
                    start: Start::Replace,
                    finish: Finish {
                        bias: finish.bias.map(|bias| &bias[..columns]),
                        ..finish
                    },
                    windows: None,
                };
                product.run(level, &mut out.columns_mut(from, columns));
            }
            done += lines;
        }
    }
}
