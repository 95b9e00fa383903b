//! The card of a version, `card.json`: what its scores mean, what it is shown, and where it comes from.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::imaging::Preprocessing;
use crate::interchange::Source;

/// The `format` of the cards that this build reads and writes.
pub(super) const FORMAT: u32 = 1;

/// What a version says of itself beside its architecture and weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// The form of this file: 1.
    pub format: u32,
    /// The name of each class, in the order of the outputs. A model with one sigmoid output has two: what a score near 0
    /// means, then what a score near 1 means.
    pub labels: Vec<String>,
    /// From an image to the network's input.
    pub preprocessing: Preprocessing,
    /// What the network's last layer gives.
    pub outputs: Outputs,
    /// When the version was made, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// `sha256:` and the hexadecimal digest of `weights.safetensors`.
    pub weights_digest: String,
    /// How many numbers the weights are.
    pub parameters: u64,
    /// Where the version comes from.
    pub lineage: Lineage,
}

/// What the network's last layer gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outputs {
    /// Probabilities: it ends in a softmax, or in one sigmoid.
    #[default]
    Probabilities,
    /// Their logits: the softmax or sigmoid is still to be taken.
    Logits,
}

/// Where a version comes from, as far as it is known.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lineage {
    /// How it came here.
    pub origin: Origin,
    /// The version of Irori that made it.
    pub irori_version: String,
    /// What it was trained on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset: Option<DatasetLineage>,
    /// What its first weights, its split and its shuffles were drawn from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The settings of Keras' `compile`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub compile: Option<serde_json::Value>,
    /// The settings of Keras' `fit`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub fit: Option<serde_json::Value>,
    /// How long the training took, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<f64>,
    /// The file it was imported from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub source: Option<Source>,
}

/// How a version came here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Irori trained it.
    Trained,
    /// It was made elsewhere.
    #[default]
    Imported,
}

/// The data set that a version was trained on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DatasetLineage {
    /// The data set's name.
    pub name: String,
    /// The data set's digest.
    pub digest: String,
    /// How many of its images the weights were fitted to.
    pub images: u64,
}

/// A lineage of which nothing is known but the Irori that writes it.
impl Default for Lineage {
    fn default() -> Self {
        Self {
            origin: Origin::default(),
            irori_version: env!("CARGO_PKG_VERSION").to_owned(),
            dataset: None,
            seed: None,
            compile: None,
            fit: None,
            duration_seconds: None,
            source: None,
        }
    }
}
