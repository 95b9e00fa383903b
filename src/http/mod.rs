//! HTTP: the routes, and what every request goes through on its way to them. The only module that knows axum.
//!
//! The lists of routes stand below; [`run`] serves them until it is asked to stop. [`openapi`] is the contract, made from the
//! same lists.

mod admin;
mod arrival;
mod auth;
mod bodies;
mod codes;
mod config;
mod cors;
mod docs;
mod doors;
mod evaluation;
mod examples;
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
mod protocols;
mod reread;
mod state;
mod tensors;
mod tokens;
mod trace;
mod v1;
mod v2;

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use tokio_util::sync::CancellationToken;
use tower::ServiceBuilder;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::{Modify, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use doors::Door;

pub use auth::Access;
pub use config::HttpConfig;
pub use cors::{NoOrigin, Origin};
pub use doors::{Doors, Tls, TlsError};
pub use state::AppState;
pub use tokens::{Tokens, TokensError};

/// The routes that predict, which need an API key if the server was given any.
fn predict_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(predict::default_model))
        .routes(routes!(predict::model))
        .routes(routes!(predict::version))
        .merge(v1::predict_routes())
        .merge(v2::predict_routes())
}

/// The routes that anybody may use.
fn public_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(models::list))
        .routes(routes!(models::model))
        .routes(routes!(models::version))
        .routes(routes!(evaluation::of_model))
        .routes(routes!(evaluation::of_version))
        .routes(routes!(evaluation::confusion_of_model))
        .routes(routes!(evaluation::confusion_of_version))
        .routes(routes!(evaluation::history_of_model))
        .routes(routes!(evaluation::history_of_version))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(docs::yaml))
        .routes(routes!(docs::json))
        .routes(routes!(examples::file))
        .merge(v1::routes())
        .merge(v2::routes())
}

/// What Prometheus reads.
fn metrics_routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(metrics::metrics))
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
        .merge(v2::admin_routes())
}

/// The contract: every route, what it takes and what it answers.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut contract = OpenApiRouter::with_openapi(docs::Base::openapi())
        .merge(predict_routes())
        .merge(public_routes())
        .merge(metrics_routes())
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

/// What is to be found behind a door.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Behind {
    /// All routes.
    Everything,
    /// What is left when `/admin` has a door of its own.
    PublicRoutes,
}

/// The service behind a door: its routes, and what surrounds them.
fn service(state: &AppState, behind: Behind) -> Router {
    let config = &state.config;
    let mut routes = Router::from(predict_routes())
        .route_layer(from_fn_with_state(state.clone(), auth::require_key))
        .merge(Router::from(public_routes()))
        .merge(docs::page());
    if behind == Behind::Everything || !config.private_metrics {
        routes = routes.merge(Router::from(metrics_routes()));
    }
    if behind == Behind::Everything {
        let admin = Router::from(admin_routes())
            .route_layer(from_fn_with_state(state.clone(), auth::require_token));
        routes = routes.merge(admin);
    }
    // One stack, so that a request passes from layer to layer without a box at each. The first sees it first.
    let around = ServiceBuilder::new()
        .layer(option_layer(cors::layer(&config.cors_origins)))
        .layer(from_fn_with_state(state.clone(), layers::observe))
        .layer(CatchPanicLayer::custom(layers::panicked))
        .layer(from_fn_with_state(
            state.clone(),
            layers::refuse_while_draining,
        ))
        .layer(from_fn_with_state(state.clone(), bodies::count))
        .layer(DefaultBodyLimit::max(config.max_body_bytes));
    routes.layer(around).with_state(state.clone())
}

/// Serves until `shutdown` ends. Then the server is no longer ready, and jobs are asked to stop; after `drain_grace` it turns
/// new requests away, and what was accepted has `drain_timeout` to finish.
///
/// # Errors
///
/// What the doors fail with.
pub async fn run(
    doors: impl Into<Doors>,
    state: AppState,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let Doors { public, admin, tls } = doors.into();
    let door = |listener, behind| {
        let service = service(&state, behind);
        Door::new(
            listener,
            service,
            tls.as_ref(),
            &state.config,
            &state.lifecycle,
        )
    };
    let behind_public = if admin.is_some() {
        Behind::PublicRoutes
    } else {
        Behind::Everything
    };
    let public = door(public, behind_public);
    let admin = admin.map(|admin| door(admin, Behind::Everything));
    let stop = CancellationToken::new();
    let drain = async {
        shutdown.await;
        state.lifecycle.leave();
        state.jobs.cancel_all();
        // Even the shortest sleep would leave a gap in which new requests are taken.
        if !state.config.drain_grace.is_zero() {
            tokio::time::sleep(state.config.drain_grace).await;
        }
        tracing::info!(requests = state.lifecycle.in_flight(), "draining");
        state.lifecycle.drain();
        state.lifecycle.idle().await;
        stop.cancel();
    };
    let serve_admin = async {
        if let Some(admin) = admin {
            admin.serve(stop.clone()).await;
        }
    };
    let too_late = async {
        state.lifecycle.draining().cancelled().await;
        tokio::time::sleep(state.config.drain_timeout).await;
    };
    tokio::select! {
        _ = async { tokio::join!(drain, public.serve(stop.clone()), serve_admin) } => {}
        () = too_late => {
            let seconds = state.config.drain_timeout.as_secs_f64();
            tracing::warn!(seconds, "requests were cut off: the drain timeout is over");
        }
        () = reread(&state, tls.as_ref()) => {}
    }
    Ok(())
}

/// Reads tokens and certificates again, for ever, whenever their files change.
async fn reread(state: &AppState, tls: Option<&Tls>) {
    loop {
        tokio::time::sleep(reread::EVERY).await;
        let (access, tls) = (Arc::clone(&state.access), tls.cloned());
        let refreshed = tokio::task::spawn_blocking(move || {
            access.refresh();
            if let Some(tls) = tls {
                tls.refresh();
            }
        });
        if let Err(error) = refreshed.await {
            tracing::error!(%error, "tokens and certificates could not be read again");
        }
    }
}
