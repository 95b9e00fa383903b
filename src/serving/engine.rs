//! The engine: from images to scores, by threads that decode and compute, with a bounded queue before them.
//!
//! A request takes its places before anything is decoded, and holds them until its answer is there;
//! so what is being decoded, waiting or computed is bounded by one number for each model, and by
//! one number of bytes for all, and who finds no place is told at once when to come back. A thread that
//! has nothing to do decodes what has arrived, and then runs the network over what has been decoded, up to
//! `max_batch` images of one version, shared with those that are free too: a lone client never waits for a
//! batch to fill, nor for another thread, and a crowd's batches grow with it. Models take turns, and so do
//! the versions of a model.
//!
//! A client that leaves, or whose time is up, costs nothing more: what it asked for is dropped
//! before it is decoded, and before it is computed.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::oneshot;

use super::places::Places;
use super::queue::{Queue, Rules};
use super::threads::{Departure, Shared};
use super::work::Work;
use super::{Servable, ServingError};
use crate::imaging::Limits;

/// How much the engine holds and how it batches.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Images of each model that may be in the engine at once, being decoded, waiting or computed:
    /// 1024.
    pub queue_capacity: usize,
    /// Bytes that the pixels of all models' images may take while they are in the engine: 256 MiB.
    pub queue_bytes: usize,
    /// Images computed together at most: 32.
    pub max_batch: usize,
    /// How long an image may wait for others to fill its batch: not at all.
    pub max_queue_delay: Duration,
    /// Threads that decode images and run networks; without it one for each CPU that the process may use. Large images that
    /// have them to themselves are split over rayon's global pool, which wants as many.
    pub threads: usize,
    /// How many of them may decode at the same time; without it all.
    pub decode_threads: usize,
    /// What an image may cost.
    pub limits: Limits,
}

impl Default for EngineConfig {
    fn default() -> Self {
        let cpus = cpus();
        Self {
            queue_capacity: 1024,
            queue_bytes: 256 << 20,
            max_batch: 32,
            max_queue_delay: Duration::ZERO,
            threads: cpus,
            decode_threads: cpus,
            limits: Limits::default(),
        }
    }
}

/// The CPUs that the process may use: by its affinity, and by the quota of its control groups.
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Where a prediction's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// From bytes to pixels.
    pub decode: Duration,
    /// From pixels to the network.
    pub queue: Duration,
    /// In the network, for the whole batch.
    pub compute: Duration,
    /// How many images were computed together.
    pub batch: usize,
}

impl Timings {
    /// The longest of each stage over a request's images, and its largest batch.
    pub fn slowest(scored: &[Scored]) -> Self {
        let timings = scored.iter().map(|scored| scored.timings);
        timings.fold(Self::default(), |slowest, timings| Self {
            decode: slowest.decode.max(timings.decode),
            queue: slowest.queue.max(timings.queue),
            compute: slowest.compute.max(timings.compute),
            batch: slowest.batch.max(timings.batch),
        })
    }
}

/// What a prediction is asked of.
#[derive(Clone, Debug)]
pub enum Input {
    /// An image file, which becomes pixels by the model's own preprocessing.
    Encoded(Bytes),
    /// What the network reads, `[H, W, C]`: somebody else has done the preprocessing.
    Pixels(Vec<f32>),
}

/// The scores of one image, and where the time went.
#[derive(Clone, Debug)]
pub struct Scored {
    /// What the network gives, a number per output, as Keras' `predict` does. [`Servable::probabilities`]
    /// makes a probability per label of them.
    pub scores: Vec<f32>,
    /// Where the time went.
    pub timings: Timings,
}

/// The handle to the threads; they end when it is dropped.
pub struct Engine(Arc<Shared>);

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    ///
    /// The system gives no more threads.
    pub fn start(config: EngineConfig) -> Result<Self, std::io::Error> {
        let shared = Arc::new(Shared {
            places: Places::new(config.queue_capacity, config.queue_bytes),
            queue: Queue::new(Rules {
                most: config.max_batch.max(1),
                delay: config.max_queue_delay,
                decoders: config.decode_threads.max(1),
            }),
            departed: AtomicBool::new(false),
            config,
        });
        // Dropped, and so the threads ended, where not all of them can be started.
        let engine = Self(Arc::clone(&shared));
        for index in 0..shared.config.threads.max(1) {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new()
                .name(format!("irori-engine-{index}"))
                .spawn(move || shared.work())?;
        }
        Ok(engine)
    }

    /// Images of a model that are in the engine now.
    pub fn depth_of(&self, model: &str) -> usize {
        self.0.places.taken_by(model)
    }

    /// Images that are in the engine now.
    pub fn depth(&self) -> usize {
        self.0.places.taken()
    }

    /// The settings the engine runs with.
    pub fn config(&self) -> &EngineConfig {
        &self.0.config
    }

    /// Scores images, in order. All of them find a place in the queue, or none.
    ///
    /// An undecodable image fails the whole request, with its place in the list. What is not
    /// answered by `deadline` is not worked at any more.
    pub async fn predict(
        &self,
        servable: &Arc<Servable>,
        inputs: Vec<Input>,
        deadline: Instant,
    ) -> Result<Vec<Scored>, ServingError> {
        let request = servable.statistics().begin();
        let images = inputs.len();
        let scored = self.score(servable, inputs, deadline).await;
        match &scored {
            Ok(scored) => request.answered(scored),
            Err(error) => request.failed(error),
        }
        note(servable, images, scored.as_deref().unwrap_or_default());
        scored
    }

    async fn score(
        &self,
        servable: &Arc<Servable>,
        inputs: Vec<Input>,
        deadline: Instant,
    ) -> Result<Vec<Scored>, ServingError> {
        let mut departure = Departure {
            shared: &self.0,
            is_early: true,
        };
        let answers = self.queue(servable, inputs, deadline)?;
        let answers = answers.into_iter().map(|answer| async {
            answer
                .await
                .map_err(|_| ServingError::Internal("waiting for an answer"))?
        });
        // Giving up drops the receivers, by which the threads see that nobody waits.
        let scored = tokio::time::timeout_at(deadline.into(), try_join_all(answers))
            .await
            .map_err(|_| ServingError::DeadlineExceeded)??;
        departure.is_early = false;
        Ok(scored)
    }

    /// Puts images into the queues, and returns where their answers will come.
    fn queue(
        &self,
        servable: &Arc<Servable>,
        inputs: Vec<Input>,
        deadline: Instant,
    ) -> Result<Vec<oneshot::Receiver<Result<Scored, ServingError>>>, ServingError> {
        let shared = &self.0;
        let queued = Instant::now();
        if queued >= deadline {
            return Err(ServingError::DeadlineExceeded);
        }
        let values = servable.input().values().unwrap_or(0);
        let bytes = inputs
            .len()
            .saturating_mul(values.saturating_mul(size_of::<f32>()));
        for (index, input) in inputs.iter().enumerate() {
            if let Input::Pixels(pixels) = input
                && pixels.len() != values
            {
                return Err(ServingError::Tensor {
                    index,
                    found: pixels.len(),
                    expected: values,
                });
            }
        }
        let places = shared.reserve(servable.model(), inputs.len(), bytes)?;
        let mut answers = Vec::with_capacity(inputs.len());
        let (mut encoded, mut pixels) = (Vec::new(), Vec::new());
        for (index, (input, place)) in inputs.into_iter().zip(places).enumerate() {
            let (reply, answer) = oneshot::channel();
            answers.push(answer);
            let work = Work {
                servable: Arc::clone(servable),
                index,
                image: (),
                queued,
                decode: Duration::ZERO,
                reply,
                place,
            };
            match input {
                Input::Encoded(file) => encoded.push(work.with(file)),
                Input::Pixels(values) => pixels.push(work.with(values)),
            }
        }
        shared.queue.push(encoded, pixels);
        Ok(answers)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.0.queue.close();
    }
}

/// Writes into the request's span, where it has room for it, what was asked and where the time went.
fn note(servable: &Servable, images: usize, scored: &[Scored]) {
    let span = tracing::Span::current();
    span.record("model", servable.model());
    span.record("version", servable.version());
    span.record("images", images);
    if !scored.is_empty() {
        let slowest = Timings::slowest(scored);
        let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
        span.record("decode_ms", milliseconds(slowest.decode));
        span.record("queue_ms", milliseconds(slowest.queue));
        span.record("compute_ms", milliseconds(slowest.compute));
    }
}
