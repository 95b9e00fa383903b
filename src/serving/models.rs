//! The models in memory: which version each serves, and the swap to another one.
//!
//! A request asks once for its servable and keeps it until it is answered, so a swap neither drops
//! nor mixes anything: the old version lives as long as somebody uses it. Loading is slow and
//! happens outside the lock; the swap is an exchange of pointers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use burn::tensor::Device;

use super::{Servable, ServingError, Statistics};
use crate::repository::{Repository, StoredVersion};

/// Versions asked for by number that are kept in memory beside the serving one, over all models.
const KEPT: usize = 4;

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
    /// Versions asked for by number, the most recently used last.
    kept: Mutex<Vec<Arc<Servable>>>,
    /// What each version has counted, kept while the version exists, whatever is loaded.
    statistics: Mutex<BTreeMap<(String, u64), Arc<Statistics>>>,
    /// Held while a slot is being renewed, so that two changes can't swap in the wrong order.
    renewing: Mutex<()>,
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
            kept: Mutex::default(),
            statistics: Mutex::default(),
            renewing: Mutex::default(),
        };
        for name in names {
            models.renew(&name);
        }
        Ok(models)
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

    /// A version by its number, from memory or (slowly: call it off the async threads) from disk.
    pub fn get_version(&self, model: &str, version: u64) -> Result<Arc<Servable>, ServingError> {
        match self.get(model) {
            Ok(serving) if serving.version() == version => return Ok(serving),
            Err(
                missing @ (ServingError::ModelNotFound { .. } | ServingError::ModelUnloaded { .. }),
            ) => return Err(missing),
            _ => {}
        }
        let is_it = |kept: &Arc<Servable>| kept.model() == model && kept.version() == version;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = kept.iter().position(is_it) {
            let servable = kept.remove(place);
            kept.push(Arc::clone(&servable));
            return Ok(servable);
        }
        // The lock is kept while loading: two requests for the same version load it once.
        let stored = self.repository.load(model, version)?;
        let servable = Arc::new(self.load_stored(stored)?);
        kept.push(Arc::clone(&servable));
        if kept.len() > KEPT {
            kept.remove(0);
        }
        Ok(servable)
    }

    /// Looks again which version the model's name stands for, loads it where it is another one, and
    /// swaps it in. Called after every publish, promote, rollback, delete and evaluation; slow, so
    /// call it off the async threads.
    pub fn renew(&self, model: &str) {
        let _one_at_a_time = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
        let loaded = self
            .repository
            .load_serving(model)
            .map_err(ServingError::from)
            .and_then(|stored| self.load_stored(stored));
        let slot = match loaded {
            Ok(servable) => {
                tracing::info!(model, version = servable.version(), "serving");
                Some(Slot::Serving(Arc::new(servable)))
            }
            Err(ServingError::Repository(error)) if error.code() == "model_not_found" => None,
            Err(error) => {
                tracing::warn!(model, %error, "can't be served");
                Some(Slot::Unavailable(error.to_string()))
            }
        };
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        match slot {
            Some(slot) => slots.insert(model.to_owned(), slot),
            None => slots.remove(model),
        };
        drop(slots);
        self.forget(model);
        let versions = self.repository.versions(model).unwrap_or_default();
        self.lock_statistics()
            .retain(|(name, version), _| name != model || versions.contains(version));
    }

    /// Takes a model out of memory; it is refused until [`renew`](Self::renew) loads it again.
    ///
    /// # Errors
    ///
    /// There is no such model.
    pub fn unload(&self, model: &str) -> Result<(), ServingError> {
        let _one_at_a_time = self.renewing.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.forget(model);
        tracing::info!(model, "unloaded");
        Ok(())
    }

    /// A version that was replaced, deleted or unloaded must not be answered from memory.
    fn forget(&self, model: &str) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|servable| servable.model() != model);
    }

    /// What each version has counted, of those that were ever loaded and still exist.
    pub fn statistics(&self) -> Vec<((String, u64), Arc<Statistics>)> {
        let statistics = self.lock_statistics();
        statistics
            .iter()
            .map(|(version, counted)| (version.clone(), Arc::clone(counted)))
            .collect()
    }

    fn load_stored(&self, stored: StoredVersion) -> Result<Servable, ServingError> {
        let version = (stored.model.clone(), stored.version);
        let servable = Servable::load(stored, &self.device)?;
        let counted = Arc::clone(self.lock_statistics().entry(version).or_default());
        Ok(servable.counting_on(counted))
    }

    fn lock_statistics(&self) -> MutexGuard<'_, BTreeMap<(String, u64), Arc<Statistics>>> {
        self.statistics
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
