//! `/v1`: TensorFlow Serving's REST API.
//!
//! Sources: `tensorflow_serving/g3doc/api_rest.md`, `model_servers/http_rest_api_util.cc` and
//! `util/json_tensor.cc` of tensorflow/serving.
//!
//! A request names its verb behind the model, as in `/v1/models/digits:predict`, which is no part of a
//! path to the router: the verb is split off by hand, [`contract`] says what the routes are, and
//! [`with_verb`] what they are counted as.

mod predict;
mod request;
mod status;

use std::borrow::Cow;
use std::sync::Arc;

use axum::http::Method;
use axum::routing::post;
use serde::Deserialize;
use utoipa::openapi::path::{Parameter, PathItem};
use utoipa::{IntoParams, OpenApi};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::models::{OfModel, OfVersion, servable};
use super::problem::Problem;
use super::protocols;
use super::state::AppState;
use crate::repository::RepositoryError;
use crate::serving::Servable;

/// An alias of a version, in a path.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
struct OfLabel {
    /// The model's name.
    #[param(
        example = "digits",
        max_length = 63,
        pattern = "^[A-Za-z0-9]([.]?[A-Za-z0-9_-])*[.]?$"
    )]
    model: String,
    /// An alias that stands for a version.
    #[param(example = "canary", max_length = 63)]
    label: String,
}

/// The version that an alias stands for.
fn stands_for(state: &AppState, model: &str, label: &str) -> Result<u64, RepositoryError> {
    let aliases = state.models.repository().aliases(model)?;
    match aliases.get(label) {
        Some(version) => Ok(*version),
        None => Err(RepositoryError::AliasNotFound {
            model: model.to_owned(),
            alias: label.chars().take(63).collect(),
            aliases: aliases.into_keys().collect(),
        }),
    }
}

/// The same version, loaded.
async fn labelled(
    state: &AppState,
    model: String,
    label: String,
) -> Result<Arc<Servable>, Problem> {
    let version = {
        let model = model.clone();
        state
            .blocking(move |state| stands_for(state, &model, &label))
            .await?
    };
    servable(state, model, version).await
}

/// The routes that anybody may use.
pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(status::of_model))
        .routes(routes!(status::of_version))
        .routes(routes!(status::of_label))
        .routes(routes!(status::metadata_of_model))
        .routes(routes!(status::metadata_of_version))
        .routes(routes!(status::metadata_of_label))
}

/// The routes that need an API key where there are any.
pub(super) fn predict_routes() -> OpenApiRouter<AppState> {
    let routes = OpenApiRouter::with_openapi(contract())
        .route("/v1/models/{model}", post(predict::of_model))
        .route(
            "/v1/models/{model}/versions/{version}",
            post(predict::of_version),
        )
        .route("/v1/models/{model}/labels/{label}", post(predict::of_label));
    protocols::packed(routes)
}

/// The route of a request under `/v1` as the contract names it: what the router says, and the verb at
/// the end of the path, if it is one of the protocol's.
pub(super) fn with_verb<'a>(route: &'a str, method: &Method, path: &str) -> Cow<'a, str> {
    let takes_verb = method == Method::POST && route.starts_with("/v1/");
    match predict::Verb::split(path) {
        Ok((_, verb)) if takes_verb => format!("{route}:{}", verb.name()).into(),
        _ => route.into(),
    }
}

/// What the contract says of the routes with a verb: each for a model, for a version, and for a label.
fn contract() -> utoipa::openapi::OpenApi {
    #[derive(OpenApi)]
    #[openapi(paths(predict::predict, predict::classify))]
    struct Verbs;

    let mut contract = Verbs::openapi();
    let of_model = std::mem::take(&mut contract.paths.paths);
    for (path, item) in of_model {
        let Some((model, verb)) = path.rsplit_once(':') else {
            continue;
        };
        let addresses: [(&str, &str, Vec<Parameter>); 3] = [
            ("", "", OfModel::into_params(|| None)),
            (
                "/versions/{version}",
                "_with_version",
                OfVersion::into_params(|| None),
            ),
            (
                "/labels/{label}",
                "_with_label",
                OfLabel::into_params(|| None),
            ),
        ];
        for (address, suffix, parameters) in addresses {
            let mut item: PathItem = item.clone();
            if let Some(operation) = &mut item.post {
                operation.parameters = Some(parameters.into_iter().map(Into::into).collect());
                if let Some(id) = &mut operation.operation_id {
                    id.push_str(suffix);
                }
            }
            contract
                .paths
                .paths
                .insert(format!("{model}{address}:{verb}"), item);
        }
    }
    contract
}
