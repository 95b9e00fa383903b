//! Batch normalisation while training: by the mean and variance of the batch itself.
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::error::{ShapeError, batch, length, nonzero};
use crate::level::{Level, load, store};
use crate::sums::{column_sums, sum_rows};

/// Rows that one task normalises.
const ROWS: usize = 64;

/// Batch normalisation over the last axis, `y = gamma · (x - mean) / √(variance + epsilon) + beta`.
///
/// `x` and `y` are `[rows, channels]`, where a row is a pixel of an image of the batch, or an example; the other slices
/// have one value per channel. The variance is that of the batch, `Σ (x - mean)² / rows`, as in Keras.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    channels: usize,
    epsilon: f32,
    level: Level,
}

/// The gradients of a batch normalisation, to be filled.
#[derive(Debug)]
pub struct BatchNormGrads<'a> {
    /// Of the input.
    pub dx: &'a mut [f32],
    /// Of the scale.
    pub dgamma: &'a mut [f32],
    /// Of the offset.
    pub dbeta: &'a mut [f32],
}

impl BatchNorm {
    /// Plans the normalisation of so many channels.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Zero`] if there are none.
    pub fn new(channels: usize, epsilon: f32) -> Result<Self, ShapeError> {
        nonzero(&[("the number of channels", channels)])?;
        Ok(Self {
            channels,
            epsilon,
            level: Level::default(),
        })
    }

    /// The same normalisation on another instruction set.
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Fills `mean` and `variance` from `x`, and `y` from all; no `gamma` is 1, no `beta` is 0.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn forward(
        &self,
        x: &[f32],
        gamma: Option<&[f32]>,
        beta: Option<&[f32]>,
        mean: &mut [f32],
        variance: &mut [f32],
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        let rows = self.check(x.len(), y.len(), gamma)?;
        if let Some(beta) = beta {
            length("beta", beta.len(), self.channels)?;
        }
        length("the mean", mean.len(), self.channels)?;
        length("the variance", variance.len(), self.channels)?;

        let (channels, share) = (self.channels, 1.0 / rows as f32);
        column_sums(self.level, x, mean)?;
        mean.iter_mut().for_each(|mean| *mean *= share);
        sum_rows(self.level, rows, variance, |rows, sums| {
            let x = &x[rows.start * channels..rows.end * channels];
            self.level.run(Squares { x, mean, sums });
        });
        variance.iter_mut().for_each(|variance| *variance *= share);

        let factors = self.factors(variance, gamma);
        let part = ROWS * channels;
        y.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .for_each(|(y, x)| {
                self.level.run(Normalize {
                    x,
                    mean,
                    factors: &factors,
                    beta,
                    y,
                });
            });
        Ok(())
    }

    /// Fills the gradients from the forward pass's input, mean and variance, and `dy`, the gradient of its output. The
    /// mean and the variance count as functions of the input.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn grad(
        &self,
        x: &[f32],
        gamma: Option<&[f32]>,
        mean: &[f32],
        variance: &[f32],
        dy: &[f32],
        grads: BatchNormGrads,
    ) -> Result<(), ShapeError> {
        let BatchNormGrads { dx, dgamma, dbeta } = grads;
        let rows = self.check(x.len(), dy.len(), gamma)?;
        length("the input's gradient", dx.len(), x.len())?;
        for (what, values) in [
            ("the mean", mean),
            ("the variance", variance),
            ("gamma's gradient", dgamma),
            ("beta's gradient", dbeta),
        ] {
            length(what, values.len(), self.channels)?;
        }

        // Σ dy and Σ dy · (x - mean), side by side.
        let channels = self.channels;
        let mut sums = vec![0.0; 2 * channels];
        sum_rows(self.level, rows, &mut sums, |rows, sums| {
            let range = rows.start * channels..rows.end * channels;
            let (plain, products) = sums.split_at_mut(channels);
            self.level.run(Products {
                x: &x[range.clone()],
                dy: &dy[range],
                mean,
                plain,
                products,
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
        let factors = self.factors(variance, gamma);
        let level: Vec<f32> = dbeta.iter().map(|dbeta| dbeta * share).collect();
        let slope: Vec<f32> = dgamma
            .iter()
            .zip(&inverse)
            .map(|(dgamma, inverse)| dgamma * inverse * share)
            .collect();
        let part = ROWS * channels;
        dx.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .zip(dy.par_chunks(part))
            .for_each(|((dx, x), dy)| {
                self.level.run(Back {
                    x,
                    dy,
                    mean,
                    level: &level,
                    slope: &slope,
                    factors: &factors,
                    dx,
                });
            });
        Ok(())
    }

    fn check(&self, x: usize, y: usize, gamma: Option<&[f32]>) -> Result<usize, ShapeError> {
        let rows = batch("the input", x, self.channels)?;
        length("the output", y, x)?;
        if let Some(gamma) = gamma {
            length("gamma", gamma.len(), self.channels)?;
        }
        Ok(rows)
    }

    /// `gamma / √(variance + epsilon)`.
    fn factors(&self, variance: &[f32], gamma: Option<&[f32]>) -> Vec<f32> {
        let mut factors: Vec<f32> = variance
            .iter()
            .map(|variance| 1.0 / (variance + self.epsilon).sqrt())
            .collect();
        if let Some(gamma) = gamma {
            factors
                .iter_mut()
                .zip(gamma)
                .for_each(|(factor, gamma)| *factor *= gamma);
        }
        factors
    }
}

struct Squares<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Squares<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let lanes = S::F32_LANES;
        for x in self.x.chunks_exact(self.mean.len()) {
            let values = x.chunks(lanes).zip(self.mean.chunks(lanes));
            for (sums, (x, mean)) in self.sums.chunks_mut(lanes).zip(values) {
                let centred = simd.sub_f32s(load(simd, x), load(simd, mean));
                let sum = simd.mul_add_e_f32s(centred, centred, load(simd, sums));
                store(simd, sums, sum);
            }
        }
    }
}

struct Normalize<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    factors: &'a [f32],
    beta: Option<&'a [f32]>,
    y: &'a mut [f32],
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.mean.len();
        for (y, x) in self
            .y
            .chunks_exact_mut(channels)
            .zip(self.x.chunks_exact(channels))
        {
            for from in (0..channels).step_by(S::F32_LANES) {
                let here = from..channels.min(from + S::F32_LANES);
                let centred = simd.sub_f32s(
                    load(simd, &x[here.clone()]),
                    load(simd, &self.mean[here.clone()]),
                );
                let offset = self
                    .beta
                    .map_or(simd.splat_f32s(0.0), |beta| load(simd, &beta[here.clone()]));
                let value =
                    simd.mul_add_e_f32s(centred, load(simd, &self.factors[here.clone()]), offset);
                store(simd, &mut y[here], value);
            }
        }
    }
}

struct Products<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    mean: &'a [f32],
    plain: &'a mut [f32],
    products: &'a mut [f32],
}

impl WithSimd for Products<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.mean.len();
        for (x, dy) in self
            .x
            .chunks_exact(channels)
            .zip(self.dy.chunks_exact(channels))
        {
            for from in (0..channels).step_by(S::F32_LANES) {
                let here = from..channels.min(from + S::F32_LANES);
                let dy = load(simd, &dy[here.clone()]);
                let centred = simd.sub_f32s(
                    load(simd, &x[here.clone()]),
                    load(simd, &self.mean[here.clone()]),
                );
                let plain = simd.add_f32s(load(simd, &self.plain[here.clone()]), dy);
                store(simd, &mut self.plain[here.clone()], plain);
                let product =
                    simd.mul_add_e_f32s(centred, dy, load(simd, &self.products[here.clone()]));
                store(simd, &mut self.products[here], product);
            }
        }
    }
}

struct Back<'a> {
    x: &'a [f32],
    dy: &'a [f32],
    mean: &'a [f32],
    level: &'a [f32],
    slope: &'a [f32],
    factors: &'a [f32],
    dx: &'a mut [f32],
}

impl WithSimd for Back<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let channels = self.mean.len();
        let rows = self
            .x
            .chunks_exact(channels)
            .zip(self.dy.chunks_exact(channels));
        for (dx, (x, dy)) in self.dx.chunks_exact_mut(channels).zip(rows) {
            for from in (0..channels).step_by(S::F32_LANES) {
                let here = from..channels.min(from + S::F32_LANES);
                let centred = simd.sub_f32s(
                    load(simd, &x[here.clone()]),
                    load(simd, &self.mean[here.clone()]),
                );
                let above = simd.sub_f32s(
                    load(simd, &dy[here.clone()]),
                    load(simd, &self.level[here.clone()]),
                );
                let trend = simd.mul_f32s(centred, load(simd, &self.slope[here.clone()]));
                let value = simd.mul_f32s(
                    simd.sub_f32s(above, trend),
                    load(simd, &self.factors[here.clone()]),
                );
                store(simd, &mut dx[here], value);
            }
        }
    }
}
