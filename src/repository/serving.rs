//! Which version a model's name stands for: promote, rollback, and the other aliases.

use std::collections::BTreeMap;

use super::aliases::{Aliases, MAX_ALIASES, Serving};
use super::folder::ModelFolder;
use super::name::{self, is_valid};
use super::store::version_broken;
use super::{Repository, RepositoryError};

/// The alias that promote and rollback move.
const SERVING: &str = "serving";

impl Repository {
    /// The version that a model's name stands for: the one last promoted or rolled back to; the newest good one as long as
    /// nobody has chosen. Where the chosen one is broken or gone it is the good one served last before it, and then the newest
    /// good one.
    ///
    /// # Errors
    ///
    /// There is no such model, or it has no good version.
    pub fn serving_version(&self, model: &str) -> Result<u64, RepositoryError> {
        let (folder, versions) = self.find(model)?;
        // Garbled aliases are as good as none here; `describe` reports them.
        let aliases = Aliases::read(&folder).unwrap_or_default();
        self.serving(&folder, &aliases, &versions)
    }

    /// The versions to try for a model's name, the first choice first: the one chosen, those served before it, the newest.
    ///
    /// # Errors
    ///
    /// There is no such model.
    pub fn candidates(&self, model: &str) -> Result<Vec<u64>, RepositoryError> {
        let (folder, versions) = self.find(model)?;
        let aliases = Aliases::read(&folder).unwrap_or_default();
        Ok(candidates(&aliases, &versions))
    }

    /// Makes a good version the one that the model's name stands for, whatever is published later.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is broken, or the aliases can't be read.
    pub fn promote(&self, model: &str, version: u64) -> Result<(), RepositoryError> {
        let (folder, _lock, versions) = self.find_locked(model, version)?;
        self.state(&folder, version)
            .map_err(|fault| version_broken(&folder, version, fault))?;
        let mut aliases = Aliases::read(&folder)?;
        if aliases
            .serving
            .as_ref()
            .is_some_and(|serving| serving.version == version)
        {
            return Ok(());
        }
        let mut served = self.served(&folder, &aliases, &versions);
        if served.first() == Some(&version) {
            served.remove(0);
        }
        aliases.serve(version, served);
        aliases.write(&folder)
    }

    /// Goes back to the good version that was served before this one, and returns its number.
    ///
    /// # Errors
    ///
    /// There is no such model or no such version, or the aliases can't be read.
    pub fn rollback(&self, model: &str) -> Result<u64, RepositoryError> {
        let (folder, _) = self.find(model)?;
        let _lock = folder.lock()?;
        let versions = folder.versions()?;
        let mut aliases = Aliases::read(&folder)?;
        let serving = self.serving(&folder, &aliases, &versions)?;
        let served = self.served(&folder, &aliases, &versions);
        let good = served.iter().position(|&earlier| {
            earlier != serving
                && versions.contains(&earlier)
                && self.state(&folder, earlier).is_ok()
        });
        match good.and_then(|place| served.get(place..)) {
            Some([version, rest @ ..]) => {
                aliases.serve(*version, rest.to_vec());
                aliases.write(&folder)?;
                Ok(*version)
            }
            _ => Err(RepositoryError::NothingToRollBack {
                model: folder.model(),
                serving,
            }),
        }
    }

    /// What stands for a version of a model, beside its name.
    ///
    /// # Errors
    ///
    /// There is no such model, or the aliases can't be read.
    pub fn aliases(&self, model: &str) -> Result<BTreeMap<String, u64>, RepositoryError> {
        Ok(Aliases::read(&self.find(model)?.0)?.labels)
    }

    /// Lets an alias stand for a good version, and for no other any more.
    ///
    /// # Errors
    ///
    /// There is no such model or version, it is broken, the alias is no [`ModelName`](super::ModelName) or is `serving`, the
    /// model has [`MAX_ALIASES`] already, or they can't be read.
    pub fn set_alias(&self, model: &str, alias: &str, version: u64) -> Result<(), RepositoryError> {
        if !is_valid(alias) || alias == SERVING {
            return Err(RepositoryError::InvalidAlias {
                found: name::excerpt(alias),
            });
        }
        let (folder, _lock, _) = self.find_locked(model, version)?;
        self.state(&folder, version)
            .map_err(|fault| version_broken(&folder, version, fault))?;
        let mut aliases = Aliases::read(&folder)?;
        aliases.labels.insert(alias.to_owned(), version);
        if aliases.labels.len() > MAX_ALIASES {
            return Err(RepositoryError::TooManyAliases {
                model: folder.model(),
            });
        }
        aliases.write(&folder)
    }

    /// Removes an alias, and returns the version that it stood for.
    ///
    /// # Errors
    ///
    /// There is no such model or alias, or the aliases can't be read.
    pub fn remove_alias(&self, model: &str, alias: &str) -> Result<u64, RepositoryError> {
        let (folder, _) = self.find(model)?;
        let _lock = folder.lock()?;
        let mut aliases = Aliases::read(&folder)?;
        let Some(version) = aliases.labels.remove(alias) else {
            return Err(RepositoryError::AliasNotFound {
                model: folder.model(),
                alias: name::excerpt(alias),
                aliases: aliases.labels.into_keys().collect(),
            });
        };
        aliases.write(&folder)?;
        Ok(version)
    }

    /// The first good candidate.
    pub(super) fn serving(
        &self,
        folder: &ModelFolder,
        aliases: &Aliases,
        versions: &[u64],
    ) -> Result<u64, RepositoryError> {
        candidates(aliases, versions)
            .into_iter()
            .find(|&version| self.state(folder, version).is_ok())
            .ok_or_else(|| self.no_good_version(folder, versions))
    }

    /// The versions that the model's name has stood for, the latest first. As long as nobody chooses, each new version takes
    /// the place of the one before it.
    fn served(&self, folder: &ModelFolder, aliases: &Aliases, versions: &[u64]) -> Vec<u64> {
        if let Some(serving) = &aliases.serving {
            return serving.all().collect();
        }
        match self.serving(folder, aliases, versions) {
            Ok(newest) => versions
                .iter()
                .rev()
                .copied()
                .filter(|&v| v <= newest)
                .collect(),
            Err(_) => Vec::new(),
        }
    }

    fn no_good_version(&self, folder: &ModelFolder, versions: &[u64]) -> RepositoryError {
        let newest = versions.last().copied().unwrap_or(0);
        match self.state(folder, newest) {
            Err(fault) => RepositoryError::NoGoodVersion {
                model: folder.model(),
                version: newest,
                fault,
            },
            // It has become good in between, or there is none any more.
            Ok(()) => RepositoryError::VersionNotFound {
                model: folder.model(),
                version: newest,
                versions: versions.to_vec(),
            },
        }
    }
}

/// The versions to try for a model's name, the first choice first.
fn candidates(aliases: &Aliases, versions: &[u64]) -> Vec<u64> {
    let chosen = aliases.serving.iter().flat_map(Serving::all);
    let existing = chosen.filter(|version| versions.contains(version));
    let mut candidates: Vec<u64> = Vec::with_capacity(versions.len());
    for version in existing.chain(versions.iter().rev().copied()) {
        if !candidates.contains(&version) {
            candidates.push(version);
        }
    }
    candidates
}
