//! What the two foreign protocols, under `/v1` and `/v2`, have in common: the form of their errors,
//! and how their bodies are packed.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::from_fn;
use axum::response::Response;
use serde::Serialize;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::decompression::RequestDecompressionLayer;
use utoipa::ToSchema;
use utoipa::openapi::example::ExampleBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;

use super::bodies;
use super::codes;
use super::extract::read_body;
use super::problem::{CONTENT_TYPE, Problem};
use super::state::AppState;

/// Bytes from which on an answer is compressed for a client that offers it.
const WORTH_COMPRESSING: u64 = 1024;
/// Bytes from which on a body is read off the async threads.
const LARGE: usize = 256 << 10;

/// An error, as both protocols have it.
#[derive(Serialize, ToSchema)]
pub(super) struct ProtocolError<'a> {
    /// What was found, what is allowed, and what to change.
    #[schema(example = "there is no model \"cats\"; there are: digits")]
    error: &'a str,
}

/// Whether a path is under `/v1` or `/v2`.
pub(super) fn speak(path: &str) -> bool {
    ["/v1", "/v2"].iter().any(|root| {
        path.strip_prefix(root)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// The statuses that the protocols don't know stand for an invalid argument, or for a failure.
fn status(status: u16) -> u16 {
    match status {
        415 | 422 => 400,
        507 => 500,
        status => status,
    }
}

/// Gives a response that is a problem the form that the protocols prescribe. The problem stays among
/// its extensions.
pub(super) fn in_their_form(response: Response) -> Response {
    let Some(problem) = response.extensions().get::<Problem>() else {
        return response;
    };
    let error = ProtocolError {
        error: problem.detail(),
    };
    let body = serde_json::to_vec(&error).unwrap_or_default();
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::from_u16(status(parts.status.as_u16())).unwrap_or(parts.status);
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    Response::from_parts(parts, Body::from(body))
}

/// The same in the contract: the refusals of an operation under `/v1` or `/v2`.
pub(super) fn document(operation: &mut Operation) {
    let responses = &mut operation.responses.responses;
    let mut refusals: BTreeSet<String> = BTreeSet::new();
    responses.retain(|_, response| {
        let RefOr::T(response) = response else {
            return true;
        };
        match response.content.get(CONTENT_TYPE) {
            Some(RefOr::T(content)) => {
                refusals.extend(content.examples.keys().cloned());
                false
            }
            _ => true,
        }
    });
    let mut statuses: BTreeSet<u16> = BTreeSet::new();
    let known = |code: &String| codes::find(code);
    statuses.extend(
        refusals
            .iter()
            .filter_map(known)
            .map(|entry| status(entry.status)),
    );
    for of_status in statuses {
        let entries = refusals.iter().filter_map(known);
        let entries: Vec<_> = entries
            .filter(|entry| status(entry.status) == of_status)
            .collect();
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("{}.", entry.title))
            .collect();
        let examples = entries.iter().map(|entry| {
            let value = serde_json::json!({"error": format!("{}.", entry.title)});
            (entry.code, ExampleBuilder::new().value(Some(value)))
        });
        let response = ResponseBuilder::new()
            .description(lines.join("\n"))
            .content(
                "application/json",
                ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("ProtocolError")))
                    .examples_from_iter(examples)
                    .build(),
            )
            .build();
        responses.insert(of_status.to_string(), response.into());
    }
}

/// Lets requests come compressed by gzip or deflate, and compresses answers in the same ways where the client offers it;
/// never by brotli, which `tritonclient.http.aio` offers but can't read. It also can't read compressed errors.
pub(super) fn packed(routes: OpenApiRouter<AppState>) -> OpenApiRouter<AppState> {
    let is_answer = |status: StatusCode, _, _: &HeaderMap, _: &_| status == StatusCode::OK;
    let is_worth_it = SizeAbove::new(WORTH_COMPRESSING).and(is_answer);
    routes
        .layer(from_fn(bodies::count_unpacked))
        .layer(RequestDecompressionLayer::new())
        .layer(CompressionLayer::new().compress_when(is_worth_it))
}

/// Reads the body of a request and makes of it what `read` does; where it is large, off the async
/// threads.
pub(super) async fn read<T: Send + 'static>(
    state: &AppState,
    request: Request,
    read: impl FnOnce(&axum::body::Bytes) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let body = read_body(request, state).await?;
    if body.len() < LARGE {
        read(&body)
    } else {
        state.blocking(move |_| read(&body)).await
    }
}
