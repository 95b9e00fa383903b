//! Going down the columns of a matrix: a few vectors of columns at a time, which stay in registers.
// Loops over registers read as the arithmetic they stand for.
#![allow(clippy::needless_range_loop)]
use pulp::Simd;

use crate::level::load;

/// Calls `$block` for all `$channels` in blocks of `V` vectors of columns, from `from` to `to`.
macro_rules! columns {
    ($channels:expr, $lanes:expr, $block:ident) => {{
        let (channels, lanes) = ($channels, $lanes);
        let mut from = 0;
        while from < channels {
            let left = channels - from;
            if left >= 2 * lanes {
                $block!(2, (from, from + 2 * lanes));
                from += 2 * lanes;
            } else {
                $block!(1, (from, channels.min(from + lanes)));
                from += lanes;
            }
        }
    }};
}
pub(crate) use columns;

/// `V` vectors of values from the front of `from`, the lanes past its end zero.
#[inline(always)]
pub(crate) fn vectors<S: Simd, const V: usize>(simd: S, from: &[f32]) -> [S::f32s; V] {
    let mut vectors = [simd.splat_f32s(0.0); V];
    for (v, vector) in vectors.iter_mut().enumerate() {
        *vector = load(simd, from.get(v * S::F32_LANES..).unwrap_or_default());
    }
    vectors
}

/// As [`vectors`], of columns `from..to` of what has a value per channel; zeros if it is empty.
#[inline(always)]
pub(crate) fn params<S: Simd, const V: usize>(
    simd: S,
    from: &[f32],
    (begin, end): (usize, usize),
) -> [S::f32s; V] {
    vectors(simd, from.get(begin..end).unwrap_or_default())
}

/// Rows of so many channels that are gone through column by column, while they are in the first-level cache.
pub(crate) fn stretch(channels: usize) -> usize {
    const STRETCH: usize = 1 << 12;
    (STRETCH / channels).max(4)
}

/// The sums of some columns, or of their squares about `centre`. Rows go to four sums in turn, which don't wait for each
/// other.
#[inline(always)]
pub(crate) fn sum<S: Simd, const V: usize, const SQUARES: bool>(
    simd: S,
    x: &[f32],
    channels: usize,
    (from, to): (usize, usize),
    centre: [S::f32s; V],
) -> [S::f32s; V] {
    let mut sums = [[simd.splat_f32s(0.0); V]; 4];
    macro_rules! add {
        ($row:expr, $sums:expr) => {{
            let values = vectors::<S, V>(simd, &$row[from..to]);
            for v in 0..V {
                $sums[v] = if SQUARES {
                    let apart = simd.sub_f32s(values[v], centre[v]);
                    simd.mul_add_e_f32s(apart, apart, $sums[v])
                } else {
                    simd.add_f32s($sums[v], values[v])
                };
            }
        }};
    }
    let mut fours = x.chunks_exact(4 * channels);
    for rows in &mut fours {
        let (low, high) = rows.split_at(2 * channels);
        let ((a, b), (c, d)) = (low.split_at(channels), high.split_at(channels));
        add!(a, sums[0]);
        add!(b, sums[1]);
        add!(c, sums[2]);
        add!(d, sums[3]);
    }
    for row in fours.remainder().chunks_exact(channels) {
        add!(row, sums[0]);
    }
    let mut total = sums[0];
    for v in 0..V {
        let (a, b) = (
            simd.add_f32s(sums[0][v], sums[1][v]),
            simd.add_f32s(sums[2][v], sums[3][v]),
        );
        total[v] = simd.add_f32s(a, b);
    }
    total
}
