//! The transforms of `F(4, 3)` along one line; along both directions they make those of tiles and kernels.
use pulp::Simd;

use super::{PATCH, TILE};

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
pub(super) fn to_positions<S: Simd>(simd: S, d: [S::f32s; PATCH]) -> [S::f32s; PATCH] {
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
pub(super) fn from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; TILE] {
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
pub(super) fn kernel_to_positions<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; PATCH] {
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

/// Four gradients in a line to six positions: the transpose of [`from_positions`].
#[inline(always)]
pub(super) fn grad_to_positions<S: Simd>(simd: S, y: [S::f32s; TILE]) -> [S::f32s; PATCH] {
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
pub(super) fn kernel_from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; 3] {
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
