//! The repository itself: finding, loading, publishing and deleting versions.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::aliases::Aliases;
use super::checked::Checked;
use super::folder::{During, ModelFolder, entries};
use super::version;
use super::{
    Draft, MAX_VERSION, ModelListing, ModelName, RepositoryError, StoredVersion, VersionFault,
    VersionListing, VersionState,
};
use crate::evaluation::Evaluation;

/// A folder of models and their versions. Clones are handles of the same repository.
///
/// Its methods read and write files: call them off the async threads. A `model` or `alias` may be any text from outside; one
/// that is no [`ModelName`] is refused before it comes near a path.
#[derive(Clone, Debug)]
pub struct Repository {
    root: PathBuf,
    pub(super) checked: Arc<Checked>,
}

impl Repository {
    /// The repository in the folder `root`, which is made by the first publish where it is missing. Removes what writers that
    /// died have left there.
    ///
    /// # Errors
    ///
    /// `root` is no folder, or can't be listed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self, RepositoryError> {
        let repository = Self {
            root: root.into(),
            checked: Arc::default(),
        };
        for model in repository.names()? {
            ModelFolder::new(&repository.root, model).sweep();
        }
        Ok(repository)
    }

    /// The folder of the repository.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The names of the models that have a version, good or broken; sorted.
    ///
    /// # Errors
    ///
    /// The folder can't be listed.
    pub fn models(&self) -> Result<Vec<String>, RepositoryError> {
        let mut models = Vec::new();
        for name in self.names()? {
            let folder = ModelFolder::new(&self.root, name);
            // A folder that can't be listed is no reason to hide the others.
            if folder.versions().is_ok_and(|versions| !versions.is_empty()) {
                models.push(folder.model());
            }
        }
        models.sort_unstable();
        Ok(models)
    }

    /// The numbers of a model's versions, good or broken; ascending, never empty.
    ///
    /// # Errors
    ///
    /// There is no such model.
    pub fn versions(&self, model: &str) -> Result<Vec<u64>, RepositoryError> {
        Ok(self.find(model)?.1)
    }

    /// A model's versions with their states, and its aliases. A version is read only if its files have changed since this
    /// repository last read them.
    ///
    /// # Errors
    ///
    /// There is no such model. Broken versions and garbled aliases are reported in the listing.
    pub fn describe(&self, model: &str) -> Result<ModelListing, RepositoryError> {
        let (folder, versions) = self.find(model)?;
        let (aliases, aliases_fault) = match Aliases::read(&folder) {
            Ok(aliases) => (aliases, None),
            Err(error) => (Aliases::default(), Some(error.to_string())),
        };
        let list = |&version: &u64| VersionListing {
            version,
            state: match self.state(&folder, version) {
                Ok(()) => VersionState::Ok,
                Err(fault) => VersionState::Broken {
                    code: fault.code().to_owned(),
                    reason: fault.to_string(),
                },
            },
        };
        Ok(ModelListing {
            model: folder.model(),
            versions: versions.iter().map(list).collect(),
            serving: self.serving(&folder, &aliases, &versions).ok(),
            pinned: aliases.serving.is_some(),
            aliases: aliases.labels,
            aliases_fault,
        })
    }

    /// Reads a version and checks all of it: every file, the weights' digest, that weights, labels and preprocessing suit the
    /// architecture.
    ///
    /// # Errors
    ///
    /// There is no such model or version, or it is broken.
    pub fn load(&self, model: &str, version: u64) -> Result<StoredVersion, RepositoryError> {
        let (folder, versions) = self.find(model)?;
        if !versions.contains(&version) {
            return Err(version_not_found(&folder, version, versions));
        }
        match self.read(&folder, version) {
            Ok(contents) => Ok(contents.stored(folder.model(), version)),
            // It was deleted while it was being read.
            Err(_) if !folder.version(version).exists() => {
                Err(version_not_found(&folder, version, folder.versions()?))
            }
            Err(fault) => Err(version_broken(&folder, version, fault)),
        }
    }

    /// Checks that something could be published, before much work is done for it. Leaves nothing behind.
    ///
    /// # Errors
    ///
    /// [`RepositoryError::NotWritable`] where the folder refuses a file.
    pub fn check_writable(&self) -> Result<(), RepositoryError> {
        // A repository that is still to be made is made in the nearest folder there is.
        let mut above = self.root.ancestors().filter(|folder| folder.is_dir());
        let folder = above.next().unwrap_or_else(|| Path::new("."));
        match tempfile::Builder::new().prefix(".tmp-").tempfile_in(folder) {
            Ok(_) => Ok(()),
            Err(source) => Err(RepositoryError::NotWritable {
                path: folder.to_owned(),
                source,
            }),
        }
    }

    /// Makes a draft the model's next version and returns its number: one more than any that was ever given.
    ///
    /// The version is written aside, read back and checked as [`load`](Self::load) does, and then renamed into its place. An
    /// error, a crash or a full disk before that leaves the model as it was.
    ///
    /// # Errors
    ///
    /// The draft is no version that could be loaded, or the file system refuses.
    pub fn publish(&self, model: &str, draft: &Draft) -> Result<u64, RepositoryError> {
        let folder = ModelFolder::new(&self.root, ModelName::try_from(model)?);
        folder.create()?;
        folder.sweep();
        let scratch = folder.scratch()?;
        version::write(scratch.path(), draft)?;
        version::read(scratch.path())
            .map_err(|fault| RepositoryError::Unpublishable(Arc::new(fault)))?;

        let _lock = folder.lock()?;
        // Garbled aliases don't stop a publish; they are reported by `describe`.
        let mentioned = Aliases::read(&folder).unwrap_or_default();
        let highest = mentioned.versions().chain(folder.versions()?).max();
        let mut number = highest.unwrap_or(0);
        loop {
            number += 1;
            if number > MAX_VERSION {
                return Err(RepositoryError::NumbersExhausted {
                    model: folder.model(),
                });
            }
            let place = folder.version(number);
            match fs::rename(scratch.path(), &place) {
                Ok(()) => break,
                // Something that is no version has this name, or somebody who doesn't know of the lock was faster.
                Err(_) if fs::symlink_metadata(&place).is_ok() => {}
                Err(error) => return Err(error).during("write", &place),
            }
        }
        // It has moved: nothing is left here to clean up.
        let _ = scratch.keep();
        folder.sync()?;
        Ok(number)
    }

    /// Replaces the report of a version, at once and whole.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is broken, or the report is about other classes.
    pub fn write_evaluation(
        &self,
        model: &str,
        version: u64,
        evaluation: &Evaluation,
    ) -> Result<(), RepositoryError> {
        let (folder, _lock, _) = self.find_locked(model, version)?;
        self.state(&folder, version)
            .map_err(|fault| version_broken(&folder, version, fault))?;
        let place = folder.version(version);
        let (file, content) = version::evaluation_file(&place, evaluation)
            .map_err(|fault| RepositoryError::Unpublishable(Arc::new(fault)))?;
        folder.replace(&place.join(file), &content)
    }

    /// Gives golden answers to a version that has none: for images that are made up and the first few of `examples`, as those
    /// of [`Draft`]. Says whether it did; a version that has some keeps them.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is broken, or its input is no image.
    pub fn add_golden(
        &self,
        model: &str,
        version: u64,
        examples: &[u8],
    ) -> Result<bool, RepositoryError> {
        let (folder, _lock, _) = self.find_locked(model, version)?;
        let broken = |fault| version_broken(&folder, version, fault);
        let contents = self.read(&folder, version).map_err(broken)?;
        if contents.golden.is_some() {
            return Ok(false);
        }
        let (file, content) = version::golden_file(&contents, examples)
            .map_err(|fault| RepositoryError::Unpublishable(Arc::new(fault)))?;
        folder.replace(&folder.version(version).join(file), &content)?;
        Ok(true)
    }

    /// Deletes a version. It is gone at once, even where removing its files takes long or fails.
    ///
    /// # Errors
    ///
    /// There is no such model or version, or the model's name or an alias stands for it.
    pub fn delete(&self, model: &str, version: u64) -> Result<(), RepositoryError> {
        let (folder, _lock, versions) = self.find_locked(model, version)?;
        let mut aliases = Aliases::read(&folder)?;
        let pinned = aliases.serving.as_ref().map(|serving| serving.version);
        let serving = self.serving(&folder, &aliases, &versions).ok();
        if [pinned, serving].contains(&Some(version)) {
            let model = folder.model();
            return Err(RepositoryError::VersionIsServing { model, version });
        }
        if let Some((alias, _)) = aliases.labels.iter().find(|&(_, &to)| to == version) {
            return Err(RepositoryError::VersionIsAliased {
                model: folder.model(),
                version,
                alias: alias.clone(),
            });
        }
        if aliases.highest_deleted < Some(version) {
            aliases.highest_deleted = Some(version);
            aliases.write(&folder)?;
        }
        let scratch = folder.scratch()?;
        let place = folder.version(version);
        fs::rename(&place, scratch.path().join("deleted")).during("delete", &place)?;
        folder.sync()?;
        self.checked.forget(&place);
        Ok(())
    }

    /// A model that has versions, and their numbers.
    pub(super) fn find(&self, model: &str) -> Result<(ModelFolder, Vec<u64>), RepositoryError> {
        let folder = ModelFolder::new(&self.root, ModelName::try_from(model)?);
        let versions = folder.versions()?;
        if versions.is_empty() {
            return Err(RepositoryError::ModelNotFound {
                model: folder.model(),
                models: self.models()?,
            });
        }
        Ok((folder, versions))
    }

    /// A model that has this version, locked, and the numbers of all its versions.
    pub(super) fn find_locked(
        &self,
        model: &str,
        version: u64,
    ) -> Result<(ModelFolder, super::folder::Lock, Vec<u64>), RepositoryError> {
        let (folder, _) = self.find(model)?;
        let lock = folder.lock()?;
        let versions = folder.versions()?;
        if versions.contains(&version) {
            Ok((folder, lock, versions))
        } else {
            Err(version_not_found(&folder, version, versions))
        }
    }

    /// What looks like a model's name in the repository's folder.
    fn names(&self) -> Result<Vec<ModelName>, RepositoryError> {
        let entries = entries(&self.root).during("list the folder", &self.root)?;
        Ok(entries
            .iter()
            .filter_map(|entry| ModelName::try_from(entry.as_str()).ok())
            .filter(|name| self.root.join(name.as_str()).is_dir())
            .collect())
    }
}

pub(super) fn version_broken(
    folder: &ModelFolder,
    version: u64,
    fault: Arc<VersionFault>,
) -> RepositoryError {
    RepositoryError::VersionBroken {
        model: folder.model(),
        version,
        fault,
    }
}

fn version_not_found(folder: &ModelFolder, version: u64, versions: Vec<u64>) -> RepositoryError {
    RepositoryError::VersionNotFound {
        model: folder.model(),
        version,
        versions,
    }
}
