//! `/v2`: the Open Inference Protocol over REST, with its extensions for binary tensors,
//! classification, configuration, statistics and the model repository.
//!
//! Sources: `specification/protocol/inference_rest.md` of kserve/open-inference-protocol, and
//! `docs/protocol/extension_*.md` of triton-inference-server/server.

mod infer;
mod models;
mod repository;
mod request;
mod response;
mod server;
mod statistics;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::protocols;
use super::state::AppState;

/// The header that says how many bytes of a body are JSON, before the tensors' bytes.
pub(super) const HEADER_LENGTH: &str = "inference-header-content-length";

/// The routes that anybody may use.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(server::metadata))
        .route("/v2/", get(server::metadata))
        .routes(routes!(server::live))
        .routes(routes!(server::ready))
        .routes(routes!(statistics::of_all))
        .routes(routes!(models::of_model))
        .routes(routes!(models::of_version))
        .routes(routes!(models::ready_of_model))
        .routes(routes!(models::ready_of_version))
        .routes(routes!(models::config_of_model))
        .routes(routes!(models::config_of_version))
        .routes(routes!(statistics::of_model))
        .routes(routes!(statistics::of_version))
        .routes(routes!(repository::index))
}

/// The routes that need an API key where there are any.
pub(super) fn predict_routes() -> OpenApiRouter<AppState> {
    let routes = OpenApiRouter::new()
        .routes(routes!(infer::of_model))
        .routes(routes!(infer::of_version));
    protocols::packed(routes)
}

/// The routes that need the admin token.
pub(super) fn admin_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(repository::load))
        .routes(routes!(repository::unload))
}
