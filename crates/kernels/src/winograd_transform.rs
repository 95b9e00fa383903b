//! The transforms of `F(4 × 4, 3 × 3)`, of vectors of channels.
// Loops over the registers of a tile read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::{Simd, WithSimd};

use crate::level::{WIDEST, at_least, at_most, load, store};
use crate::matrix::MatrixMut;
use crate::product::Finish;
use crate::winograd::{PATCH, POSITIONS, TILE};

/// The polynomials are evaluated at 0, ±`A`, ±`B` and infinity. Products of these two have few bits, and lose less
/// to rounding than the usual 1 and 2 do.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;
/// `1 / Π (point - other point)` at ±`A` and at ±`B`.
const SHARE: f32 = 1.0 / (2.0 * AA * (AA - BB));
const SHARE_B: f32 = 1.0 / (2.0 * BB * (BB - AA));

/// Six inputs in a line to six positions: the coefficients of `x (x² - A²) (x² - B²)` over `x - point`.
#[inline(always)]
fn to_positions<S: Simd>(simd: S, d: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let (even, odd) = (fma(-BB, d[2], d[4]), fma(-BB, d[1], d[3]));
    let (even_b, odd_b) = (fma(-AA, d[2], d[4]), fma(-AA, d[1], d[3]));
    [
        fma(AA * BB, d[0], fma(-(AA + BB), d[2], d[4])),
        fma(A, odd, even),
        fma(-A, odd, even),
        fma(B, odd_b, even_b),
        fma(-B, odd_b, even_b),
        fma(AA * BB, d[1], fma(-(AA + BB), d[3], d[5])),
    ]
}

/// Six positions to four outputs in a line: the points' powers from 0 to 3.
#[inline(always)]
fn from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; TILE] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let (sum, difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_b, difference_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(sum, sum_b)),
        fma(A, difference, times(B, difference_b)),
        fma(AA, sum, times(BB, sum_b)),
        fma(A * AA, difference, fma(B * BB, difference_b, m[5])),
    ]
}

/// Three weights in a line to six positions: the polynomial's values at the points, over `Π (point - other point)`.
#[inline(always)]
fn kernel_to_positions<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; PATCH] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let (even, even_b) = (fma(AA, g[2], g[0]), fma(BB, g[2], g[0]));
    [
        times(1.0 / (AA * BB), g[0]),
        times(SHARE, fma(A, g[1], even)),
        times(SHARE, fma(-A, g[1], even)),
        times(SHARE_B, fma(B, g[1], even_b)),
        times(SHARE_B, fma(-B, g[1], even_b)),
        g[2],
    ]
}

/// Transforms the inputs of tiles that follow each other in a line.
pub(crate) struct ToTile<'a> {
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

impl WithSimd for ToTile<'_> {
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
        } = self;
        let lanes = S::F32_LANES;
        let rest = channels % lanes;
        for tile in 0..tiles {
            let (pixels, patches) = (
                &pixels[tile * TILE * channels..],
                &mut patches[tile * channels..],
            );
            for from in (0..channels - rest).step_by(lanes) {
                patch_to_positions(
                    simd,
                    &pixels[from..],
                    (row, channels),
                    &mut patches[from..],
                    stride,
                );
            }
            if rest > 0 {
                let from = channels - rest;
                let (mut input, mut output) =
                    ([0.0; POSITIONS * WIDEST], [0.0; POSITIONS * WIDEST]);
                for (position, input) in input.chunks_exact_mut(lanes).take(POSITIONS).enumerate() {
                    let at = position / PATCH * row + position % PATCH * channels + from;
                    input[..rest].copy_from_slice(&pixels[at..at + rest]);
                }
                patch_to_positions(simd, &input, (PATCH * lanes, lanes), &mut output, lanes);
                for (position, output) in output.chunks_exact(lanes).take(POSITIONS).enumerate() {
                    patches[position * stride + from..][..rest].copy_from_slice(&output[..rest]);
                }
            }
        }
    }
}

/// Transforms a vector of channels of 6 × 6 pixels, from one row and pixel to the next `down` and `across`.
#[inline(always)]
fn patch_to_positions<S: Simd>(
    simd: S,
    pixels: &[f32],
    (down, across): (usize, usize),
    positions: &mut [f32],
    stride: usize,
) {
    let zero = simd.splat_f32s(0.0);
    let (pixel, position) = (pixels.as_ptr(), positions.as_mut_ptr());
    assert!((PATCH - 1) * (down + across) + S::F32_LANES <= pixels.len());
    assert!((POSITIONS - 1) * stride + S::F32_LANES <= positions.len());
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
        column = to_positions(simd, column);
        for y in 0..PATCH {
            lines[y][x] = column[y];
        }
    }
    for y in 0..PATCH {
        let line = to_positions(simd, lines[y]);
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
pub(crate) struct FromTile<'a, 'b> {
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

impl WithSimd for FromTile<'_, '_> {
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
            let mut tile = tile_from_positions(simd, &sums[from..], stride);
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
            let mut input = [0.0; POSITIONS * WIDEST];
            for (position, input) in input.chunks_exact_mut(lanes).take(POSITIONS).enumerate() {
                input[..rest].copy_from_slice(&sums[position * stride + from..][..rest]);
            }
            let bias = finish.bias.map_or(zero, |bias| load(simd, &bias[from..]));
            let mut tile = tile_from_positions(simd, &input, lanes);
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

/// Transforms a vector of channels of all positions to 4 × 4 pixels.
#[inline(always)]
fn tile_from_positions<S: Simd>(
    simd: S,
    positions: &[f32],
    stride: usize,
) -> [[S::f32s; TILE]; TILE] {
    let zero = simd.splat_f32s(0.0);
    assert!((POSITIONS - 1) * stride + S::F32_LANES <= positions.len());
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
        let column = from_positions(simd, column);
        for y in 0..TILE {
            lines[y][x] = column[y];
        }
    }
    let mut tile = [[zero; TILE]; TILE];
    for y in 0..TILE {
        tile[y] = from_positions(simd, lines[y]);
    }
    tile
}

/// Checks a tile, and does to it what is done to a finished sum.
#[inline(always)]
fn finish_tile<S: Simd>(
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

/// Four gradients in a line to six positions: the transpose of [`from_positions`].
#[inline(always)]
fn grad_to_positions<S: Simd>(simd: S, y: [S::f32s; TILE]) -> [S::f32s; PATCH] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let (even, even_b) = (fma(AA, y[2], y[0]), fma(BB, y[2], y[0]));
    let (odd, odd_b) = (fma(AA, y[3], y[1]), fma(BB, y[3], y[1]));
    [
        y[0],
        fma(A, odd, even),
        fma(-A, odd, even),
        fma(B, odd_b, even_b),
        fma(-B, odd_b, even_b),
        y[3],
    ]
}

/// Six positions to three weights in a line: the transpose of [`kernel_to_positions`].
#[inline(always)]
fn kernel_from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; 3] {
    let fma = |factor: f32, a, b| simd.mul_add_e_f32s(simd.splat_f32s(factor), a, b);
    let times = |factor: f32, a| simd.mul_f32s(simd.splat_f32s(factor), a);
    let (sum, difference) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (sum_b, difference_b) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        fma(
            1.0 / (AA * BB),
            m[0],
            fma(SHARE, sum, times(SHARE_B, sum_b)),
        ),
        fma(SHARE * A, difference, times(SHARE_B * B, difference_b)),
        fma(SHARE * AA, sum, fma(SHARE_B * BB, sum_b, m[5])),
    ]
}

/// Transforms the gradients of one tile of output.
pub(crate) struct GradToTile<'a> {
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

impl WithSimd for GradToTile<'_> {
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
            tile_to_positions(simd, tile, &mut positions[from..], stride);
        }
        if rest > 0 {
            let from = channels - rest;
            let mut tile = [[zero; TILE]; TILE];
            for (y, line) in tile.iter_mut().enumerate().take(size.0) {
                for (x, value) in line.iter_mut().enumerate().take(size.1) {
                    *value = load(simd, &pixels[y * row + x * channels + from..][..rest]);
                }
            }
            let mut output = [0.0; POSITIONS * WIDEST];
            tile_to_positions(simd, tile, &mut output, lanes);
            for (position, output) in output.chunks_exact(lanes).take(POSITIONS).enumerate() {
                positions[position * stride + from..][..rest].copy_from_slice(&output[..rest]);
            }
        }
    }
}

/// Transforms a vector of channels of 4 × 4 gradients to all positions.
#[inline(always)]
fn tile_to_positions<S: Simd>(
    simd: S,
    tile: [[S::f32s; TILE]; TILE],
    positions: &mut [f32],
    stride: usize,
) {
    let zero = simd.splat_f32s(0.0);
    assert!((POSITIONS - 1) * stride + S::F32_LANES <= positions.len());
    let mut lines = [[zero; TILE]; PATCH];
    for x in 0..TILE {
        let mut column = [zero; TILE];
        for y in 0..TILE {
            column[y] = tile[y][x];
        }
        let column = grad_to_positions(simd, column);
        for y in 0..PATCH {
            lines[y][x] = column[y];
        }
    }
    for y in 0..PATCH {
        let line = grad_to_positions(simd, lines[y]);
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

/// Transforms the gradient of a transformed kernel, `[36, n]` to `[3, 3, n]`; answers whether it is finite.
pub(crate) struct TurnBack<'a> {
    pub turned: &'a [f32],
    pub kernel: &'a mut [f32],
}

impl WithSimd for TurnBack<'_> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> bool {
        let Self { turned, kernel } = self;
        let len = kernel.len() / 9;
        let zero = simd.splat_f32s(0.0);
        let mut check = zero;
        for from in (0..len).step_by(S::F32_LANES) {
            let wide = S::F32_LANES.min(len - from);
            let mut lines = [[zero; PATCH]; 3];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for y in 0..PATCH {
                    column[y] = load(simd, &turned[(y * PATCH + x) * len + from..][..wide]);
                }
                let column = kernel_from_positions(simd, column);
                for y in 0..3 {
                    lines[y][x] = column[y];
                }
            }
            for y in 0..3 {
                let line = kernel_from_positions(simd, lines[y]);
                for x in 0..3 {
                    check = simd.mul_add_e_f32s(line[x], zero, check);
                    store(
                        simd,
                        &mut kernel[(y * 3 + x) * len + from..][..wide],
                        line[x],
                    );
                }
            }
        }
        simd.reduce_sum_f32s(check) == 0.0
    }
}

/// Transforms a kernel, `[3, 3, n]` to `[36, n]`.
pub(crate) struct Turn<'a> {
    pub kernel: &'a [f32],
    pub turned: &'a mut [f32],
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { kernel, turned } = self;
        let len = kernel.len() / 9;
        let zero = simd.splat_f32s(0.0);
        for from in (0..len).step_by(S::F32_LANES) {
            let wide = S::F32_LANES.min(len - from);
            let mut lines = [[zero; 3]; PATCH];
            for x in 0..3 {
                let mut column = [zero; 3];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = load(simd, &kernel[(y * 3 + x) * len + from..][..wide]);
                }
                let column = kernel_to_positions(simd, column);
                for y in 0..PATCH {
                    lines[y][x] = column[y];
                }
            }
            for (y, line) in lines.into_iter().enumerate() {
                for (x, value) in kernel_to_positions(simd, line).into_iter().enumerate() {
                    store(
                        simd,
                        &mut turned[(y * PATCH + x) * len + from..][..wide],
                        value,
                    );
                }
            }
        }
        debug_assert_eq!(turned.len(), POSITIONS * len);
    }
}
