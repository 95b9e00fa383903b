//! The folder of one model: its versions by number, its scratch folders, its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;

use super::{ModelName, RepositoryError};

/// The highest version number: the highest that every JSON reader keeps exact, 2⁵³ − 1.
pub const MAX_VERSION: u64 = (1 << 53) - 1;

/// What the name of a scratch folder begins with.
const SCRATCH: &str = ".tmp-";
/// How old a scratch folder is when whoever made it must be dead.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// The folder of one model, which need not exist.
pub(super) struct ModelFolder {
    name: ModelName,
    path: PathBuf,
}

/// Keeps every other writer, in this process or another, out of a model's folder until it is dropped.
pub(super) struct Lock {
    _file: File,
}

impl ModelFolder {
    pub fn new(root: &Path, name: ModelName) -> Self {
        let path = root.join(name.as_str());
        Self { name, path }
    }

    pub fn model(&self) -> String {
        self.name.to_string()
    }

    /// The place of a file or folder in this one.
    pub fn join(&self, entry: &str) -> PathBuf {
        self.path.join(entry)
    }

    /// The place of a version.
    pub fn version(&self, version: u64) -> PathBuf {
        self.path.join(version.to_string())
    }

    /// The numbers of the versions, ascending; none where the folder is missing.
    pub fn versions(&self) -> Result<Vec<u64>, RepositoryError> {
        let entries = match entries(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Vec::new(),
            entries => entries.during("list the folder", &self.path)?,
        };
        let mut versions: Vec<u64> = entries
            .iter()
            .filter_map(|entry| number(entry))
            .filter(|&version| self.version(version).is_dir())
            .collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// Makes the folder, and the repository's where that is missing.
    pub fn create(&self) -> Result<(), RepositoryError> {
        if self.path.is_dir() {
            return Ok(());
        }
        fs::create_dir_all(&self.path)
            .and_then(|()| self.path.parent().map_or(Ok(()), sync_folder))
            .during("create the folder", &self.path)
    }

    /// Waits until no other writer is at work here, and keeps them out.
    pub fn lock(&self) -> Result<Lock, RepositoryError> {
        let path = self.path.join(".lock");
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(false);
        let locked = options.open(&path).and_then(|file| {
            file.lock()?;
            Ok(Lock { _file: file })
        });
        locked.during("lock", &path)
    }

    /// A folder to prepare something in. It goes when it is dropped, with what is still in it.
    pub fn scratch(&self) -> Result<TempDir, RepositoryError> {
        TempDir::with_prefix_in(SCRATCH, &self.path).during("write in", &self.path)
    }

    /// Replaces a file below this folder: readers find the old one or the new one, and so does whoever comes after a crash.
    pub fn replace(&self, target: &Path, content: &[u8]) -> Result<(), RepositoryError> {
        let scratch = self.scratch()?;
        let draft = scratch.path().join("file");
        write(&draft, content)
            .and_then(|()| fs::rename(&draft, target))
            .and_then(|()| target.parent().map_or(Ok(()), sync_folder))
            .during("write", target)
    }

    /// Makes the renames in this folder last.
    pub fn sync(&self) -> Result<(), RepositoryError> {
        sync_folder(&self.path).during("write", &self.path)
    }

    /// Removes what writers that died have left. What can't be removed stays: it is in nobody's way.
    pub fn sweep(&self) {
        for entry in entries(&self.path).unwrap_or_default() {
            let path = self.path.join(&entry);
            if entry.starts_with(SCRATCH) && is_abandoned(&path) {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
}

/// The names in a folder, none where it is missing. Names that are not Unicode are not ours.
pub(super) fn entries(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    entries
        .filter_map(|entry| {
            entry
                .map(|entry| entry.file_name().into_string().ok())
                .transpose()
        })
        .collect()
}

/// Writes a new file and waits until it is on the disk.
pub(super) fn write(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Waits until the names in a folder are on the disk.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    // Elsewhere a folder can't be opened, and its names need no such care.
    if cfg!(unix) {
        File::open(folder)?.sync_all()
    } else {
        Ok(())
    }
}

/// Says what was being done when the file system refused.
pub(super) trait During<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, RepositoryError>;
}

impl<T> During<T> for io::Result<T> {
    fn during(self, action: &'static str, path: &Path) -> Result<T, RepositoryError> {
        self.map_err(|source| RepositoryError::Io {
            action,
            path: path.to_owned(),
            source,
        })
    }
}

/// The version that a folder of this name holds: `1`, `2`, …, but not `01`, `+1` or `1.0`.
fn number(name: &str) -> Option<u64> {
    let number = name.parse().ok()?;
    ((1..=MAX_VERSION).contains(&number) && number.to_string() == name).then_some(number)
}

fn is_abandoned(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .and_then(|metadata| metadata.modified())
        .is_ok_and(|modified| modified.elapsed().is_ok_and(|age| age > ABANDONED))
}
