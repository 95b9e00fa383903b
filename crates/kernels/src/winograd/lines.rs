//! Minimal filtering along one line; along both directions it makes that of tiles and kernels.
use pulp::Simd;

/// The transforms of `F(TILE, TAPS)`: `TILE` outputs of a filter of `TAPS` weights from `PATCH` inputs, all of them by way of
/// `PATCH` positions, at which inputs and weights are multiplied.
pub(crate) trait Lines<const TAPS: usize, const TILE: usize, const PATCH: usize>:
    Send + Sync
{
    /// Inputs to positions.
    fn to_positions<S: Simd>(simd: S, d: [S::f32s; PATCH]) -> [S::f32s; PATCH];

    /// Positions to outputs.
    fn from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; TILE];

    /// Weights to positions.
    fn kernel_to_positions<S: Simd>(simd: S, g: [S::f32s; TAPS]) -> [S::f32s; PATCH];

    /// Gradients of outputs to positions: the transpose of [`from_positions`](Self::from_positions).
    fn grad_to_positions<S: Simd>(simd: S, y: [S::f32s; TILE]) -> [S::f32s; PATCH];

    /// Positions to gradients of weights: the transpose of [`kernel_to_positions`](Self::kernel_to_positions).
    fn kernel_from_positions<S: Simd>(simd: S, m: [S::f32s; PATCH]) -> [S::f32s; TAPS];
}

/// `F(2, 2)`: the polynomials are evaluated at 0, 1 and infinity, with nothing but additions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F22;

impl Lines<2, 2, 3> for F22 {
    #[inline(always)]
    fn to_positions<S: Simd>(simd: S, d: [S::f32s; 3]) -> [S::f32s; 3] {
        [simd.sub_f32s(d[0], d[1]), d[1], simd.sub_f32s(d[2], d[1])]
    }

    #[inline(always)]
    fn from_positions<S: Simd>(simd: S, m: [S::f32s; 3]) -> [S::f32s; 2] {
        [simd.add_f32s(m[0], m[1]), simd.add_f32s(m[1], m[2])]
    }

    #[inline(always)]
    fn kernel_to_positions<S: Simd>(simd: S, g: [S::f32s; 2]) -> [S::f32s; 3] {
        [g[0], simd.add_f32s(g[0], g[1]), g[1]]
    }

    #[inline(always)]
    fn grad_to_positions<S: Simd>(simd: S, y: [S::f32s; 2]) -> [S::f32s; 3] {
        [y[0], simd.add_f32s(y[0], y[1]), y[1]]
    }

    #[inline(always)]
    fn kernel_from_positions<S: Simd>(simd: S, m: [S::f32s; 3]) -> [S::f32s; 2] {
        [simd.add_f32s(m[0], m[1]), simd.add_f32s(m[1], m[2])]
    }
}

/// `F(4, 3)`: the polynomials are evaluated at 0, ±`A`, ±`B` and infinity. Products of these two have few bits, and lose
/// less to rounding than the usual 1 and 2 do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct F43;

const A: f32 = 0.625;
const B: f32 = 1.5;
const AA: f32 = A * A;
const BB: f32 = B * B;
/// `1 / Π (point - other point)` at ±`A` and at ±`B`.
const SHARE: f32 = 1.0 / (2.0 * AA * (AA - BB));
const SHARE_B: f32 = 1.0 / (2.0 * BB * (BB - AA));

impl Lines<3, 4, 6> for F43 {
    // The coefficients of `x (x² - A²) (x² - B²)` over `x - point`.
    #[inline(always)]
    fn to_positions<S: Simd>(simd: S, d: [S::f32s; 6]) -> [S::f32s; 6] {
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

    // The points' powers from 0 to 3.
    #[inline(always)]
    fn from_positions<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 4] {
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

    // The polynomial's values at the points, over `Π (point - other point)`.
    #[inline(always)]
    fn kernel_to_positions<S: Simd>(simd: S, g: [S::f32s; 3]) -> [S::f32s; 6] {
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

    #[inline(always)]
    fn grad_to_positions<S: Simd>(simd: S, y: [S::f32s; 4]) -> [S::f32s; 6] {
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

    #[inline(always)]
    fn kernel_from_positions<S: Simd>(simd: S, m: [S::f32s; 6]) -> [S::f32s; 3] {
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
}
