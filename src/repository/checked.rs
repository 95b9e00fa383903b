//! What is known of the versions: how each was found when it was last read, and whether its files have changed since.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::aliases::Aliases;
use super::folder::ModelFolder;
use super::store::version_broken;
use super::version::{self, Contents, Stamp};
use super::{ModelName, Repository, RepositoryError, VersionFault};

type State = Result<(), Arc<VersionFault>>;

/// How each version was found, and what its files looked like then.
#[derive(Debug, Default)]
pub(super) struct Checked(Mutex<HashMap<PathBuf, (Stamp, State)>>);

impl Checked {
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, State)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How the version was found, if its files are as they were, and reading them again would find the same.
    fn find(&self, place: &Path, stamp: Stamp) -> Option<State> {
        match self.lock().get(place)? {
            // The next attempt may fare better, though no file changes.
            (_, Err(fault)) if matches!(**fault, VersionFault::Unreadable { .. }) => None,
            (seen, state) => (*seen == stamp).then(|| state.clone()),
        }
    }

    /// Remembers how a version was found; a fault that is new is logged.
    fn keep(&self, place: &Path, stamp: Stamp, state: State) {
        let known = self.lock().insert(place.to_owned(), (stamp, state.clone()));
        let Err(fault) = state else { return };
        let is_known = |(_, state): (_, State)| {
            state.is_err_and(|known| known.to_string() == fault.to_string())
        };
        if !known.is_some_and(is_known) {
            tracing::warn!(version = %place.display(), code = fault.code(), %fault, "a version is broken");
        }
    }

    /// Forgets a version that is gone.
    pub fn forget(&self, place: &Path) {
        self.lock().remove(place);
    }
}

/// What a model's folder looks like; another one where anything in it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    versions: BTreeMap<u64, Stamp>,
    aliases: Option<Aliases>,
}

impl Repository {
    /// What a model's folder looks like now; `None` where there is no such model.
    pub fn snapshot(&self, model: &str) -> Option<Snapshot> {
        let (folder, versions) = self.find(model).ok()?;
        let stamp = |version| (version, Stamp::of(&folder.version(version)));
        Some(Snapshot {
            versions: versions.into_iter().map(stamp).collect(),
            aliases: Aliases::read(&folder).ok(),
        })
    }

    /// What a version's files look like now; `None` where it is not there.
    pub fn stamp(&self, model: &str, version: u64) -> Option<Stamp> {
        let folder = ModelFolder::new(self.root(), ModelName::try_from(model).ok()?);
        let place = folder.version(version);
        place.is_dir().then(|| Stamp::of(&place))
    }

    /// Counts a version that was read as broken from now on, until its files change: for faults that only come out when its
    /// network runs. Returns the error that loading it gives from now on.
    pub fn condemn(
        &self,
        model: &str,
        version: u64,
        stamp: Stamp,
        fault: VersionFault,
    ) -> RepositoryError {
        let folder = match ModelName::try_from(model) {
            Ok(name) => ModelFolder::new(self.root(), name),
            Err(error) => return error,
        };
        let fault = Arc::new(fault);
        let state = Err(Arc::clone(&fault));
        self.checked.keep(&folder.version(version), stamp, state);
        version_broken(&folder, version, fault)
    }

    /// Whether a version is good, from memory if its files are as they were.
    pub(super) fn state(&self, folder: &ModelFolder, version: u64) -> State {
        let place = folder.version(version);
        match self.checked.find(&place, Stamp::of(&place)) {
            Some(state) => state,
            None => self.read(folder, version).map(drop),
        }
    }

    /// Reads a version, and remembers whether it was good. One that is known to be broken is not read again.
    pub(super) fn read(
        &self,
        folder: &ModelFolder,
        version: u64,
    ) -> Result<Contents, Arc<VersionFault>> {
        let place = folder.version(version);
        let stamp = Stamp::of(&place);
        if let Some(Err(fault)) = self.checked.find(&place, stamp) {
            return Err(fault);
        }
        let contents = version::read(&place).map_err(Arc::new);
        let state = contents.as_ref().map(|_| ()).map_err(Arc::clone);
        self.checked.keep(&place, stamp, state);
        contents
    }
}
