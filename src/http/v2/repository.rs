//! `POST /v2/repository/…`: which versions there are; loading and unloading models.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::http::extract::{Path, parse_json, read_body};
use crate::http::models::OfModel;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::{VersionListing, VersionState};
use crate::serving::ServingError;

/// Which versions are asked for.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default)]
pub(super) struct IndexRequest {
    /// Only those that are ready.
    ready: bool,
}

/// A version in the index.
#[derive(Serialize, ToSchema)]
pub(super) struct IndexEntry {
    /// The model's name.
    #[schema(example = "digits")]
    name: String,
    /// The version.
    #[schema(example = "1")]
    version: String,
    /// Whether it answers.
    state: IndexState,
    /// Why it doesn't.
    #[schema(example = "")]
    reason: String,
}

/// Whether a version answers.
#[derive(PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum IndexState {
    /// It does.
    Ready,
    /// It is broken, or its model was unloaded.
    Unavailable,
}

/// How a model is to be loaded or unloaded.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct LoadRequest {
    /// Which parameters are given.
    parameters: Option<LoadParameters>,
}

/// The parameters of a load.
#[derive(Default, Deserialize, ToSchema)]
pub(super) struct LoadParameters {
    /// Not offered: a model's configuration is made from its own files.
    config: Option<String>,
}

refusals!(IndexRefusals: "invalid_json", "invalid_request", "body_incomplete", "request_timeout", "payload_too_large");
refusals!(LoadRefusals:
    "invalid_path", "invalid_json", "invalid_request", "body_incomplete", "request_timeout", "payload_too_large",
    "model_not_found", "model_unavailable",
);

/// List all versions
#[utoipa::path(
    post, path = "/v2/repository/index", tag = "v2", operation_id = "v2_index",
    request_body(content = Option<IndexRequest>, example = json!({"ready": true})),
    responses((status = 200, description = "The versions of all models.", body = Vec<IndexEntry>), IndexRefusals),
)]
pub(super) async fn index(
    State(state): State<AppState>,
    request: Request,
) -> Result<Json<Vec<IndexEntry>>, Problem> {
    let IndexRequest { ready } = optional(&read_body(request, &state).await?)?;
    let mut entries = state.blocking(list).await?;
    entries.retain(|entry| !ready || entry.state == IndexState::Ready);
    Ok(Json(entries))
}

fn list(state: &AppState) -> Result<Vec<IndexEntry>, Problem> {
    let repository = state.models.repository();
    let mut entries = Vec::new();
    for name in repository.models()? {
        let unloaded = match state.models.get(&name) {
            Err(unloaded @ ServingError::ModelUnloaded { .. }) => Some(unloaded.to_string()),
            _ => None,
        };
        // One that was deleted meanwhile is no fault of the others.
        let Ok(listing) = repository.describe(&name) else {
            continue;
        };
        let entry = |VersionListing { version, state }| {
            let reason = match state {
                VersionState::Broken { reason, .. } => Some(reason),
                VersionState::Ok => unloaded.clone(),
            };
            IndexEntry {
                name: name.clone(),
                version: version.to_string(),
                state: match reason {
                    None => IndexState::Ready,
                    Some(_) => IndexState::Unavailable,
                },
                reason: reason.unwrap_or_default(),
            }
        };
        entries.extend(listing.versions.into_iter().map(entry));
    }
    Ok(entries)
}

/// Load a model
///
/// Or look again which of its versions its name stands for.
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/load", tag = "v2", operation_id = "v2_load",
    params(OfModel),
    request_body(content = Option<LoadRequest>, example = json!({})),
    responses((status = 200, description = "It is loaded."), LoadRefusals),
)]
pub(super) async fn load(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let LoadRequest { parameters } = optional(&read_body(request, &state).await?)?;
    if parameters.is_some_and(|parameters| parameters.config.is_some()) {
        return Err(Problem::new(
            "invalid_request",
            "a model's configuration is made from its own files; leave \"config\" out",
        ));
    }
    state
        .blocking(move |state| {
            state.models.renew(&model);
            state.models.get(&model)
        })
        .await?;
    Ok(StatusCode::OK)
}

/// Unload a model
///
/// It is refused until it is loaded again or gets a new version. Requests that were accepted before are answered.
#[utoipa::path(
    post, path = "/v2/repository/models/{model}/unload", tag = "v2", operation_id = "v2_unload",
    params(OfModel),
    request_body(content = Option<LoadRequest>, example = json!({})),
    responses((status = 200, description = "It is unloaded."), LoadRefusals),
)]
pub(super) async fn unload(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    request: Request,
) -> Result<StatusCode, Problem> {
    let _: LoadRequest = optional(&read_body(request, &state).await?)?;
    state
        .blocking(move |state| state.models.unload(&model))
        .await?;
    Ok(StatusCode::OK)
}

/// A JSON document, or what stands for an empty body.
fn optional<T: Default + for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Problem> {
    if body.is_empty() {
        Ok(T::default())
    } else {
        parse_json(body)
    }
}
