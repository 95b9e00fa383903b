//! `POST /admin/models/{model}/versions`: a model that was made elsewhere becomes a version.

use axum::Json;
use axum::body::Bytes;
use axum::extract::multipart::Field;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::docs::BinaryBody;
use crate::http::extract::{
    Path, Query, check_declared_length, media_type, parse_json, too_large, too_slow,
};
use crate::http::images::multipart_problem;
use crate::http::models::OfModel;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::interchange::{import, import_beside};
use crate::repository::{Draft, ImportOptions, ModelName, Outputs};

/// What can be said of a model beside its file.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[derive(Default)]
pub(in crate::http) struct ImportQuery {
    /// The names of the classes in the order of the outputs, separated by commas. Without: their numbers, from 0.
    #[param(example = "0,1")]
    labels: Option<String>,
    /// What the last layer gives. Without: `probabilities` if it ends in a softmax or sigmoid, else `logits`.
    #[param(example = "probabilities")]
    outputs: Option<Outputs>,
}

/// The form of an import.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "describes the form; the parts are read one by one"
)]
pub(in crate::http) struct ImportForm {
    /// The model: `.h5`, `.keras` or `.safetensors`.
    #[schema(value_type = BinaryBody)]
    file: Bytes,
    /// The names of the classes: a JSON list, or separated by commas.
    labels: Option<String>,
    /// How images become the network's input: a JSON object, as in `card.json`.
    preprocessing: Option<String>,
    /// For a file with weights alone: what Keras' `to_json()` writes.
    architecture: Option<String>,
    /// `probabilities` or `logits`.
    outputs: Option<String>,
}

/// A version that was published.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct Published {
    /// The model.
    #[schema(example = "cats")]
    model: String,
    /// The number of its new version.
    #[schema(example = 1)]
    version: u64,
}

refusals!(ImportRefusals:
    "invalid_path", "invalid_query", "invalid_json", "invalid_request", "invalid_multipart", "body_incomplete",
    "request_timeout", "payload_too_large", "invalid_model_name", "no_file", "model_file_unrecognized", "hdf5_malformed",
    "hdf5_not_keras", "architecture_missing", "input_not_an_image", "labels_mismatch", "label_blank",
    "not_a_classifier", "weights_not_finite", "preprocessing_channels_unsupported", "preprocessing_color_mismatch",
    "preprocessing_not_finite", "preprocessing_wrong_length", "preprocessing_std_not_positive",
    "preprocessing_overflow",
);

/// Import a model
///
/// The body is a Keras `.h5` or `.keras` file, told apart by its content; or a form with the file and what should be known
/// of it. A file with weights alone (`.safetensors`, `.weights.h5`) needs the form, with its `architecture`.
#[utoipa::path(
    post, path = "/admin/models/{model}/versions", tag = "lifecycle", operation_id = "import_version",
    params(OfModel, ImportQuery),
    request_body(content((BinaryBody = "application/octet-stream"), (ImportForm = "multipart/form-data"))),
    responses(
        (status = 201, description = "It is published.", body = Published,
            headers(("location" = String, description = "Where the version is described."))),
        ImportRefusals,
    ),
)]
pub(in crate::http) async fn post(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    Query(query): Query<ImportQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let model = ModelName::try_from(model.as_str())?;
    check_declared_length(request.headers(), state.config.max_upload_bytes)?;
    let mut sent = Sent {
        options: ImportOptions {
            labels: query.labels.as_deref().map(labels).transpose()?,
            outputs: query.outputs,
            preprocessing: None,
        },
        ..Sent::default()
    };
    if media_type(request.headers()) == "multipart/form-data" {
        sent.read_form(request, &state).await?;
    } else {
        sent.file = read_file(request, &state).await?;
    }
    if sent.file.is_empty() {
        return Err(Problem::new(
            "no_file",
            "no model file was sent; send it as the body, or as the part \"file\" of a form",
        ));
    }
    let published = state
        .blocking(move |state| publish(state, &model, sent))
        .await?;
    let location = format!("/models/{}/versions/{}", published.model, published.version);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(published),
    )
        .into_response())
}

/// What was sent: the file, and what goes with it.
#[derive(Default)]
struct Sent {
    file: Vec<u8>,
    architecture: Option<serde_json::Value>,
    options: ImportOptions,
    /// Bytes of all parts so far.
    received: u64,
}

impl Sent {
    async fn read_form(&mut self, request: Request, state: &AppState) -> Result<(), Problem> {
        let timeout = state.config.body_timeout;
        let limit = state.config.max_upload_bytes;
        let mut parts = Multipart::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new("invalid_multipart", rejection.body_text()))?;
        while let Some(part) = tokio::time::timeout(timeout, parts.next_field())
            .await
            .map_err(|_| too_slow(timeout))?
            .map_err(|error| multipart_problem(&error, limit))?
        {
            self.read_part(part, state).await?;
        }
        Ok(())
    }

    async fn read_part(&mut self, mut part: Field<'_>, state: &AppState) -> Result<(), Problem> {
        let timeout = state.config.body_timeout;
        let limit = state.config.max_upload_bytes;
        let name = part.name().unwrap_or_default().to_owned();
        let mut content = Vec::new();
        while let Some(piece) = tokio::time::timeout(timeout, part.chunk())
            .await
            .map_err(|_| too_slow(timeout))?
            .map_err(|error| multipart_problem(&error, limit))?
        {
            self.received = self.received.saturating_add(piece.len() as u64);
            if self.received > limit {
                return Err(too_large(limit));
            }
            content.extend_from_slice(&piece);
        }
        match name.as_str() {
            "file" => self.file = content,
            "labels" => self.options.labels = Some(labels(&text(&name, content)?)?),
            "preprocessing" => self.options.preprocessing = Some(parse_json(&content)?),
            "architecture" => {
                self.architecture = Some(parse_json(&content)?);
            }
            "outputs" => {
                let word = serde_json::Value::String(text(&name, content)?);
                let outputs = serde_json::from_value(word);
                self.options.outputs = Some(outputs.map_err(|error| {
                    Problem::new("invalid_request", format!("outputs: {error}"))
                })?);
            }
            other => {
                return Err(Problem::new(
                    "invalid_request",
                    format!(
                        "the form has a part {other:?}; allowed: file, labels, preprocessing, architecture, outputs"
                    ),
                ));
            }
        }
        Ok(())
    }
}

async fn read_file(request: Request, state: &AppState) -> Result<Vec<u8>, Problem> {
    let (timeout, limit) = (state.config.body_timeout, state.config.max_upload_bytes);
    let mut pieces = request.into_body().into_data_stream();
    let mut file = Vec::new();
    while let Some(piece) = tokio::time::timeout(timeout, pieces.next())
        .await
        .map_err(|_| too_slow(timeout))?
    {
        file.extend_from_slice(&piece.map_err(|error| Problem::new("body_incomplete", error))?);
        if file.len() as u64 > limit {
            return Err(too_large(limit));
        }
    }
    Ok(file)
}

fn publish(state: &AppState, model: &ModelName, sent: Sent) -> Result<Published, Problem> {
    let imported = match sent.architecture {
        Some(document) => import_beside(sent.file, document)?,
        None => import(sent.file, None)?,
    };
    let input = imported.architecture.input_shape();
    if input.as_image().is_none() {
        return Err(Problem::new(
            "input_not_an_image",
            format!("the network takes {input}; images need (height, width, channels)"),
        ));
    }
    let draft = Draft::imported(imported, sent.options);
    let version = state.models.repository().publish(model.as_str(), &draft)?;
    state.models.renew(model.as_str());
    Ok(Published {
        model: model.to_string(),
        version,
    })
}

/// Labels as a JSON list, or separated by commas.
fn labels(text: &str) -> Result<Vec<String>, Problem> {
    if text.trim_start().starts_with('[') {
        return parse_json(text.as_bytes());
    }
    Ok(text
        .split(',')
        .map(|label| label.trim().to_owned())
        .collect())
}

fn text(part: &str, content: Vec<u8>) -> Result<String, Problem> {
    String::from_utf8(content)
        .map_err(|_| Problem::new("invalid_request", format!("{part} is not UTF-8 text")))
}
