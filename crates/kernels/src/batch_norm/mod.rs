//! Batch normalisation while training: by the mean and variance of the batch itself.
mod back;
mod moments;
mod normalizer;

use rayon::prelude::*;

use crate::activation::Activation;
use crate::error::{ShapeError, batch, length, nonzero};
use crate::level::Level;
use crate::product::Finish;

pub use back::BatchNormBack;
pub(crate) use moments::Moments;
pub use normalizer::Normalizer;

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
        self.check(x.len(), moments.len())?;
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

    /// The normalisation by these moments.
    ///
    /// # Errors
    ///
    /// [`ShapeError::Length`] if a slice doesn't have the length that the shape gives it.
    pub fn normalizer(
        &self,
        weights: ScaleShift,
        moments: &[f32],
    ) -> Result<Normalizer, ShapeError> {
        length("the moments", moments.len(), 2 * self.channels)?;
        for (what, weight) in [("gamma", weights.gamma), ("beta", weights.beta)] {
            if let Some(weight) = weight {
                length(what, weight.len(), self.channels)?;
            }
        }
        Ok(Normalizer::new(self, weights, moments))
    }

    pub(crate) fn check(&self, x: usize, moments: usize) -> Result<(), ShapeError> {
        batch("the input", x, self.channels)?;
        length("the moments", moments, 2 * self.channels)
    }
}
