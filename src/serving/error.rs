//! Why a prediction is not made.

use std::time::Duration;

use crate::imaging::ImagingError;
use crate::repository::RepositoryError;

/// A refusal of the serving path.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ServingError {
    #[error("there is no model \"{model}\"; {}", known(models))]
    ModelNotFound { model: String, models: Vec<String> },
    #[error(
        "model \"{model}\" has no version {version} that can be served; GET /models/{model} lists its versions"
    )]
    VersionNotFound { model: String, version: u64 },
    #[error("model \"{model}\" can't be served: {reason}")]
    ModelUnavailable { model: String, reason: String },
    #[error(
        "model \"{model}\" was unloaded; POST /v2/repository/models/{model}/load loads it again"
    )]
    ModelUnloaded { model: String },
    #[error(
        "no model is named and none is the default; POST to /models/{{model}}/predict; {}",
        known(models)
    )]
    ModelRequired { models: Vec<String> },
    #[error(
        "no image was sent; send the file as the body, as multipart/form-data, or as JSON {{\"images\": [{{\"b64\": \"…\"}}]}}"
    )]
    NoImage,
    #[error(
        "{found} images in one request; at most {allowed} are allowed, so send them in several"
    )]
    TooManyImages { found: usize, allowed: usize },
    #[error("image {}: {error}", index + 1)]
    Image { index: usize, error: ImagingError },
    #[error(
        "image {} has {found} values; the network reads {expected}",
        index + 1
    )]
    Tensor {
        index: usize,
        found: usize,
        expected: usize,
    },
    #[error(
        "the queue is full and has no room for {images} more images (it holds {capacity} of each model, and so many of all as --queue-bytes allows); try again in {} seconds",
        retry_after.as_secs()
    )]
    QueueFull {
        images: usize,
        capacity: usize,
        /// How long it will take to answer what is before this request.
        retry_after: Duration,
    },
    #[error(
        "no answer within the time that a request may take (--request-timeout, from its arrival); send fewer images, or try again when the server is less busy"
    )]
    DeadlineExceeded,
    #[error(
        "version {version} of model \"{model}\" needs {bytes} bytes of memory; {taken} of the {allowed} that --max-loaded-bytes allows are taken by what is served or being loaded"
    )]
    NoRoom {
        model: String,
        version: u64,
        bytes: u64,
        taken: u64,
        allowed: u64,
    },
    #[error("the server is shutting down; send the request to another one")]
    Draining,
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// Nothing that the client can change; what happened is in the log.
    #[error("the server failed while {0}")]
    Internal(&'static str),
}

impl ServingError {
    /// The stable code of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ModelNotFound { .. } => "model_not_found",
            Self::VersionNotFound { .. } => "version_not_found",
            Self::ModelUnavailable { .. } => "model_unavailable",
            Self::ModelUnloaded { .. } => "model_unloaded",
            Self::ModelRequired { .. } => "model_required",
            Self::NoImage => "no_image",
            Self::TooManyImages { .. } => "too_many_images",
            Self::Image { error, .. } => error.code(),
            Self::Tensor { .. } => "invalid_tensor",
            Self::QueueFull { .. } => "queue_full",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::NoRoom { .. } => "no_room_to_load",
            Self::Draining => "draining",
            Self::Repository(error) => error.code(),
            Self::Internal(_) => "internal",
        }
    }
}

fn known(models: &[String]) -> String {
    if models.is_empty() {
        "no model is there yet: train one (POST /admin/models/{model}/train) or import one".into()
    } else {
        format!("there are: {}", models.join(", "))
    }
}
