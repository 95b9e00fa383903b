//! `POST /v2/models/…/infer`: from tensors or image files to scores or classes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use super::request::{self, Document};
use super::response::{InferResponse, respond};
use crate::http::docs::BinaryBody;
use crate::http::extract::Path;
use crate::http::models::{OfModel, OfVersion, servable};
use crate::http::predict::{score, timed};
use crate::http::problem::{Problem, refusals};
use crate::http::protocols;
use crate::http::state::AppState;
use crate::serving::Servable;

refusals!(Refusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "version_broken", "no_room_to_load", "model_unavailable",
    "model_unloaded", "invalid_json", "invalid_request", "invalid_tensor", "not_implemented", "no_image", "too_many_images",
    "image_empty", "image_unrecognised", "image_too_large", "image_too_many_pixels", "image_too_much_memory",
    "image_too_many_scans", "image_truncated", "image_corrupt", "image_unsupported", "body_incomplete", "request_timeout",
    "payload_too_large", "unsupported_media_type", "queue_full", "bodies_full", "deadline_exceeded",
);

/// Infer
///
/// The input is a tensor that is preprocessed already, of any numeric type, or image files as `BYTES`, which the server
/// decodes and preprocesses. With the header `Inference-Header-Content-Length` the body is that many bytes of JSON and then
/// the tensor, little-endian; with 0 it is nothing but one `FP32` tensor for a batch of 1. The answer holds the network's
/// own scores, or with `classification` labels and their probabilities.
#[utoipa::path(
    post, path = "/v2/models/{model}/infer", tag = "v2", operation_id = "v2_infer",
    params(OfModel, ("Inference-Header-Content-Length" = Option<u64>, Header, description = "How many bytes of the body are JSON; without it all of them.")),
    request_body(content((Document = "application/json"), (BinaryBody = "application/octet-stream"))),
    responses(
        (status = 200, description = "What the network gives.", content((InferResponse = "application/json"), (BinaryBody = "application/octet-stream")), headers(
            ("Inference-Header-Content-Length" = Option<u64>, description = "How many bytes of the answer are JSON; absent where all of them are."),
            ("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."),
        )),
        Refusals,
    ),
)]
pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    request: Request,
) -> Result<Response, Problem> {
    let servable = state.models.get(&model)?;
    infer(&state, servable, request).await
}

/// Infer with a version
///
/// As for the model, with exactly this version. One that is not being served is loaded first.
#[utoipa::path(
    post, path = "/v2/models/{model}/versions/{version}/infer", tag = "v2", operation_id = "v2_infer_with_version",
    params(OfVersion, ("Inference-Header-Content-Length" = Option<u64>, Header, description = "How many bytes of the body are JSON; without it all of them.")),
    request_body(content((Document = "application/json"), (BinaryBody = "application/octet-stream"))),
    responses(
        (status = 200, description = "What the network gives.", content((InferResponse = "application/json"), (BinaryBody = "application/octet-stream")), headers(
            ("Inference-Header-Content-Length" = Option<u64>, description = "How many bytes of the answer are JSON; absent where all of them are."),
            ("server-timing" = String, description = "Milliseconds for decoding, waiting and computing, of the slowest image."),
        )),
        Refusals,
    ),
)]
pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
    request: Request,
) -> Result<Response, Problem> {
    let servable = servable(&state, model, version).await?;
    infer(&state, servable, request).await
}

async fn infer(
    state: &AppState,
    servable: Arc<Servable>,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let most = state.most_images();
    let reader = Arc::clone(&servable);
    let mut request = protocols::read(state, request, move |body| {
        request::read(&headers, body, &reader, most)
    })
    .await?;
    let scored = score(state, &servable, std::mem::take(&mut request.inputs)).await?;
    Ok(timed(respond(&servable, &request, &scored), &scored))
}
