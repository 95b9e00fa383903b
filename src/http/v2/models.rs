//! `GET /v2/models/…`: what a model takes and gives, its configuration, and whether it is ready.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::extract::Path;
use crate::http::models::{OfModel, OfVersion, servable};
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::VersionState;
use crate::serving::{Servable, ServingError};

/// What computes the models.
const PLATFORM: &str = "burn";

/// What a model takes and gives.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelMetadata)]
pub(super) struct Metadata {
    /// Its name.
    #[schema(example = "digits")]
    name: String,
    /// The versions that can be asked.
    #[schema(example = json!(["1"]))]
    versions: Vec<String>,
    /// What computes it.
    #[schema(example = "burn")]
    platform: &'static str,
    /// Its one input.
    #[schema(value_type = Vec<TensorMetadata>)]
    inputs: [TensorMetadata; 1],
    /// Its one output.
    #[schema(value_type = Vec<TensorMetadata>)]
    outputs: [TensorMetadata; 1],
}

/// A tensor that a model takes or gives.
#[derive(Serialize, ToSchema)]
pub(super) struct TensorMetadata {
    /// Its name.
    #[schema(example = "input_layer")]
    name: String,
    /// What its elements are.
    #[schema(example = "FP32")]
    datatype: &'static str,
    /// Its extents; -1 is the number of images.
    #[schema(example = json!([-1, 28, 28, 1]))]
    shape: Vec<i64>,
}

/// A model's configuration, as far as it has one.
#[derive(Serialize, ToSchema)]
#[schema(as = ModelConfig)]
pub(super) struct Config {
    /// The model's name.
    #[schema(example = "digits")]
    name: String,
    /// What computes it.
    #[schema(example = "burn")]
    platform: &'static str,
    /// Images that a request may have.
    #[schema(example = 64)]
    max_batch_size: usize,
    /// Its one input.
    #[schema(value_type = Vec<TensorConfig>)]
    input: [TensorConfig; 1],
    /// Its one output.
    #[schema(value_type = Vec<TensorConfig>)]
    output: [TensorConfig; 1],
    /// Requests are computed together: without waiting for each other.
    #[schema(value_type = Object)]
    dynamic_batching: serde_json::Map<String, serde_json::Value>,
}

/// A tensor in a configuration.
#[derive(Serialize, ToSchema)]
pub(super) struct TensorConfig {
    /// Its name.
    #[schema(example = "input_layer")]
    name: String,
    /// What its elements are.
    #[schema(example = "TYPE_FP32")]
    data_type: &'static str,
    /// How an image lies in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "FORMAT_NHWC")]
    format: Option<&'static str>,
    /// Its extents for one image.
    #[schema(example = json!([28, 28, 1]))]
    dims: Vec<usize>,
}

/// Whether a model is ready.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelReady {
    /// Its name.
    #[schema(example = "digits")]
    name: String,
    /// It is.
    #[schema(example = true)]
    ready: bool,
}

refusals!(Refusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "version_broken", "no_room_to_load", "model_unavailable",
    "model_unloaded",
);
refusals!(ReadyRefusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "model_not_ready",
);

/// Describe a model
#[utoipa::path(
    get, path = "/v2/models/{model}", tag = "v2", operation_id = "v2_model",
    params(OfModel),
    responses((status = 200, description = "What it takes and gives.", body = Metadata), Refusals),
)]
pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<Metadata>, Problem> {
    let servable = state.models.get(&model)?;
    metadata(&state, &servable).await
}

/// Describe a version
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}", tag = "v2", operation_id = "v2_version",
    params(OfVersion),
    responses((status = 200, description = "What it takes and gives.", body = Metadata), Refusals),
)]
pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<Metadata>, Problem> {
    let servable = servable(&state, model, version).await?;
    metadata(&state, &servable).await
}

async fn metadata(state: &AppState, servable: &Servable) -> Result<Json<Metadata>, Problem> {
    let name = servable.model().to_owned();
    let listing = state
        .blocking(move |state| state.models.repository().describe(&name))
        .await?;
    let good = listing
        .versions
        .iter()
        .filter(|v| v.state == VersionState::Ok);
    let image = dims(servable).into_iter().map(|extent| extent as i64);
    Ok(Json(Metadata {
        name: servable.model().to_owned(),
        versions: good.map(|version| version.version.to_string()).collect(),
        platform: PLATFORM,
        inputs: [TensorMetadata {
            name: servable.input_name().to_owned(),
            datatype: "FP32",
            shape: [-1].into_iter().chain(image).collect(),
        }],
        outputs: [TensorMetadata {
            name: servable.output_name().to_owned(),
            datatype: "FP32",
            shape: vec![-1, servable.outputs() as i64],
        }],
    }))
}

fn dims(servable: &Servable) -> Vec<usize> {
    let input = servable.input();
    vec![input.height, input.width, input.channels]
}

/// A model's configuration
#[utoipa::path(
    get, path = "/v2/models/{model}/config", tag = "v2", operation_id = "v2_config",
    params(OfModel),
    responses((status = 200, description = "Its configuration.", body = Config), Refusals),
)]
pub(super) async fn config_of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<Config>, Problem> {
    let servable = state.models.get(&model)?;
    Ok(Json(config(&state, &servable)))
}

/// A version's configuration
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}/config", tag = "v2", operation_id = "v2_config_of_version",
    params(OfVersion),
    responses((status = 200, description = "Its configuration.", body = Config), Refusals),
)]
pub(super) async fn config_of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<Config>, Problem> {
    let servable = servable(&state, model, version).await?;
    Ok(Json(config(&state, &servable)))
}

fn config(state: &AppState, servable: &Servable) -> Config {
    Config {
        name: servable.model().to_owned(),
        platform: PLATFORM,
        max_batch_size: state.most_images(),
        input: [TensorConfig {
            name: servable.input_name().to_owned(),
            data_type: "TYPE_FP32",
            format: Some("FORMAT_NHWC"),
            dims: dims(servable),
        }],
        output: [TensorConfig {
            name: servable.output_name().to_owned(),
            data_type: "TYPE_FP32",
            format: None,
            dims: vec![servable.outputs()],
        }],
        dynamic_batching: serde_json::Map::new(),
    }
}

/// Whether a model is ready
#[utoipa::path(
    get, path = "/v2/models/{model}/ready", tag = "v2", operation_id = "v2_model_ready",
    params(OfModel),
    responses((status = 200, description = "It is.", body = ModelReady), ReadyRefusals),
)]
pub(super) async fn ready_of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<ModelReady>, Problem> {
    match state.models.get(&model) {
        Ok(_) => Ok(is_ready(model)),
        Err(error @ ServingError::ModelNotFound { .. }) => Err(error.into()),
        Err(_) => Err(not_ready(&model)),
    }
}

/// Whether a version is ready
///
/// One that is not being served is loaded first.
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}/ready", tag = "v2", operation_id = "v2_version_ready",
    params(OfVersion),
    responses((status = 200, description = "It is.", body = ModelReady), ReadyRefusals),
)]
pub(super) async fn ready_of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<ModelReady>, Problem> {
    match servable(&state, model.clone(), version).await {
        Ok(_) => Ok(is_ready(model)),
        Err(problem) if problem.is_not_found() => Err(problem),
        Err(_) => Err(not_ready(&model)),
    }
}

fn is_ready(name: String) -> Json<ModelReady> {
    Json(ModelReady { name, ready: true })
}

fn not_ready(model: &str) -> Problem {
    Problem::new(
        "model_not_ready",
        format!("model \"{model}\" is not ready; GET /models/{model} says why"),
    )
}
