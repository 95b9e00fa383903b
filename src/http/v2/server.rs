//! `GET /v2` and `GET /v2/health/…`: the server itself.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::problem::{Problem, refusals};
use crate::http::state::AppState;

/// What the server is, and which parts of the protocol it offers.
#[derive(Serialize, ToSchema)]
#[schema(as = ServerMetadata)]
pub(super) struct Metadata {
    /// Its name.
    #[schema(example = "irori")]
    name: &'static str,
    /// Its version.
    #[schema(example = "0.1.0")]
    version: &'static str,
    /// The extensions of the protocol that it offers.
    #[schema(value_type = Vec<String>)]
    extensions: [&'static str; 5],
}

/// Whether the server lives.
#[derive(Serialize, ToSchema)]
pub(super) struct Live {
    /// It does.
    #[schema(example = true)]
    live: bool,
}

/// Whether to send requests.
#[derive(Serialize, ToSchema)]
pub(super) struct Ready {
    /// Send them.
    #[schema(example = true)]
    ready: bool,
}

refusals!(ReadyRefusals: "draining");
refusals!(MetadataRefusals: "internal");

/// Describe the server
#[utoipa::path(
    get, path = "/v2", tag = "v2", operation_id = "v2_server",
    responses((status = 200, description = "The server.", body = Metadata), MetadataRefusals),
)]
pub(super) async fn metadata() -> Json<Metadata> {
    Json(Metadata {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
        extensions: [
            "binary_tensor_data",
            "classification",
            "model_configuration",
            "model_repository",
            "statistics",
        ],
    })
}

/// Whether the server lives
#[utoipa::path(
    get, path = "/v2/health/live", tag = "v2", operation_id = "v2_live",
    responses((status = 200, description = "It does.", body = Live), MetadataRefusals),
)]
pub(super) async fn live() -> Json<Live> {
    Json(Live { live: true })
}

/// Whether to send requests
#[utoipa::path(
    get, path = "/v2/health/ready", tag = "v2", operation_id = "v2_ready",
    responses((status = 200, description = "Send them.", body = Ready), ReadyRefusals),
)]
pub(super) async fn ready(State(state): State<AppState>) -> Result<Json<Ready>, Problem> {
    if state.lifecycle.is_draining() {
        return Err(Problem::new("draining", "the server is shutting down"));
    }
    Ok(Json(Ready { ready: true }))
}
