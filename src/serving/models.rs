//! The models in memory: which version each serves, and the swap to another one.
//!
//! A request asks once for its servable and keeps it until it is answered, so a swap neither drops
//! nor mixes anything: the old version lives as long as somebody uses it. Loading is slow and
//! happens outside the lock; the swap is an exchange of pointers.
//!
//! A version that is served goes on being served from memory until another good one takes its
//! place: a file that breaks or can't be read for a while takes nothing down.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use burn::tensor::Device;

use super::apart::{Panicked, apart};
use super::loaded::{DEFAULT_MAX_BYTES, Loaded};
use super::{Servable, ServingError, Statistics};
use crate::repository::{Repository, RepositoryError, VersionFault};

/// What a model name stands for.
#[derive(Clone)]
enum Slot {
    Serving(Arc<Servable>),
    /// Nothing of this model can be served, and why.
    Unavailable(String),
    /// Somebody has taken it out of memory.
    Unloaded,
}

/// The models in memory, over a repository.
pub struct Models {
    repository: Repository,
    device: Device,
    default: Option<String>,
    slots: RwLock<BTreeMap<String, Slot>>,
    /// Versions asked for by number.
    loaded: Loaded,
    /// What each version has counted, kept while the version exists, whatever is loaded.
    statistics: Mutex<BTreeMap<(String, u64), Arc<Statistics>>>,
    /// Held while a model's slot is being renewed, so that two changes can't swap in the wrong
    /// order.
    renewing: Mutex<BTreeMap<String, Arc<Mutex<()>>>>,
}

impl Models {
    /// Loads the serving version of every model. What can't be loaded is logged and reported, and
    /// stops nothing else. The bare `/predict` uses `default`, or the only model there is.
    ///
    /// # Errors
    ///
    /// Where the repository can't be read at all, or `default` is not in it.
    pub fn load(
        repository: Repository,
        device: Device,
        default: Option<String>,
    ) -> Result<Self, ServingError> {
        let names = repository.models()?;
        if let Some(name) = &default
            && !names.contains(name)
        {
            return Err(ServingError::ModelNotFound {
                model: name.clone(),
                models: names,
            });
        }
        let only = if let [only] = names.as_slice() {
            Some(only.clone())
        } else {
            None
        };
        let models = Self {
            repository,
            device,
            default: default.or(only),
            slots: RwLock::default(),
            loaded: Loaded::new(DEFAULT_MAX_BYTES),
            statistics: Mutex::default(),
            renewing: Mutex::default(),
        };
        for name in names {
            models.renew(&name);
        }
        Ok(models)
    }

    /// The same with another bound on the bytes of weights in memory; without it 1 GiB. The
    /// versions that are served by name stay in any case; those asked for by number are loaded as
    /// far as there is room beside them, and leave again, the least recently used first.
    pub fn with_max_loaded_bytes(mut self, bytes: u64) -> Self {
        self.loaded.max_bytes = bytes;
        self
    }

    /// The repository behind the models.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// The device that networks run on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The model of the bare `/predict`: the configured one, the only one there was at the start,
    /// or the only one there is.
    pub fn default_model(&self) -> Result<String, ServingError> {
        if let Some(name) = &self.default {
            return Ok(name.clone());
        }
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = slots.keys();
        match (names.next(), names.next()) {
            (Some(only), None) => Ok(only.clone()),
            _ => Err(ServingError::ModelRequired {
                models: slots.keys().cloned().collect(),
            }),
        }
    }

    /// The names of all models in memory.
    pub fn names(&self) -> Vec<String> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.keys().cloned().collect()
    }

    /// Every version that is being served by its model's name.
    pub fn serving(&self) -> Vec<Arc<Servable>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = slots.values().filter_map(|slot| match slot {
            Slot::Serving(servable) => Some(Arc::clone(servable)),
            Slot::Unavailable(_) | Slot::Unloaded => None,
        });
        loaded.collect()
    }

    /// Every version in memory, once: those that are served by name, then those asked for by number.
    pub fn in_memory(&self) -> Vec<Arc<Servable>> {
        let mut servables = self.serving();
        // One that has just come to be served by name is in both places for a moment.
        let mut beside = self.loaded.all();
        beside.retain(|s| {
            let is_same = |t: &Arc<Servable>| (t.model(), t.version()) == (s.model(), s.version());
            !servables.iter().any(is_same)
        });
        servables.extend(beside);
        servables
    }

    /// The version that the model's name stands for.
    pub fn get(&self, model: &str) -> Result<Arc<Servable>, ServingError> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        match slots.get(model) {
            Some(Slot::Serving(servable)) => Ok(Arc::clone(servable)),
            Some(Slot::Unavailable(reason)) => Err(ServingError::ModelUnavailable {
                model: model.to_owned(),
                reason: reason.clone(),
            }),
            Some(Slot::Unloaded) => Err(ServingError::ModelUnloaded {
                model: model.to_owned(),
            }),
            None => Err(ServingError::ModelNotFound {
                model: model.to_owned(),
                models: slots.keys().cloned().collect(),
            }),
        }
    }

    /// A version by its number, from memory or from the disk. Whoever asks for a version that is
    /// being loaded waits for it.
    pub async fn get_version(
        self: &Arc<Self>,
        model: &str,
        version: u64,
    ) -> Result<Arc<Servable>, ServingError> {
        match self.get(model) {
            Ok(serving) if serving.version() == version => return Ok(serving),
            Err(
                missing @ (ServingError::ModelNotFound { .. } | ServingError::ModelUnloaded { .. }),
            ) => return Err(missing),
            _ => {}
        }
        if let Some(servable) = self.loaded.find(model, version) {
            return Ok(servable);
        }
        let turn = self.loaded.turn(model, version).lock_owned().await;
        let (models, model) = (Arc::clone(self), model.to_owned());
        let loading = tokio::task::spawn_blocking(move || {
            // The turn goes with the work, which is done also where nobody waits for it any more.
            let _turn = turn;
            let servable = models.load_beside(&model, version);
            models.loaded.end_turn(&model, version);
            servable
        });
        loading
            .await
            .map_err(|_| ServingError::Internal("loading a version"))?
    }

    /// Loads a version that was asked for by number, if there is room.
    fn load_beside(&self, model: &str, version: u64) -> Result<Arc<Servable>, ServingError> {
        if let Some(servable) = self.loaded.find(model, version) {
            return Ok(servable);
        }
        let stamp = self.repository.stamp(model, version);
        let bytes = stamp.map_or(0, |stamp| stamp.weights_bytes());
        let serving = self.serving_bytes();
        let _room = self.loaded.make_room(model, version, bytes, serving)?;
        let servable = self.load_version(model, version)?;
        self.loaded.put(Arc::clone(&servable));
        Ok(servable)
    }

    /// Bytes of weights of the versions that are served by name.
    fn serving_bytes(&self) -> u64 {
        let bytes = self.serving().into_iter().map(|s| s.bytes() as u64);
        bytes.fold(0, u64::saturating_add)
    }

    /// Reads a version from the disk, and has it give its golden answers. One over which the program
    /// panics counts as broken, and takes neither the watch nor a request with it.
    fn load_version(&self, model: &str, version: u64) -> Result<Arc<Servable>, RepositoryError> {
        let stamp = self.repository.stamp(model, version);
        let loaded = apart(|| {
            let stored = self.repository.load(model, version)?;
            let (stamp, key) = (stored.stamp, (model.to_owned(), version));
            let counted = Arc::clone(self.lock_statistics().entry(key).or_default());
            Servable::load(stored, counted, &self.device)
                .map(Arc::new)
                .map_err(|fault| self.repository.condemn(model, version, stamp, fault))
        });
        let loaded = loaded.map_err(|source| RepositoryError::Io {
            action: "start a thread to load",
            path: self.repository.root().to_owned(),
            source,
        })?;
        loaded.unwrap_or_else(|Panicked| {
            let stamp = stamp.unwrap_or_default();
            let fault = VersionFault::Panicked;
            Err(self.repository.condemn(model, version, stamp, fault))
        })
    }

    /// Looks again which version the model's name stands for, loads it where it is another one, and
    /// swaps it in. Called after every publish, rollback, delete and evaluation; slow, so call it
    /// off the async threads.
    pub fn renew(&self, model: &str) {
        let turn = self.turn(model);
        let _one_at_a_time = turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.swap(model, None);
    }

    /// As [`renew`](Self::renew), but leaves a model that was unloaded alone.
    pub(super) fn refresh(&self, model: &str) {
        let is_unloaded = matches!(self.get(model), Err(ServingError::ModelUnloaded { .. }));
        if !is_unloaded || self.repository.snapshot(model).is_none() {
            self.renew(model);
        }
    }

    /// Promotes a version, once it is loaded and has given its golden answers.
    ///
    /// # Errors
    ///
    /// There is no such version, or it can't be served; nothing has changed then.
    pub fn promote(&self, model: &str, version: u64) -> Result<(), ServingError> {
        let turn = self.turn(model);
        let _one_at_a_time = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let servable = match self.at_hand(model, version, None) {
            Some(servable) => servable,
            None => self.load_version(model, version)?,
        };
        self.repository.promote(model, version)?;
        self.swap(model, Some(servable));
        Ok(())
    }

    /// Puts the version that the model's name stands for into its slot. `promoted` has just been
    /// loaded. The caller holds the model's turn.
    fn swap(&self, model: &str, promoted: Option<Arc<Servable>>) {
        let slot = match self.repository.candidates(model) {
            Ok(candidates) => Some(self.choose(model, &candidates, promoted)),
            Err(RepositoryError::ModelNotFound { .. }) => None,
            Err(error) => return tracing::warn!(model, %error, "the versions can't be listed"),
        };
        let now = slot.clone();
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let before = match slot {
            Some(slot) => slots.insert(model.to_owned(), slot),
            None => slots.remove(model),
        };
        drop(slots);
        log(model, before.as_ref(), now.as_ref());
        // What has changed, or is gone, must not be answered from memory.
        let serving = self.get(model).ok().map(|servable| servable.version());
        self.loaded.retain(|servable| {
            servable.model() != model
                || (Some(servable.version()) != serving && self.is_current(servable))
        });
        self.loaded.trim(self.serving_bytes());
        let versions = self.repository.versions(model).unwrap_or_default();
        self.lock_statistics()
            .retain(|(name, version), _| name != model || versions.contains(version));
    }

    /// The first of the candidates that can be served.
    fn choose(&self, model: &str, candidates: &[u64], promoted: Option<Arc<Servable>>) -> Slot {
        let serving = self.get(model).ok();
        let mut reason = None;
        for &version in candidates {
            if let Some(servable) = self.at_hand(model, version, promoted.as_ref()) {
                return Slot::Serving(servable);
            }
            let error = match self.load_version(model, version) {
                Ok(servable) => return Slot::Serving(servable),
                Err(error) => error,
            };
            let failed_its_test = matches!(&error, RepositoryError::VersionBroken { fault, .. }
                if matches!(**fault, VersionFault::SelfTest { .. } | VersionFault::Panicked));
            match &serving {
                // Its files have broken, but it is as good as it was.
                Some(serving) if serving.version() == version && !failed_its_test => {
                    return Slot::Serving(Arc::clone(serving));
                }
                _ => reason = reason.or(Some(error.to_string())),
            }
        }
        Slot::Unavailable(reason.unwrap_or_else(|| "it has no version".to_owned()))
    }

    /// A version that is in memory already, if its files are still as they were.
    fn at_hand(
        &self,
        model: &str,
        version: u64,
        promoted: Option<&Arc<Servable>>,
    ) -> Option<Arc<Servable>> {
        let serving = self.get(model).ok();
        let mut known = [promoted.cloned(), serving, self.loaded.find(model, version)]
            .into_iter()
            .flatten();
        known.find(|servable| servable.version() == version && self.is_current(servable))
    }

    /// Whether a version's files are as they were when it was loaded.
    fn is_current(&self, servable: &Servable) -> bool {
        let stamp = self.repository.stamp(servable.model(), servable.version());
        stamp == Some(servable.stamp())
    }

    /// What to hold while a model's slot is renewed.
    fn turn(&self, model: &str) -> Arc<Mutex<()>> {
        let mut renewing = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        renewing.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(renewing.entry(model.to_owned()).or_default())
    }

    /// Takes a model out of memory; it is refused until [`renew`](Self::renew) loads it again.
    ///
    /// # Errors
    ///
    /// There is no such model.
    pub fn unload(&self, model: &str) -> Result<(), ServingError> {
        let turn = self.turn(model);
        let _one_at_a_time = turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slots.get_mut(model) {
            Some(slot) => *slot = Slot::Unloaded,
            None => {
                return Err(ServingError::ModelNotFound {
                    model: model.to_owned(),
                    models: slots.keys().cloned().collect(),
                });
            }
        }
        drop(slots);
        self.loaded.retain(|servable| servable.model() != model);
        tracing::info!(model, "unloaded");
        Ok(())
    }

    /// What each version has counted, of those that were ever loaded and still exist.
    pub fn statistics(&self) -> Vec<((String, u64), Arc<Statistics>)> {
        let statistics = self.lock_statistics();
        statistics
            .iter()
            .map(|(version, counted)| (version.clone(), Arc::clone(counted)))
            .collect()
    }

    fn lock_statistics(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Arc<Statistics>>> {
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what a model's name stands for now, where it is something else than before.
fn log(model: &str, before: Option<&Slot>, now: Option<&Slot>) {
    match (before, now) {
        (Some(Slot::Serving(before)), Some(Slot::Serving(now))) if Arc::ptr_eq(before, now) => {}
        (_, Some(Slot::Serving(now))) => {
            let (version, self_tested) = (now.version(), now.is_self_tested());
            tracing::info!(model, version, self_tested, "serving");
        }
        (Some(Slot::Unavailable(before)), Some(Slot::Unavailable(now))) if before == now => {}
        (_, Some(Slot::Unavailable(reason))) => tracing::warn!(model, reason, "can't be served"),
        (Some(_), None) => tracing::info!(model, "deleted"),
        (_, Some(Slot::Unloaded) | None) => {}
    }
}
