//! The transforms of tiles, of vectors of channels: inputs to positions, and positions to outputs.
// Loops over the registers of a tile read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::MOST;
use super::lines::Lines;
use crate::level::{WIDEST, at_least, at_most, load, store};
use crate::matrix::MatrixMut;
use crate::product::Finish;

/// Transforms the inputs of tiles that follow each other in a line.
pub(super) struct ToTile<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub lines: PhantomData<M>,
    /// From the first tile's first pixel on.
    pub pixels: &'a [f32],
    /// From one row of pixels to the next.
    pub row: usize,
    pub channels: usize,
    pub tiles: usize,
    /// From the first tile's first position on.
    pub patches: &'a mut [f32],
    /// From one position to the next.
    pub stride: usize,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize> WithSimd
    for ToTile<'_, M, TAPS, TILE, PATCH>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            pixels,
            row,
            channels,
            tiles,
            patches,
            stride,
            ..
        } = self;
        let lanes = S::F32_LANES;
        let rest = channels % lanes;
        for tile in 0..tiles {
            let (pixels, patches) = (
                &pixels[tile * TILE * channels..],
                &mut patches[tile * channels..],
            );
            for from in (0..channels - rest).step_by(lanes) {
                patch_to_positions::<S, M, TAPS, TILE, PATCH>(
                    simd,
                    &pixels[from..],
                    (row, channels),
                    &mut patches[from..],
                    stride,
                );
            }
            if rest > 0 {
                let from = channels - rest;
                let (mut input, mut output) = ([0.0; MOST * WIDEST], [0.0; MOST * WIDEST]);
                for (position, input) in input
                    .chunks_exact_mut(lanes)
                    .take(PATCH * PATCH)
                    .enumerate()
                {
                    let at = position / PATCH * row + position % PATCH * channels + from;
                    input[..rest].copy_from_slice(&pixels[at..at + rest]);
                }
                patch_to_positions::<S, M, TAPS, TILE, PATCH>(
                    simd,
                    &input,
                    (PATCH * lanes, lanes),
                    &mut output,
                    lanes,
                );
                for (position, output) in output.chunks_exact(lanes).take(PATCH * PATCH).enumerate()
                {
                    patches[position * stride + from..][..rest].copy_from_slice(&output[..rest]);
                }
            }
        }
    }
}

/// Transforms a vector of channels of a patch of pixels, from one row and pixel to the next `down` and `across`.
#[inline(always)]
fn patch_to_positions<
    S: Simd,
    M: Lines<TAPS, TILE, PATCH>,
    const TAPS: usize,
    const TILE: usize,
    const PATCH: usize,
>(
    simd: S,
    pixels: &[f32],
    (down, across): (usize, usize),
    positions: &mut [f32],
    stride: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let (pixel, position) = (pixels.as_ptr(), positions.as_mut_ptr());
    assert!((PATCH - 1) * (down + across) + S::F32_LANES <= pixels.len());
    assert!((PATCH * PATCH - 1) * stride + S::F32_LANES <= positions.len());
    let mut lines = [[zero; PATCH]; PATCH];
    for x in 0..PATCH {
        let mut column = [zero; PATCH];
        for y in 0..PATCH {
            // SAFETY: the first assertion is for the last of these.
            column[y] = unsafe {
                pixel
                    .add(y * down + x * across)
                    .cast::<S::f32s>()
                    .read_unaligned()
            };
        }
        column = M::to_positions(simd, column);
        for y in 0..PATCH {
            lines[y][x] = column[y];
        }
    }
    for y in 0..PATCH {
        let line = M::to_positions(simd, lines[y]);
        for x in 0..PATCH {
            // SAFETY: the second assertion is for the last of these.
            unsafe {
                position
                    .add((y * PATCH + x) * stride)
                    .cast::<S::f32s>()
                    .write_unaligned(line[x])
            };
        }
    }
}

/// Transforms a tile's sums back to pixels; answers whether all are finite.
pub(super) struct FromTile<'a, 'b, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub lines: PhantomData<M>,
    /// From the tile's first position on.
    pub sums: &'a [f32],
    /// From one position to the next.
    pub stride: usize,
    pub out: &'a mut MatrixMut<'b>,
    /// The row of `out` that the tile's first pixel is, and how many are to the pixel below.
    pub first: usize,
    pub row: usize,
    /// Rows and columns of the tile that are in the image.
    pub size: (usize, usize),
    pub finish: Finish<'a>,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize> WithSimd
    for FromTile<'_, '_, M, TAPS, TILE, PATCH>
{
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Self {
            sums,
            stride,
            out,
            first,
            row,
            size,
            finish,
            ..
        } = self;
        let (lanes, channels) = (S::F32_LANES, out.columns());
        let rest = channels % lanes;
        let zero = simd.splat_f32s(0.0);
        // Zero times a number that isn't finite is NaN, and stays so.
        let mut check = zero;
        for from in (0..channels - rest).step_by(lanes) {
            let bias = finish
                .bias
                .map_or(zero, |bias| load(simd, &bias[from..][..lanes]));
            let mut tile =
                tile_from_positions::<S, M, TAPS, TILE, PATCH>(simd, &sums[from..], stride);
            finish_tile(simd, &mut tile, &mut check, bias, finish.bounds);
            for y in 0..TILE {
                for x in 0..TILE {
                    if y < size.0 && x < size.1 {
                        store(
                            simd,
                            &mut out.row(first + y * row + x)[from..][..lanes],
                            tile[y][x],
                        );
                    }
                }
            }
        }
        if rest > 0 {
            let from = channels - rest;
            let mut input = [0.0; MOST * WIDEST];
            for (position, input) in input
                .chunks_exact_mut(lanes)
                .take(PATCH * PATCH)
                .enumerate()
            {
                input[..rest].copy_from_slice(&sums[position * stride + from..][..rest]);
            }
            let bias = finish.bias.map_or(zero, |bias| load(simd, &bias[from..]));
            let mut tile = tile_from_positions::<S, M, TAPS, TILE, PATCH>(simd, &input, lanes);
            finish_tile(simd, &mut tile, &mut check, bias, finish.bounds);
            for (y, line) in tile.into_iter().enumerate().take(size.0) {
                for (x, value) in line.into_iter().enumerate().take(size.1) {
                    store(simd, &mut out.row(first + y * row + x)[from..], value);
                }
            }
        }
        simd.reduce_sum_f32s(check) == 0.0
    }
}

/// Transforms a vector of channels of all positions to a tile of pixels.
#[inline(always)]
fn tile_from_positions<
    S: Simd,
    M: Lines<TAPS, TILE, PATCH>,
    const TAPS: usize,
    const TILE: usize,
    const PATCH: usize,
>(
    simd: S,
    positions: &[f32],
    stride: usize,
) -> [[S::f32s; TILE]; TILE] {
    let zero = simd.splat_f32s(0.0);
    assert!((PATCH * PATCH - 1) * stride + S::F32_LANES <= positions.len());
    let mut lines = [[zero; PATCH]; TILE];
    for x in 0..PATCH {
        let mut column = [zero; PATCH];
        for y in 0..PATCH {
            let at = (y * PATCH + x) * stride;
            // SAFETY: the assertion is for the last of these.
            column[y] = unsafe {
                positions
                    .as_ptr()
                    .add(at)
                    .cast::<S::f32s>()
                    .read_unaligned()
            };
        }
        let column = M::from_positions(simd, column);
        for y in 0..TILE {
            lines[y][x] = column[y];
        }
    }
    let mut tile = [[zero; TILE]; TILE];
    for y in 0..TILE {
        tile[y] = M::from_positions(simd, lines[y]);
    }
    tile
}

/// Checks a tile, and does to it what is done to a finished sum.
#[inline(always)]
fn finish_tile<S: Simd, const TILE: usize>(
    simd: S,
    tile: &mut [[S::f32s; TILE]; TILE],
    check: &mut S::f32s,
    bias: S::f32s,
    (low, high): (f32, f32),
) {
    for y in 0..TILE {
        for x in 0..TILE {
            *check = simd.mul_add_e_f32s(tile[y][x], simd.splat_f32s(0.0), *check);
            tile[y][x] = simd.add_f32s(tile[y][x], bias);
        }
    }
    if low > f32::NEG_INFINITY {
        for y in 0..TILE {
            for x in 0..TILE {
                tile[y][x] = at_least(simd, tile[y][x], simd.splat_f32s(low));
            }
        }
    }
    if high < f32::INFINITY {
        for y in 0..TILE {
            for x in 0..TILE {
                tile[y][x] = at_most(simd, tile[y][x], simd.splat_f32s(high));
            }
        }
    }
}
