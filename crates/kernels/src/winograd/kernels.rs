//! The transforms of kernels, and those of the gradients of outputs and kernels.
// Loops over the registers of a tile read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use std::marker::PhantomData;

use pulp::{Simd, WithSimd};

use super::MOST;
use super::lines::Lines;
use crate::level::{WIDEST, load, store};

/// Transforms a kernel, `[taps, taps, n]` to `[positions, n]`.
pub(super) struct Turn<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub lines: PhantomData<M>,
    pub kernel: &'a [f32],
    pub turned: &'a mut [f32],
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize> WithSimd
    for Turn<'_, M, TAPS, TILE, PATCH>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernel, turned, .. } = self;
        let len = kernel.len() / (TAPS * TAPS);
        let zero = simd.splat_f32s(0.0);
        for from in (0..len).step_by(S::F32_LANES) {
            let wide = S::F32_LANES.min(len - from);
            let mut lines = [[zero; TAPS]; PATCH];
            for x in 0..TAPS {
                let mut column = [zero; TAPS];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = load(simd, &kernel[(y * TAPS + x) * len + from..][..wide]);
                }
                let column = M::kernel_to_positions(simd, column);
                for y in 0..PATCH {
                    lines[y][x] = column[y];
                }
            }
            for (y, line) in lines.into_iter().enumerate() {
                for (x, value) in M::kernel_to_positions(simd, line).into_iter().enumerate() {
                    store(
                        simd,
                        &mut turned[(y * PATCH + x) * len + from..][..wide],
                        value,
                    );
                }
            }
        }
        debug_assert_eq!(turned.len(), PATCH * PATCH * len);
    }
}

/// Transforms the gradients of one tile of output.
pub(super) struct GradToTile<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub lines: PhantomData<M>,
    /// From the tile's first pixel on.
    pub pixels: &'a [f32],
    /// From one row of pixels to the next.
    pub row: usize,
    pub channels: usize,
    /// Rows and columns of the tile that are in the image; the others have no gradient.
    pub size: (usize, usize),
    /// From the tile's first position on.
    pub positions: &'a mut [f32],
    /// From one position to the next.
    pub stride: usize,
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize> WithSimd
    for GradToTile<'_, M, TAPS, TILE, PATCH>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            pixels,
            row,
            channels,
            size,
            positions,
            stride,
            ..
        } = self;
        let lanes = S::F32_LANES;
        let rest = channels % lanes;
        let zero = simd.splat_f32s(0.0);
        for from in (0..channels - rest).step_by(lanes) {
            let mut tile = [[zero; TILE]; TILE];
            for y in 0..TILE {
                for x in 0..TILE {
                    if y < size.0 && x < size.1 {
                        tile[y][x] = load(simd, &pixels[y * row + x * channels + from..][..lanes]);
                    }
                }
            }
            tile_to_positions::<S, M, TAPS, TILE, PATCH>(
                simd,
                tile,
                &mut positions[from..],
                stride,
            );
        }
        if rest > 0 {
            let from = channels - rest;
            let mut tile = [[zero; TILE]; TILE];
            for (y, line) in tile.iter_mut().enumerate().take(size.0) {
                for (x, value) in line.iter_mut().enumerate().take(size.1) {
                    *value = load(simd, &pixels[y * row + x * channels + from..][..rest]);
                }
            }
            let mut output = [0.0; MOST * WIDEST];
            tile_to_positions::<S, M, TAPS, TILE, PATCH>(simd, tile, &mut output, lanes);
            for (position, output) in output.chunks_exact(lanes).take(PATCH * PATCH).enumerate() {
                positions[position * stride + from..][..rest].copy_from_slice(&output[..rest]);
            }
        }
    }
}

/// Transforms a vector of channels of gradients to all positions.
#[inline(always)]
fn tile_to_positions<
    S: Simd,
    M: Lines<TAPS, TILE, PATCH>,
    const TAPS: usize,
    const TILE: usize,
    const PATCH: usize,
>(
    simd: S,
    tile: [[S::f32s; TILE]; TILE],
    positions: &mut [f32],
    stride: usize,
) {
    let zero = simd.splat_f32s(0.0);
    assert!((PATCH * PATCH - 1) * stride + S::F32_LANES <= positions.len());
    let mut lines = [[zero; TILE]; PATCH];
    for x in 0..TILE {
        let mut column = [zero; TILE];
        for y in 0..TILE {
            column[y] = tile[y][x];
        }
        let column = M::grad_to_positions(simd, column);
        for y in 0..PATCH {
            lines[y][x] = column[y];
        }
    }
    for y in 0..PATCH {
        let line = M::grad_to_positions(simd, lines[y]);
        for x in 0..PATCH {
            let at = (y * PATCH + x) * stride;
            // SAFETY: the assertion is for the last of these.
            unsafe {
                positions
                    .as_mut_ptr()
                    .add(at)
                    .cast::<S::f32s>()
                    .write_unaligned(line[x])
            };
        }
    }
}

/// Transforms the gradient of a transformed kernel, `[positions, n]` to `[taps, taps, n]`; answers whether it is finite.
pub(super) struct TurnBack<'a, M, const TAPS: usize, const TILE: usize, const PATCH: usize> {
    pub lines: PhantomData<M>,
    pub turned: &'a [f32],
    pub kernel: &'a mut [f32],
}

impl<M: Lines<TAPS, TILE, PATCH>, const TAPS: usize, const TILE: usize, const PATCH: usize> WithSimd
    for TurnBack<'_, M, TAPS, TILE, PATCH>
{
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Self { turned, kernel, .. } = self;
        let len = kernel.len() / (TAPS * TAPS);
        let zero = simd.splat_f32s(0.0);
        let mut check = zero;
        for from in (0..len).step_by(S::F32_LANES) {
            let wide = S::F32_LANES.min(len - from);
            let mut lines = [[zero; PATCH]; TAPS];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for y in 0..PATCH {
                    column[y] = load(simd, &turned[(y * PATCH + x) * len + from..][..wide]);
                }
                let column = M::kernel_from_positions(simd, column);
                for y in 0..TAPS {
                    lines[y][x] = column[y];
                }
            }
            for y in 0..TAPS {
                let line = M::kernel_from_positions(simd, lines[y]);
                for x in 0..TAPS {
                    check = simd.mul_add_e_f32s(line[x], zero, check);
                    store(
                        simd,
                        &mut kernel[(y * TAPS + x) * len + from..][..wide],
                        line[x],
                    );
                }
            }
        }
        simd.reduce_sum_f32s(check) == 0.0
    }
}
