//! Softmax over the last axis.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::error::{ShapeError, batch, length, nonzero};
use crate::exponential::exp;
use crate::level::{Level, load, store};
use crate::tasks::parts_mut;

/// Values that one task works on, about.
const STRETCH: usize = 1 << 13;

/// Replaces each row of `classes` values by their exponentials over the sum of those.
///
/// A row with NaN, with infinity or with nothing but negative infinity becomes NaN.
///
/// # Errors
///
/// [`ShapeError`] if `classes` is 0 or `values` isn't a whole number of rows.
pub fn softmax(level: Level, values: &mut [f32], classes: usize) -> Result<(), ShapeError> {
    nonzero(&[("the number of classes", classes)])?;
    batch("the scores", values.len(), classes)?;
    let stretch = (STRETCH / classes).max(1) * classes;
    parts_mut(values, stretch, |_, values| {
        level.run(Softmax { values, classes })
    });
    Ok(())
}

/// Fills `dx`, the gradient of the scores, from the probabilities `y` and their gradient `dy`.
///
/// # Errors
///
/// [`ShapeError`] if `classes` is 0, `y` isn't a whole number of rows or the slices differ in length.
pub fn softmax_grad(
    level: Level,
    y: &[f32],
    dy: &[f32],
    classes: usize,
    dx: &mut [f32],
) -> Result<(), ShapeError> {
    nonzero(&[("the number of classes", classes)])?;
    batch("the probabilities", y.len(), classes)?;
    length("the probabilities' gradient", dy.len(), y.len())?;
    length("the scores' gradient", dx.len(), y.len())?;
    let stretch = (STRETCH / classes).max(1) * classes;
    let parts = dx
        .par_chunks_mut(stretch)
        .zip(y.par_chunks(stretch))
        .zip(dy.par_chunks(stretch));
    parts.for_each(|((dx, y), dy)| level.run(SoftmaxGrad { y, dy, dx, classes }));
    Ok(())
}

struct Softmax<'a> {
    values: &'a mut [f32],
    classes: usize,
}

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        for row in self.values.chunks_exact_mut(self.classes) {
            // `max` passes over NaN; the exponentials bring it back.
            let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = simd.splat_f32s(0.0);
            let mut rest = 0.0;
            for values in row.chunks_mut(lanes) {
                let power = exp(
                    simd,
                    simd.sub_f32s(load(simd, values), simd.splat_f32s(largest)),
                );
                store(simd, values, power);
                if values.len() == lanes {
                    sum = simd.add_f32s(sum, power);
                } else {
                    rest = values.iter().sum();
                }
            }
            let sum = simd.splat_f32s(simd.reduce_sum_f32s(sum) + rest);
            for values in row.chunks_mut(lanes) {
                let power = load(simd, values);
                store(simd, values, simd.div_f32s(power, sum));
            }
        }
    }
}

struct SoftmaxGrad<'a> {
    y: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
    classes: usize,
}

impl WithSimd for SoftmaxGrad<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (lanes, classes) = (S::F32_LANES, self.classes);
        let rows = self
            .y
            .chunks_exact(classes)
            .zip(self.dy.chunks_exact(classes));
        for (dx, (y, dy)) in self.dx.chunks_exact_mut(classes).zip(rows) {
            let mut sum = simd.splat_f32s(0.0);
            for (y, dy) in y.chunks(lanes).zip(dy.chunks(lanes)) {
                sum = simd.mul_add_e_f32s(load(simd, y), load(simd, dy), sum);
            }
            let mean = simd.splat_f32s(simd.reduce_sum_f32s(sum));
            for (dx, (y, dy)) in dx
                .chunks_mut(lanes)
                .zip(y.chunks(lanes).zip(dy.chunks(lanes)))
            {
                let above = simd.sub_f32s(load(simd, dy), mean);
                store(simd, dx, simd.mul_f32s(load(simd, y), above));
            }
        }
    }
}
