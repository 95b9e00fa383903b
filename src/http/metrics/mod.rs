//! The metrics: what the server counts, and `GET /metrics`, which reads it.

mod exposition;
mod observed;
mod process;
mod versions;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::bodies::Budget;
use super::lifecycle::Lifecycle;
use super::problem::{Problem, refusals};
use super::state::AppState;
use crate::serving::{Engine, Models, Servable};
use crate::training::Jobs;
use observed::Observed;
use process::Process;
use versions::Versions;

/// Upper bounds of the latency buckets in seconds: 100 µs to 10 s, three to a decade.
const SECONDS: [f64; 16] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

fn seconds() -> Histogram {
    Histogram::new(SECONDS)
}

/// A route and how it was asked.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RouteLabels {
    route: String,
    method: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    route: String,
    method: &'static str,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ProblemLabels {
    code: &'static str,
}

/// A version of a model.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct VersionLabels {
    model: String,
    version: u64,
}

impl VersionLabels {
    fn of(servable: &Servable) -> Self {
        Self {
            model: servable.model().to_owned(),
            version: servable.version(),
        }
    }
}

/// Everything that is counted as it happens, and the registry that reads it together with what is looked up when asked.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Histograms<RouteLabels>,
    rejections: Family<ProblemLabels, Counter>,
}

impl Metrics {
    pub(super) fn new(
        models: Arc<Models>,
        engine: Arc<Engine>,
        jobs: Arc<Jobs>,
        lifecycle: Arc<Lifecycle>,
        bodies: Arc<Budget>,
    ) -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            requests: Family::default(),
            durations: Family::new_with_constructor(seconds),
            rejections: Family::default(),
        };
        metrics.registry.register_collector(Box::new(Process));
        let irori = metrics.registry.sub_registry_with_prefix("irori");
        let version = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        irori.register("build", "The Irori that runs", version);
        irori.register(
            "http_requests",
            "Requests answered",
            metrics.requests.clone(),
        );
        irori.register_with_unit(
            "http_request_duration",
            "From a request's head to its answer's",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        irori.register(
            "rejections",
            "Requests refused or failed, by the problem's code",
            metrics.rejections.clone(),
        );
        irori.register_collector(Box::new(Versions(Arc::clone(&models))));
        irori.register_collector(Box::new(Observed {
            models,
            engine,
            jobs,
            lifecycle,
            bodies,
        }));
        metrics
    }

    /// Counts a request that was answered.
    pub(super) fn request(
        &self,
        route: &str,
        method: &Method,
        status: StatusCode,
        elapsed: Duration,
        problem: Option<&'static str>,
    ) {
        let route = route.to_owned();
        let method = name_of(method);
        let of_route = RouteLabels {
            route: route.clone(),
            method,
        };
        self.durations
            .get_or_create(&of_route)
            .observe(elapsed.as_secs_f64());
        let of_request = RequestLabels {
            route,
            method,
            status: status.as_u16(),
        };
        self.requests.get_or_create(&of_request).inc();
        if let Some(code) = problem {
            self.rejections.get_or_create(&ProblemLabels { code }).inc();
        }
    }
}

/// A method as a label value: a client can make up its own methods, but no series for them.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}

refusals!(Refusals: "internal");

/// Metrics
///
/// For Prometheus: its text format, or OpenMetrics where the client asks for `application/openmetrics-text`. With
/// `Accept: application/json` the same figures as one JSON object, a member for each metric.
#[utoipa::path(
    get, path = "/metrics", tag = "metrics", operation_id = "metrics",
    responses(
        (status = 200, description = "The metrics.", content(
            (String = "text/plain; version=0.0.4; charset=utf-8"),
            (String = "application/openmetrics-text; version=1.0.0; charset=utf-8"),
            (Object = "application/json"),
        )),
        Refusals,
    ),
)]
pub(super) async fn metrics(
    State(state): State<AppState>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let accept = accept.unwrap_or_default().to_ascii_lowercase();
    // It reads /proc and every job, which may take a moment.
    let open_metrics = state
        .blocking(|state| -> Result<String, Problem> {
            let mut text = String::new();
            encode(&mut text, &state.metrics.registry).map_err(Problem::internal)?;
            Ok(text)
        })
        .await?;
    if accept.contains("application/openmetrics-text") {
        let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        return Ok(([(header::CONTENT_TYPE, content_type)], open_metrics).into_response());
    }
    let families = exposition::families(&open_metrics);
    if accept.contains("application/json") {
        return Ok(axum::Json(exposition::json(&families)).into_response());
    }
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    Ok((
        [(header::CONTENT_TYPE, content_type)],
        exposition::text(&families),
    )
        .into_response())
}
