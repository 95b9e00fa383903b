//! The report of an evaluation: `evaluation.json`, and the answer of the evaluation routes.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a model's scores were worth on one part of a data set.
///
/// Every ratio is in 0..1. A ratio whose denominator is zero (the precision of a class that was never predicted, the
/// recall of a class without images) is 0, as scikit-learn's `zero_division=0`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Evaluation {
    /// How many images were evaluated.
    pub images: u64,
    /// Mean loss per image; null when it was not a finite number.
    pub loss: Option<f64>,
    /// Share of the images whose highest score is their true class; among equal scores the first class wins.
    pub accuracy: f64,
    /// Share of the images whose true class is among the five highest scores (among all of them when the model has
    /// fewer than five classes).
    pub top_5_accuracy: f64,
    /// Images with a NaN or infinite score. They have no prediction: they are wrong, they count in their class's
    /// support and recall, and they appear in no column of the confusion matrix and no calibration bin.
    #[serde(default)]
    pub non_finite: u64,
    /// Mean over the classes, each counting the same, those without images included.
    pub macro_average: Average,
    /// Mean over the classes, each counting by its support.
    pub weighted_average: Average,
    /// One entry per class, in the order of the model's labels.
    pub classes: Vec<ClassReport>,
    /// Counts of images: a row per true class, a column per predicted class, both in the order of `classes`.
    pub confusion_matrix: Vec<Vec<u64>>,
    /// How far the scores can be read as probabilities.
    pub calibration: Calibration,
    /// What was evaluated on, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetPart>,
    /// When the evaluation ended, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub evaluated_at: Timestamp,
    /// How long the evaluation took, in seconds.
    pub duration_seconds: f64,
}

/// Precision, recall and F1, averaged over the classes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Average {
    /// Mean precision.
    pub precision: f64,
    /// Mean recall.
    pub recall: f64,
    /// Mean of the classes' F1 (not the F1 of the means).
    pub f1: f64,
}

/// One class: how well it is found, and how far its predictions can be believed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClassReport {
    /// The class's label.
    pub label: String,
    /// Of the images predicted as this class, the share that is of it.
    pub precision: f64,
    /// Of the images of this class, the share that was predicted as it.
    pub recall: f64,
    /// Harmonic mean of precision and recall: 2·TP / (predicted + support).
    pub f1: f64,
    /// How many images are of this class.
    pub support: u64,
}

/// Calibration as in Guo et al., "On Calibration of Modern Neural Networks" (2017): predictions are binned by their
/// confidence (the highest score), and in each bin the mean confidence is compared with the accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Calibration {
    /// |accuracy − confidence| of the bins, averaged by their count (ECE). 0 is perfect.
    pub expected_calibration_error: f64,
    /// The largest |accuracy − confidence| of any bin (MCE).
    pub maximum_calibration_error: f64,
    /// 15 bins of equal width from 0 to 1.
    pub bins: Vec<CalibrationBin>,
}

/// The predictions whose confidence lies in `(lower, upper]`; a confidence of 0 is in the first bin.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CalibrationBin {
    /// Lower edge, not part of the bin.
    pub lower: f64,
    /// Upper edge, part of the bin.
    pub upper: f64,
    /// How many predictions fell in the bin.
    pub count: u64,
    /// Their mean confidence; null when there are none.
    pub confidence: Option<f64>,
    /// The share of them that was right; null when there are none.
    pub accuracy: Option<f64>,
}

/// The images that an evaluation was made on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DatasetPart {
    /// The data set's name.
    pub name: String,
    /// The data set's digest.
    pub digest: String,
    /// Which part of it: `test`, `validation`, …
    pub part: String,
}
