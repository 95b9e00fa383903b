//! `GET …/evaluation`: what a model is worth on held-out images, as figures and as pictures.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};

use super::extract::Path;
use super::models::{OfModel, OfVersion};
use super::problem::{Problem, refusals};
use super::state::AppState;
use crate::evaluation::{Evaluation, History, confusion_svg, history_svg};
use crate::serving::Servable;

refusals!(Refusals:
    "invalid_path", "invalid_model_name", "model_not_found", "version_not_found", "version_broken", "model_unavailable",
    "evaluation_not_found", "history_not_found", "too_many_classes_to_draw", "no_epochs", "drawing_failed",
    "confusion_matrix_shape",
);

/// Evaluation of a model
///
/// Of the version that is being served: accuracy, loss, precision, recall and F1 per class, the confusion matrix, and
/// how far the probabilities can be believed.
#[utoipa::path(
    get, path = "/models/{model}/evaluation", tag = "evaluation", operation_id = "get_evaluation",
    params(OfModel),
    responses((status = 200, description = "The report.", body = Evaluation), Refusals),
)]
pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<Evaluation>, Problem> {
    let servable = state.models.get(&model)?;
    Ok(Json(evaluation(&servable)?.clone()))
}

/// Evaluation of a version of a model
#[utoipa::path(
    get, path = "/models/{model}/versions/{version}/evaluation", tag = "evaluation", operation_id = "get_version_evaluation",
    params(OfVersion),
    responses((status = 200, description = "The report.", body = Evaluation), Refusals),
)]
pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<Evaluation>, Problem> {
    let servable = super::models::servable(&state, model, version).await?;
    Ok(Json(evaluation(&servable)?.clone()))
}

/// Confusion matrix of a model, drawn
#[utoipa::path(
    get, path = "/models/{model}/evaluation/confusion.svg", tag = "evaluation", operation_id = "get_confusion_svg",
    params(OfModel),
    responses((status = 200, description = "The picture.", body = String, content_type = "image/svg+xml"), Refusals),
)]
pub(super) async fn confusion_of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Response, Problem> {
    let servable = state.models.get(&model)?;
    draw_confusion(&state, servable).await
}

/// Confusion matrix of a version of a model, drawn
#[utoipa::path(
    get, path = "/models/{model}/versions/{version}/evaluation/confusion.svg", tag = "evaluation", operation_id = "get_version_confusion_svg",
    params(OfVersion),
    responses((status = 200, description = "The picture.", body = String, content_type = "image/svg+xml"), Refusals),
)]
pub(super) async fn confusion_of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Response, Problem> {
    let servable = super::models::servable(&state, model, version).await?;
    draw_confusion(&state, servable).await
}

/// Training history of a model, drawn
#[utoipa::path(
    get, path = "/models/{model}/evaluation/history.svg", tag = "evaluation", operation_id = "get_history_svg",
    params(OfModel),
    responses((status = 200, description = "The picture.", body = String, content_type = "image/svg+xml"), Refusals),
)]
pub(super) async fn history_of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Response, Problem> {
    let version = state.models.get(&model)?.version();
    draw_history(&state, model, version).await
}

/// Training history of a version of a model, drawn
#[utoipa::path(
    get, path = "/models/{model}/versions/{version}/evaluation/history.svg", tag = "evaluation", operation_id = "get_version_history_svg",
    params(OfVersion),
    responses((status = 200, description = "The picture.", body = String, content_type = "image/svg+xml"), Refusals),
)]
pub(super) async fn history_of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Response, Problem> {
    draw_history(&state, model, version).await
}

fn evaluation(servable: &Servable) -> Result<&Evaluation, Problem> {
    servable.evaluation().ok_or_else(|| {
        Problem::new(
            "evaluation_not_found",
            format!(
                "version {} of model \"{}\" was never evaluated; POST /admin/models/{}/evaluate",
                servable.version(),
                servable.model(),
                servable.model(),
            ),
        )
    })
}

async fn draw_confusion(state: &AppState, servable: Arc<Servable>) -> Result<Response, Problem> {
    let draw = move |_: &AppState| -> Result<String, Problem> {
        Ok(confusion_svg(evaluation(&servable)?)?)
    };
    Ok(svg(state.blocking(draw).await?))
}

async fn draw_history(state: &AppState, model: String, version: u64) -> Result<Response, Problem> {
    let draw = move |state: &AppState| -> Result<String, Problem> {
        let history: Option<History> = state.models.repository().load(&model, version)?.history;
        let history = history.ok_or_else(|| {
            Problem::new(
                "history_not_found",
                format!("version {version} of model \"{model}\" was not trained here, so it has no history"),
            )
        })?;
        Ok(history_svg(&history)?)
    };
    Ok(svg(state.blocking(draw).await?))
}

fn svg(picture: String) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "image/svg+xml"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'",
        ),
    ];
    (headers, picture).into_response()
}
