//! The history of a training run: `history.json`, one entry per epoch in Keras' words.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::EvaluationError;

/// The epochs of a training run, in order. Every figure in it is finite.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct History {
    epochs: Vec<Epoch>,
}

/// What one epoch came to.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Epoch {
    /// The epoch's number, from 1.
    pub epoch: u32,
    /// Mean loss over the training images, as seen while training.
    pub loss: f64,
    /// Accuracy over the training images, 0..1, as seen while training.
    pub accuracy: f64,
    /// Mean loss over the validation images; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_loss: Option<f64>,
    /// Accuracy over the validation images, 0..1; absent without any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub val_accuracy: Option<f64>,
    /// The learning rate at the end of the epoch.
    pub learning_rate: f64,
    /// How long the epoch took, validation included, in seconds.
    pub seconds: f64,
    /// Training images per second, validation not included.
    pub images_per_second: f64,
}

impl History {
    /// Adds the epoch that has just ended.
    ///
    /// # Errors
    ///
    /// [`EvaluationError::NonFiniteMetric`] for a NaN or infinite figure: JSON has no word for it, and a run that
    /// reached one has diverged.
    pub fn push(&mut self, epoch: Epoch) -> Result<(), EvaluationError> {
        let figures = [
            ("loss", Some(epoch.loss)),
            ("accuracy", Some(epoch.accuracy)),
            ("val_loss", epoch.val_loss),
            ("val_accuracy", epoch.val_accuracy),
            ("learning_rate", Some(epoch.learning_rate)),
            ("seconds", Some(epoch.seconds)),
            ("images_per_second", Some(epoch.images_per_second)),
        ];
        for (metric, value) in figures {
            if let Some(found) = value.filter(|value| !value.is_finite()) {
                return Err(EvaluationError::NonFiniteMetric {
                    epoch: epoch.epoch,
                    metric,
                    found,
                });
            }
        }
        self.epochs.push(epoch);
        Ok(())
    }

    /// The epochs so far, in order.
    pub fn epochs(&self) -> &[Epoch] {
        &self.epochs
    }
}
