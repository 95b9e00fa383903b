//! Promote, roll back, delete: which version a model's name stands for.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::extract::{self, Path};
use crate::http::models::{OfModel, OfVersion};
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::ModelListing;
use crate::serving::ServingError;

/// Which version a name shall stand for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Promotion {
    /// The version.
    #[schema(example = 2, minimum = 1)]
    version: u64,
    /// The alias that shall stand for it. Without one: the bare name of the model, so that it is served.
    #[serde(default)]
    #[schema(example = "canary")]
    alias: Option<String>,
}

refusals!(PromoteRefusals:
    "invalid_path", "invalid_json", "invalid_request", "body_incomplete", "request_timeout", "payload_too_large",
    "unsupported_media_type", "invalid_model_name", "invalid_alias", "model_not_found", "version_not_found",
    "version_broken", "aliases_unreadable", "too_many_aliases",
);
refusals!(RollbackRefusals:
    "invalid_path", "invalid_model_name", "model_not_found", "no_good_version", "nothing_to_roll_back",
    "aliases_unreadable",
);
refusals!(DeleteRefusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "version_is_serving",
    "version_is_aliased", "aliases_unreadable",
);

/// Promote a version
///
/// From the answer on it is served; requests that were accepted before are answered by the version that was served then.
#[utoipa::path(
    post, path = "/admin/models/{model}/promote", tag = "lifecycle", operation_id = "promote",
    params(OfModel),
    request_body(content = Promotion, example = json!({"version": 1})),
    responses((status = 200, description = "The model as it is now.", body = ModelListing), PromoteRefusals),
)]
pub(in crate::http) async fn promote(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    extract::Json(promotion): extract::Json<Promotion>,
) -> Result<Json<ModelListing>, Problem> {
    let listing = state
        .blocking(move |state| {
            let repository = state.models.repository();
            match &promotion.alias {
                Some(alias) => repository.set_alias(&model, alias, promotion.version)?,
                None => state.models.promote(&model, promotion.version)?,
            }
            Ok::<_, ServingError>(repository.describe(&model)?)
        })
        .await?;
    Ok(Json(listing))
}

/// Roll back
///
/// To the version that was served before the one that is served now.
#[utoipa::path(
    post, path = "/admin/models/{model}/rollback", tag = "lifecycle", operation_id = "rollback",
    params(OfModel),
    responses((status = 200, description = "The model as it is now.", body = ModelListing), RollbackRefusals),
)]
pub(in crate::http) async fn rollback(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<ModelListing>, Problem> {
    let listing = state
        .blocking(move |state| {
            let repository = state.models.repository();
            repository.rollback(&model)?;
            state.models.renew(&model);
            repository.describe(&model)
        })
        .await?;
    Ok(Json(listing))
}

/// Delete a version
///
/// The one that is being served, and those that an alias stands for, are refused.
#[utoipa::path(
    delete, path = "/admin/models/{model}/versions/{version}", tag = "lifecycle", operation_id = "delete_version",
    params(OfVersion),
    responses((status = 204, description = "It is gone."), DeleteRefusals),
)]
pub(in crate::http) async fn delete(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<StatusCode, Problem> {
    state
        .blocking(move |state| {
            state.models.repository().delete(&model, version)?;
            state.models.renew(&model);
            Ok::<_, crate::repository::RepositoryError>(())
        })
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
