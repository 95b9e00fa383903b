//! The name of a model, or of an alias: the only text from outside that becomes part of a path.

use std::fmt;
use std::ops::Deref;

use super::RepositoryError;

/// Longest name, in bytes.
const MAX_LENGTH: usize = 63;

/// A name that is safe as a folder: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, without `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName(String);

impl ModelName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for ModelName {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<&str> for ModelName {
    type Error = RepositoryError;

    /// # Errors
    ///
    /// [`RepositoryError::InvalidModelName`] for any other text.
    fn try_from(name: &str) -> Result<Self, Self::Error> {
        if is_valid(name) {
            Ok(Self(name.to_owned()))
        } else {
            Err(RepositoryError::InvalidModelName {
                found: excerpt(name),
            })
        }
    }
}

/// Whether the name may be that of a model or an alias.
pub(super) fn is_valid(name: &str) -> bool {
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    let mut bytes = name.bytes();
    begins_well
        && name.len() <= MAX_LENGTH
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
        && !name.contains("..")
}

/// As much of a refused name as an answer should repeat.
pub(super) fn excerpt(name: &str) -> String {
    if name.chars().count() <= MAX_LENGTH {
        name.to_owned()
    } else {
        name.chars().take(MAX_LENGTH).chain(['…']).collect()
    }
}
