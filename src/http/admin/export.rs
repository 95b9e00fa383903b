//! `GET …/export`: a version as a file for other tools.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::http::docs::BinaryBody;
use crate::http::extract::{Path, Query};
use crate::http::models::OfVersion;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::ExportFormat;

fn media_type(format: ExportFormat) -> &'static str {
    match format {
        ExportFormat::H5 => "application/x-hdf5",
        ExportFormat::Keras => "application/zip",
        ExportFormat::Json => "application/json",
        ExportFormat::Safetensors => "application/octet-stream",
    }
}

/// What is downloaded.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ExportQuery {
    /// The kind of file.
    #[param(inline, example = "keras")]
    format: ExportFormat,
}

refusals!(ExportRefusals:
    "invalid_path", "invalid_model_name", "invalid_query", "model_not_found", "version_not_found", "version_broken",
);

/// Export a version
#[utoipa::path(
    get, path = "/admin/models/{model}/versions/{version}/export", tag = "lifecycle", operation_id = "export_version",
    params(OfVersion, ExportQuery),
    responses(
        (status = 200, description = "The file.", content(
            (BinaryBody = "application/x-hdf5"), (BinaryBody = "application/zip"), (Object = "application/json"),
            (BinaryBody = "application/octet-stream"),
        ), headers(("content-disposition" = String, description = "The file's name."))),
        ExportRefusals,
    ),
)]
pub(in crate::http) async fn get(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
    Query(ExportQuery { format }): Query<ExportQuery>,
) -> Result<Response, Problem> {
    // The repository answers only to names that are safe in a header too.
    let disposition = format!(
        "attachment; filename=\"{model}-{version}.{}\"",
        format.extension()
    );
    let file = state
        .blocking(move |state| -> Result<Vec<u8>, Problem> {
            let stored = state.models.repository().load(&model, version)?;
            Ok(stored.export(format)?)
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, media_type(format).to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, file).into_response())
}
