//! Why a training or an evaluation can't be done.

use crate::architecture::ArchitectureError;
use crate::dataset::DatasetError;
use crate::evaluation::EvaluationError;
use crate::imaging::PreprocessingError;
use crate::network::ParametersError;
use crate::repository::RepositoryError;

use super::CompileError;

/// A refusal or a failure of training.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TrainingError {
    #[error(transparent)]
    Architecture(#[from] ArchitectureError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    #[error(transparent)]
    Parameters(#[from] ParametersError),
    #[error("preprocessing: {0}")]
    Preprocessing(#[from] PreprocessingError),
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    #[error(transparent)]
    Evaluation(#[from] EvaluationError),
    #[error("{0}")]
    Setting(String),
    #[error(
        "the request has no \"architecture\", and model \"{model}\" has no version yet to take it from; send what Keras' to_json() writes, or {{\"layers\": […]}}"
    )]
    NoArchitecture { model: String },
    #[error(
        "the network takes {found}; images need the shape (height, width, channels) with 1 or 3 channels, e.g. \"input_shape\": [28, 28, 1]"
    )]
    NotAnImage { found: String },
    #[error(
        "the network's output has the shape {found}; a classifier ends in one axis of scores, e.g. with Flatten or GlobalAveragePooling2D and then Dense"
    )]
    NotAClassifier { found: String },
    #[error(
        "layer \"{layer}\" is a {class_name}, which changes images at random in training; that is not supported yet (it is passed through in prediction), so take the layer out"
    )]
    Augmentation {
        layer: String,
        class_name: &'static str,
    },
    #[error("the data set has {classes} classes ({}), but the output layer has {outputs} {}; {advice}", list(labels), if *outputs == 1 { "unit" } else { "units" })]
    LabelsMismatch {
        classes: usize,
        labels: Vec<String>,
        outputs: usize,
        advice: String,
    },
    #[error(
        "the data set's classes ({}) are not the model's labels ({})",
        list(found),
        list(expected)
    )]
    OtherLabels {
        found: Vec<String>,
        expected: Vec<String>,
    },
    #[error("the data set has no \"{part}\" part; it has: {has}")]
    NoSuchPart { part: String, has: &'static str },
    #[error(
        "the loss became {loss} in epoch {epoch}, step {step}; nothing was published. Lower the learning rate (it is {learning_rate}), or check the preprocessing: inputs should be around -1 to 1"
    )]
    LossNotFinite {
        epoch: usize,
        step: usize,
        loss: f64,
        learning_rate: f64,
    },
    #[error("cancelled")]
    Cancelled,
}

impl TrainingError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Architecture(error) => error.code(),
            Self::Compile(_) => "invalid_compile",
            Self::Dataset(error) => error.code(),
            Self::Parameters(error) => error.code(),
            Self::Preprocessing(error) => error.code(),
            Self::Repository(error) => error.code(),
            Self::Evaluation(error) => error.code(),
            Self::Setting(_) => "invalid_setting",
            Self::NoArchitecture { .. } => "architecture_required",
            Self::NotAnImage { .. } => "input_not_an_image",
            Self::NotAClassifier { .. } => "not_a_classifier",
            Self::Augmentation { .. } => "augmentation_not_supported",
            Self::LabelsMismatch { .. } | Self::OtherLabels { .. } => "labels_mismatch",
            Self::NoSuchPart { .. } => "dataset_part_not_found",
            Self::LossNotFinite { .. } => "loss_not_finite",
            Self::Cancelled => "cancelled",
        }
    }
}

/// The first few of many names.
fn list(names: &[String]) -> String {
    const SHOWN: usize = 8;
    let mut shown = names[..names.len().min(SHOWN)].join(", ");
    if names.len() > SHOWN {
        shown.push_str(", …");
    }
    shown
}
