//! A problem: what every refusal and failure looks like to a client (RFC 9457).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Display;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;
use utoipa::openapi::schema::{ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{PartialSchema, ToSchema};

use super::codes::{self, CODES, INTERNAL};

/// The media type of a problem.
pub(super) const CONTENT_TYPE: &str = "application/problem+json";

/// A refusal or a failure, on its way to the client.
///
/// Also left in the response's extensions, where the layers find it to count it.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    code: &'static str,
    status: StatusCode,
    title: &'static str,
    detail: String,
    /// Seconds after which it may be worth trying again, where it is at all.
    retry_after: u64,
}

impl Problem {
    /// A problem with one of the [`CODES`]. Of a fault of the server's own the client learns only
    /// that it happened; `detail` goes to the log.
    pub(super) fn new(code: &'static str, detail: impl Display) -> Self {
        let Some(entry) = codes::find(code) else {
            tracing::error!(code, %detail, "an error without an entry in the table of codes");
            return Self::masked(&INTERNAL);
        };
        let status =
            StatusCode::from_u16(entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if matches!(entry.status, 500 | 507) {
            tracing::error!(code, %detail, "a request failed");
            return Self::masked(entry);
        }
        Self {
            code: entry.code,
            status,
            title: entry.title,
            detail: detail.to_string(),
            retry_after: 1,
        }
    }

    /// A fault of the server's own.
    pub(super) fn internal(detail: impl Display) -> Self {
        Self::new("internal", detail)
    }

    fn masked(entry: &codes::Code) -> Self {
        Self {
            code: entry.code,
            status: StatusCode::from_u16(entry.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
            title: entry.title,
            detail: format!("{}; the server's log says more", entry.title),
            retry_after: 1,
        }
    }

    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
    }

    pub(super) fn detail(&self) -> &str {
        &self.detail
    }
}

/// A problem as it is written.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(super) struct ProblemBody<'a> {
    /// A URI that stands for the kind of problem.
    #[serde(rename = "type")]
    #[schema(example = "urn:irori:problem:model_not_found")]
    kind: String,
    /// What kind of problem it is, for people.
    #[schema(example = "There is no such model")]
    title: &'a str,
    /// The HTTP status.
    #[schema(example = 404, minimum = 400, maximum = 599)]
    status: u16,
    /// What was found, what is allowed, and what to change.
    #[schema(example = "there is no model \"cats\"; there are: digits")]
    detail: &'a str,
    /// What kind of problem it is, for programs: stable.
    #[schema(value_type = ProblemCode, inline = false)]
    code: &'a str,
}

/// The codes that a problem can have.
pub(super) struct ProblemCode;

impl PartialSchema for ProblemCode {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(SchemaType::new(Type::String))
            .description(Some("What kind of problem it is, for programs: stable."))
            .enum_values(Some(CODES.iter().map(|entry| entry.code)))
            .into()
    }
}

impl ToSchema for ProblemCode {
    fn name() -> Cow<'static, str> {
        "ProblemCode".into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("urn:irori:problem:{}", self.code),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: self.code,
        };
        let mut response = (
            self.status,
            [(header::CONTENT_TYPE, CONTENT_TYPE)],
            serde_json::to_vec(&body).unwrap_or_default(),
        )
            .into_response();
        let headers = response.headers_mut();
        match self.status {
            StatusCode::UNAUTHORIZED => {
                let challenge = HeaderValue::from_static("Bearer realm=\"irori\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, self.retry_after.into());
            }
            _ => {}
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Turns the errors of the other modules into problems by their code.
macro_rules! problems_from {
    ($($error:ty),+ $(,)?) => {$(
        impl From<$error> for Problem {
            fn from(error: $error) -> Self {
                Self::new(error.code(), error)
            }
        }
    )+};
}

problems_from!(
    crate::architecture::ArchitectureError,
    crate::dataset::StoreError,
    crate::evaluation::EvaluationError,
    crate::interchange::InterchangeError,
    crate::interchange::SafetensorsError,
    crate::repository::RepositoryError,
    crate::training::TrainingError,
);

impl From<crate::serving::ServingError> for Problem {
    fn from(error: crate::serving::ServingError) -> Self {
        use crate::serving::ServingError;

        match error {
            // Why it can't be served may name files: that is for the operator.
            ServingError::ModelUnavailable { model, reason } => {
                tracing::warn!(model, reason, "asked for a model that can't be served");
                Self::new(
                    "model_unavailable",
                    format!(
                        "model \"{model}\" can't be served at present; the server's log says why"
                    ),
                )
            }
            ServingError::QueueFull { retry_after, .. } => Self {
                retry_after: retry_after.as_secs(),
                ..Self::new(error.code(), error)
            },
            error => Self::new(error.code(), error),
        }
    }
}

impl From<crate::training::TooManyJobs> for Problem {
    fn from(error: crate::training::TooManyJobs) -> Self {
        Self::new("too_many_jobs", error)
    }
}

/// The documentation of refusals with these codes: a response for each status among them, with an
/// example for each code.
pub(super) fn documented(refusals: &[&str]) -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
    let mut by_status: BTreeMap<u16, Vec<&codes::Code>> = BTreeMap::new();
    for entry in refusals.iter().filter_map(|code| codes::find(code)) {
        by_status.entry(entry.status).or_default().push(entry);
    }
    let response = |entries: &[&codes::Code]| {
        let lines: Vec<String> = entries
            .iter()
            .map(|entry| format!("`{}`: {}.", entry.code, entry.title))
            .collect();
        let examples = entries.iter().map(|entry| {
            let value = json!({
                "type": format!("urn:irori:problem:{}", entry.code),
                "title": entry.title,
                "status": entry.status,
                "detail": format!("{}.", entry.title),
                "code": entry.code,
            });
            let example = utoipa::openapi::example::ExampleBuilder::new().value(Some(value));
            (entry.code, example)
        });
        ResponseBuilder::new()
            .description(lines.join("\n"))
            .content(
                CONTENT_TYPE,
                ContentBuilder::new()
                    .schema(Some(Ref::from_schema_name("Problem")))
                    .examples_from_iter(examples)
                    .build(),
            )
            .build()
    };
    by_status
        .into_iter()
        .map(|(status, entries)| (status.to_string(), response(&entries).into()))
        .collect()
}

/// Names the refusals of an operation: a type to put among utoipa's `responses`.
macro_rules! refusals {
    ($name:ident: $($code:literal),+ $(,)?) => {
        pub(super) struct $name;

        impl utoipa::IntoResponses for $name {
            fn responses() -> std::collections::BTreeMap<
                String,
                utoipa::openapi::RefOr<utoipa::openapi::Response>,
            > {
                $crate::http::problem::documented(&[$($code),+])
            }
        }
    };
}
pub(super) use refusals;
