//! `/admin/jobs`: training and evaluation, followed and stopped.

use std::convert::Infallible;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Sse;
use axum::response::sse::{Event, KeepAlive};
use futures_util::Stream;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::events;
use crate::http::extract::Path;
use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;
use crate::training::JobSnapshot;

/// Without news, a comment is sent so often, so that proxies keep the stream open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A job, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(in crate::http) struct OfJob {
    /// The job's number.
    #[param(example = 1, minimum = 1)]
    id: u64,
}

/// The jobs since the server began.
#[derive(Serialize, ToSchema)]
pub(in crate::http) struct JobList {
    /// The newest first; of those that have ended, the last 200.
    jobs: Vec<JobSnapshot>,
}

refusals!(ListRefusals: "internal");
refusals!(JobRefusals: "invalid_path", "job_not_found");

/// List the jobs
#[utoipa::path(
    get, path = "/admin/jobs", tag = "training", operation_id = "list_jobs",
    responses((status = 200, description = "The jobs.", body = JobList), ListRefusals),
)]
pub(in crate::http) async fn list(State(state): State<AppState>) -> Json<JobList> {
    Json(JobList {
        jobs: state.jobs.list(),
    })
}

/// Look at a job
#[utoipa::path(
    get, path = "/admin/jobs/{id}", tag = "training", operation_id = "get_job",
    params(OfJob),
    responses((status = 200, description = "The job.", body = JobSnapshot), JobRefusals),
)]
pub(in crate::http) async fn get(
    State(state): State<AppState>,
    Path(OfJob { id }): Path<OfJob>,
) -> Result<Json<JobSnapshot>, Problem> {
    let job = state.jobs.watch(id).ok_or_else(|| not_found(id))?;
    let snapshot = job.borrow().clone();
    Ok(Json(snapshot))
}

/// Follow a job
///
/// Server-sent events: `epoch` with each epoch once, those that are over first; `progress`, at most four a second; and
/// `end` with the whole job, after which the stream ends. A client that comes back with `Last-Event-ID` is not told
/// again of the epochs it knows.
#[utoipa::path(
    get, path = "/admin/jobs/{id}/events", tag = "training", operation_id = "follow_job",
    params(OfJob, ("last-event-id" = Option<String>, Header, description = "The last epoch that is known.", example = "3")),
    responses(
        (status = 200, description = "The events; the data of each is JSON.", body = String, content_type = "text/event-stream",
            example = "event: epoch\nid: 1\ndata: {\"epoch\":1,\"loss\":0.61,\"accuracy\":0.79,\"learning_rate\":0.001,\"seconds\":8.2,\"images_per_second\":7317.0}\n\n"),
        JobRefusals,
    ),
)]
pub(in crate::http) async fn events(
    State(state): State<AppState>,
    Path(OfJob { id }): Path<OfJob>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let job = state.jobs.watch(id).ok_or_else(|| not_found(id))?;
    let known = headers.get("last-event-id");
    let known = known
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or(0);
    let events = events::follow(job, known, state.lifecycle.draining());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Cancel a job
///
/// A running job stops after its batch and publishes nothing. Cancelling one that has ended changes nothing.
#[utoipa::path(
    post, path = "/admin/jobs/{id}/cancel", tag = "training", operation_id = "cancel_job",
    params(OfJob),
    responses((status = 200, description = "The job, which has been asked to stop.", body = JobSnapshot), JobRefusals),
)]
pub(in crate::http) async fn cancel(
    State(state): State<AppState>,
    Path(OfJob { id }): Path<OfJob>,
) -> Result<Json<JobSnapshot>, Problem> {
    state.jobs.cancel(id).map(Json).ok_or_else(|| not_found(id))
}

fn not_found(id: u64) -> Problem {
    Problem::new(
        "job_not_found",
        format!(
            "there is no job {id}; GET /admin/jobs lists them. Jobs are forgotten when the server stops"
        ),
    )
}
