//! CORS: the pages of other origins that may read answers.

use std::str::FromStr;
use std::time::Duration;

use axum::http::{HeaderValue, Method, Uri};
use tower_http::cors::{AllowHeaders, AllowOrigin, Any, CorsLayer};

/// How long a browser may remember what it was allowed.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// An origin as browsers name it, `https://app.example:8443`, or `*` for all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin(HeaderValue);

/// Why something is no origin.
#[derive(Debug, thiserror::Error)]
#[error("this is no origin; expected http://HOST, https://HOST, either with a :PORT, or *")]
pub struct NoOrigin;

impl FromStr for Origin {
    type Err = NoOrigin;

    /// # Errors
    ///
    /// For anything but `*`, or scheme and host with or without a port.
    fn from_str(text: &str) -> Result<Self, NoOrigin> {
        let origin = HeaderValue::from_str(text).map_err(|_| NoOrigin)?;
        let uri: Uri = text.parse().map_err(|_| NoOrigin)?;
        let scheme = uri.scheme_str().unwrap_or_default();
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let is_origin = matches!(scheme, "http" | "https")
            && !authority.contains('@')
            && text == format!("{scheme}://{authority}");
        if text == "*" || is_origin {
            Ok(Self(origin))
        } else {
            Err(NoOrigin)
        }
    }
}

/// Lets pages of these origins read answers. Nothing here goes by cookies, so that a page can do no
/// more than whoever wrote it could do from elsewhere with the tokens they have.
pub(super) fn layer(origins: &[Origin]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let allowed = if origins.iter().any(|origin| origin.0 == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().map(|origin| origin.0.clone()))
    };
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods([Method::GET, Method::POST, Method::PUT, Method::DELETE])
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(Any)
            .max_age(MAX_AGE),
    )
}
