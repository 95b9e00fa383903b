//! `POST /v1/models/…:predict`, `:classify` and `:regress`: from images to scores or labels.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::request::{self, ClassifyRequest, Format, PredictRequest};
use super::{OfLabel, labelled};
use crate::http::extract::Path;
use crate::http::models::{OfModel, servable};
use crate::http::predict::{score, timed};
use crate::http::problem::{Problem, refusals};
use crate::http::protocols;
use crate::http::state::AppState;
use crate::http::tensors::tokens;
use crate::serving::{Scored, Servable};

/// What a request asks for.
#[derive(Clone, Copy)]
pub(super) enum Verb {
    Predict,
    Classify,
    Regress,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::Classify => "classify",
            Self::Regress => "regress",
        }
    }

    /// Splits the verb from the end of a path.
    pub(super) fn split(path: &str) -> Result<(&str, Self), Problem> {
        match path.rsplit_once(':') {
            Some((address, "predict")) => Ok((address, Self::Predict)),
            Some((address, "classify")) => Ok((address, Self::Classify)),
            Some((address, "regress")) => Ok((address, Self::Regress)),
            _ => Err(Problem::new(
                "invalid_path",
                "POST needs :predict or :classify at the end of the path",
            )),
        }
    }

    async fn answer(
        self,
        state: &AppState,
        servable: Arc<Servable>,
        request: Request,
    ) -> Result<Response, Problem> {
        match self {
            Self::Predict => predict(state, servable, request).await,
            Self::Classify => classify(state, servable, request).await,
            Self::Regress => Err(Problem::new(
                "not_implemented",
                "the models are classifiers, which have nothing to regress; ask for :predict or :classify",
            )),
        }
    }
}

/// A version with the verb behind it, in a path.
#[derive(Deserialize)]
pub(super) struct WithVerb {
    model: String,
    version: String,
}

pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    request: Request,
) -> Result<Response, Problem> {
    let (model, verb) = Verb::split(&model)?;
    let servable = state.models.get(model)?;
    verb.answer(&state, servable, request).await
}

pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(WithVerb { model, version }): Path<WithVerb>,
    request: Request,
) -> Result<Response, Problem> {
    let (version, verb) = Verb::split(&version)?;
    let number = version.parse().map_err(|_| {
        Problem::new(
            "invalid_path",
            format!("\"{version}\" is no number of a version"),
        )
    })?;
    let servable = servable(&state, model, number).await?;
    verb.answer(&state, servable, request).await
}

pub(super) async fn of_label(
    State(state): State<AppState>,
    Path(OfLabel { model, label }): Path<OfLabel>,
    request: Request,
) -> Result<Response, Problem> {
    let (label, verb) = Verb::split(&label)?;
    let servable = labelled(&state, model, label.to_owned()).await?;
    verb.answer(&state, servable, request).await
}

/// The scores of the images.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer, which is written by hand")]
struct PredictResponse {
    /// Of a request with `instances`: the network's own scores for each image, as Keras' `predict` gives them. One that is
    /// no number is written `NaN`.
    #[schema(example = json!([[0.25, 0.75]]))]
    predictions: Option<Vec<Vec<f32>>>,
    /// The same of a request with `inputs`.
    outputs: Option<Vec<Vec<f32>>>,
}

/// The labels of the images.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes the answer, which is written by hand")]
struct ClassifyResponse {
    /// For each image all labels with their probabilities, the most probable first.
    #[schema(value_type = Vec<Vec<Vec<serde_json::Value>>>, example = json!([[["7", 0.9987], ["3", 0.0009]]]))]
    results: Vec<Vec<(String, f32)>>,
}

refusals!(Refusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "alias_not_found", "aliases_unreadable",
    "version_broken", "no_room_to_load", "model_unavailable", "model_unloaded", "invalid_json", "invalid_request", "invalid_tensor", "no_image",
    "too_many_images", "image_empty", "image_unrecognised", "image_too_large", "image_too_many_pixels",
    "image_too_much_memory", "image_too_many_scans", "image_truncated", "image_corrupt", "image_unsupported",
    "body_incomplete", "request_timeout", "payload_too_large", "unsupported_media_type", "queue_full", "bodies_full", "deadline_exceeded",
);

/// Predict
///
/// Images are tensors that are preprocessed already, or files in base64, which the server decodes and preprocesses.
#[utoipa::path(
    post, path = "/v1/models/{model}:predict", tag = "v1", operation_id = "v1_predict",
    request_body = PredictRequest,
    responses(
        (status = 200, description = "What the network gives.", body = PredictResponse,
            headers(("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."))),
        Refusals,
    ),
)]
pub(super) async fn predict(
    state: &AppState,
    servable: Arc<Servable>,
    request: Request,
) -> Result<Response, Problem> {
    let most = state.most_images();
    let reader = Arc::clone(&servable);
    let (inputs, format) = protocols::read(state, request, move |body| {
        request::predict(body, &reader, most)
    })
    .await?;
    let scored = score(state, &servable, inputs).await?;
    let member = match format {
        Format::Rows => "predictions",
        Format::Columns => "outputs",
    };
    Ok(answer(member, &scored, |scored, json| {
        tokens::write(&scored.scores, json);
    }))
}

/// Classify
///
/// As predict, with labels and probabilities for an answer.
#[utoipa::path(
    post, path = "/v1/models/{model}:classify", tag = "v1", operation_id = "v1_classify",
    request_body = ClassifyRequest,
    responses(
        (status = 200, description = "What the images show.", body = ClassifyResponse,
            headers(("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."))),
        Refusals,
    ),
)]
pub(super) async fn classify(
    state: &AppState,
    servable: Arc<Servable>,
    request: Request,
) -> Result<Response, Problem> {
    let most = state.most_images();
    let reader = Arc::clone(&servable);
    let inputs = protocols::read(state, request, move |body| {
        request::classify(body, &reader, most)
    })
    .await?;
    let scored = score(state, &servable, inputs).await?;
    Ok(answer("results", &scored, |scored, json| {
        let prediction = servable.prediction(&scored.scores, usize::MAX);
        let all = prediction.map_or_else(Vec::new, |prediction| prediction.top);
        tokens::write_list(all, json, |class, json| {
            json.push('[');
            json.push_str(&json!(class.label).to_string());
            json.push(',');
            tokens::write_number(class.probability, json);
            json.push(']');
        });
    }))
}

/// An object whose one member lists what `write` writes of each image.
fn answer(member: &str, scored: &[Scored], write: impl Fn(&Scored, &mut String)) -> Response {
    let mut json = format!("{{\"{member}\":");
    tokens::write_list(scored, &mut json, write);
    json.push('}');
    let response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    timed(response, scored)
}
