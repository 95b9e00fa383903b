//! One call: its lines of tiles, task by task and block by block.
use std::marker::PhantomData;

use super::Filter;
use super::lines::Lines;
use super::tiles::{FromTile, ToTile};
use crate::aligned::LINE;
use crate::correlation::{Correlation, Task};
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;

/// Columns of output that are checked, and if need be computed anew, together. Tasks part at multiples of it, so what is
/// computed anew doesn't depend on them.
const COLUMNS: usize = 32;

/// Values of scratch per block of tiles, which should stay in a second-level cache beside the kernel: 256 KiB.
const CACHE: usize = 1 << 16;
/// Values of a kernel that does not stay in such a cache: 1 MiB. It is read anew for each block, so the blocks are as large.
const LARGE: usize = 1 << 18;

/// The direct computation, with its kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Again<'a> {
    pub direct: &'a Correlation,
    pub kernel: &'a [f32],
}

/// What all tasks of one call share. Their lines are lines of tiles.
pub(super) struct Call<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub plan: &'a Filter<M, TAPS, TILE, PATCH>,
    pub level: Level,
    pub x: &'a [f32],
    pub turned: &'a [f32],
    pub finish: Finish<'a>,
    pub again: &'a Again<'a>,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize>
    Call<'_, M, TAPS, TILE, PATCH>
{
    const POSITIONS: usize = PATCH * PATCH;

    pub fn split(&self, task: Task, pieces: usize) {
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
        let kernel = Self::POSITIONS * inputs * columns;
        let room = if kernel > LARGE { LARGE } else { CACHE };
        let fits = room / (Self::POSITIONS * (inputs + columns)) / 8 * 8;
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
