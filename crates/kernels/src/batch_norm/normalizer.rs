//! A normalisation by moments that are known, and the sums that lead back through it.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::back::inside;
use super::{BatchNorm, BatchNormBack, ROWS, ScaleShift};
use crate::error::{ShapeError, batch, length};
use crate::level::{Level, WIDEST, clamp};
use crate::sums::sum_rows;

/// A batch normalisation by moments that are known, and the activation of it; [`BatchNorm::normalizer`] makes it.
#[derive(Debug, Clone)]
pub struct Normalizer {
    pub(super) level: Level,
    channels: usize,
    /// `1 / deviation` of each channel, where the deviation is `√(variance + epsilon)`.
    inverse: Vec<f32>,
    /// Means of the channels; these and what follows for some rows one after another, so that they are whole vectors.
    pub(super) mean: Vec<f32>,
    /// `gamma / deviation`.
    pub(super) factors: Vec<f32>,
    pub(super) beta: Vec<f32>,
    /// Those that the activation holds its value between.
    pub(super) bounds: (f32, f32),
}

impl Normalizer {
    /// That of moments and weights which have been checked.
    pub(super) fn new(norm: &BatchNorm, weights: ScaleShift, moments: &[f32]) -> Self {
        let (mean, variance) = moments.split_at(norm.channels);
        let inverse: Vec<f32> = variance
            .iter()
            .map(|variance| 1.0 / (variance + norm.epsilon).sqrt())
            .collect();
        let mut factors = inverse.clone();
        if let Some(gamma) = weights.gamma {
            let gammas = factors.iter_mut().zip(gamma);
            gammas.for_each(|(factor, gamma)| *factor *= gamma);
        }
        let times = abreast(norm.channels);
        Self {
            level: norm.level,
            channels: norm.channels,
            inverse,
            mean: mean.repeat(times),
            factors: factors.repeat(times),
            beta: match weights.beta {
                Some(beta) => beta.repeat(times),
                None => vec![0.0; norm.channels * times],
            },
            bounds: norm.bounds,
        }
    }

    /// How many channels a row has.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Fills `y` from `x`, from the last row to the first: the last of `x` are the likeliest to be in the cache still, and
    /// who reads `y` begins with what was written last.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn apply(&self, x: &[f32], y: &mut [f32]) -> Result<(), ShapeError> {
        batch("the input", x.len(), self.channels())?;
        length("the output", y.len(), x.len())?;
        let part = ROWS * self.channels();
        y.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .rev()
            .for_each(|(y, x)| self.fill(x, y));
        Ok(())
    }

    /// Fills `y` for some rows.
    pub(crate) fn fill(&self, x: &[f32], y: &mut [f32]) {
        self.level.run(Normalize { by: self, x, y });
    }

    /// `Σ dy`, and `Σ dy · (x - mean)`, of each channel, from the input and the gradient of the output.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn sums(&self, x: &[f32], dy: &[f32]) -> Result<Vec<f32>, ShapeError> {
        let rows = batch("the input", x.len(), self.channels())?;
        length("the output's gradient", dy.len(), x.len())?;
        let mut sums = vec![0.0; 2 * self.channels()];
        sum_rows(self.level, rows, &mut sums, |rows, sums| {
            let range = rows.start * self.channels()..rows.end * self.channels();
            self.level.run(Products::<false> {
                by: self,
                x: &x[range.clone()],
                dy: &dy[range],
                y: &mut [],
                sums,
            });
        });
        Ok(sums)
    }

    /// Fills `y` for some rows, and adds their [sums](Self::sums) to `sums`.
    pub(crate) fn fill_and_sum(&self, x: &[f32], dy: &[f32], y: &mut [f32], sums: &mut [f32]) {
        self.level.run(Products::<true> {
            by: self,
            x,
            dy,
            y,
            sums,
        });
    }

    /// Fills the gradients of gamma and beta from the [sums](Self::sums) over so many rows, and answers the way to that of
    /// the input. The moments count as functions of the input.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn back(
        self,
        sums: &[f32],
        rows: usize,
        [dgamma, dbeta]: [&mut [f32]; 2],
    ) -> Result<BatchNormBack, ShapeError> {
        length("the sums", sums.len(), 2 * self.channels())?;
        length("gamma's gradient", dgamma.len(), self.channels())?;
        length("beta's gradient", dbeta.len(), self.channels())?;
        let (plain, products) = sums.split_at(self.channels());
        dbeta.copy_from_slice(plain);
        for ((dgamma, product), inverse) in dgamma.iter_mut().zip(products).zip(&self.inverse) {
            *dgamma = product * inverse;
        }
        // dx = gamma / deviation · (dy - mean(dy) - x̂ · mean(dy · x̂)), with x̂ = (x - mean) / deviation.
        let share = 1.0 / rows as f32;
        let slope = dgamma.iter().zip(&self.inverse);
        let height: Vec<f32> = dbeta.iter().map(|dbeta| dbeta * share).collect();
        let slope: Vec<f32> = slope
            .map(|(dgamma, inverse)| dgamma * inverse * share)
            .collect();
        let times = abreast(self.channels);
        Ok(BatchNormBack {
            height: height.repeat(times),
            slope: slope.repeat(times),
            by: self,
        })
    }
}

/// How many rows are gone through together: whole vectors, and enough of them that a sum isn't waited for.
fn abreast(channels: usize) -> usize {
    const ENOUGH: usize = 8 * WIDEST;
    let mut times = 1;
    while !(channels * times).is_multiple_of(WIDEST) || channels * times < ENOUGH {
        times *= 2;
    }
    times
}

struct Normalize<'a> {
    by: &'a Normalizer,
    x: &'a [f32],
    y: &'a mut [f32],
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    // Rows as a whole, and not a few columns of many: what comes from memory is read in its order.
    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { by, x, y } = self;
        let bounds = (simd.splat_f32s(by.bounds.0), simd.splat_f32s(by.bounds.1));
        let params = [&by.mean, &by.factors, &by.beta];
        let [mean, factors, beta] = params.map(|values| S::as_simd_f32s(values).0);
        let wide = by.mean.len();
        for (y, x) in y.chunks_mut(wide).zip(x.chunks(wide)) {
            let (x, y) = (S::as_simd_f32s(x), S::as_mut_simd_f32s(y));
            let params = mean.iter().zip(factors).zip(beta);
            for ((y, x), ((mean, factor), beta)) in y.0.iter_mut().zip(x.0).zip(params) {
                *y = normalized(simd, *x, [*mean, *factor, *beta], bounds);
            }
            if !x.1.is_empty() {
                let [mean, factors, beta] = [mean, factors, beta].map(|values| values[x.0.len()]);
                let x = simd.partial_load_f32s(x.1);
                let y_rest = normalized(simd, x, [mean, factors, beta], bounds);
                simd.partial_store_f32s(y.1, y_rest);
            }
        }
    }
}

/// The activation of the normalised `x`.
#[inline(always)]
fn normalized<S: Simd>(
    simd: S,
    x: S::f32s,
    [mean, factor, beta]: [S::f32s; 3],
    (low, high): (S::f32s, S::f32s),
) -> S::f32s {
    let value = simd.mul_add_e_f32s(simd.sub_f32s(x, mean), factor, beta);
    clamp(simd, value, low, high)
}

/// The sums that lead back; if `FILLS`, what is normalised too.
struct Products<'a, const FILLS: bool> {
    by: &'a Normalizer,
    x: &'a [f32],
    dy: &'a [f32],
    y: &'a mut [f32],
    /// Gets those of the gradients added, then those of their products with the centred inputs.
    sums: &'a mut [f32],
}

impl<const FILLS: bool> WithSimd for Products<'_, FILLS> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            by,
            x,
            dy,
            mut y,
            sums,
        } = self;
        let bounds = (simd.splat_f32s(by.bounds.0), simd.splat_f32s(by.bounds.1));
        let params = [&by.mean, &by.factors, &by.beta];
        let [mean, factors, beta] = params.map(|values| S::as_simd_f32s(values).0);
        let wide = by.mean.len();
        let mut pairs = vec![[simd.splat_f32s(0.0); 2]; mean.len()];
        for (x, dy) in x.chunks(wide).zip(dy.chunks(wide)) {
            let here;
            (here, y) = y.split_at_mut(if FILLS { x.len() } else { 0 });
            let (x, dy, here) = (
                S::as_simd_f32s(x),
                S::as_simd_f32s(dy),
                S::as_mut_simd_f32s(here),
            );
            let params = mean.iter().zip(factors).zip(beta);
            for (v, (((x, dy), ((mean, factor), beta)), [plain, product])) in
                x.0.iter().zip(dy.0).zip(params).zip(&mut pairs).enumerate()
            {
                let params = [*mean, *factor, *beta];
                let (value, dy, times) = product_of(simd, (*x, *dy), params, by.bounds);
                if FILLS {
                    here.0[v] = clamp(simd, value, bounds.0, bounds.1);
                }
                *plain = simd.add_f32s(*plain, dy);
                *product = simd.add_f32s(*product, times);
            }
            if !x.1.is_empty() {
                let v = x.0.len();
                let params = [mean[v], factors[v], beta[v]];
                let row = (simd.partial_load_f32s(x.1), simd.partial_load_f32s(dy.1));
                let (value, dy, times) = product_of(simd, row, params, by.bounds);
                if FILLS {
                    simd.partial_store_f32s(here.1, clamp(simd, value, bounds.0, bounds.1));
                }
                let [plain, product] = &mut pairs[v];
                *plain = simd.add_f32s(*plain, dy);
                *product = simd.add_f32s(*product, times);
            }
        }
        for (of, to) in sums.chunks_exact_mut(by.channels).enumerate() {
            let mut sums = vec![0.0; wide];
            let vectors = S::as_mut_simd_f32s(&mut sums).0.iter_mut();
            vectors.zip(&pairs).for_each(|(to, pair)| *to = pair[of]);
            for sums in sums.chunks_exact(by.channels) {
                to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
            }
        }
    }
}

/// What is normalised, before the activation; the gradient there; and its product with the centred input.
#[inline(always)]
fn product_of<S: Simd>(
    simd: S,
    (x, dy): (S::f32s, S::f32s),
    [mean, factor, beta]: [S::f32s; 3],
    bounds: (f32, f32),
) -> (S::f32s, S::f32s, S::f32s) {
    let centred = simd.sub_f32s(x, mean);
    let value = simd.mul_add_e_f32s(centred, factor, beta);
    let dy = inside(simd, bounds, value, dy);
    (value, dy, simd.mul_f32s(centred, dy))
}
