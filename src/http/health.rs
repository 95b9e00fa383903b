//! `GET /health/…`: whether the process lives, and whether it should be sent requests.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::{Problem, refusals};
use super::state::AppState;

/// The answer of a healthy server.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `alive` or `ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// The version of Irori.
    #[schema(example = "0.1.0")]
    version: &'static str,
}

impl Health {
    fn new(status: &'static str) -> Json<Self> {
        Json(Self {
            status,
            version: env!("CARGO_PKG_VERSION"),
        })
    }
}

refusals!(ReadyRefusals: "draining");

/// Whether the process lives
///
/// Restart it when this is not answered.
#[utoipa::path(
    get, path = "/health/live", tag = "health", operation_id = "live",
    responses((status = 200, description = "It does.", body = Health)),
)]
pub(super) async fn live() -> Json<Health> {
    Health::new("alive")
}

/// Whether to send requests
///
/// The models are loaded and warmed before the server listens; once it is asked to stop it is no longer ready, while
/// what it has accepted is still answered.
#[utoipa::path(
    get, path = "/health/ready", tag = "health", operation_id = "ready",
    responses((status = 200, description = "Send them.", body = Health), ReadyRefusals),
)]
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Health>, Problem> {
    if state.lifecycle.is_leaving() {
        return Err(Problem::new("draining", "the server is shutting down"));
    }
    Ok(Health::new("ready"))
}
