//! What the engine's threads do: some decode images, and some run networks over them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ServingError;
use super::engine::{EngineConfig, Scored, Timings};
use super::places::{Place, Places};
use super::queue::{Batching, Queue, Work};
use crate::network::alone;

/// Operations of a batch that stays on one thread in any case: some 0.3 ms. To wake other threads and to wait for them would
/// cost a good part of that.
const SMALL: u64 = 1 << 25;

/// The queues and who works at them.
pub(super) struct Shared {
    pub(super) config: EngineConfig,
    pub(super) places: Places,
    pub(super) encoded: Queue<Bytes>,
    pub(super) pixels: Queue<Vec<f32>>,
    /// Whether somebody has left before the answer since the queues were last swept.
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
        self.encoded.sweep();
        self.pixels.sweep();
        self.places.reserve(model, images, bytes)
    }

    /// What a decoding thread does.
    pub(super) fn decode_images(&self) {
        let one = Batching {
            most: 1,
            delay: Duration::ZERO,
        };
        while let Some(batch) = self.encoded.take(one) {
            batch.into_iter().for_each(|work| self.decode(work));
        }
    }

    fn decode(&self, work: Work<Bytes>) {
        let started = Instant::now();
        let pixels = catch_unwind(AssertUnwindSafe(|| {
            work.servable.pixels(&work.image, &self.config.limits)
        }));
        let index = work.index;
        match pixels {
            Ok(Ok(pixels)) => {
                let queued = Instant::now();
                let decode = queued.duration_since(started);
                let work = Work {
                    queued,
                    decode,
                    ..work.with(pixels)
                };
                if self.is_lone(&work) {
                    self.compute(vec![work]);
                } else {
                    self.pixels.push([work]);
                }
            }
            Ok(Err(error)) => work.answer(Err(ServingError::Image { index, error })),
            Err(_) => {
                tracing::error!(bytes = work.image.len(), "decoding an image panicked");
                work.answer(Err(ServingError::Internal("decoding an image")));
            }
        }
    }

    /// Whether an image is the only one in the engine, and its network sooner run than another thread is woken for it.
    fn is_lone(&self, work: &Work<Vec<f32>>) -> bool {
        work.servable.operations() <= SMALL
            && self.config.max_queue_delay.is_zero()
            && self.places.taken() == 1
            && !work.is_abandoned()
    }

    /// What a compute thread does.
    pub(super) fn run_networks(&self) {
        let batching = Batching {
            most: self.config.max_batch.max(1),
            delay: self.config.max_queue_delay,
        };
        while let Some(batch) = self.pixels.take(batching) {
            self.compute(batch);
            // Whoever waits for this CPU takes the answers away and brings the next images, which are a batch then.
            std::thread::yield_now();
        }
    }

    /// Runs one batch and answers each of its images. A panic in the network fails the batch, not
    /// the thread.
    ///
    /// While there are images for the other threads too, this one computes its batch alone: no thread then waits for
    /// another that the system has put aside. Else the batch is split over rayon's threads.
    fn compute(&self, batch: Vec<Work<Vec<f32>>>) {
        let Some(servable) = batch.first().map(|work| Arc::clone(&work.servable)) else {
            return;
        };
        let started = Instant::now();
        let images = batch.len();
        let score = || servable.scores(batch.iter().map(|work| work.image.as_slice()));
        let threads = self.config.compute_threads.max(1);
        let is_small = servable.operations().saturating_mul(images as u64) <= SMALL;
        let others = || self.places.taken().saturating_sub(images);
        let is_alone = is_small || others() + 1 >= threads;
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
        let decoders = u32::try_from(self.config.decode_threads).unwrap_or(u32::MAX);
        let beside = if is_alone { threads } else { 1 };
        let beside = u32::try_from(beside).unwrap_or(u32::MAX);
        let busy = computed / beside + decode / decoders.max(1);
        self.places
            .note(busy / u32::try_from(images).unwrap_or(u32::MAX));
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
