//! What surrounds every handler: the request's id, its line in the log, its place in the metrics, and the form of what
//! goes wrong.

use std::any::Any;
use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::{Instrument, field};

use super::arrival;
use super::problem::Problem;
use super::protocols;
use super::state::AppState;
use super::trace::{Place, TRACERESPONSE};
use super::v1;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Longest request id that is taken over from a client.
const MAX_REQUEST_ID: usize = 128;

/// Handles a request from its first look to its last: names it, counts it, logs it as one line.
pub(super) async fn observe(
    State(state): State<AppState>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let method = request.method().clone();
    let path = request.uri().path().to_owned();
    // Label values come from the list of routes, so that nobody can make series by guessing paths.
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    let route = v1::with_verb(route, &method, &path);
    let span = tracing::info_span!(
        "request",
        id = id.to_str().unwrap_or_default(),
        trace = field::Empty,
        %method,
        path,
        // What a prediction adds.
        model = field::Empty,
        version = field::Empty,
        images = field::Empty,
        decode_ms = field::Empty,
        queue_ms = field::Empty,
        compute_ms = field::Empty,
        // Where spans are exported.
        otel.kind = field::Empty,
    );
    let place = Place::of_request(&span, Place::of_caller(request.headers()));
    span.record("trace", format!("{:032x}", place.trace));

    let mut response = async {
        let _in_flight = state.lifecycle.enter();
        let response = arrival::answer(started, next.run(request)).await;
        let mut response = complete(response, &method, &path);
        if protocols::speak(&path) {
            response = protocols::in_their_form(response);
        }
        let elapsed = started.elapsed();
        let status = response.status();
        let milliseconds = elapsed.as_secs_f64() * 1e3;
        // Probes and scrapes come all the time; only what goes wrong with them is news.
        if is_probe(&path) && status.is_success() {
            tracing::debug!(status = status.as_u16(), milliseconds, "answered");
        } else {
            tracing::info!(status = status.as_u16(), milliseconds, "answered");
        }
        let problem = response.extensions().get::<Problem>().map(Problem::code);
        state
            .metrics
            .request(&route, &method, status, elapsed, problem);
        #[cfg(feature = "otlp")]
        super::otlp::answered(&tracing::Span::current(), &method, &route, status);
        response
    }
    .instrument(span)
    .await;

    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    headers.extend(place.header().map(|place| (TRACERESPONSE, place)));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers
        .entry(header::CONTENT_SECURITY_POLICY)
        .or_insert(HeaderValue::from_static(
            "default-src 'none'; frame-ancestors 'none'",
        ));
    response
}

/// Once the server drains, new requests are turned away, so that those accepted come to an end. Health and metrics stay
/// readable.
pub(super) async fn refuse_while_draining(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    if !state.lifecycle.is_draining() || is_probe(request.uri().path()) {
        return next.run(request).await;
    }
    let problem = Problem::new(
        "draining",
        "the server is shutting down; send the request to another one, or again in a moment",
    );
    ([(header::CONNECTION, "close")], problem).into_response()
}

/// Whether this is asked by machines that watch the server.
fn is_probe(path: &str) -> bool {
    path.starts_with("/health/") || path.starts_with("/v2/health/") || path == "/metrics"
}

/// Answers a panic of a handler like any other fault of the server's own.
pub(super) fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}

/// The client's request id if it is one that can go into logs and headers, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let is_sane = |id: &HeaderValue| {
        let id = id.as_bytes();
        (1..=MAX_REQUEST_ID).contains(&id.len())
            && id
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.:/".contains(b))
    };
    match headers.get(REQUEST_ID).filter(|id| is_sane(id)) {
        Some(id) => id.clone(),
        None => {
            let id = format!("{:032x}", rand::random::<u128>());
            HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

/// Gives the refusals that the router makes by itself the form of a problem.
fn complete(response: Response, method: &Method, path: &str) -> Response {
    let status = response.status();
    if !(status.is_client_error() || status.is_server_error())
        || response.extensions().get::<Problem>().is_some()
    {
        return response;
    }
    let problem = match status {
        StatusCode::NOT_FOUND => Problem::new(
            "not_found",
            format!("there is nothing at {path}; GET /openapi.yaml lists every route"),
        ),
        // The router adds the header `Allow` outside of the layers.
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            "method_not_allowed",
            format!("{path} does not take {method}; the header Allow names what it takes"),
        ),
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Problem::new(
            "unsupported_media_type",
            "the body is compressed in a way that is not read; send it as it is, or by gzip or deflate",
        ),
        StatusCode::PAYLOAD_TOO_LARGE => Problem::new("payload_too_large", "the body is too large"),
        status if status.is_client_error() => Problem::new("invalid_request", status),
        status => Problem::internal(status),
    };
    problem.into_response()
}
