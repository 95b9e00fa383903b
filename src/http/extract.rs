//! What handlers take from a request, refused as a problem where it is not as it must be.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::HeaderMap;
use axum::http::header;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::Problem;
use super::state::AppState;

/// The variable parts of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<AppState> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        axum::extract::Path::from_request_parts(parts, state)
            .await
            .map(|axum::extract::Path(value)| Self(value))
            .map_err(|rejection| Problem::new("invalid_path", rejection.body_text()))
    }
}

/// The query parameters; one that is not known is refused by its name.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &AppState) -> Result<Self, Problem> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(value)| Self(value))
            .map_err(|rejection| Problem::new("invalid_query", rejection.body_text()))
    }
}

/// A JSON body. A body without a content type, or with that of `curl -d`, is taken for JSON too.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<AppState> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Problem> {
        let media_type = media_type(request.headers());
        if !(media_type.is_empty() || media_type == FORM || is_json(&media_type)) {
            return Err(Problem::new(
                "unsupported_media_type",
                format!("the body is of type {media_type}; send application/json"),
            ));
        }
        let body = read_body(request, state).await?;
        parse_json(&body).map(Self)
    }
}

/// What `curl -d` and `curl --data-binary` say where the user says nothing.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

/// The media type of the body, in lower case and without parameters; empty where none is stated.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    let stated = headers.get(header::CONTENT_TYPE);
    let stated = stated.and_then(|value| value.to_str().ok()).unwrap_or("");
    let essence = stated.split(';').next().unwrap_or("");
    essence.trim().to_ascii_lowercase()
}

pub(super) fn is_json(media_type: &str) -> bool {
    media_type == "application/json" || media_type.ends_with("+json")
}

/// The body in memory, within the limits on size and time.
pub(super) async fn read_body(request: Request, state: &AppState) -> Result<Bytes, Problem> {
    let limit = state.config.max_body_bytes;
    check_declared_length(request.headers(), limit as u64)?;
    let timeout = state.config.body_timeout;
    match tokio::time::timeout(timeout, Bytes::from_request(request, state)).await {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)))) => {
            Err(too_large(limit as u64))
        }
        Ok(Err(rejection)) => Err(Problem::new("body_incomplete", rejection.body_text())),
        Err(_) => Err(too_slow(timeout)),
    }
}

/// The length of the body, where the request states it.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers
        .get(header::CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

/// Refuses a body that says that it is too large, before any of it is read.
pub(super) fn check_declared_length(headers: &HeaderMap, limit: u64) -> Result<(), Problem> {
    match declared_length(headers) {
        Some(length) if length > limit => Err(too_large(limit)),
        _ => Ok(()),
    }
}

pub(super) fn too_large(limit: u64) -> Problem {
    Problem::new(
        "payload_too_large",
        format!("the body has more than the {limit} bytes that are allowed"),
    )
}

pub(super) fn too_slow(timeout: std::time::Duration) -> Problem {
    Problem::new(
        "request_timeout",
        format!(
            "the body did not arrive within {} seconds",
            timeout.as_secs_f64()
        ),
    )
}

/// Parses a JSON document; a fault names its place in it.
pub(super) fn parse_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().to_string();
        let reason = error.into_inner();
        let code = if reason.is_data() {
            "invalid_request"
        } else {
            "invalid_json"
        };
        let place = if place == "." {
            String::new()
        } else {
            format!("{place}: ")
        };
        Problem::new(code, format!("{place}{reason}"))
    })?;
    deserializer
        .end()
        .map_err(|error| Problem::new("invalid_json", error))?;
    Ok(value)
}
