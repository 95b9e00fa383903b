//! `GET /v1/models/…`: the state of a model's versions, and what they take and give.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::request::SIGNATURE;
use super::{OfLabel, labelled};
use crate::http::extract::Path;
use crate::http::models::{OfModel, OfVersion, servable};
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::{RepositoryError, VersionListing, VersionState};
use crate::serving::{Servable, ServingError};

/// The state of a model's versions.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelStatus {
    /// Each of them, the newest first.
    model_version_status: Vec<VersionStatus>,
}

/// The state of a version.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionStatus {
    /// Its number.
    #[schema(example = "1")]
    version: String,
    /// Whether it answers.
    state: ServingState,
    /// Why it doesn't.
    status: Status,
}

/// Whether a version answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum ServingState {
    /// It does.
    Available,
    /// It is broken, or its model was unloaded.
    End,
}

/// Why a version is in its state.
#[derive(Serialize, ToSchema)]
pub(super) struct Status {
    /// `OK`, or a code of gRPC.
    #[schema(example = "OK")]
    error_code: &'static str,
    /// What is wrong with it.
    #[schema(example = "")]
    error_message: String,
}

/// What a version takes and gives.
#[derive(Serialize, ToSchema)]
#[schema(as = SignatureMetadata)]
pub(super) struct Metadata {
    /// Which version.
    #[schema(value_type = Object, example = json!({"name": "digits", "signature_name": "", "version": "1"}))]
    model_spec: Value,
    /// Its signatures.
    #[schema(value_type = Object)]
    metadata: Value,
}

refusals!(ModelRefusals: "invalid_path", "invalid_model_name", "model_not_found");
refusals!(VersionRefusals: "invalid_path", "invalid_model_name", "model_not_found", "version_not_found");
refusals!(LabelRefusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "alias_not_found", "aliases_unreadable",
);
refusals!(MetadataRefusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "alias_not_found", "aliases_unreadable",
    "version_broken", "no_room_to_load", "model_unavailable", "model_unloaded",
);

/// The state of a model's versions
#[utoipa::path(
    get, path = "/v1/models/{model}", tag = "v1", operation_id = "v1_status",
    params(OfModel),
    responses((status = 200, description = "The state of each.", body = ModelStatus), ModelRefusals),
)]
pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<ModelStatus>, Problem> {
    status(&state, model, |_| Ok(None)).await
}

/// The state of a version
#[utoipa::path(
    get, path = "/v1/models/{model}/versions/{version}", tag = "v1", operation_id = "v1_status_of_version",
    params(OfVersion),
    responses((status = 200, description = "Its state.", body = ModelStatus), VersionRefusals),
)]
pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<ModelStatus>, Problem> {
    status(&state, model, move |_| Ok(Some(version))).await
}

/// The state of the version that an alias stands for
#[utoipa::path(
    get, path = "/v1/models/{model}/labels/{label}", tag = "v1", operation_id = "v1_status_of_label",
    params(OfLabel),
    responses((status = 200, description = "Its state.", body = ModelStatus), LabelRefusals),
)]
pub(super) async fn of_label(
    State(state): State<AppState>,
    Path(OfLabel { model, label }): Path<OfLabel>,
) -> Result<Json<ModelStatus>, Problem> {
    let of = {
        let model = model.clone();
        move |state: &AppState| super::stands_for(state, &model, &label).map(Some)
    };
    status(&state, model, of).await
}

/// The state of the version that `of` finds, or of all.
async fn status(
    state: &AppState,
    model: String,
    of: impl FnOnce(&AppState) -> Result<Option<u64>, RepositoryError> + Send + 'static,
) -> Result<Json<ModelStatus>, Problem> {
    let status = state
        .blocking(move |state| -> Result<_, Problem> {
            let of = of(state)?;
            let listing = state.models.repository().describe(&model)?;
            let is_unloaded = matches!(
                state.models.get(&model),
                Err(ServingError::ModelUnloaded { .. })
            );
            let mut versions: Vec<VersionStatus> = listing
                .versions
                .into_iter()
                .filter(|listed| of.is_none_or(|version| listed.version == version))
                .map(|listed| VersionStatus::new(listed, is_unloaded))
                .collect();
            versions.reverse();
            match of {
                Some(version) if versions.is_empty() => {
                    Err(ServingError::VersionNotFound { model, version }.into())
                }
                _ => Ok(ModelStatus {
                    model_version_status: versions,
                }),
            }
        })
        .await?;
    Ok(Json(status))
}

impl VersionStatus {
    fn new(listed: VersionListing, is_unloaded: bool) -> Self {
        let (state, error_code, error_message) = match listed.state {
            VersionState::Broken { reason, .. } => {
                (ServingState::End, "FAILED_PRECONDITION", reason)
            }
            VersionState::Ok if is_unloaded => (ServingState::End, "OK", String::new()),
            VersionState::Ok => (ServingState::Available, "OK", String::new()),
        };
        Self {
            version: listed.version.to_string(),
            state,
            status: Status {
                error_code,
                error_message,
            },
        }
    }
}

/// What a model takes and gives
#[utoipa::path(
    get, path = "/v1/models/{model}/metadata", tag = "v1", operation_id = "v1_metadata",
    params(OfModel),
    responses((status = 200, description = "Its signatures.", body = Metadata), MetadataRefusals),
)]
pub(super) async fn metadata_of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<Metadata>, Problem> {
    let servable = state.models.get(&model)?;
    Ok(metadata(&servable))
}

/// What a version takes and gives
#[utoipa::path(
    get, path = "/v1/models/{model}/versions/{version}/metadata", tag = "v1", operation_id = "v1_metadata_of_version",
    params(OfVersion),
    responses((status = 200, description = "Its signatures.", body = Metadata), MetadataRefusals),
)]
pub(super) async fn metadata_of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<Metadata>, Problem> {
    let servable = servable(&state, model, version).await?;
    Ok(metadata(&servable))
}

/// What the version that an alias stands for takes and gives
#[utoipa::path(
    get, path = "/v1/models/{model}/labels/{label}/metadata", tag = "v1", operation_id = "v1_metadata_of_label",
    params(OfLabel),
    responses((status = 200, description = "Its signatures.", body = Metadata), MetadataRefusals),
)]
pub(super) async fn metadata_of_label(
    State(state): State<AppState>,
    Path(OfLabel { model, label }): Path<OfLabel>,
) -> Result<Json<Metadata>, Problem> {
    let servable = labelled(&state, model, label).await?;
    Ok(metadata(&servable))
}

fn metadata(servable: &Servable) -> Json<Metadata> {
    let input = servable.input();
    let image = [input.height, input.width, input.channels];
    let signature = json!({
        "inputs": {servable.input_name(): tensor(servable.input_name(), &image)},
        "outputs": {servable.output_name(): tensor(servable.output_name(), &[servable.outputs()])},
        "method_name": "tensorflow/serving/predict",
    });
    Json(Metadata {
        model_spec: json!({
            "name": servable.model(),
            "signature_name": "",
            "version": servable.version().to_string(),
        }),
        metadata: json!({"signature_def": {"signature_def": {SIGNATURE: signature}}}),
    })
}

/// A tensor of any number of images.
fn tensor(name: &str, image: &[usize]) -> Value {
    let extents = image.iter().map(|extent| extent.to_string());
    let extents = ["-1".to_owned()].into_iter().chain(extents);
    let dim: Vec<Value> = extents
        .map(|size| json!({"size": size, "name": ""}))
        .collect();
    json!({
        "dtype": "DT_FLOAT",
        "tensor_shape": {"dim": dim, "unknown_rank": false},
        "name": format!("{name}:0"),
    })
}
