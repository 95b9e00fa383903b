//! The listing of a model: its versions, good and broken, and what stands for them.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// What the repository knows of a model without loading it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct ModelListing {
    /// The model's name.
    pub model: String,
    /// The version that its name stands for; absent where none is good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<u64>,
    /// Whether somebody has chosen that version, so that a newer one is not served by itself.
    pub pinned: bool,
    /// Every version, ascending.
    pub versions: Vec<VersionListing>,
    /// What else stands for a version.
    pub aliases: BTreeMap<String, u64>,
    /// Why the aliases can't be read; they are ignored then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aliases_fault: Option<String>,
}

/// A version in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct VersionListing {
    /// Its number.
    pub version: u64,
    /// Whether it can be loaded.
    #[serde(flatten)]
    pub state: VersionState,
}

/// Whether a version can be loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum VersionState {
    /// It can.
    Ok,
    /// It can't.
    Broken {
        /// The stable code of the fault.
        code: String,
        /// Which file is wrong, and how.
        reason: String,
    },
}
