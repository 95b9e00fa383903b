//! The images of a prediction request, in whichever of the three forms they come.

use std::borrow::Cow;

use axum::body::Bytes;
use axum::extract::multipart::MultipartError;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use utoipa::ToSchema;

use super::docs::BinaryBody;
use super::extract::{FORM, check_declared_length, is_json, media_type, parse_json, read_body};
use super::extract::{too_large, too_slow};
use super::problem::Problem;
use super::state::AppState;
use crate::serving::ServingError;

/// Takes base64 with its padding or without.
pub(super) const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// An encoded image, as it was sent.
pub(super) struct SentImage {
    /// The name of its file, where it was sent with one.
    pub(super) name: Option<String>,
    /// The file.
    pub(super) bytes: Bytes,
}

/// The JSON form of a prediction request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonImages<'a> {
    /// The images, answered in this order.
    #[serde(borrow)]
    #[schema(min_items = 1)]
    images: Vec<JsonImage<'a>>,
}

/// An image in a JSON document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonImage<'a> {
    /// The file, in base64.
    #[serde(borrow)]
    #[schema(format = Byte)]
    b64: Cow<'a, str>,
}

/// The multipart form of a prediction request.
#[derive(ToSchema)]
#[allow(
    dead_code,
    reason = "describes the form; the parts are read one by one"
)]
pub(super) struct MultipartImages {
    /// The image files. Any field name does; each part with a file name is an image.
    #[schema(value_type = Vec<BinaryBody>, min_items = 1)]
    file: Vec<Bytes>,
}

/// Reads the images of a request, at least one and at most as many as are allowed.
pub(super) async fn read(request: Request, state: &AppState) -> Result<Vec<SentImage>, Problem> {
    let allowed = state.most_images();
    let media_type = media_type(request.headers());
    let images = match media_type.as_str() {
        "" | "application/octet-stream" | FORM => raw(request, state).await?,
        image if image.starts_with("image/") => raw(request, state).await?,
        "multipart/form-data" => multipart(request, state, allowed).await?,
        json if is_json(json) => from_json(&read_body(request, state).await?, allowed)?,
        other => {
            return Err(Problem::new(
                "unsupported_media_type",
                format!(
                    "the body is of type {other}; send the image itself as image/* or \
                     application/octet-stream, files as multipart/form-data, or application/json \
                     {{\"images\": [{{\"b64\": \"…\"}}]}}"
                ),
            ));
        }
    };
    if images.is_empty() {
        return Err(ServingError::NoImage.into());
    }
    Ok(images)
}

async fn raw(request: Request, state: &AppState) -> Result<Vec<SentImage>, Problem> {
    let bytes = read_body(request, state).await?;
    let image = (!bytes.is_empty()).then_some(SentImage { name: None, bytes });
    Ok(Vec::from_iter(image))
}

fn from_json(body: &[u8], allowed: usize) -> Result<Vec<SentImage>, Problem> {
    let JsonImages { images } = parse_json(body)?;
    if images.len() > allowed {
        return Err(too_many(images.len(), allowed));
    }
    let decode = |(index, image): (usize, JsonImage)| {
        let bytes = BASE64.decode(image.b64.as_bytes()).map_err(|error| {
            Problem::new(
                "invalid_base64",
                format!("images[{index}].b64 is not base64: {error}"),
            )
        })?;
        Ok(SentImage {
            name: None,
            bytes: bytes.into(),
        })
    };
    images.into_iter().enumerate().map(decode).collect()
}

async fn multipart(
    request: Request,
    state: &AppState,
    allowed: usize,
) -> Result<Vec<SentImage>, Problem> {
    let limit = state.config.max_body_bytes as u64;
    check_declared_length(request.headers(), limit)?;
    let timeout = state.config.body_timeout;
    tokio::time::timeout(timeout, async {
        let mut parts = Multipart::from_request(request, state)
            .await
            .map_err(|rejection| Problem::new("invalid_multipart", rejection.body_text()))?;
        let refused = |error: MultipartError| multipart_problem(&error, limit);
        let mut images = Vec::new();
        while let Some(part) = parts.next_field().await.map_err(refused)? {
            let Some(name) = part.file_name().map(str::to_owned) else {
                continue;
            };
            if images.len() == allowed {
                return Err(too_many(allowed + 1, allowed));
            }
            let bytes = part.bytes().await.map_err(refused)?;
            images.push(SentImage {
                name: Some(name),
                bytes,
            });
        }
        Ok(images)
    })
    .await
    .unwrap_or_else(|_| Err(too_slow(timeout)))
}

/// What is wrong with a multipart body.
pub(super) fn multipart_problem(error: &MultipartError, limit: u64) -> Problem {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        too_large(limit)
    } else {
        Problem::new("invalid_multipart", error.body_text())
    }
}

fn too_many(found: usize, allowed: usize) -> Problem {
    ServingError::TooManyImages { found, allowed }.into()
}
