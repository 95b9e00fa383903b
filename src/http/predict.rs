//! `POST …/predict`: from images to labels.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::arrival;
use super::docs::BinaryBody;
use super::extract::{Path, Query};
use super::images::{self, JsonImages, MultipartImages};
use super::models::{OfModel, OfVersion};
use super::problem::{Problem, refusals};
use super::state::AppState;
use crate::serving::{Input, Prediction, Scored, Servable, Timings};

const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// How predictions are to be answered.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Options {
    /// How many labels `top` lists, the most probable first. More than the model has are all.
    #[param(default = 5, minimum = 1, example = 3)]
    top_k: usize,
}

impl Default for Options {
    /// As Keras' `decode_predictions`.
    fn default() -> Self {
        Self { top_k: 5 }
    }
}

/// The answer to a prediction request.
#[derive(Serialize, ToSchema)]
pub(super) struct Predictions {
    /// The model that was asked.
    #[schema(example = "digits")]
    model: String,
    /// Its version that answered.
    #[schema(example = 1)]
    version: u64,
    /// One for each image, in the order sent.
    predictions: Vec<Prediction>,
}

refusals!(Refusals:
    "invalid_path", "invalid_query", "invalid_request", "invalid_json", "invalid_base64", "invalid_multipart",
    "body_incomplete", "no_image", "too_many_images", "image_empty", "image_unrecognised", "image_too_large",
    "image_too_many_pixels", "image_too_much_memory", "image_too_many_scans", "image_truncated", "image_corrupt",
    "image_unsupported", "payload_too_large", "unsupported_media_type", "invalid_model_name",
    "model_not_found", "model_required",
    "version_not_found", "version_broken", "no_room_to_load", "model_unavailable", "model_unloaded", "request_timeout", "queue_full", "bodies_full", "deadline_exceeded",
);

/// Predict with the default model
///
/// The images come in one of three forms: the body is an image file itself; or it is `multipart/form-data` with one or
/// many files; or it is JSON with files in base64. PNG, JPEG, WebP, GIF, BMP and TIFF are told apart by their content.
#[utoipa::path(
    post, path = "/predict", tag = "predict", operation_id = "predict",
    params(Options),
    request_body(content(
        (BinaryBody = "image/*"), (BinaryBody = "application/octet-stream"),
        (MultipartImages = "multipart/form-data"), (JsonImages = "application/json"),
    )),
    responses(
        (status = 200, description = "What the images show.", body = Predictions,
            headers(("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."))),
        Refusals,
    ),
)]
pub(super) async fn default_model(
    State(state): State<AppState>,
    Query(options): Query<Options>,
    request: Request,
) -> Result<Response, Problem> {
    let model = state.models.default_model()?;
    let servable = state.models.get(&model)?;
    predict(&state, &servable, &options, request).await
}

/// Predict with a model
///
/// As `POST /predict`, with the version of this model that is being served.
#[utoipa::path(
    post, path = "/models/{model}/predict", tag = "predict", operation_id = "predict_with_model",
    params(OfModel, Options),
    request_body(content(
        (BinaryBody = "image/*"), (BinaryBody = "application/octet-stream"),
        (MultipartImages = "multipart/form-data"), (JsonImages = "application/json"),
    )),
    responses(
        (status = 200, description = "What the images show.", body = Predictions,
            headers(("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."))),
        Refusals,
    ),
)]
pub(super) async fn model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    Query(options): Query<Options>,
    request: Request,
) -> Result<Response, Problem> {
    let servable = state.models.get(&model)?;
    predict(&state, &servable, &options, request).await
}

/// Predict with a version of a model
///
/// As `POST /predict`, with exactly this version. One that is not being served is loaded first.
#[utoipa::path(
    post, path = "/models/{model}/versions/{version}/predict", tag = "predict", operation_id = "predict_with_version",
    params(OfVersion, Options),
    request_body(content(
        (BinaryBody = "image/*"), (BinaryBody = "application/octet-stream"),
        (MultipartImages = "multipart/form-data"), (JsonImages = "application/json"),
    )),
    responses(
        (status = 200, description = "What the images show.", body = Predictions,
            headers(("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."))),
        Refusals,
    ),
)]
pub(super) async fn version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
    Query(options): Query<Options>,
    request: Request,
) -> Result<Response, Problem> {
    let servable = super::models::servable(&state, model, version).await?;
    predict(&state, &servable, &options, request).await
}

async fn predict(
    state: &AppState,
    servable: &Arc<Servable>,
    options: &Options,
    request: Request,
) -> Result<Response, Problem> {
    if options.top_k == 0 {
        return Err(Problem::new(
            "invalid_query",
            "top_k is 0; allowed: at least 1",
        ));
    }
    let images = images::read(request, state).await?;
    let (names, inputs): (Vec<_>, Vec<_>) = images
        .into_iter()
        .map(|image| (image.name, Input::Encoded(image.bytes)))
        .unzip();

    let scored = score(state, servable, inputs).await?;
    let predictions = names.into_iter().zip(&scored).map(|(name, scored)| {
        let prediction = servable.prediction(&scored.scores, options.top_k);
        prediction.map(|prediction| Prediction {
            image: name,
            ..prediction
        })
    });
    let predictions: Option<Vec<Prediction>> = predictions.collect();
    let answer = Predictions {
        model: servable.model().to_owned(),
        version: servable.version(),
        predictions: predictions
            .ok_or_else(|| Problem::internal("a model without labels was served"))?,
    };
    Ok(timed(Json(answer).into_response(), &scored))
}

/// Scores images within the time that an answer may take.
pub(super) async fn score(
    state: &AppState,
    servable: &Arc<Servable>,
    inputs: Vec<Input>,
) -> Result<Vec<Scored>, Problem> {
    let deadline = arrival::deadline(state.config.request_timeout);
    Ok(state.engine.predict(servable, inputs, deadline).await?)
}

/// The same answer with where its time went.
pub(super) fn timed(mut response: Response, scored: &[Scored]) -> Response {
    if let Ok(timing) = HeaderValue::from_str(&server_timing(scored)) {
        response.headers_mut().insert(SERVER_TIMING, timing);
    }
    response
}

/// The slowest image's times, in the form of the W3C's Server Timing.
fn server_timing(scored: &[Scored]) -> String {
    let slowest = Timings::slowest(scored);
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    format!(
        "decode;dur={:.3}, queue;dur={:.3}, compute;dur={:.3}",
        milliseconds(slowest.decode),
        milliseconds(slowest.queue),
        milliseconds(slowest.compute),
    )
}
