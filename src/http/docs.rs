//! The contract, `openapi.yaml`, and the page to try it.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Contract, Ref, RefOr, SecurityRequirement};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::auth;
use super::problem::{Problem, ProblemBody, ProblemCode, documented, refusals};
use super::protocols::{self, ProtocolError};
use super::state::AppState;

const BEARER: &str = "admin_token";
const API_KEY: &str = "api_key";
const API_KEY_AS_BEARER: &str = "api_key_as_bearer";

/// A file as the body, or as a part of it.
#[derive(ToSchema)]
#[schema(value_type = String, format = Binary)]
#[allow(dead_code, reason = "describes bytes in the contract")]
pub(super) struct BinaryBody(Vec<u8>);

/// What the contract says beside the routes.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Irori",
        description = "Serves, trains and evaluates image classifiers.\n\nEvery refusal is a problem (RFC 9457) with a stable `code`; under `/v1` and `/v2` it takes the form of those protocols.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    servers((url = "/")),
    tags(
        (name = "predict", description = "From images to labels."),
        (name = "models", description = "What is served."),
        (name = "evaluation", description = "What the models are worth."),
        (name = "training", description = "New versions, and new evaluations of old ones."),
        (name = "datasets", description = "Labelled images."),
        (name = "lifecycle", description = "Which version a name stands for."),
        (name = "metrics", description = "What the server counts."),
        (name = "health", description = "Whether to send requests."),
        (name = "v2", description = "The Open Inference Protocol, for the clients of Triton and KServe."),
        (name = "v1", description = "TensorFlow Serving's REST API, for its clients."),
        (name = "contract", description = "This document."),
    ),
    components(schemas(ProblemBody, ProblemCode, ProtocolError)),
)]
pub(super) struct Base;

/// Headers of answers: the name, the statuses that have it (all where none is named), what it says, an example.
const HEADERS: [(&str, &[&str], &str, &str); 4] = [
    (
        "x-request-id",
        &[],
        "The request's id in the log: the client's own, or a new one.",
        "0805f072eb46dee98291f05cd3e5d46e",
    ),
    (
        "traceresponse",
        &[],
        "The request's place in its trace, in the form of the W3C's `traceparent`, with which a client may send its own.",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-ab5363fe9307072d-01",
    ),
    (
        "retry-after",
        &["429", "503"],
        "Seconds after which it is worth to try again.",
        "1",
    ),
    (
        "www-authenticate",
        &["401"],
        "How to say who one is.",
        "Bearer realm=\"irori\"",
    ),
];

/// Refers a response to the headers that its status has.
fn with_headers(status: &str, response: &mut RefOr<utoipa::openapi::Response>) {
    if let RefOr::T(response) = response {
        for (name, statuses, _, _) in HEADERS {
            if statuses.is_empty() || statuses.contains(&status) {
                let header = Ref::new(format!("#/components/headers/{name}"));
                response.headers.insert(name.to_owned(), RefOr::Ref(header));
            }
        }
    }
}

/// Adds what holds for whole groups of operations.
pub(super) struct Common;

impl Modify for Common {
    fn modify(&self, contract: &mut Contract) {
        let bearer = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = contract.components.get_or_insert_default();
        components.add_security_scheme(BEARER, bearer.clone());
        components.add_security_scheme(API_KEY_AS_BEARER, bearer);
        let key = ApiKey::Header(ApiKeyValue::new(auth::API_KEY.as_str()));
        components.add_security_scheme(API_KEY, SecurityScheme::ApiKey(key));
        for (name, _, description, example) in HEADERS {
            let header = HeaderBuilder::new()
                .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
                .description(Some(description))
                .example(Some(example.into()));
            components
                .headers
                .insert(name.to_owned(), header.build().into());
        }
        for (path, item) in &mut contract.paths.paths {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                super::examples::show(path, operation);
                let responses = &mut operation.responses.responses;
                if is_admin(path) {
                    operation.security =
                        Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
                    responses.extend(documented(&["unauthorized", "admin_disabled"]));
                } else if is_prediction(path) {
                    // Open, unless the server was started with API keys.
                    operation.security = Some(vec![
                        SecurityRequirement::default(),
                        SecurityRequirement::new(API_KEY, Vec::<String>::new()),
                        SecurityRequirement::new(API_KEY_AS_BEARER, Vec::<String>::new()),
                    ]);
                    responses.extend(documented(&["api_key_required"]));
                }
                for (status, response) in documented(&["internal", "draining"]) {
                    responses.entry(status).or_insert(response);
                }
                if protocols::speak(path) {
                    protocols::document(operation);
                }
                for (status, response) in &mut operation.responses.responses {
                    with_headers(status, response);
                }
            }
        }
    }
}

/// Whether a path needs the admin token.
fn is_admin(path: &str) -> bool {
    path.starts_with("/admin/") || path.starts_with("/v2/repository/models/")
}

/// Whether a path is for predictions, and so for the holders of API keys where there are any.
fn is_prediction(path: &str) -> bool {
    let ends = ["/predict", "/infer", ":predict", ":classify"];
    ends.iter().any(|end| path.ends_with(end))
}

refusals!(Refusals: "internal");

/// The contract, in YAML
#[utoipa::path(
    get, path = "/openapi.yaml", tag = "contract", operation_id = "openapi_yaml",
    responses(
        (status = 200, description = "This document.", body = Object, content_type = "application/yaml",
            example = json!({"openapi": "3.1.0", "info": {"title": "Irori", "version": "0.1.0"}, "paths": {}})),
        Refusals,
    ),
)]
pub(super) async fn yaml() -> Result<Response, Problem> {
    let text = super::openapi_yaml().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

/// The contract, in JSON
#[utoipa::path(
    get, path = "/openapi.json", tag = "contract", operation_id = "openapi_json",
    responses((status = 200, description = "This document.", body = Object,
        example = json!({"openapi": "3.1.0", "info": {"title": "Irori", "version": "0.1.0"}, "paths": {}}))),
)]
pub(super) async fn json() -> Response {
    axum::Json(super::openapi()).into_response()
}

/// `/docs`: Swagger UI, served from this binary.
pub(super) fn page() -> Router<AppState> {
    let page: Router<AppState> = SwaggerUi::new("/docs")
        .config(Config::new(["/openapi.json"]))
        .into();
    page.layer(middleware::from_fn(allow_page))
}

/// The page runs its own scripts and styles, and nobody else's.
async fn allow_page(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    response.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'",
        ),
    );
    response
}
