//! `GET …/export`: a version as a file for other tools.

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::http::docs::BinaryBody;
use crate::http::extract::{Path, Query};
use crate::http::models::OfVersion;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::interchange::{write_h5, write_keras, write_safetensors};

/// The kind of file.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::http) enum Format {
    /// What Keras' `load_model` reads, in HDF5.
    H5,
    /// What Keras 3's `load_model` reads.
    Keras,
    /// The architecture alone, for Keras' `model_from_json`.
    Json,
    /// The weights alone, as `<layer>/<variable>`.
    Safetensors,
}

impl Format {
    fn extension(self) -> &'static str {
        match self {
            Self::H5 => "h5",
            Self::Keras => "keras",
            Self::Json => "json",
            Self::Safetensors => "safetensors",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::H5 => "application/x-hdf5",
            Self::Keras => "application/zip",
            Self::Json => "application/json",
            Self::Safetensors => "application/octet-stream",
        }
    }
}

/// What is downloaded.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(in crate::http) struct ExportQuery {
    /// The kind of file.
    #[param(inline, example = "keras")]
    format: Format,
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
            let compile = stored.card.lineage.compile.as_ref();
            Ok(match format {
                Format::H5 => write_h5(&stored.architecture, &stored.parameters, compile)?,
                Format::Keras => write_keras(&stored.architecture, &stored.parameters, compile)?,
                Format::Json => serde_json::to_vec_pretty(&stored.architecture.to_json())
                    .map_err(Problem::internal)?,
                Format::Safetensors => write_safetensors(&stored.parameters)?,
            })
        })
        .await?;
    let headers = [
        (header::CONTENT_TYPE, format.media_type().to_owned()),
        (header::CONTENT_DISPOSITION, disposition),
    ];
    Ok((headers, file).into_response())
}
