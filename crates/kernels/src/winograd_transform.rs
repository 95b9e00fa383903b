//! The transforms of `F(4 × 4, 3 × 3)`, of vectors of channels.
use pulp::{Simd, WithSimd};

use crate::level::{clamp, load, store};
use crate::matrix::MatrixMut;
use crate::product::Finish;
use crate::winograd::{PATCH, POSITIONS, TILE};

/// The polynomials are evaluated at 0, ±`A`, ±`B` and infinity. Products of these two have few bits, and lose less
/// to rounding than the usual 1 and 2 do.
const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;

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
    let (share, share_b) = (1.0 / (2.0 * AA * (AA - BB)), 1.0 / (2.0 * BB * (BB - AA)));
    [
        times(1.0 / (AA * BB), g[0]),
        times(share, fma(A, g[1], even)),
        times(share, fma(-A, g[1], even)),
        times(share_b, fma(B, g[1], even_b)),
        times(share_b, fma(-B, g[1], even_b)),
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
        let zero = simd.splat_f32s(0.0);
        for tile in 0..tiles {
            for from in (0..channels).step_by(S::F32_LANES) {
                let wide = S::F32_LANES.min(channels - from);
                let corner = tile * TILE * channels + from;
                let mut lines = [[zero; PATCH]; PATCH];
                for x in 0..PATCH {
                    let mut column = [zero; PATCH];
                    for (y, value) in column.iter_mut().enumerate() {
                        *value = load(simd, &pixels[corner + y * row + x * channels..][..wide]);
                    }
                    let column = to_positions(simd, column);
                    for y in 0..PATCH {
                        lines[y][x] = column[y];
                    }
                }
                for (y, line) in lines.into_iter().enumerate() {
                    for (x, value) in to_positions(simd, line).into_iter().enumerate() {
                        let at = (y * PATCH + x) * stride + tile * channels + from;
                        store(simd, &mut patches[at..][..wide], value);
                    }
                }
            }
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
        let channels = out.columns();
        let zero = simd.splat_f32s(0.0);
        // Zero times a number that isn't finite is NaN, and stays so.
        let mut check = zero;
        for from in (0..channels).step_by(S::F32_LANES) {
            let wide = S::F32_LANES.min(channels - from);
            let mut lines = [[zero; PATCH]; TILE];
            for x in 0..PATCH {
                let mut column = [zero; PATCH];
                for (y, value) in column.iter_mut().enumerate() {
                    *value = load(simd, &sums[(y * PATCH + x) * stride + from..][..wide]);
                }
                let column = from_positions(simd, column);
                for y in 0..TILE {
                    lines[y][x] = column[y];
                }
            }
            let bias = finish
                .bias
                .map_or(zero, |bias| load(simd, &bias[from..][..wide]));
            for (y, line) in lines.into_iter().enumerate().take(size.0) {
                for (x, value) in from_positions(simd, line)
                    .into_iter()
                    .enumerate()
                    .take(size.1)
                {
                    check = simd.mul_add_e_f32s(value, zero, check);
                    let mut value = simd.add_f32s(value, bias);
                    if let Some((low, high)) = finish.bounds {
                        value = clamp(simd, value, simd.splat_f32s(low), simd.splat_f32s(high));
                    }
                    store(
                        simd,
                        &mut out.row(first + y * row + x)[from..][..wide],
                        value,
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
