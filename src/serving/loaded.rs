//! The versions in memory that were asked for by their numbers: within a budget, the least recently used leaves first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Servable, ServingError};

/// Bytes of weights that are kept in memory unless somebody says otherwise: 1 GiB.
pub(super) const DEFAULT_MAX_BYTES: u64 = 1 << 30;

/// A model and a version of it.
type Version = (String, u64);

/// Versions in memory beside those that the models' names stand for.
pub(super) struct Loaded {
    /// Bytes of all weights in memory, with those of the versions that are served by name.
    pub(super) max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The most recently used last.
    servables: Vec<Arc<Servable>>,
    /// Bytes of what is being loaded.
    promised: u64,
    /// Versions that somebody is loading: who else wants one waits for it.
    loading: BTreeMap<Version, Arc<tokio::sync::Mutex<()>>>,
}

/// Room for a version that is being loaded.
pub(super) struct Promise<'a> {
    loaded: &'a Loaded,
    bytes: u64,
}

impl Drop for Promise<'_> {
    fn drop(&mut self) {
        self.loaded.lock().promised -= self.bytes;
    }
}

impl Loaded {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            max_bytes,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A version, if it is in memory; it counts as used.
    pub(super) fn find(&self, model: &str, version: u64) -> Option<Arc<Servable>> {
        let mut state = self.lock();
        let is_it = |s: &Arc<Servable>| s.model() == model && s.version() == version;
        let place = state.servables.iter().position(is_it)?;
        let servable = state.servables.remove(place);
        state.servables.push(Arc::clone(&servable));
        Some(servable)
    }

    /// What to hold while a version is loaded, so that it is loaded once.
    pub(super) fn turn(&self, model: &str, version: u64) -> Arc<tokio::sync::Mutex<()>> {
        let key = (model.to_owned(), version);
        Arc::clone(self.lock().loading.entry(key).or_default())
    }

    /// Lets go of [`turn`](Self::turn): those who wait for it find the version in memory, or the same fault.
    pub(super) fn end_turn(&self, model: &str, version: u64) {
        self.lock().loading.remove(&(model.to_owned(), version));
    }

    /// Makes room for a version of so many bytes beside the `serving` bytes of those that are served by name.
    ///
    /// # Errors
    ///
    /// [`ServingError::NoRoom`] where there is too little even with nothing else in memory that can leave.
    pub(super) fn make_room(
        &self,
        model: &str,
        version: u64,
        bytes: u64,
        serving: u64,
    ) -> Result<Promise<'_>, ServingError> {
        let mut state = self.lock();
        let taken = serving.saturating_add(state.promised);
        let needed = taken.saturating_add(bytes);
        self.evict(&mut state, needed);
        if needed > self.max_bytes {
            return Err(ServingError::NoRoom {
                model: model.to_owned(),
                version,
                bytes,
                taken,
                allowed: self.max_bytes,
            });
        }
        state.promised = state.promised.saturating_add(bytes);
        Ok(Promise {
            loaded: self,
            bytes,
        })
    }

    /// Lets go of what has no room any more beside the `serving` bytes of those that are served by name.
    pub(super) fn trim(&self, serving: u64) {
        let mut state = self.lock();
        let needed = serving.saturating_add(state.promised);
        self.evict(&mut state, needed);
    }

    /// Lets go of the least recently used until what is left has room beside `needed` bytes.
    fn evict(&self, state: &mut State, needed: u64) {
        let bytes = state.servables.iter().map(|s| s.bytes() as u64);
        let mut total = bytes.fold(needed, u64::saturating_add);
        while total > self.max_bytes && !state.servables.is_empty() {
            let unused = state.servables.remove(0);
            total -= unused.bytes() as u64;
            tracing::info!(
                model = unused.model(),
                version = unused.version(),
                "unloaded, to make room"
            );
        }
    }

    pub(super) fn put(&self, servable: Arc<Servable>) {
        self.lock().servables.push(servable);
    }

    /// Lets go of the versions that are not wanted.
    pub(super) fn retain(&self, is_wanted: impl Fn(&Servable) -> bool) {
        self.lock().servables.retain(|servable| is_wanted(servable));
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<Arc<Servable>> {
        self.lock().servables.clone()
    }
}
