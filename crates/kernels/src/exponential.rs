//! The exponential function on vectors.
use pulp::Simd;

use crate::level::clamp;

/// The exponents for which powers of two are made here: all are normal numbers, with room for the polynomial.
const LEAST: f32 = -86.6;
const MOST: f32 = 88.722_83;

/// `x` as `n · ln 2 + rest` with `|rest| ≤ ln 2 / 2`: the polynomial `(e^rest - 1)` and the factor `2^(n - 1)`.
///
/// `x` has to be within `LEAST..=MOST`. The polynomial is Taylor's, its last term below 1e-8 of the first.
#[inline(always)]
fn parts<S: Simd>(simd: S, x: S::f32s) -> (S::f32s, S::f32s) {
    let splat = |value| simd.splat_f32s(value);
    // Adding 1.5 · 2²³ rounds to a whole number and leaves it in the lowest bits.
    let shift = splat(12_582_912.0);
    let shifted = simd.add_f32s(simd.mul_f32s(x, splat(std::f32::consts::LOG2_E)), shift);
    let whole = simd.sub_f32s(shifted, shift);
    // ln 2 in two parts, the first with so few bits that its product is exact.
    let rest = simd.mul_add_e_f32s(whole, splat(-0.693_359_4), x);
    let rest = simd.mul_add_e_f32s(whole, splat(2.121_944_4e-4), rest);
    let mut series = splat(1.0 / 5040.0);
    for term in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0] {
        series = simd.mul_add_e_f32s(series, rest, splat(term));
    }
    let bits = simd.wrapping_dyn_shl_u32s(simd.transmute_u32s_f32s(shifted), simd.splat_u32s(23));
    let half = simd.add_u32s(bits, simd.splat_u32s(0.5f32.to_bits()));
    (simd.mul_f32s(series, rest), simd.transmute_f32s_u32s(half))
}

/// `eˣ` to 2e-7 of itself; 0 where it would be less than 2.5e-38, infinity where it is past the largest number.
#[inline(always)]
pub(crate) fn exp<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (least, most) = (simd.splat_f32s(LEAST), simd.splat_f32s(MOST));
    let (series, half) = parts(simd, clamp(simd, x, least, most));
    let result = simd.mul_add_e_f32s(series, half, half);
    let result = simd.add_f32s(result, result);
    let result = simd.select_f32s(simd.less_than_f32s(x, least), simd.splat_f32s(0.0), result);
    simd.select_f32s(
        simd.greater_than_f32s(x, most),
        simd.splat_f32s(f32::INFINITY),
        result,
    )
}

/// `eˣ - 1` to 3e-7 of itself, near 0 too; `x` is taken to be at least -86 and at most 88.
#[inline(always)]
pub(crate) fn exp_m1<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let (series, half) = parts(
        simd,
        clamp(simd, x, simd.splat_f32s(-86.0), simd.splat_f32s(88.0)),
    );
    // 2ⁿ · series + (2ⁿ - 1), in halves so that 2ⁿ can't overflow.
    let result = simd.mul_add_e_f32s(series, half, simd.sub_f32s(half, simd.splat_f32s(0.5)));
    simd.add_f32s(result, result)
}
