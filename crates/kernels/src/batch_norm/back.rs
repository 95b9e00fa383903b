//! The way back through a batch normalisation.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{BatchNorm, ROWS, ScaleShift};
use crate::columns::{Blocks, blocks, params, vectors};
use crate::error::{ShapeError, batch, length};
use crate::level::{Level, store};
use crate::sums::sum_rows;

/// The way back through a batch normalisation: the gradient of its input from that of its output.
///
/// The input's gradient of one image depends on the whole batch, by two sums for each channel. This holds what follows
/// from them; [`BatchNorm::back`] makes it.
#[derive(Debug)]
pub struct BatchNormBack<'a> {
    bounds: (f32, f32),
    level: Level,
    mean: &'a [f32],
    /// Or nothing.
    beta: &'a [f32],
    /// `gamma / deviation`.
    factors: Vec<f32>,
    /// The mean of the gradient.
    height: Vec<f32>,
    /// How much of the gradient goes along with the input.
    slope: Vec<f32>,
}

impl BatchNorm {
    /// Fills the gradients of gamma and beta from the forward pass's input and moments, and `dy`, the gradient of its
    /// output, and answers the way to that of the input. The moments count as functions of the input.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn back<'a>(
        &self,
        x: &[f32],
        weights: ScaleShift<'a>,
        moments: &'a [f32],
        dy: &[f32],
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) -> Result<BatchNormBack<'a>, ShapeError> {
        self.check(x.len(), weights, moments.len())?;
        length("the output's gradient", dy.len(), x.len())?;
        length("gamma's gradient", dgamma.len(), self.channels)?;
        length("beta's gradient", dbeta.len(), self.channels)?;
        let (mean, variance) = moments.split_at(self.channels);
        let beta = weights.beta.unwrap_or_default();
        let factors = self.factors(variance, weights.gamma);

        // Σ dy and Σ dy · (x - mean), side by side.
        let (channels, rows) = (self.channels, x.len() / self.channels);
        let mut sums = vec![0.0; 2 * channels];
        sum_rows(self.level, rows, &mut sums, |rows, sums| {
            let range = rows.start * channels..rows.end * channels;
            self.level.run(Products {
                x: &x[range.clone()],
                dy: &dy[range],
                mean,
                factors: &factors,
                beta,
                bounds: self.bounds,
                sums,
            });
        });
        let inverse = self.factors(variance, None);
        let (plain, products) = sums.split_at(channels);
        dbeta.copy_from_slice(plain);
        for ((dgamma, product), inverse) in dgamma.iter_mut().zip(products).zip(&inverse) {
            *dgamma = product * inverse;
        }

        // dx = gamma / deviation · (dy - mean(dy) - x̂ · mean(dy · x̂)), with x̂ = (x - mean) / deviation.
        let share = 1.0 / rows as f32;
        let slope = dgamma.iter().zip(&inverse);
        Ok(BatchNormBack {
            bounds: self.bounds,
            level: self.level,
            mean,
            beta,
            height: dbeta.iter().map(|dbeta| dbeta * share).collect(),
            slope: slope
                .map(|(dgamma, inverse)| dgamma * inverse * share)
                .collect(),
            factors,
        })
    }
}

impl BatchNormBack<'_> {
    /// Fills `dx`, the gradient of the input, from the input and the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad_input(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) -> Result<(), ShapeError> {
        self.check(x.len(), dy.len())?;
        length("the input's gradient", dx.len(), x.len())?;
        let part = ROWS * self.mean.len();
        dx.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .zip(dy.par_chunks(part))
            .rev()
            .for_each(|((dx, x), dy)| self.fill(x, dy, dx));
        Ok(())
    }

    pub(crate) fn channels(&self) -> usize {
        self.mean.len()
    }

    pub(crate) fn check(&self, x: usize, dy: usize) -> Result<(), ShapeError> {
        batch("the input", x, self.mean.len())?;
        length("the output's gradient", dy, x)
    }

    /// Fills `dx` for some rows.
    pub(crate) fn fill(&self, x: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.level.run(Back {
            back: self,
            x,
            dy,
            dx,
        });
    }
}

/// The gradient before the activation, where what it was applied to is `value`; NaN is on neither side of a bound.
#[inline(always)]
fn inside<S: Simd>(simd: S, (low, high): (f32, f32), value: S::f32s, mut dy: S::f32s) -> S::f32s {
    let zero = simd.splat_f32s(0.0);
    if low > f32::NEG_INFINITY {
        let below = simd.less_than_or_equal_f32s(value, simd.splat_f32s(low));
        dy = simd.select_f32s(below, zero, dy);
    }
    if high < f32::INFINITY {
        let above = simd.greater_than_or_equal_f32s(value, simd.splat_f32s(high));
        dy = simd.select_f32s(above, zero, dy);
    }
    dy
}

struct Products<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    mean: &'a [f32],
    factors: &'a [f32],
    beta: &'a [f32],
    bounds: (f32, f32),
    /// Of the gradients, then of their products with the centred inputs.
    sums: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (values, channels) = (self.x.len(), self.mean.len());
        blocks(simd, values, channels, &mut self);
    }
}

impl Blocks for Products<'_> {
    #[inline(always)]
    fn block<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        (begin, end): (usize, usize),
        columns: (usize, usize),
    ) {
        let channels = self.mean.len();
        let mean = params::<S, V>(simd, self.mean, columns);
        let factors = params::<S, V>(simd, self.factors, columns);
        let beta = params::<S, V>(simd, self.beta, columns);
        let (plain, products) = self.sums.split_at_mut(channels);
        let zero = simd.splat_f32s(0.0);
        // Rows go to two sums in turn, which don't wait for each other.
        let mut plains = [params::<S, V>(simd, plain, columns), [zero; V]];
        let mut sums = [params::<S, V>(simd, products, columns), [zero; V]];
        macro_rules! add {
            ($x:expr, $dy:expr, $turn:literal) => {{
                let x = vectors::<S, V>(simd, &$x[columns.0..columns.1]);
                let dy = vectors::<S, V>(simd, &$dy[columns.0..columns.1]);
                for v in 0..V {
                    let centred = simd.sub_f32s(x[v], mean[v]);
                    let value = simd.mul_add_e_f32s(centred, factors[v], beta[v]);
                    let dy = inside(simd, self.bounds, value, dy[v]);
                    plains[$turn][v] = simd.add_f32s(plains[$turn][v], dy);
                    sums[$turn][v] = simd.mul_add_e_f32s(centred, dy, sums[$turn][v]);
                }
            }};
        }
        let mut xs = self.x[begin..end].chunks_exact(2 * channels);
        let mut dys = self.dy[begin..end].chunks_exact(2 * channels);
        for (x, dy) in (&mut xs).zip(&mut dys) {
            let (x, dy) = (x.split_at(channels), dy.split_at(channels));
            add!(x.0, dy.0, 0);
            add!(x.1, dy.1, 1);
        }
        let (x, dy) = (xs.remainder(), dys.remainder());
        if x.len() == channels && dy.len() == channels {
            add!(x, dy, 0);
        }
        let to = plain[columns.0..columns.1].chunks_mut(S::F32_LANES);
        for (v, to) in to.enumerate().take(V) {
            store(simd, to, simd.add_f32s(plains[0][v], plains[1][v]));
        }
        let to = products[columns.0..columns.1].chunks_mut(S::F32_LANES);
        for (v, to) in to.enumerate().take(V) {
            store(simd, to, simd.add_f32s(sums[0][v], sums[1][v]));
        }
    }
}

/// One part of the rows.
struct Back<'a> {
    back: &'a BatchNormBack<'a>,
    x: &'a [f32],
    dy: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (values, channels) = (self.x.len(), self.back.mean.len());
        blocks(simd, values, channels, &mut self);
    }
}

impl Blocks for Back<'_> {
    #[inline(always)]
    fn block<S: Simd, const V: usize>(
        &mut self,
        simd: S,
        (begin, end): (usize, usize),
        columns: (usize, usize),
    ) {
        let back = self.back;
        let channels = back.mean.len();
        let mean = params::<S, V>(simd, back.mean, columns);
        let factors = params::<S, V>(simd, &back.factors, columns);
        let beta = params::<S, V>(simd, back.beta, columns);
        let height = params::<S, V>(simd, &back.height, columns);
        let slope = params::<S, V>(simd, &back.slope, columns);
        let rows = self.x[begin..end]
            .chunks_exact(channels)
            .zip(self.dy[begin..end].chunks_exact(channels));
        for (dx, (x, dy)) in self.dx[begin..end].chunks_exact_mut(channels).zip(rows) {
            let x = vectors::<S, V>(simd, &x[columns.0..columns.1]);
            let dy = vectors::<S, V>(simd, &dy[columns.0..columns.1]);
            let dx = dx[columns.0..columns.1].chunks_mut(S::F32_LANES);
            for (v, dx) in dx.enumerate().take(V) {
                let centred = simd.sub_f32s(x[v], mean[v]);
                let value = simd.mul_add_e_f32s(centred, factors[v], beta[v]);
                let dy = inside(simd, back.bounds, value, dy[v]);
                let trend = simd.mul_f32s(centred, slope[v]);
                let above = simd.sub_f32s(simd.sub_f32s(dy, height[v]), trend);
                store(simd, dx, simd.mul_f32s(above, factors[v]));
            }
        }
    }
}
