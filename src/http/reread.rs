//! Files that are read again once they have changed: tokens, keys, certificates.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// How often the files are looked at.
pub(super) const EVERY: Duration = Duration::from_secs(1);

/// The files that something was read from.
#[derive(Debug)]
pub(super) struct Files {
    paths: Vec<PathBuf>,
    seen: Mutex<Vec<Option<Stamp>>>,
}

/// What tells one content of a file from another without reading it. Links are followed, so that a
/// file behind one that is moved, as in mounted secrets, is another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    #[cfg(unix)]
    inode: u64,
}

impl Files {
    /// These files as they are now. What is read from them later than this is never missed.
    pub(super) fn new<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Self {
        let paths: Vec<PathBuf> = paths.into_iter().map(|path| path.as_ref().into()).collect();
        let seen = Mutex::new(stamps(&paths));
        Self { paths, seen }
    }

    /// Whether any of them is another than at the last time of asking.
    pub(super) fn have_changed(&self) -> bool {
        let now = stamps(&self.paths);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *seen, now.clone()) != now
    }
}

fn stamps(paths: &[PathBuf]) -> Vec<Option<Stamp>> {
    let stamp = |path: &PathBuf| {
        let metadata = fs::metadata(path).ok()?;
        Some(Stamp {
            modified: metadata.modified().ok(),
            length: metadata.len(),
            #[cfg(unix)]
            inode: std::os::unix::fs::MetadataExt::ino(&metadata),
        })
    };
    paths.iter().map(stamp).collect()
}
