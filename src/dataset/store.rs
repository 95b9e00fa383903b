//! The store: the data sets that were uploaded, one folder each.
//!
//! ```text
//! <root>/<name>/   archive            the file as it was sent
//!                  description.json   what it was found to hold
//! ```
//!
//! An archive is written and described in a scratch folder (`.tmp-…`) and then renamed, so a data set is there whole or not
//! at all. Where it replaces another, that one waits as `.old-<name>` until it has.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use thiserror::Error;
use utoipa::ToSchema;

use super::{BadFiles, DatasetError, Description, Options, describe};

const ARCHIVE: &str = "archive";
const DESCRIPTION: &str = "description.json";
const SCRATCH: &str = ".tmp-";
const REPLACED: &str = ".old-";
/// Longest name, in bytes.
const MAX_NAME: usize = 63;
/// A scratch folder that has not changed for so long belongs to a process that is gone.
const ABANDONED: Duration = Duration::from_secs(24 * 3600);

/// A data set in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredDataset {
    /// Its name.
    #[schema(example = "fashion-mnist")]
    pub name: String,
    /// When it was uploaded, UTC.
    #[schema(value_type = String, format = DateTime)]
    pub uploaded_at: Timestamp,
    /// The size of the file that was sent.
    pub archive_bytes: u64,
    /// What is in it.
    #[serde(flatten)]
    pub description: Description,
}

/// Why the store can't do what it was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The text can't be the name of a data set.
    #[error(
        "{found:?} can't be the name of a data set; use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit, without \"..\""
    )]
    InvalidName {
        /// The text, cut short.
        found: String,
    },
    /// There is no data set of this name.
    #[error("there is no data set {name:?}; {}", existing(names))]
    NotFound {
        /// The name asked for.
        name: String,
        /// The names there are.
        names: Vec<String>,
    },
    /// What was uploaded is no data set.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// The disk is full.
    #[error("the disk is full: {0}")]
    Full(#[source] io::Error),
    /// The file system refused.
    #[error("the data sets in {}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl StoreError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidName { .. } => "invalid_dataset_name",
            Self::NotFound { .. } => "dataset_not_found",
            Self::Dataset(error) => error.code(),
            Self::Full(_) => "storage_full",
            Self::Io { .. } => "dataset_store_io",
        }
    }

    /// What the file system said of `path`.
    pub fn io(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full(source),
            _ => Self::Io {
                path: path.to_owned(),
                source,
            },
        }
    }
}

fn existing(names: &[String]) -> String {
    if names.is_empty() {
        "there are none yet; upload one with PUT /admin/datasets/{dataset}".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    }
}

/// A place for an archive on its way into the store. Dropped, it is gone with what was written there.
#[derive(Debug)]
pub struct Upload {
    name: String,
    folder: TempDir,
}

impl Upload {
    /// The file to write the archive to; it does not exist yet.
    pub fn archive(&self) -> PathBuf {
        self.folder.path().join(ARCHIVE)
    }
}

/// The folder of uploaded data sets. Cheap to clone; its methods wait for the disk.
#[derive(Clone)]
pub struct Store {
    root: Arc<PathBuf>,
    options: Options,
    /// Held while an archive is described and put in place: one at a time is enough work for the machine.
    changing: Arc<Mutex<()>>,
}

impl Store {
    /// The store in the folder `root`, which the first upload creates, with the default limits.
    ///
    /// What an earlier process left half done is finished or removed.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        let store = Self {
            root: Arc::new(root.into()),
            options: Options::default(),
            changing: Arc::default(),
        };
        if let Err(error) = store.recover() {
            tracing::warn!(%error, "the data sets can't be looked through");
        }
        store
    }

    /// With these limits on every data set.
    #[must_use]
    pub fn with_options(self, options: Options) -> Self {
        Self { options, ..self }
    }

    /// The limits of the data sets.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The data sets, by name. One whose description can't be read is left out, and logged.
    ///
    /// # Errors
    /// Where the folder can't be read.
    pub fn list(&self) -> Result<Vec<StoredDataset>, StoreError> {
        let names = self.names()?;
        let read = names.iter().filter_map(|name| match self.read(name) {
            Ok(dataset) => Some(dataset),
            Err(error) => {
                tracing::warn!(dataset = name, %error, "a data set can't be read");
                None
            }
        });
        Ok(read.collect())
    }

    /// One data set.
    ///
    /// # Errors
    /// Where there is none of this name, or it can't be read.
    pub fn get(&self, name: &str) -> Result<StoredDataset, StoreError> {
        self.check_exists(name)?;
        self.read(name)
    }

    /// The archive of a data set, for [`load`](super::load).
    ///
    /// # Errors
    /// Where there is none of this name.
    pub fn archive(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.check_exists(name)?;
        Ok(self.root.join(name).join(ARCHIVE))
    }

    /// A place to write the archive of a data set to be.
    ///
    /// # Errors
    /// Where the name is refused, or the folder can't be written in.
    pub fn upload(&self, name: &str) -> Result<Upload, StoreError> {
        check_name(name)?;
        let failed = |error| StoreError::io(&self.root, error);
        fs::create_dir_all(&*self.root).map_err(failed)?;
        let folder = TempDir::with_prefix_in(SCRATCH, &*self.root).map_err(failed)?;
        Ok(Upload {
            name: name.to_owned(),
            folder,
        })
    }

    /// Describes an uploaded archive and puts it into the store, in the place of one that had the name before. Returns
    /// whether there was one.
    ///
    /// # Errors
    /// Where the archive is refused; nothing has changed then.
    pub fn add(
        &self,
        upload: Upload,
        bad_files: BadFiles,
    ) -> Result<(StoredDataset, bool), StoreError> {
        let name = upload.name.as_str();
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let options = Options {
            bad_files,
            ..self.options.clone()
        };
        let description = describe(&upload.archive(), &options)?;
        let failed = |error| StoreError::io(&self.root, error);
        let dataset = StoredDataset {
            name: name.to_owned(),
            uploaded_at: Timestamp::now(),
            archive_bytes: fs::metadata(upload.archive()).map_err(failed)?.len(),
            description,
        };
        let text = serde_json::to_vec_pretty(&dataset).map_err(|error| failed(error.into()))?;
        let draft = upload.folder.path();
        fs::write(draft.join(DESCRIPTION), text).map_err(failed)?;
        for file in [ARCHIVE, DESCRIPTION] {
            File::open(draft.join(file))
                .and_then(|file| file.sync_all())
                .map_err(failed)?;
        }

        let (place, old) = (
            self.root.join(name),
            self.root.join(format!("{REPLACED}{name}")),
        );
        let replaces = place.exists();
        if replaces {
            remove(&old).map_err(failed)?;
            fs::rename(&place, &old).map_err(failed)?;
        }
        let renamed = fs::rename(draft, &place).and_then(|()| File::open(&*self.root)?.sync_all());
        if let Err(error) = renamed {
            if replaces && !place.exists() {
                fs::rename(&old, &place).map_err(failed)?;
            }
            return Err(failed(error));
        }
        if replaces && let Err(error) = remove(&old) {
            tracing::warn!(dataset = name, %error, "the replaced data set can't be removed");
        }
        // It is the store's now; there is nothing left to remove.
        let _ = upload.folder.keep();
        Ok((dataset, replaces))
    }

    /// Removes a data set.
    ///
    /// # Errors
    /// Where there is none of this name, or it can't be removed.
    pub fn remove(&self, name: &str) -> Result<(), StoreError> {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_exists(name)?;
        let failed = |error| StoreError::io(&self.root, error);
        // Out of sight by one rename; what is then left after a crash is swept.
        let scratch = TempDir::with_prefix_in(SCRATCH, &*self.root).map_err(failed)?;
        fs::rename(self.root.join(name), scratch.path().join(name)).map_err(failed)?;
        scratch.close().map_err(failed)
    }

    fn check_exists(&self, name: &str) -> Result<(), StoreError> {
        check_name(name)?;
        if self.root.join(name).join(ARCHIVE).is_file() {
            return Ok(());
        }
        Err(StoreError::NotFound {
            name: name.to_owned(),
            names: self.names()?,
        })
    }

    fn read(&self, name: &str) -> Result<StoredDataset, StoreError> {
        let path = self.root.join(name).join(DESCRIPTION);
        let text = fs::read(&path).map_err(|error| StoreError::io(&path, error))?;
        serde_json::from_slice(&text).map_err(|error| StoreError::io(&path, error.into()))
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let entries = self.entries()?;
        let mut names: Vec<String> = entries
            .into_iter()
            .filter(|name| is_name(name) && self.root.join(name).is_dir())
            .collect();
        names.sort();
        Ok(names)
    }

    fn entries(&self) -> Result<Vec<String>, StoreError> {
        let failed = |error| StoreError::io(&self.root, error);
        let entries = match fs::read_dir(&*self.root) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let names = entries.map(|entry| Ok(entry?.file_name().into_string().ok()));
        let names: io::Result<Vec<Option<String>>> = names.collect();
        Ok(names.map_err(failed)?.into_iter().flatten().collect())
    }

    /// Brings back what was moved aside and never replaced, and removes what is nobody's.
    fn recover(&self) -> Result<(), StoreError> {
        for entry in self.entries()? {
            let path = self.root.join(&entry);
            let done = if let Some(name) = entry.strip_prefix(REPLACED) {
                let place = self.root.join(name);
                if place.exists() {
                    remove(&path)
                } else {
                    fs::rename(&path, place)
                }
            } else if entry.starts_with(SCRATCH) && is_abandoned(&path) {
                remove(&path)
            } else {
                Ok(())
            };
            if let Err(error) = done {
                tracing::warn!(path = %path.display(), %error, "a left-over of the data sets can't be cleared away");
            }
        }
        Ok(())
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

fn is_abandoned(folder: &Path) -> bool {
    let modified = fs::metadata(folder).and_then(|metadata| metadata.modified());
    let age = modified.map(|time| SystemTime::now().duration_since(time).unwrap_or_default());
    age.is_ok_and(|age| age > ABANDONED)
}

/// Whether the text is safe as the name of a folder: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`, without `..`.
fn is_name(text: &str) -> bool {
    text.len() <= MAX_NAME
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !text.contains("..")
}

fn check_name(name: &str) -> Result<(), StoreError> {
    if is_name(name) {
        return Ok(());
    }
    let mut found: String = name.chars().take(MAX_NAME).collect();
    if found.len() < name.len() {
        found.push('…');
    }
    Err(StoreError::InvalidName { found })
}
