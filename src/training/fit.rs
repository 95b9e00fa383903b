//! What Keras' `fit` fixes: batches, epochs, shuffling, early stopping.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The settings of Keras' `fit`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Fit {
    /// Images per step.
    #[schema(example = 128, minimum = 1, maximum = 65536)]
    pub batch_size: usize,
    /// Passes over the training images.
    #[schema(example = 5, minimum = 1, maximum = 10000)]
    pub epochs: usize,
    /// Whether the order of the images is drawn anew for each epoch.
    pub shuffle: bool,
    /// Stop when a figure no longer improves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStopping>,
}

impl Default for Fit {
    fn default() -> Self {
        Self {
            batch_size: 32,
            epochs: 1,
            shuffle: true,
            early_stopping: None,
        }
    }
}

/// Keras' `EarlyStopping` callback.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// The figure that is watched.
    pub monitor: Monitor,
    /// Epochs without improvement that are borne.
    #[schema(example = 3)]
    pub patience: usize,
    /// The least change that counts as an improvement.
    pub min_delta: f64,
    /// Whether the weights of the best epoch are kept, rather than those of the last.
    pub restore_best_weights: bool,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self {
            monitor: Monitor::ValLoss,
            patience: 0,
            min_delta: 0.0,
            restore_best_weights: false,
        }
    }
}

/// A figure of an epoch that early stopping can watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Monitor {
    Loss,
    Accuracy,
    ValLoss,
    ValAccuracy,
}

impl Monitor {
    /// Whether a greater value is better.
    pub fn is_greater_better(self) -> bool {
        matches!(self, Self::Accuracy | Self::ValAccuracy)
    }

    /// Whether the figure needs validation images.
    pub fn needs_validation(self) -> bool {
        matches!(self, Self::ValLoss | Self::ValAccuracy)
    }
}

impl Fit {
    /// Checks the ranges.
    ///
    /// # Errors
    ///
    /// A sentence that names the field, what was found and what is allowed.
    pub fn check(&self, has_validation: bool) -> Result<(), String> {
        if !(1..=65_536).contains(&self.batch_size) {
            return Err(format!(
                "fit: \"batch_size\" is {}; allowed: 1 to 65536",
                self.batch_size
            ));
        }
        if !(1..=10_000).contains(&self.epochs) {
            return Err(format!(
                "fit: \"epochs\" is {}; allowed: 1 to 10000",
                self.epochs
            ));
        }
        if let Some(stopping) = &self.early_stopping {
            if stopping.monitor.needs_validation() && !has_validation {
                return Err(
                    "fit: \"early_stopping\" watches a validation figure, but \"validation_split\" \
                     is 0; set \"validation_split\" above 0, or \"monitor\" to \"loss\" or \
                     \"accuracy\""
                        .into(),
                );
            }
            if !(stopping.min_delta.is_finite() && stopping.min_delta >= 0.0) {
                return Err(format!(
                    "fit: \"early_stopping.min_delta\" is {}; allowed: a number of at least 0",
                    stopping.min_delta
                ));
            }
        }
        Ok(())
    }
}

/// Watches one figure over the epochs.
#[derive(Debug)]
pub(super) struct Watch {
    settings: EarlyStopping,
    best: Option<f64>,
    since_best: usize,
}

impl Watch {
    pub(super) fn new(settings: EarlyStopping) -> Self {
        Self {
            settings,
            best: None,
            since_best: 0,
        }
    }

    /// The figure that is watched.
    pub(super) fn monitor(&self) -> Monitor {
        self.settings.monitor
    }

    /// Whether the best weights are to be kept.
    pub(super) fn keeps_best(&self) -> bool {
        self.settings.restore_best_weights
    }

    /// Takes in the figure of an epoch and says whether it is the best yet, and whether to stop.
    pub(super) fn observe(&mut self, value: f64) -> (bool, bool) {
        let improved = match self.best {
            None => value.is_finite(),
            Some(best) if self.settings.monitor.is_greater_better() => {
                value - self.settings.min_delta > best
            }
            Some(best) => value + self.settings.min_delta < best,
        };
        if improved {
            self.best = Some(value);
            self.since_best = 0;
        } else {
            self.since_best += 1;
        }
        (improved, self.since_best >= self.settings.patience.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_counts_the_epochs_without_improvement() {
        let mut watch = Watch::new(EarlyStopping {
            patience: 2,
            ..Default::default()
        });
        let observed: Vec<_> = [1.0, 0.5, 0.6, 0.4, 0.4, 0.5]
            .map(|v| watch.observe(v))
            .to_vec();
        assert_eq!(
            observed,
            [
                (true, false),
                (true, false),
                (false, false),
                (true, false),
                (false, false),
                (false, true)
            ]
        );
    }

    #[test]
    fn accuracy_is_to_grow_by_more_than_min_delta() {
        let mut watch = Watch::new(EarlyStopping {
            monitor: Monitor::ValAccuracy,
            min_delta: 0.1,
            ..Default::default()
        });
        assert_eq!(watch.observe(0.5), (true, false));
        assert_eq!(watch.observe(0.55), (false, true));
    }

    #[test]
    fn a_validation_figure_needs_validation_images() {
        let fit = Fit {
            early_stopping: Some(EarlyStopping::default()),
            ..Default::default()
        };
        assert!(fit.check(false).unwrap_err().contains("validation_split"));
        assert!(fit.check(true).is_ok());
        let none = Fit {
            batch_size: 0,
            ..Default::default()
        };
        assert!(none.check(true).unwrap_err().contains("batch_size"));
    }
}
