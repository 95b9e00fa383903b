//! Convolution with small square kernels by Winograd's minimal filtering: fewer multiplications.
//!
//! `F(4 × 4, 3 × 3)` and `F(2 × 2, 2 × 2)` of Lavin and Gray (2016): the output falls into tiles; the inputs of each tile
//! (6 × 6, or 3 × 3) and the kernel are transformed to as many positions, multiplied position by position, summed over
//! channels, and transformed back. The sums over channels are matrix products of tiles × input channels × output channels,
//! one for each position. That is a quarter of the multiplications for 3 × 3 weights, and 9 of 16 for 2 × 2.
//!
//! The transforms add and subtract neighbours, so an infinity or NaN would spread over its tile, and large values could
//! overflow. Where a result isn't finite, its line of tiles is computed anew, directly.
mod grad;
mod kernels;
mod lines;
mod tiles;

use std::marker::PhantomData;

use self::kernels::Turn;
use self::lines::{F22, F43, Lines};
use self::tiles::{FromTile, ToTile};
use crate::aligned::{Aligned, LINE};
use crate::conv2d::Padding2d;
use crate::correlation::{Correlation, Task};
use crate::frame::Frame;
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::tasks::tasks;

/// The most positions that a tile has.
const MOST: usize = 36;

/// Columns of output that are checked, and if need be computed anew, together. Tasks part at multiples of it, so what is
/// computed anew doesn't depend on them.
const COLUMNS: usize = 32;

/// Values of scratch per block of tiles, which should stay in a second-level cache beside the kernel: 256 KiB.
const CACHE: usize = 1 << 16;

/// The plan of a convolution, made from that of the direct one.
#[derive(Debug, Clone)]
pub(crate) enum Winograd {
    /// Of a 3 × 3 kernel.
    Three(Filter<F43, 3, 4, 6>),
    /// Of a 2 × 2 kernel.
    Two(Filter<F22, 2, 2, 3>),
}

/// Calls a method of the filter, whichever it is.
macro_rules! filter {
    ($winograd:expr, $filter:ident => $call:expr) => {
        match $winograd {
            Winograd::Three($filter) => $call,
            Winograd::Two($filter) => $call,
        }
    };
}

impl Winograd {
    /// The plan for the same as `direct`, whose kernel and dilation are given, if this is faster.
    pub fn new(
        direct: &Correlation,
        kernel: (usize, usize),
        dilation: (usize, usize),
    ) -> Option<Self> {
        if dilation != (1, 1) {
            return None;
        }
        match kernel {
            // A transform takes as long as some 400 multiplications with their loads, or 60.
            (3, 3) => Filter::new(direct, 400).map(Self::Three),
            (2, 2) => Filter::new(direct, 60).map(Self::Two),
            _ => None,
        }
    }

    /// The kernel, `[taps, taps, input channels, output channels]`, transformed: `[positions, input channels, output channels]`.
    pub fn turn(&self, level: Level, kernel: &[f32]) -> Aligned {
        filter!(self, filter => filter.turn(level, kernel))
    }

    /// Fills `out` from the images in `x`, the transformed kernel and, for what has to be computed directly, the kernel.
    pub fn run(
        &self,
        level: Level,
        x: &[f32],
        turned: &[f32],
        out: &mut [f32],
        finish: Finish,
        again: &Again,
    ) {
        filter!(self, filter => filter.run(level, x, turned, out, finish, again));
    }

    /// How many tasks so many images are.
    pub fn tasks(&self, images: usize) -> usize {
        filter!(self, filter => filter.tasks(images))
    }

    /// Fills `dkernel` from the images in `x` and the gradients of their outputs; answers whether it has. It hasn't if the
    /// batch is too small to be worth it, or if something isn't finite, which may be this method's doing.
    pub fn grad_kernel(&self, level: Level, x: &[f32], dy: &[f32], dkernel: &mut [f32]) -> bool {
        filter!(self, filter => filter.grad_kernel(level, x, dy, dkernel))
    }
}

/// A convolution by the transforms of `M`.
#[derive(Debug, Clone)]
pub(crate) struct Filter<M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    lines: PhantomData<M>,
    input: Frame,
    output: Frame,
    margins: Padding2d,
    /// Lines of tiles in an image, and tiles in a line.
    tiles: (usize, usize),
    chunks: Vec<Chunk>,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize>
    Filter<M, TAPS, TILE, PATCH>
{
    /// Positions of a tile.
    const POSITIONS: usize = PATCH * PATCH;

    /// The plan for the same as `direct`, if this is faster, where a tile's transform takes as long as `transform`
    /// multiplications of a vector.
    fn new(direct: &Correlation, transform: usize) -> Option<Self> {
        let Correlation {
            input,
            output,
            margins,
            groups,
            ..
        } = *direct;
        let strides = direct.phases.first().map(|phase| phase.steps);
        if groups != 1 || direct.phases.len() != 1 || strides != Some((1, 1)) {
            return None;
        }
        let tiles = (output.height.div_ceil(TILE), output.width.div_ceil(TILE));
        // In vectors of 16; the products of few channels take a little more than their number.
        let (inputs, outputs) = (input.channels.div_ceil(16), output.channels.div_ceil(16));
        let products = Self::POSITIONS * input.channels * outputs * 9 / 8;
        let transforms = transform * (inputs + outputs);
        let direct = output.height * output.width * TAPS * TAPS * input.channels * outputs;
        if tiles.0 * tiles.1 * (products + transforms) >= direct {
            return None;
        }
        let margins = Padding2d {
            bottom: tiles.0 * TILE + PATCH - TILE - input.height - margins.top,
            right: tiles.1 * TILE + PATCH - TILE - input.width - margins.left,
            ..margins
        };
        let chunks = Chunk::cut(&Vec::from_iter(0..input.channels), 0);
        Some(Self {
            lines: PhantomData,
            input,
            output,
            margins,
            tiles,
            chunks,
        })
    }

    fn turned_len(&self) -> usize {
        Self::POSITIONS * self.input.channels * self.output.channels
    }

    fn turn(&self, level: Level, kernel: &[f32]) -> Aligned {
        let mut turned = Aligned::zeros(self.turned_len());
        level.run(Turn::<M, TAPS, TILE, PATCH> {
            lines: PhantomData,
            kernel,
            turned: &mut turned,
        });
        turned
    }

    fn run(
        &self,
        level: Level,
        x: &[f32],
        turned: &[f32],
        out: &mut [f32],
        finish: Finish,
        again: &Again,
    ) {
        let images = out.len() / self.output.len();
        let lines = images * self.tiles.0;
        let task = Task {
            lines: (0, lines),
            column: 0,
            out: MatrixMut::new(out, self.output.channels),
        };
        let call = Call {
            plan: self,
            level,
            x,
            turned,
            finish,
            again,
        };
        call.split(task, self.tasks(images));
    }

    /// How many tasks so many images are.
    fn tasks(&self, images: usize) -> usize {
        let tiles = images.saturating_mul(self.tiles.0 * self.tiles.1);
        tasks(tiles.saturating_mul(self.turned_len()))
    }

    /// The first row of output of a line of tiles, counted over the whole batch.
    fn row(&self, line: usize) -> usize {
        line / self.tiles.0 * self.output.height + line % self.tiles.0 * TILE
    }
}

/// The direct computation, with its kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again<'a> {
    pub direct: &'a Correlation,
    pub kernel: &'a [f32],
}

/// What all tasks of one call share. Their lines are lines of tiles.
struct Call<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    plan: &'a Filter<M, TAPS, TILE, PATCH>,
    level: Level,
    x: &'a [f32],
    turned: &'a [f32],
    finish: Finish<'a>,
    again: &'a Again<'a>,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize>
    Call<'_, M, TAPS, TILE, PATCH>
{
    const POSITIONS: usize = PATCH * PATCH;

    fn split(&self, task: Task, pieces: usize) {
        let Task {
            lines: (from, to),
            column,
            out,
        } = task;
        let lines = to - from;
        let half = (out.columns() / 2).next_multiple_of(COLUMNS);
        let (first, second) = if pieces >= 2 && lines >= 2 && lines * self.plan.tiles.1 >= 8 {
            let middle = from + lines / 2;
            let at = (self.plan.row(middle) - self.plan.row(from)) * self.plan.output.width;
            let (first, second) = out.split_rows(at);
            (
                Task {
                    lines: (from, middle),
                    column,
                    out: first,
                },
                Task {
                    lines: (middle, to),
                    column,
                    out: second,
                },
            )
        } else if pieces >= 2 && half < out.columns() {
            let (first, second) = out.split_columns(half);
            (
                Task {
                    lines: (from, to),
                    column,
                    out: first,
                },
                Task {
                    lines: (from, to),
                    column: column + half,
                    out: second,
                },
            )
        } else {
            return self.compute(Task {
                lines: (from, to),
                column,
                out,
            });
        };
        rayon::join(
            || self.split(first, pieces / 2),
            || self.split(second, pieces - pieces / 2),
        );
    }

    fn compute(&self, mut task: Task) {
        let Self { plan, .. } = *self;
        let (inputs, columns) = (plan.input.channels, task.out.columns());
        let total = (task.lines.1 - task.lines.0) * plan.tiles.1;
        let fits = CACHE / (Self::POSITIONS * (inputs + columns)) / 8 * 8;
        let most = fits.clamp(8, 64).min(total.max(1));
        let block = Block {
            positions: Self::POSITIONS,
            most,
            inputs,
            columns,
        };
        let mut spoiled = Vec::new();
        let padding = plan.margins.room(plan.input).next_multiple_of(LINE);
        with_scratch(padding + block.room(), |room| {
            let (room, values) = room.split_at_mut(padding);
            for first in (0..total).step_by(most) {
                self.block(
                    &block,
                    &mut task,
                    (first, total.min(first + most)),
                    room,
                    values,
                    &mut spoiled,
                );
            }
        });
        spoiled.sort_unstable();
        spoiled.dedup();
        for (line, column) in spoiled {
            self.compute_again(&mut task, line, column);
        }
    }

    /// Computes the tiles `from..to` of a task and notes what isn't finite.
    fn block(
        &self,
        block: &Block,
        task: &mut Task,
        (from, to): (usize, usize),
        room: &mut [f32],
        values: &mut [f32],
        spoiled: &mut Vec<(usize, usize)>,
    ) {
        let Self {
            plan,
            level,
            x,
            turned,
            finish,
            ..
        } = *self;
        let (input, output) = (plan.input, plan.output);
        let (patches, sums) = values.split_at_mut(Self::POSITIONS * block.patch_stride());
        let place = |tile: usize| (task.lines.0 + tile / plan.tiles.1, tile % plan.tiles.1);
        let padded_row = plan.margins.around(input).width * input.channels;

        let mut tile = from;
        while tile < to {
            // All tiles of one line at a time, over rows that are padded once.
            let (line, column) = place(tile);
            let here = (plan.tiles.1 - column).min(to - tile);
            let top = line % plan.tiles.0 * TILE;
            let pixels = &x[line / plan.tiles.0 * input.len()..][..input.len()];
            let pixels = plan.margins.pad(pixels, input, (top, top + PATCH), room);
            level.run(ToTile::<M, TAPS, TILE, PATCH> {
                lines: PhantomData,
                pixels: &pixels[column * TILE * input.channels..],
                row: padded_row,
                channels: input.channels,
                tiles: here,
                patches: &mut patches[(tile - from) * input.channels..],
                stride: block.patch_stride(),
            });
            tile += here;
        }

        for position in 0..Self::POSITIONS {
            let kernel = input.channels * output.channels;
            let product = Product {
                factor: Factor::Broadcast,
                x: &patches[position * block.patch_stride()..][..(to - from) * input.channels],
                grid: Grid::line(0, input.channels),
                rows: (0, to - from),
                chunks: &plan.chunks,
                weights: Weights {
                    values: &turned[position * kernel..][..kernel],
                    stride: output.channels,
                    column: task.column,
                },
                start: Start::Replace,
                finish: Finish::NONE,
                windows: None,
            };
            let sums = &mut sums[position * block.sum_stride()..][..(to - from) * block.columns];
            product.run(level, &mut MatrixMut::new(sums, block.columns));
        }

        let base = plan.row(task.lines.0) * output.width;
        for tile in from..to {
            let (line, column) = place(tile);
            let top = line % plan.tiles.0 * TILE;
            let left = column * TILE;
            let first = plan.row(line) * output.width + left - base;
            for from_column in (0..block.columns).step_by(COLUMNS) {
                let columns = COLUMNS.min(block.columns - from_column);
                let finite = level.run(FromTile::<M, TAPS, TILE, PATCH> {
                    lines: PhantomData,
                    sums: &sums[(tile - from) * block.columns + from_column..],
                    stride: block.sum_stride(),
                    out: &mut task.out.columns_mut(from_column, columns),
                    first,
                    row: output.width,
                    size: (TILE.min(output.height - top), TILE.min(output.width - left)),
                    finish: Finish {
                        bias: finish
                            .bias
                            .map(|bias| &bias[task.column + from_column..][..columns]),
                        ..finish
                    },
                });
                if !finite {
                    spoiled.push((line, from_column));
                }
            }
        }
    }

    /// Computes a line of tiles directly, `COLUMNS` columns from `column` of the task on.
    fn compute_again(&self, task: &mut Task, line: usize, column: usize) {
        let (plan, direct) = (self.plan, self.again.direct);
        let row = plan.row(line);
        let rows = TILE.min(plan.output.height - line % plan.tiles.0 * TILE);
        let columns = COLUMNS.min(task.out.columns() - column);
        let first = (row - plan.row(task.lines.0)) * plan.output.width;
        let out = task.out.columns_mut(column, columns).split_rows(first).1;
        let out = out.split_rows(rows * plan.output.width).0;
        let part = Task {
            lines: (row, row + rows),
            column: task.column + column,
            out,
        };
        with_scratch(direct.margins.room(direct.input), |room| {
            direct.compute(
                self.level,
                self.x,
                self.again.kernel,
                part,
                self.finish,
                room,
            );
        });
    }
}

/// Where a block of tiles keeps its values: position by position, tile by tile, channel by channel.
struct Block {
    positions: usize,
    most: usize,
    inputs: usize,
    columns: usize,
}

impl Block {
    /// From one position to the next. The odd vector keeps positions out of each other's way in the cache.
    fn patch_stride(&self) -> usize {
        (self.most * self.inputs).next_multiple_of(LINE) + LINE
    }

    fn sum_stride(&self) -> usize {
        (self.most * self.columns).next_multiple_of(LINE) + LINE
    }

    fn room(&self) -> usize {
        self.positions * (self.patch_stride() + self.sum_stride())
    }
}
