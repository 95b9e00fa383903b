//! `GET /v2/models/…/stats`: what requests have cost, per version.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::extract::Path;
use crate::http::models::{OfModel, OfVersion};
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::serving::{Histogram, Runs, ServingError, Statistics};

/// The statistics of versions that were ever loaded.
#[derive(Serialize, ToSchema)]
pub(super) struct ModelStatistics {
    /// One for each version.
    model_stats: Vec<VersionStatistics>,
}

/// What the requests to a version have cost.
#[derive(Serialize, ToSchema)]
pub(super) struct VersionStatistics {
    /// The model's name.
    #[schema(example = "digits")]
    name: String,
    /// The version.
    #[schema(example = "1")]
    version: String,
    /// When the last request was answered, in milliseconds since 1970; 0 before the first.
    #[schema(example = 1767225600000u64)]
    last_inference: u64,
    /// Images scored.
    #[schema(example = 64)]
    inference_count: u64,
    /// Runs of the network, each over a batch.
    #[schema(example = 2)]
    execution_count: u64,
    /// Where the time of the requests went.
    inference_stats: InferenceStatistics,
    /// The same by how many images were computed together, for the sizes that there were.
    batch_stats: Vec<BatchStatistics>,
}

/// What the runs of the network over batches of one size have cost.
#[derive(Serialize, ToSchema)]
pub(super) struct BatchStatistics {
    /// Images in each.
    #[schema(example = 32)]
    batch_size: usize,
    /// Decoding and preprocessing, of each batch's slowest image.
    compute_input: DurationStatistics,
    /// In the network.
    compute_infer: DurationStatistics,
    /// As often as `compute_infer`, in no time: it is part of that.
    compute_output: DurationStatistics,
}

impl BatchStatistics {
    fn new(batch_size: usize, runs: Runs) -> Self {
        let each_in = |time: Duration| DurationStatistics {
            count: runs.count,
            ns: u64::try_from(time.as_nanos()).unwrap_or(u64::MAX),
        };
        Self {
            batch_size,
            compute_input: each_in(runs.decode),
            compute_infer: each_in(runs.compute),
            compute_output: each_in(Duration::ZERO),
        }
    }
}

/// Where the time of the requests went.
#[derive(Serialize, ToSchema)]
pub(super) struct InferenceStatistics {
    /// Requests answered.
    success: DurationStatistics,
    /// Requests that got no scores.
    fail: DurationStatistics,
    /// From the queue to the computation, of each request's slowest image.
    queue: DurationStatistics,
    /// Decoding and preprocessing, of each request's slowest image.
    compute_input: DurationStatistics,
    /// In the network.
    compute_infer: DurationStatistics,
    /// As often as `compute_infer`, in no time: it is part of that.
    compute_output: DurationStatistics,
    /// Nothing: there is no cache.
    cache_hit: DurationStatistics,
    /// Nothing: there is no cache.
    cache_miss: DurationStatistics,
}

/// How often something was done, and how long that took.
#[derive(Default, Serialize, ToSchema)]
pub(super) struct DurationStatistics {
    /// How often.
    #[schema(example = 64)]
    count: u64,
    /// Nanoseconds in all.
    #[schema(example = 51200000)]
    ns: u64,
}

impl From<&Histogram> for DurationStatistics {
    fn from(histogram: &Histogram) -> Self {
        Self {
            count: histogram.count(),
            ns: histogram.sum(),
        }
    }
}

impl VersionStatistics {
    fn new(name: String, version: u64, counted: &Statistics) -> Self {
        let batches = counted.batches();
        Self {
            name,
            version: version.to_string(),
            last_inference: counted.last_answer(),
            inference_count: counted.images(),
            execution_count: batches.values().map(|runs| runs.count).sum(),
            inference_stats: InferenceStatistics {
                success: (&counted.success).into(),
                fail: (&counted.failure).into(),
                queue: (&counted.queue).into(),
                compute_input: (&counted.decode).into(),
                compute_infer: (&counted.compute).into(),
                // perf_analyzer insists on the same count for all three.
                compute_output: DurationStatistics {
                    count: counted.compute.count(),
                    ns: 0,
                },
                cache_hit: DurationStatistics::default(),
                cache_miss: DurationStatistics::default(),
            },
            batch_stats: batches
                .into_iter()
                .map(|(size, runs)| BatchStatistics::new(size, runs))
                .collect(),
        }
    }
}

refusals!(AllRefusals: "internal");
refusals!(ModelRefusals: "invalid_path", "model_not_found");
refusals!(VersionRefusals: "invalid_path", "model_not_found", "version_not_found");

/// Statistics of all models
#[utoipa::path(
    get, path = "/v2/models/stats", tag = "v2", operation_id = "v2_statistics",
    responses((status = 200, description = "The statistics.", body = ModelStatistics), AllRefusals),
)]
pub(super) async fn of_all(State(state): State<AppState>) -> Json<ModelStatistics> {
    Json(statistics(&state, |_, _| true))
}

/// Statistics of a model
#[utoipa::path(
    get, path = "/v2/models/{model}/stats", tag = "v2", operation_id = "v2_statistics_of_model",
    params(OfModel),
    responses((status = 200, description = "The statistics of its versions.", body = ModelStatistics), ModelRefusals),
)]
pub(super) async fn of_model(
    State(state): State<AppState>,
    Path(OfModel { model }): Path<OfModel>,
) -> Result<Json<ModelStatistics>, Problem> {
    check_model(&state, &model)?;
    Ok(Json(statistics(&state, |name, _| name == model)))
}

/// Statistics of a version
#[utoipa::path(
    get, path = "/v2/models/{model}/versions/{version}/stats", tag = "v2", operation_id = "v2_statistics_of_version",
    params(OfVersion),
    responses((status = 200, description = "Its statistics.", body = ModelStatistics), VersionRefusals),
)]
pub(super) async fn of_version(
    State(state): State<AppState>,
    Path(OfVersion { model, version }): Path<OfVersion>,
) -> Result<Json<ModelStatistics>, Problem> {
    check_model(&state, &model)?;
    let found = statistics(&state, |name, number| name == model && number == version);
    if found.model_stats.is_empty() {
        // It was never asked: either it exists or it doesn't.
        let versions = {
            let model = model.clone();
            state
                .blocking(move |state| state.models.repository().versions(&model))
                .await?
        };
        if !versions.contains(&version) {
            return Err(ServingError::VersionNotFound { model, version }.into());
        }
    }
    Ok(Json(found))
}

fn check_model(state: &AppState, model: &str) -> Result<(), Problem> {
    match state.models.get(model) {
        Err(missing @ ServingError::ModelNotFound { .. }) => Err(missing.into()),
        _ => Ok(()),
    }
}

fn statistics(state: &AppState, wanted: impl Fn(&str, u64) -> bool) -> ModelStatistics {
    let all = state.models.statistics().into_iter();
    let wanted = all.filter(|((name, version), _)| wanted(name, *version));
    ModelStatistics {
        model_stats: wanted
            .map(|((name, version), counted)| VersionStatistics::new(name, version, &counted))
            .collect(),
    }
}
