//! The gradient of a kernel by Winograd's method: the forward computation, differentiated step by step.
//!
//! The transforms are linear, so their gradients are their transposes: the output's gradient goes to positions, its products
//! with the transformed inputs are summed over tiles, and the sums go back to weights.
use std::marker::PhantomData;

use super::Filter;
use super::kernels::{GradToTile, TurnBack};
use super::lines::Lines;
use super::tiles::ToTile;
use crate::grid::Grid;
use crate::level::Level;
use crate::matrix::MatrixMut;
use crate::product::{Chunk, Factor, Finish, Product, Start, Weights};
use crate::scratch::with_scratch;
use crate::tasks::{parts_mut, threads};

/// Tiles that a batch must have for the transforms of the kernel's gradient to be worth their while.
const FEWEST: usize = 16;

/// Tiles whose values lie together, and are summed in one go.
const CHUNK: usize = 32;

/// Values of transformed inputs and gradients that are held at a time for each thread, at least: 512 KiB, which stay in a
/// second-level cache; and at most, where the sums that they join are many: 8 MiB.
const HELD: (usize, usize) = (1 << 17, 1 << 21);

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize>
    Filter<M, TAPS, TILE, PATCH>
{
    /// Whether the transforms are worth their while for so many images.
    pub(super) fn sums_kernels(&self, images: usize) -> bool {
        images.saturating_mul(self.tiles.0 * self.tiles.1) >= FEWEST
    }

    /// Adds what these images give to the `sums` that the kernel's gradient is told from.
    pub(super) fn add_sums(&self, level: Level, x: &[f32], dy: &[f32], sums: &mut [f32]) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let tiles = x.len() / self.input.len() * self.tiles.0 * self.tiles.1;
        let chunk = Self::POSITIONS * CHUNK * (inputs + outputs);
        let held = (2 * sums.len()).clamp(HELD.0, HELD.1);
        let chunks = (held / chunk).max(1) * threads();
        let chunks = chunks.min(tiles.div_ceil(CHUNK));
        with_scratch(chunks * chunk, |values| {
            for first in (0..tiles).step_by(chunks * CHUNK) {
                let count = (tiles - first).min(chunks * CHUNK);
                let values = &mut values[..count.div_ceil(CHUNK) * chunk];
                parts_mut(values, chunk, |index, values| {
                    let from = first + index * CHUNK;
                    self.transform(level, x, dy, (from, tiles.min(from + CHUNK)), values);
                });
                let values = &*values;
                parts_mut(sums, inputs * outputs, |position, sums| {
                    for (index, values) in values.chunks_exact(chunk).enumerate() {
                        let tiles = CHUNK.min(count - index * CHUNK);
                        self.add_products(level, position, values, tiles, sums);
                    }
                });
            }
        });
    }

    /// Fills `dkernel` from the sums; answers whether all of it is finite.
    pub(super) fn turn_back(&self, level: Level, sums: &[f32], dkernel: &mut [f32]) -> bool {
        level.run(TurnBack::<M, TAPS, TILE, PATCH> {
            lines: PhantomData,
            turned: sums,
            kernel: dkernel,
        })
    }

    /// Transforms the inputs and the output gradients of tiles `from..to`.
    fn transform(
        &self,
        level: Level,
        x: &[f32],
        dy: &[f32],
        (from, to): (usize, usize),
        values: &mut [f32],
    ) {
        let (input, output) = (self.input, self.output);
        let (patches, grads) = values.split_at_mut(Self::POSITIONS * CHUNK * input.channels);
        let row = self.margins.around(input).width * input.channels;
        with_scratch(self.margins.room(input), |room| {
            let mut tile = from;
            while tile < to {
                let (line, column) = (tile / self.tiles.1, tile % self.tiles.1);
                let here = (self.tiles.1 - column).min(to - tile);
                let (image, top) = (line / self.tiles.0, line % self.tiles.0 * TILE);
                let pixels = &x[image * input.len()..][..input.len()];
                let pixels = self.margins.pad(pixels, input, (top, top + PATCH), room);
                level.run(ToTile::<M, TAPS, TILE, PATCH> {
                    lines: PhantomData,
                    pixels: &pixels[column * TILE * input.channels..],
                    row,
                    channels: input.channels,
                    tiles: here,
                    patches: &mut patches[(tile - from) * input.channels..],
                    stride: CHUNK * input.channels,
                });
                for place in 0..here {
                    let left = (column + place) * TILE;
                    let pixel = (image * output.height + top) * output.width + left;
                    level.run(GradToTile::<M, TAPS, TILE, PATCH> {
                        lines: PhantomData,
                        pixels: &dy[pixel * output.channels..],
                        row: output.width * output.channels,
                        channels: output.channels,
                        size: (TILE.min(output.height - top), TILE.min(output.width - left)),
                        positions: &mut grads[(tile + place - from) * output.channels..],
                        stride: CHUNK * output.channels,
                    });
                }
                tile += here;
            }
        });
    }

    /// Adds the products of a chunk's inputs and gradients at one position, summed over its tiles.
    fn add_products(
        &self,
        level: Level,
        position: usize,
        values: &[f32],
        tiles: usize,
        sums: &mut [f32],
    ) {
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        let (patches, grads) = values.split_at(Self::POSITIONS * CHUNK * inputs);
        let chunk = Chunk::new(Vec::from_iter((0..tiles).map(|tile| tile * inputs)), 0);
        let product = Product {
            factor: Factor::Broadcast,
            x: &patches[position * CHUNK * inputs..][..tiles * inputs],
            grid: Grid::line(0, 1),
            rows: (0, inputs),
            chunks: std::slice::from_ref(&chunk),
            weights: Weights {
                values: &grads[position * CHUNK * outputs..][..tiles * outputs],
                stride: outputs,
                column: 0,
            },
            start: Start::Add,
            finish: Finish::NONE,
            windows: None,
        };
        product.run(level, &mut MatrixMut::new(sums, outputs));
    }
}
