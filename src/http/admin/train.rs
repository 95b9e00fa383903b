//! `POST /admin/models/{model}/train` and `…/evaluate`: work that is queued as a job.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::extract::{self, Path};
use crate::http::models::OfModel;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::repository::ModelName;
use crate::training::{
    Evaluate, EvaluateRequest, JobKind, JobSnapshot, Outcome, Source, Train, TrainRequest,
};

refusals!(TrainRefusals:
    "invalid_path", "invalid_json", "invalid_request", "body_incomplete", "request_timeout", "payload_too_large",
    "unsupported_media_type", "invalid_model_name", "invalid_dataset_name", "dataset_not_found", "version_not_found",
    "version_broken", "architecture_required", "input_not_an_image", "invalid_setting", "invalid_compile",
    "labels_mismatch", "preprocessing_channels_unsupported", "preprocessing_color_mismatch",
    "preprocessing_not_finite", "preprocessing_wrong_length", "preprocessing_std_not_positive",
    "preprocessing_overflow", "models_not_writable", "too_many_jobs",
);
refusals!(EvaluateRefusals:
    "invalid_path", "invalid_json", "invalid_request", "body_incomplete", "request_timeout", "payload_too_large",
    "unsupported_media_type", "invalid_model_name", "model_not_found", "version_not_found", "version_broken",
    "no_good_version", "invalid_dataset_name", "dataset_not_found", "too_many_jobs",
);

/// Train a new version
///
/// Checks the request, queues a job and answers at once. The job trains on the data set, evaluates on its test images (or
/// on those held out), and publishes a new version, which is served unless another was promoted.
#[utoipa::path(
    post, path = "/admin/models/{model}/train", tag = "training", operation_id = "train",
    params(OfModel),
    request_body(content = TrainRequest, example = json!({
        "dataset": "bits",
        "architecture": {"layers": [
            {"class_name": "Conv2D", "config": {"filters": 8, "kernel_size": [3, 3], "activation": "relu", "input_shape": [28, 28, 1]}},
            {"class_name": "GlobalMaxPooling2D"},
            {"class_name": "Dense", "config": {"units": 2, "activation": "softmax"}},
        ]},
        "compile": {"optimizer": "adam", "loss": "sparse_categorical_crossentropy", "metrics": ["accuracy"]},
        "fit": {"batch_size": 4, "epochs": 2},
        "seed": 1,
    })),
    responses(
        (status = 202, description = "The job is queued.", body = JobSnapshot,
            headers(("location" = String, description = "Where the job is followed."))),
        TrainRefusals,
    ),
)]
pub(in crate::http) async fn train(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    extract::Json(request): extract::Json<TrainRequest>,
) -> Result<Response, Problem> {
    let dataset = request.dataset.clone();
    let train = state
        .blocking(move |state| -> Result<(ModelName, Train), Problem> {
            let model = ModelName::try_from(model.as_str())?;
            let source = source(state, &request.dataset)?;
            let checked = Train::check(model.clone(), request, source, state.models.repository())?;
            Ok((model, checked))
        })
        .await?;
    let (model, train) = train;
    let name = model.as_str().to_owned();
    let models = state.models.clone();
    let job = state
        .jobs
        .submit(JobKind::Train, &name, &dataset, None, move |job| {
            let result = train.run(job, models.repository(), models.device());
            Outcome::from(result.map(|_| models.renew(model.as_str())))
        })?;
    Ok(accepted(job))
}

/// Evaluate a version
///
/// Queues a job that counts the version's predictions on the data set's test images, or on all its images where it has no
/// test part. The report replaces the version's own.
#[utoipa::path(
    post, path = "/admin/models/{model}/evaluate", tag = "training", operation_id = "evaluate",
    params(OfModel),
    request_body(content = EvaluateRequest, example = json!({"dataset": "bits", "version": 1})),
    responses(
        (status = 202, description = "The job is queued.", body = JobSnapshot,
            headers(("location" = String, description = "Where the job is followed."))),
        EvaluateRefusals,
    ),
)]
pub(in crate::http) async fn evaluate(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
    extract::Json(request): extract::Json<EvaluateRequest>,
) -> Result<Response, Problem> {
    let dataset = request.dataset.clone();
    let (model, evaluate) = state
        .blocking(move |state| -> Result<(ModelName, Evaluate), Problem> {
            let model = ModelName::try_from(model.as_str())?;
            let source = source(state, &request.dataset)?;
            let repository = state.models.repository();
            let checked = Evaluate::check(model.clone(), request.version, source, repository)?;
            Ok((model, checked))
        })
        .await?;
    let (name, version) = (model.as_str().to_owned(), evaluate.version());
    let models = state.models.clone();
    let job = state.jobs.submit(
        JobKind::Evaluate,
        &name,
        &dataset,
        Some(version),
        move |job| {
            let result = evaluate.run(job, models.repository(), models.device());
            Outcome::from(result.map(|_| models.renew(model.as_str())))
        },
    )?;
    Ok(accepted(job))
}

fn source(state: &AppState, dataset: &str) -> Result<Source, Problem> {
    Ok(Source {
        path: state.datasets.archive(dataset)?,
        name: dataset.to_owned(),
        options: state.datasets.options().clone(),
    })
}

fn accepted(job: JobSnapshot) -> Response {
    let location = format!("/admin/jobs/{}", job.id);
    (
        StatusCode::ACCEPTED,
        [(header::LOCATION, location)],
        Json(job),
    )
        .into_response()
}
