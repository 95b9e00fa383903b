//! The aliases of a model, `aliases.json`: the version that its name stands for, and what else stands for a version.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

use super::folder::{During, ModelFolder};
use super::{MAX_VERSION, RepositoryError};

/// Labels that a model may have.
pub const MAX_ALIASES: usize = 100;

const FILE: &str = "aliases.json";
/// More than the file can need, in bytes.
const MAX_BYTES: u64 = 1 << 16;
/// Versions that are remembered for rollback.
const REMEMBERED: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Aliases {
    /// Moved by promote and rollback. Without it, the newest good version is served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving: Option<Serving>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, u64>,
    /// The highest number that was ever deleted, so that no number stands for two versions in turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub highest_deleted: Option<u64>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Serving {
    pub version: u64,
    /// What was served before, the latest first.
    #[serde(default)]
    pub previous: Vec<u64>,
}

impl Serving {
    /// The version served and those before it, the latest first.
    pub fn all(&self) -> impl Iterator<Item = u64> {
        [self.version]
            .into_iter()
            .chain(self.previous.iter().copied())
    }
}

impl Aliases {
    /// The aliases of a model; none where there is no file.
    pub fn read(folder: &ModelFolder) -> Result<Self, RepositoryError> {
        let unreadable = |reason: String| RepositoryError::AliasesUnreadable {
            model: folder.model(),
            reason,
        };
        let mut text = Vec::new();
        match File::open(folder.join(FILE)) {
            Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => Err(error),
        }
        .map_err(|error| unreadable(error.to_string()))?;
        if text.len() as u64 > MAX_BYTES {
            return Err(unreadable(format!("it has more than {MAX_BYTES} bytes")));
        }
        let aliases: Self =
            serde_json::from_slice(&text).map_err(|error| unreadable(error.to_string()))?;
        let stray = aliases.versions().find(|v| !(1..=MAX_VERSION).contains(v));
        match stray {
            Some(version) => Err(unreadable(format!(
                "{version} is no version number; they go from 1 to {MAX_VERSION}"
            ))),
            None => Ok(aliases),
        }
    }

    /// Replaces the file. The folder must be locked.
    pub fn write(&self, folder: &ModelFolder) -> Result<(), RepositoryError> {
        let path = folder.join(FILE);
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(io::Error::from)
            .during("write", &path)?;
        text.push(b'\n');
        folder.replace(&path, &text)
    }

    /// Every version that is mentioned.
    pub fn versions(&self) -> impl Iterator<Item = u64> {
        let serving = self.serving.iter();
        serving
            .flat_map(Serving::all)
            .chain(self.labels.values().copied())
            .chain(self.highest_deleted)
    }

    /// Serves `version` and remembers what was served before it, the latest first.
    pub fn serve(&mut self, version: u64, mut previous: Vec<u64>) {
        previous.truncate(REMEMBERED);
        self.serving = Some(Serving { version, previous });
    }
}
