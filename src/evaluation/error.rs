//! The refusals of this module, each with a stable code.

use super::{MAX_CLASSES, MAX_DRAWN_CLASSES};

/// Why scores could not be counted, or a report could not be drawn.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluationError {
    /// The list of labels is empty or too long.
    #[error(
        "the model has {found} class labels; an evaluation needs 1 to {MAX_CLASSES}: check the labels in card.json"
    )]
    ClassCount {
        /// How many labels were given.
        found: usize,
    },

    /// The number of scores is not images × classes.
    #[error(
        "{scores} scores came for {images} images and {classes} classes; each image needs {classes} scores \
         (a single sigmoid score is allowed with 2 classes): make the model's last layer match its labels"
    )]
    ScoreCount {
        /// How many scores were given.
        scores: usize,
        /// How many images were given.
        images: usize,
        /// How many labels the model has.
        classes: usize,
    },

    /// A true class is not one of the labels.
    #[error(
        "an image's true class is number {found}, but the model has {classes} classes, numbered from 0: \
         evaluate on a data set with the same classes as the model"
    )]
    TruthOutOfRange {
        /// The class number found.
        found: u32,
        /// How many labels the model has.
        classes: usize,
    },

    /// There was nothing to evaluate.
    #[error(
        "no image was evaluated; at least 1 is needed: choose a part of the data set that holds images"
    )]
    NoImages,

    /// An epoch's figure is NaN or infinite.
    #[error(
        "{metric} of epoch {epoch} is {found}, not a finite number: lower the learning rate, \
         or check that the pixels are scaled to about 0..1"
    )]
    NonFiniteMetric {
        /// The epoch's number.
        epoch: u32,
        /// The figure's name, as in `history.json`.
        metric: &'static str,
        /// What it was: `NaN`, `inf` or `-inf`.
        found: f64,
    },

    /// A history without epochs has no curve.
    #[error(
        "the history has no epochs, so there is nothing to draw; it needs at least 1: train for an epoch first"
    )]
    NoEpochs,

    /// The confusion matrix is too large for a picture.
    #[error(
        "a picture of {found} classes would not be readable; at most {MAX_DRAWN_CLASSES} are drawn: \
         read confusion_matrix in the evaluation's JSON instead"
    )]
    TooManyClassesToDraw {
        /// How many classes the evaluation has.
        found: usize,
    },

    /// A report that was read from elsewhere contradicts itself.
    #[error(
        "the confusion matrix is not square over the {classes} classes of the evaluation: \
         evaluate the model again"
    )]
    ConfusionMatrixShape {
        /// How many classes the evaluation lists.
        classes: usize,
    },

    /// The drawing library failed.
    #[error("the picture could not be drawn: {0}")]
    Drawing(String),
}

impl EvaluationError {
    /// The stable, machine-readable name of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ClassCount { .. } => "class_count",
            Self::ScoreCount { .. } => "score_count",
            Self::TruthOutOfRange { .. } => "truth_out_of_range",
            Self::NoImages => "no_images",
            Self::NonFiniteMetric { .. } => "non_finite_metric",
            Self::NoEpochs => "no_epochs",
            Self::TooManyClassesToDraw { .. } => "too_many_classes_to_draw",
            Self::ConfusionMatrixShape { .. } => "confusion_matrix_shape",
            Self::Drawing(_) => "drawing_failed",
        }
    }
}
