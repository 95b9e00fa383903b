//! `GET /models…`: what is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::extract::Path;
use super::problem::{Problem, refusals};
use super::state::AppState;
use crate::imaging::Preprocessing;
use crate::repository::{Lineage, Outputs, VersionListing};
use crate::serving::{Servable, ServingError};

/// A model, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfModel {
    /// The model's name.
    #[param(
        example = "digits",
        max_length = 63,
        pattern = "^[A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?$"
    )]
    pub(super) model: String,
}

/// A version of a model, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct OfVersion {
    /// The model's name.
    #[param(
        example = "digits",
        max_length = 63,
        pattern = "^[A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?$"
    )]
    pub(super) model: String,
    /// The version's number.
    #[param(example = 1, minimum = 1)]
    pub(super) version: u64,
}

/// The models of the server.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelList {
    /// The model that `POST /predict` asks; absent where a name has to be given.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "digits")]
    default: Option<String>,
    /// All models, by name.
    models: Vec<ModelSummary>,
}

/// A model in the list.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelSummary {
    /// Its name.
    #[schema(example = "digits")]
    model: String,
    /// Whether it answers.
    state: ModelState,
    /// The version that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 1)]
    version: Option<u64>,
}

/// Whether a model answers.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ModelState {
    /// It does.
    Serving,
    /// None of its versions can be loaded.
    Unavailable,
}

/// A model with its versions.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelView {
    /// Its name.
    #[schema(example = "digits")]
    model: String,
    /// Whether it answers.
    state: ModelState,
    /// The version that answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<VersionView>,
    /// Whether that version was chosen by a promotion, so that a newer one is not served by itself.
    pinned: bool,
    /// All versions, ascending.
    versions: Vec<VersionListing>,
    /// What else stands for a version.
    aliases: BTreeMap<String, u64>,
}

/// A version of a model.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionView {
    /// The model's name.
    #[schema(example = "digits")]
    model: String,
    /// The version's number.
    #[schema(example = 1)]
    version: u64,
    /// The names of its classes, in the order of its outputs.
    labels: Vec<String>,
    /// The image that its network takes.
    input: InputView,
    /// How images become that.
    preprocessing: Preprocessing,
    /// What the network's last layer gives.
    outputs: Outputs,
    /// How many numbers its weights are.
    parameters: u64,
    /// Bytes that its weights take in memory.
    loaded_bytes: usize,
    /// Whether its network gave its golden answers again when it was loaded; false for an old version that has none.
    self_tested: bool,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: jiff::Timestamp,
    /// The digest of its weights.
    weights_digest: String,
    /// Where it comes from.
    lineage: Lineage,
    /// Its accuracy on held-out images, where it was evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<f64>,
}

/// The size of a network's input.
#[derive(Serialize, ToSchema)]
pub(super) struct InputView {
    /// Rows.
    #[schema(example = 28)]
    height: usize,
    /// Columns.
    #[schema(example = 28)]
    width: usize,
    /// Values per pixel.
    #[schema(example = 1)]
    channels: usize,
}

impl From<&Servable> for VersionView {
    fn from(servable: &Servable) -> Self {
        let card = servable.card();
        let input = servable.input();
        Self {
            model: servable.model().to_owned(),
            version: servable.version(),
            labels: card.labels.clone(),
            input: InputView {
                height: input.height,
                width: input.width,
                channels: input.channels,
            },
            preprocessing: card.preprocessing.clone(),
            outputs: card.outputs,
            parameters: card.parameters,
            loaded_bytes: servable.bytes(),
            self_tested: servable.is_self_tested(),
            created_at: card.created_at,
            weights_digest: card.weights_digest.clone(),
            lineage: card.lineage.clone(),
            accuracy: servable.evaluation().map(|evaluation| evaluation.accuracy),
        }
    }
}

/// A version by its number: at once if it is in memory, else from the disk.
pub(super) async fn servable(
    state: &AppState,
    model: String,
    version: u64,
) -> Result<Arc<Servable>, Problem> {
    Ok(state.models.get_version(&model, version).await?)
}

refusals!(ListRefusals: "internal");
refusals!(ModelRefusals: "invalid_path", "model_not_found", "invalid_model_name");
refusals!(VersionRefusals: "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "version_broken", "no_room_to_load", "model_unavailable", "model_unloaded");

/// List the models
#[utoipa::path(
    get, path = "/models", tag = "models", operation_id = "list_models",
    responses((status = 200, description = "The models, and what they serve.", body = ModelList), ListRefusals),
)]
pub(super) async fn list(State(state): State<AppState>) -> Json<ModelList> {
    let models = state.models.names().into_iter().map(|model| {
        let serving = state.models.get(&model).ok();
        let version = serving.map(|servable| servable.version());
        ModelSummary {
            model,
            state: if version.is_some() {
                ModelState::Serving
            } else {
                ModelState::Unavailable
            },
            version,
        }
    });
    Json(ModelList {
        models: models.collect(),
        default: state.models.default_model().ok(),
    })
}

/// Describe a model
///
/// Its versions, which of them is served, its labels, its input and where it comes from.
#[utoipa::path(
    get, path = "/models/{model}", tag = "models", operation_id = "get_model",
    params(OfModel),
    responses((status = 200, description = "The model.", body = ModelView), ModelRefusals),
)]
pub(super) async fn model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<ModelView>, Problem> {
    let serving = match state.models.get(&model) {
        Ok(servable) => Some(VersionView::from(&*servable)),
        Err(missing @ ServingError::ModelNotFound { .. }) => return Err(missing.into()),
        Err(_) => None,
    };
    let listing = state
        .blocking(move |state| state.models.repository().describe(&model))
        .await?;
    Ok(Json(ModelView {
        model: listing.model,
        state: if serving.is_some() {
            ModelState::Serving
        } else {
            ModelState::Unavailable
        },
        serving,
        pinned: listing.pinned,
        versions: listing.versions,
        aliases: listing.aliases,
    }))
}

/// Describe a version of a model
///
/// A version that is not being served is loaded first.
#[utoipa::path(
    get, path = "/models/{model}/versions/{version}", tag = "models", operation_id = "get_version",
    params(OfVersion),
    responses((status = 200, description = "The version.", body = VersionView), VersionRefusals),
)]
pub(super) async fn version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<VersionView>, Problem> {
    let servable = servable(&state, model, version).await?;
    Ok(Json(VersionView::from(&*servable)))
}
