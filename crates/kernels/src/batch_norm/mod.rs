//! Batch normalisation while training: by the mean and variance of the batch itself.
mod back;
mod moments;

use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use crate::activation::Activation;
use crate::columns::{Blocks, blocks, params, vectors};
use crate::error::{ShapeError, batch, length, nonzero};
use crate::level::{Level, at_least, at_most, store};
use crate::product::Finish;

pub use back::BatchNormBack;
pub(crate) use moments::Moments;

/// Rows that one task works on.
const ROWS: usize = 256;

/// Batch normalisation over the last axis, `y = gamma · (x - mean) / √(variance + epsilon) + beta`, and an activation of it.
///
/// `x` and `y` are `[rows, channels]`, where a row is a pixel of an image of the batch, or an example. The variance is
/// that of the batch, `Σ (x - mean)² / rows`, as in Keras.
#[derive(Debug, Clone, Copy)]
pub struct BatchNorm {
    channels: usize,
    epsilon: f32,
    /// Those that the activation holds its value between.
    bounds: (f32, f32),
    level: Level,
}

/// The weights of a batch normalisation, one value per channel; no `gamma` is 1, no `beta` is 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct ScaleShift<'a> {
    /// The scale.
    pub gamma: Option<&'a [f32]>,
    /// The offset.
    pub beta: Option<&'a [f32]>,
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
            bounds: Finish::NONE.bounds,
            level: Level::default(),
        })
    }

    /// The same with an activation of what is normalised, if that only holds the value between bounds.
    pub fn with_activation(self, activation: Activation) -> Option<Self> {
        let bounds = activation.bounds()?;
        Some(Self { bounds, ..self })
    }

    /// The same normalisation on another instruction set.
    pub fn with_level(self, level: Level) -> Self {
        Self { level, ..self }
    }

    /// Fills `moments`, the means and then the variances of the channels, from `x`.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn moments(&self, x: &[f32], moments: &mut [f32]) -> Result<(), ShapeError> {
        self.check(x.len(), ScaleShift::default(), moments.len())?;
        let parts: Vec<_> = x
            .par_chunks(ROWS * self.channels)
            .map(|x| self.part(x))
            .collect();
        self.join(&parts, moments);
        Ok(())
    }

    /// The moments of some rows.
    pub(crate) fn part(&self, x: &[f32]) -> Moments {
        Moments::of(self.level, x, self.channels)
    }

    /// Fills `moments` from those of all parts of the rows, in their order.
    pub(crate) fn join(&self, parts: &[Moments], moments: &mut [f32]) {
        let (mean, variance) = moments.split_at_mut(self.channels);
        Moments::join(parts, mean, variance);
    }

    /// Fills `y` from `x` and its moments, from the last row to the first: the last of `x` are the likeliest to be in the
    /// cache still, and who reads `y` begins with what was written last.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn normalize(
        &self,
        x: &[f32],
        weights: ScaleShift,
        moments: &[f32],
        y: &mut [f32],
    ) -> Result<(), ShapeError> {
        self.check(x.len(), weights, moments.len())?;
        length("the output", y.len(), x.len())?;
        let (mean, variance) = moments.split_at(self.channels);
        let factors = self.factors(variance, weights.gamma);
        let part = ROWS * self.channels;
        y.par_chunks_mut(part)
            .zip(x.par_chunks(part))
            .rev()
            .for_each(|(y, x)| {
                self.level.run(Normalize {
                    x,
                    mean,
                    factors: &factors,
                    beta: weights.beta.unwrap_or_default(),
                    bounds: self.bounds,
                    y,
                });
            });
        Ok(())
    }

    pub(crate) fn check(
        &self,
        x: usize,
        weights: ScaleShift,
        moments: usize,
    ) -> Result<(), ShapeError> {
        batch("the input", x, self.channels)?;
        length("the moments", moments, 2 * self.channels)?;
        for (what, weight) in [("gamma", weights.gamma), ("beta", weights.beta)] {
            if let Some(weight) = weight {
                length(what, weight.len(), self.channels)?;
            }
        }
        Ok(())
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

struct Normalize<'a> {
    x: &'a [f32],
    mean: &'a [f32],
    factors: &'a [f32],
    /// Or nothing.
    beta: &'a [f32],
    bounds: (f32, f32),
    y: &'a mut [f32],
}

impl WithSimd for Normalize<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let (values, channels) = (self.x.len(), self.mean.len());
        blocks(simd, values, channels, &mut self);
    }
}

impl Blocks for Normalize<'_> {
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
        let (low, high) = (
            simd.splat_f32s(self.bounds.0),
            simd.splat_f32s(self.bounds.1),
        );
        let rows = self.x[begin..end].chunks_exact(channels);
        for (y, x) in self.y[begin..end].chunks_exact_mut(channels).zip(rows) {
            let x = vectors::<S, V>(simd, &x[columns.0..columns.1]);
            let y = y[columns.0..columns.1].chunks_mut(S::F32_LANES);
            for (v, y) in y.enumerate().take(V) {
                let centred = simd.sub_f32s(x[v], mean[v]);
                let value = simd.mul_add_e_f32s(centred, factors[v], beta[v]);
                store(simd, y, at_most(simd, at_least(simd, value, low), high));
            }
        }
    }
}
