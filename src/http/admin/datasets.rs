//! `/admin/datasets`: labelled images to train and evaluate on.

use std::path::Path as FilePath;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use utoipa::{IntoParams, ToSchema};

use crate::dataset::{BadFiles, StoreError, StoredDataset};
use crate::http::docs::BinaryBody;
use crate::http::extract::{Path, Query, check_declared_length, media_type, too_large, too_slow};
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;

/// A data set, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct OfDataset {
    /// The data set's name.
    #[param(
        example = "bits",
        max_length = 63,
        pattern = "^[A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?$"
    )]
    dataset: String,
}

/// How an upload is taken.
#[derive(Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
#[derive(Default)]
pub(in crate::http) struct UploadOptions {
    /// Whether files that are no readable image are left out and listed (`skip`, the default), or refuse the whole upload (`refuse`).
    #[param(inline, example = "skip")]
    on_bad_file: BadFiles,
}

/// The uploaded data sets.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct DatasetList {
    /// All of them, by name.
    datasets: Vec<StoredDataset>,
}

refusals!(UploadRefusals:
    "invalid_path", "invalid_query", "body_incomplete", "invalid_dataset_name", "request_timeout", "payload_too_large",
    "unsupported_media_type", "dataset_unrecognised", "archive_unsafe_path", "archive_link", "archive_special_file",
    "archive_duplicate_name", "archive_nested", "archive_encrypted", "archive_unsupported", "archive_too_large",
    "archive_overlap", "archive_corrupt", "dataset_too_many_images", "dataset_too_many_classes", "dataset_no_images",
    "dataset_single_class", "dataset_empty_class", "dataset_bad_file", "idx_unpaired", "idx_invalid", "storage_full",
);
refusals!(ListRefusals: "dataset_store_io");
refusals!(GetRefusals: "invalid_path", "invalid_dataset_name", "dataset_not_found");
refusals!(DeleteRefusals: "invalid_path", "invalid_dataset_name", "dataset_not_found", "dataset_in_use");

/// Upload a data set
///
/// The body is a zip, tar or tar.gz of a folder with a sub-folder per class, or of the IDX files of MNIST. It is checked
/// whole before it takes the place of what had the name before.
#[utoipa::path(
    put, path = "/admin/datasets/{dataset}", tag = "datasets", operation_id = "put_dataset",
    params(OfDataset, UploadOptions),
    request_body(description = "The archive.", content(
        (BinaryBody = "application/zip"), (BinaryBody = "application/x-tar"), (BinaryBody = "application/gzip"),
        (BinaryBody = "application/octet-stream"),
    )),
    responses(
        (status = 201, description = "It is there, under a new name.", body = StoredDataset,
            headers(("location" = String, description = "Where it is described."))),
        (status = 200, description = "It has taken the place of another.", body = StoredDataset,
            headers(("location" = String, description = "Where it is described."))),
        UploadRefusals,
    ),
)]
pub(in crate::http) async fn put(
    State(state): State<AppState>,
    Path(OfDataset { dataset }): Path<OfDataset>,
    Query(options): Query<UploadOptions>,
    request: Request,
) -> Result<Response, Problem> {
    if media_type(request.headers()).starts_with("multipart/") {
        return Err(Problem::new(
            "unsupported_media_type",
            "the body is a form; send the archive itself, e.g. curl -T archive.zip",
        ));
    }
    let location = format!("/admin/datasets/{dataset}");
    let upload = state
        .blocking(move |state| state.datasets.upload(&dataset))
        .await?;
    receive(request, &state, &upload.archive()).await?;
    let (stored, replaced) = state
        .blocking(move |state| state.datasets.add(upload, options.on_bad_file))
        .await?;
    let status = if replaced {
        StatusCode::OK
    } else {
        StatusCode::CREATED
    };
    Ok((status, [(header::LOCATION, location)], Json(stored)).into_response())
}

/// Writes a request's body to a file, piece by piece.
async fn receive(request: Request, state: &AppState, path: &FilePath) -> Result<(), Problem> {
    let limit = state.config.max_upload_bytes;
    check_declared_length(request.headers(), limit)?;
    let failed = |error| Problem::from(StoreError::io(path, error));
    let mut file = File::create(path).await.map_err(failed)?;
    let mut pieces = request.into_body().into_data_stream();
    let mut received: u64 = 0;
    let timeout = state.config.body_timeout;
    while let Some(piece) = tokio::time::timeout(timeout, pieces.next())
        .await
        .map_err(|_| too_slow(timeout))?
    {
        let piece = piece.map_err(|error| Problem::new("body_incomplete", error))?;
        received = received.saturating_add(piece.len() as u64);
        if received > limit {
            return Err(too_large(limit));
        }
        file.write_all(&piece).await.map_err(failed)?;
    }
    file.flush().await.map_err(failed)
}

/// List the data sets
#[utoipa::path(
    get, path = "/admin/datasets", tag = "datasets", operation_id = "list_datasets",
    responses((status = 200, description = "The data sets.", body = DatasetList), ListRefusals),
)]
pub(in crate::http) async fn list(
    State(state): State<AppState>,
) -> Result<Json<DatasetList>, Problem> {
    let datasets = state.blocking(|state| state.datasets.list()).await?;
    Ok(Json(DatasetList { datasets }))
}

/// Describe a data set
///
/// Its classes, their images, the sizes of the images, and the files that are left out.
#[utoipa::path(
    get, path = "/admin/datasets/{dataset}", tag = "datasets", operation_id = "get_dataset",
    params(OfDataset),
    responses((status = 200, description = "The data set.", body = StoredDataset), GetRefusals),
)]
pub(in crate::http) async fn get(
    State(state): State<AppState>,
    Path(OfDataset { dataset }): Path<OfDataset>,
) -> Result<Json<StoredDataset>, Problem> {
    let stored = state
        .blocking(move |state| state.datasets.get(&dataset))
        .await?;
    Ok(Json(stored))
}

/// Remove a data set
///
/// Refused while a job waits for it or uses it.
#[utoipa::path(
    delete, path = "/admin/datasets/{dataset}", tag = "datasets", operation_id = "delete_dataset",
    params(OfDataset),
    responses((status = 204, description = "It is gone."), DeleteRefusals),
)]
pub(in crate::http) async fn delete(
    State(state): State<AppState>,
    Path(OfDataset { dataset }): Path<OfDataset>,
) -> Result<StatusCode, Problem> {
    let user = state.jobs.list().into_iter();
    let user = user
        .rev()
        .find(|job| job.dataset == dataset && !job.state.has_ended());
    if let Some(job) = user {
        return Err(Problem::new(
            "dataset_in_use",
            format!(
                "job {id} uses the data set \"{dataset}\"; wait for it to end, or cancel it (POST /admin/jobs/{id}/cancel)",
                id = job.id,
            ),
        ));
    }
    state
        .blocking(move |state| state.datasets.remove(&dataset))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
