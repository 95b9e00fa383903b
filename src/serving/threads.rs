//! What the engine's threads do: decode images, and run networks over them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ServingError;
use super::engine::{EngineConfig, Scored, Timings};
use super::places::{Place, Places};
use super::queue::{Queue, Task};
use super::work::Work;
use crate::network::alone;

/// Operations of a batch that stays on one thread in any case: some 0.3 ms. To wake other threads and to wait for them would
/// cost a good part of that.
const SMALL: u64 = 1 << 25;

/// What the engine's threads share.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) places: Places,
    pub(super) queue: Queue,
    /// Whether somebody has left before the answer since the queue was last swept.
    pub(super) departed: AtomicBool,
}

/// A request in the engine, which may be given up.
pub(super) struct Departure<'a> {
    pub(super) shared: &'a Shared,
    pub(super) is_early: bool,
}

impl Drop for Departure<'_> {
    fn drop(&mut self) {
        if self.is_early {
            self.shared.departed.store(true, Ordering::Relaxed);
        }
    }
}

impl Shared {
    /// Places for the images of a request. Before it is refused, those who have left give up theirs.
    pub(super) fn reserve(
        &self,
        model: &str,
        images: usize,
        bytes: usize,
    ) -> Result<Vec<Place>, ServingError> {
        let places = self.places.reserve(model, images, bytes);
        if places.is_ok() || !self.departed.swap(false, Ordering::Relaxed) {
            return places;
        }
        self.queue.sweep();
        self.places.reserve(model, images, bytes)
    }

    /// What a thread does.
    pub(super) fn work(&self) {
        while let Some(task) = self.queue.take() {
            match task {
                Task::Decode(work) => self.queue.decoded(self.decode(work)),
                Task::Compute(batch) => {
                    self.compute(batch);
                    // Whoever waits for this CPU takes the answers away and brings the next images, which are a batch then.
                    std::thread::yield_now();
                }
            }
        }
    }

    /// Decodes an image, or answers why it can't be.
    fn decode(&self, work: Work<Bytes>) -> Option<Work<Vec<f32>>> {
        let started = Instant::now();
        let pixels = catch_unwind(AssertUnwindSafe(|| {
            work.servable.pixels(&work.image, &self.config.limits)
        }));
        let index = work.index;
        match pixels {
            Ok(Ok(pixels)) => {
                let queued = Instant::now();
                let decode = queued.duration_since(started);
                return Some(Work {
                    queued,
                    decode,
                    ..work.with(pixels)
                });
            }
            Ok(Err(error)) => work.answer(Err(ServingError::Image { index, error })),
            Err(_) => {
                tracing::error!(bytes = work.image.len(), "decoding an image panicked");
                work.answer(Err(ServingError::Internal("decoding an image")));
            }
        }
        None
    }

    /// Runs one batch and answers each of its images. A panic in the network fails the batch, not
    /// the thread.
    ///
    /// Threads share what waits between them ([`Queue::take`]), so each computes its batch alone: none then waits for another
    /// that the system has put aside. Only where there is not enough to share are images split, over rayon's threads.
    fn compute(&self, batch: Vec<Work<Vec<f32>>>) {
        let Some(servable) = batch.first().map(|work| Arc::clone(&work.servable)) else {
            return;
        };
        let started = Instant::now();
        let images = batch.len();
        let score = || servable.scores(batch.iter().map(|work| work.image.as_slice()));
        let threads = self.config.threads.max(1);
        let is_small = servable.operations().saturating_mul(images as u64) <= SMALL;
        let is_shared = || {
            let others = self.places.taken().saturating_sub(images);
            others + 1 >= threads || images >= threads && self.config.max_queue_delay.is_zero()
        };
        let is_alone = is_small || is_shared();
        let scores = catch_unwind(AssertUnwindSafe(|| {
            if is_alone { alone(score) } else { score() }
        }));
        let computed = started.elapsed();
        let Ok(scores) = scores else {
            tracing::error!(
                model = servable.model(),
                version = servable.version(),
                images,
                "the network panicked"
            );
            for work in batch {
                work.answer(Err(ServingError::Internal("running the network")));
            }
            return;
        };
        let decodes = || batch.iter().map(|work| work.decode);
        let slowest = decodes().max().unwrap_or_default();
        servable.statistics().computed(images, slowest, computed);
        let decode: Duration = decodes().sum();
        let number = |of: usize| u32::try_from(of).unwrap_or(u32::MAX);
        let computing = if is_alone { threads } else { 1 };
        let decoding = self.config.decode_threads.clamp(1, threads);
        let busy = computed / number(computing) + decode / number(decoding);
        self.places.note(busy / number(images));
        for (work, scores) in batch.into_iter().zip(scores) {
            let timings = Timings {
                decode: work.decode,
                queue: started.saturating_duration_since(work.queued),
                compute: computed,
                batch: images,
            };
            work.answer(Ok(Scored { scores, timings }));
        }
    }
}
