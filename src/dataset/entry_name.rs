//! Names inside archives: relative, plain, and leading nowhere else.

use super::DatasetError;

/// The name of an archive's entry with `/` between its parts and none at its end, or why it is refused.
///
/// Windows tools write `\` between parts; it is read as `/`, so that `..\` is caught too.
pub(super) fn checked(raw: &str) -> Result<String, DatasetError> {
    let shown = raw.replace('\\', "/");
    let refused = |reason| DatasetError::UnsafePath {
        name: shown.clone(),
        reason,
    };
    if shown.len() > 4096 {
        return Err(refused("which is longer than 4096 bytes"));
    }
    if shown.chars().any(char::is_control) {
        return Err(refused("which has control characters"));
    }
    if shown.starts_with('/') || shown.as_bytes().get(1) == Some(&b':') {
        return Err(refused("which starts at the root of a disk"));
    }
    let mut parts = Vec::new();
    for part in shown.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(refused("which leads out of the archive")),
            part => parts.push(part),
        }
    }
    Ok(parts.join("/"))
}

/// Whether a name says that it is an archive, which is not looked into. The gzipped MNIST files are none.
pub(super) fn is_archive(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let endings = [
        ".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar",
    ];
    endings.iter().any(|ending| name.ends_with(ending)) && !name.ends_with("-ubyte.gz")
}
