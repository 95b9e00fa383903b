//! HTTP: the routes, and what every request goes through on its way to them. The only module that knows axum.
//!
//! [`router`] is the list of routes; [`run`] serves it until it is asked to stop. [`openapi`] is the contract, made from the
//! same list.

mod admin;
mod auth;
mod codes;
mod config;
mod docs;
mod evaluation;
mod extract;
mod health;
mod images;
mod layers;
mod lifecycle;
mod metrics;
mod models;
#[cfg(feature = "otlp")]
mod otlp;
mod predict;
mod problem;
mod state;
mod trace;

use std::io;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use auth::{Admin, AdminError};
pub use config::HttpConfig;
pub use state::AppState;

/// The routes that anybody may use.
fn public_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(predict::default_model))
        .routes(routes!(predict::model))
        .routes(routes!(predict::version))
        .routes(routes!(models::list))
        .routes(routes!(models::model))
        .routes(routes!(models::version))
        .routes(routes!(evaluation::of_model))
        .routes(routes!(evaluation::of_version))
        .routes(routes!(evaluation::confusion_of_model))
        .routes(routes!(evaluation::confusion_of_version))
        .routes(routes!(evaluation::history_of_model))
        .routes(routes!(evaluation::history_of_version))
        .routes(routes!(metrics::metrics))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(docs::yaml))
        .routes(routes!(docs::json))
}

/// The routes that need the admin token.
fn admin_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(admin::datasets::list))
        .routes(routes!(
            admin::datasets::put,
            admin::datasets::get,
            admin::datasets::delete
        ))
        .routes(routes!(admin::train::train))
        .routes(routes!(admin::train::evaluate))
        .routes(routes!(admin::jobs::list))
        .routes(routes!(admin::jobs::get))
        .routes(routes!(admin::jobs::events))
        .routes(routes!(admin::jobs::cancel))
        .merge(
            OpenApiRouter::new()
                .routes(routes!(admin::import::post))
                // A model may be larger than other bodies; the handler counts.
                .layer(DefaultBodyLimit::disable()),
        )
        .routes(routes!(admin::lifecycle::delete))
        .routes(routes!(admin::export::get))
        .routes(routes!(admin::lifecycle::promote))
        .routes(routes!(admin::lifecycle::rollback))
}

/// The contract: every route, what it takes and what it answers.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut contract = OpenApiRouter::with_openapi(docs::Base::openapi())
        .merge(public_routes())
        .merge(admin_routes())
        .into_openapi();
    docs::Common.modify(&mut contract);
    contract
}

/// The contract as the text of `openapi.yaml`.
///
/// # Errors
///
/// Where it can't be written as YAML, which would be a fault of this program.
pub fn openapi_yaml() -> Result<String, impl std::error::Error + Send + Sync + 'static> {
    openapi().to_yaml()
}

/// The whole service: all routes, and what surrounds them.
pub fn router(state: AppState) -> Router {
    let admin = Router::from(admin_routes())
        .route_layer(from_fn_with_state(state.clone(), auth::require_token));
    Router::from(public_routes())
        .merge(admin)
        .merge(docs::page())
        .layer(DefaultBodyLimit::max(state.config.max_body_bytes))
        // From here on outwards: the last layer sees a request first.
        .layer(from_fn_with_state(state.clone(), layers::read_small_body))
        .layer(from_fn_with_state(
            state.clone(),
            layers::refuse_while_draining,
        ))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(state.clone(), layers::observe))
        .with_state(state)
}

/// Serves until `shutdown` ends. Then the server is no longer ready and turns new requests away, jobs are asked to stop,
/// and what was accepted has `drain_timeout` to finish.
///
/// # Errors
///
/// What the listener fails with.
pub async fn run(
    listener: TcpListener,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // An answer is one small write, which must not wait for the one before it to be acknowledged.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "a connection keeps its delay");
        }
    });
    let drain_timeout = state.config.drain_timeout;
    let draining = state.lifecycle.draining();
    let drained = {
        let state = state.clone();
        async move {
            shutdown.await;
            tracing::info!(requests = state.lifecycle.in_flight(), "draining");
            state.lifecycle.drain();
            state.jobs.cancel_all();
            state.lifecycle.idle().await;
        }
    };
    let server = axum::serve(listener, router(state)).with_graceful_shutdown(drained);
    let too_late = async {
        draining.cancelled().await;
        tokio::time::sleep(drain_timeout).await;
    };
    tokio::select! {
        result = server.into_future() => result,
        () = too_late => {
            tracing::warn!(seconds = drain_timeout.as_secs_f64(), "requests were cut off: the drain timeout is over");
            Ok(())
        }
    }
}
