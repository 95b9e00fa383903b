//! Who may do what: `/admin` is for the holders of an admin token, predictions for those of an API key if there are any.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::problem::Problem;
use super::state::AppState;
use super::tokens::Tokens;

/// The header that an API key may come in instead of `Authorization`.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who may do what.
#[derive(Debug)]
pub struct Access {
    /// What opens `/admin`.
    pub admin: Tokens,
    /// What opens the routes that predict; without any they are open.
    pub api_keys: Option<Tokens>,
}

impl Access {
    /// Reads what comes from files again, if they have changed.
    pub(super) fn refresh(&self) {
        self.admin.refresh();
        if let Some(keys) = &self.api_keys {
            keys.refresh();
        }
    }
}

/// Lets a request through to `/admin` only with a known token.
pub(super) async fn require_token(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let admin = &state.access.admin;
    if admin.is_empty() {
        return Problem::new(
            "admin_disabled",
            "the server runs without an admin token, so nobody can use /admin; start it with --admin-token-file",
        )
        .into_response();
    }
    let refusal = match bearer(request.headers()) {
        Some(token) if admin.admit(token) => return next.run(request).await,
        Some(_) => "the bearer token is not one of the admin tokens",
        None => "/admin needs the header \"Authorization: Bearer <admin token>\"",
    };
    Problem::new("unauthorized", refusal).into_response()
}

/// Lets a request through to a prediction only with a known key, if the server was given any.
pub(super) async fn require_key(
    State(state): State<AppState>,
    request: Request,
    next: Next,
) -> Response {
    let Some(keys) = &state.access.api_keys else {
        return next.run(request).await;
    };
    let headers = request.headers();
    let key = headers.get(API_KEY).and_then(|key| key.to_str().ok());
    let refusal = match key.or_else(|| bearer(headers)) {
        Some(key) if keys.admit(key) => return next.run(request).await,
        Some(_) => "the key is not one of the API keys",
        None => {
            "predictions need an API key; send the header \"X-API-Key: <key>\" or \"Authorization: Bearer <key>\""
        }
    };
    Problem::new("api_key_required", refusal).into_response()
}

/// The token that a request shows.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then_some(token.trim())
}
