//! The contract, `openapi.yaml`, and the page to try it.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{OpenApi as Contract, SecurityRequirement};
use utoipa::{Modify, OpenApi, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::auth;
use super::problem::{Problem, ProblemBody, ProblemCode, documented, refusals};
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
        description = "Serves, trains and evaluates image classifiers.\n\nEvery refusal is a problem (RFC 9457) with a stable `code`.",
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
        (name = "contract", description = "This document."),
    ),
    components(schemas(ProblemBody, ProblemCode)),
)]
pub(super) struct Base;

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
        for (path, item) in &mut contract.paths.paths {
            let operations = [
                &mut item.get,
                &mut item.put,
                &mut item.post,
                &mut item.delete,
            ];
            for operation in operations.into_iter().flatten() {
                super::examples::show(operation);
                let responses = &mut operation.responses.responses;
                if path.starts_with("/admin/") {
                    operation.security =
                        Some(vec![SecurityRequirement::new(BEARER, Vec::<String>::new())]);
                    responses.extend(documented(&["unauthorized", "admin_disabled"]));
                } else if path.ends_with("/predict") {
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
            }
        }
    }
}

refusals!(Refusals: "internal");

/// The contract, in YAML
#[utoipa::path(
    get, path = "/openapi.yaml", tag = "contract", operation_id = "openapi_yaml",
    responses((status = 200, description = "This document.", body = Object, content_type = "application/yaml"), Refusals),
)]
pub(super) async fn yaml() -> Result<Response, Problem> {
    let text = super::openapi_yaml().map_err(Problem::internal)?;
    Ok(([(header::CONTENT_TYPE, "application/yaml")], text).into_response())
}

/// The contract, in JSON
#[utoipa::path(
    get, path = "/openapi.json", tag = "contract", operation_id = "openapi_json",
    responses((status = 200, description = "This document.", body = Object)),
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
