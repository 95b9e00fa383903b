//! The places in the engine: how many images each model may have in it, and how much memory all of them may take.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServingError;

/// What memory is counted in, in bytes.
const UNIT: usize = 1 << 10;
/// The most that a semaphore is given to hand out.
const MOST: usize = (u32::MAX >> 3) as usize;
/// How long a client that finds no place is asked to stay away, in seconds.
const RETRY_AFTER: (f64, f64) = (1.0, 60.0);

/// A place for one image, free again once it is dropped.
pub(super) struct Place {
    _image: OwnedSemaphorePermit,
    /// The memory of the whole request.
    _memory: Arc<OwnedSemaphorePermit>,
}

/// The places of all models.
pub(super) struct Places {
    /// Images of each model.
    capacity: usize,
    /// Units of memory in all.
    units: usize,
    memory: Arc<Semaphore>,
    models: Mutex<HashMap<String, Arc<Semaphore>>>,
    /// Seconds from one answered image to the next while the engine is busy, as the bits of an `f64`: a moving average.
    pace: AtomicU64,
}

impl Places {
    pub(super) fn new(capacity: usize, bytes: usize) -> Self {
        let units = bytes.div_ceil(UNIT).clamp(1, MOST);
        Self {
            capacity: capacity.clamp(1, MOST),
            units,
            memory: Arc::new(Semaphore::new(units)),
            models: Mutex::default(),
            pace: AtomicU64::new(0),
        }
    }

    /// Places for all images of a request of so many bytes in all, or for none. A request that is larger than all the memory
    /// has it for itself.
    ///
    /// # Errors
    ///
    /// [`ServingError::QueueFull`], with when to try again.
    pub(super) fn reserve(
        &self,
        model: &str,
        images: usize,
        bytes: usize,
    ) -> Result<Vec<Place>, ServingError> {
        let taken = || {
            let images = u32::try_from(images).ok()?;
            let units = u32::try_from(bytes.div_ceil(UNIT).min(self.units)).ok()?;
            let all = self.of(model).try_acquire_many_owned(images).ok()?;
            let memory = Arc::clone(&self.memory);
            Some((all, memory.try_acquire_many_owned(units).ok()?))
        };
        let (mut all, memory) = taken().ok_or_else(|| ServingError::QueueFull {
            images,
            capacity: self.capacity,
            retry_after: self.retry_after(),
        })?;
        let memory = Arc::new(memory);
        let mut images: Vec<_> = (1..images).filter_map(|_| all.split(1)).collect();
        images.push(all);
        let place = |image| Place {
            _image: image,
            _memory: Arc::clone(&memory),
        };
        Ok(images.into_iter().map(place).collect())
    }

    /// Images of a model in the engine.
    pub(super) fn taken_by(&self, model: &str) -> usize {
        let models = self.lock();
        models.get(model).map_or(0, |places| self.taken_of(places))
    }

    /// Images in the engine.
    pub(super) fn taken(&self) -> usize {
        let models = self.lock();
        models.values().map(|places| self.taken_of(places)).sum()
    }

    fn taken_of(&self, places: &Semaphore) -> usize {
        self.capacity.saturating_sub(places.available_permits())
    }

    /// Notes that an image was answered so long after the one before it.
    pub(super) fn note(&self, pace: Duration) {
        let before = f64::from_bits(self.pace.load(Ordering::Relaxed));
        let now = pace.as_secs_f64();
        let mean = if before == 0.0 {
            now
        } else {
            before + (now - before) / 16.0
        };
        self.pace.store(mean.to_bits(), Ordering::Relaxed);
    }

    /// How long it will take to answer what is in the engine now.
    fn retry_after(&self) -> Duration {
        let pace = f64::from_bits(self.pace.load(Ordering::Relaxed));
        let (least, most) = RETRY_AFTER;
        Duration::from_secs_f64((self.taken() as f64 * pace).ceil().clamp(least, most))
    }

    fn of(&self, model: &str) -> Arc<Semaphore> {
        let mut models = self.lock();
        if let Some(places) = models.get(model) {
            return Arc::clone(places);
        }
        // Models that have gone and have nothing in the engine need no places.
        models.retain(|_, places| places.available_permits() < self.capacity);
        let places = Arc::new(Semaphore::new(self.capacity));
        models.insert(model.to_owned(), Arc::clone(&places));
        places
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Semaphore>>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
