//! The engine: a bounded queue, and the compute thread that empties it in batches.
//!
//! A request takes its places in the queue before anything is decoded, and holds them until its
//! answer is there; so what is being decoded, waiting or computed is bounded by one number, and who
//! finds no place is told at once. The compute thread takes whatever waits, up to `max_batch`
//! images of one version, the moment it is free: a lone client never waits for a batch to fill, and
//! a crowd gets full batches. Versions take turns.
//!
//! Threads: any async task calls [`Engine::predict`]; decoding runs on tokio's blocking threads, as
//! many at once as `decode_threads`; only the compute thread runs networks.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::{Servable, ServingError};
use crate::imaging::Limits;

/// How much the engine holds and how it batches.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Images that may be in the engine at once: decoding, waiting or computed.
    pub queue_capacity: usize,
    /// Images computed together at most.
    pub max_batch: usize,
    /// Images decoded at the same time at most.
    pub decode_threads: usize,
    /// What an image may cost.
    pub limits: Limits,
}

/// Where a prediction's time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// From bytes to pixels.
    pub decode: Duration,
    /// From the queue to the compute thread.
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

/// One image on its way through the queue.
struct Work {
    servable: Arc<Servable>,
    pixels: Vec<f32>,
    queued: Instant,
    decode: Duration,
    reply: oneshot::Sender<Result<Scored, ServingError>>,
    place: OwnedSemaphorePermit,
}

impl Work {
    /// Answers the client, who finds its place free again. One that has gone needs no answer.
    fn answer(self, answer: Result<Scored, ServingError>) {
        drop(self.place);
        let _ = self.reply.send(answer);
    }
}

#[derive(Default)]
struct Waiting {
    /// A queue per version that has something waiting, in the order of their turns.
    turns: VecDeque<VecDeque<Work>>,
    closed: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    /// A panic while the lock is held leaves whole `Work`s behind, so the queue stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, work: Work) {
        let mut waiting = self.lock();
        let turn = waiting.turns.iter_mut().find(|turn| {
            turn.front()
                .is_some_and(|first| Arc::ptr_eq(&first.servable, &work.servable))
        });
        match turn {
            Some(turn) => turn.push_back(work),
            None => waiting.turns.push_back(VecDeque::from([work])),
        }
        drop(waiting);
        self.arrived.notify_one();
    }

    /// Waits for work and takes up to `max_batch` images of the version whose turn it is; `None`
    /// once the queue is closed and empty. Work whose client has gone is dropped here.
    fn take(&self, max_batch: usize) -> Option<Vec<Work>> {
        let mut waiting = self.lock();
        loop {
            while let Some(mut turn) = waiting.turns.pop_front() {
                let mut batch = Vec::with_capacity(max_batch.min(turn.len()));
                while batch.len() < max_batch
                    && let Some(work) = turn.pop_front()
                {
                    if !work.reply.is_closed() {
                        batch.push(work);
                    }
                }
                if !turn.is_empty() {
                    waiting.turns.push_back(turn);
                }
                if !batch.is_empty() {
                    return Some(batch);
                }
            }
            if waiting.closed {
                return None;
            }
            waiting = self
                .arrived
                .wait(waiting)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// The handle to the queue and its compute thread; dropping the last one ends the thread.
pub struct Engine {
    config: EngineConfig,
    places: Arc<Semaphore>,
    decoders: Arc<Semaphore>,
    queue: Arc<Queue>,
}

impl Engine {
    /// Starts the compute thread.
    pub fn start(config: EngineConfig) -> Result<Self, std::io::Error> {
        let queue = Arc::new(Queue::default());
        let max_batch = config.max_batch.max(1);
        std::thread::Builder::new()
            .name("irori-compute".into())
            .spawn({
                let queue = Arc::clone(&queue);
                move || {
                    while let Some(batch) = queue.take(max_batch) {
                        compute(batch);
                    }
                }
            })?;
        Ok(Self {
            places: Arc::new(Semaphore::new(config.queue_capacity)),
            decoders: Arc::new(Semaphore::new(config.decode_threads.max(1))),
            queue,
            config,
        })
    }

    /// Images that are in the engine now.
    pub fn depth(&self) -> usize {
        self.config.queue_capacity - self.places.available_permits()
    }

    /// The settings the engine runs with.
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Scores images, in order. All of them find a place in the queue, or none.
    ///
    /// An undecodable image fails the whole request, with its place in the list.
    pub async fn predict(
        &self,
        servable: &Arc<Servable>,
        inputs: Vec<Input>,
    ) -> Result<Vec<Scored>, ServingError> {
        let request = servable.statistics().begin();
        let images = inputs.len();
        let scored = self.score_all(servable, inputs).await;
        match &scored {
            Ok(scored) => request.answered(scored),
            Err(error) => request.failed(error),
        }
        note(servable, images, scored.as_deref().unwrap_or_default());
        scored
    }

    async fn score_all(
        &self,
        servable: &Arc<Servable>,
        inputs: Vec<Input>,
    ) -> Result<Vec<Scored>, ServingError> {
        let places = self.reserve(inputs.len())?;
        let work = inputs.into_iter().zip(places).enumerate();
        let answers = work.map(|(index, (input, place))| self.score(servable, index, input, place));
        try_join_all(answers).await
    }

    /// One image's way through decoding, the queue and the network.
    async fn score(
        &self,
        servable: &Arc<Servable>,
        index: usize,
        input: Input,
        place: OwnedSemaphorePermit,
    ) -> Result<Scored, ServingError> {
        let (pixels, decode) = match input {
            Input::Encoded(image) => self.decode(servable, index, image).await?,
            Input::Pixels(pixels) => (pixels, Duration::ZERO),
        };
        let expected = servable.input().values().unwrap_or(0);
        if pixels.len() != expected {
            let found = pixels.len();
            return Err(ServingError::Tensor {
                index,
                found,
                expected,
            });
        }
        let (reply, answer) = oneshot::channel();
        self.queue.push(Work {
            servable: Arc::clone(servable),
            pixels,
            queued: Instant::now(),
            decode,
            reply,
            place,
        });
        answer
            .await
            .map_err(|_| ServingError::Internal("waiting for the compute thread"))?
    }

    /// From bytes to pixels, on a blocking thread, and how long that took.
    async fn decode(
        &self,
        servable: &Arc<Servable>,
        index: usize,
        image: Bytes,
    ) -> Result<(Vec<f32>, Duration), ServingError> {
        let failed = |_| ServingError::Internal("decoding an image");
        // The permit moves into the blocking task: a client that leaves does not free a decoder
        // that is still at work.
        let turn = Arc::clone(&self.decoders).acquire_owned().await;
        let turn = turn.map_err(|_| ServingError::Internal("waiting for a decoder"))?;
        let limits = self.config.limits;
        let decoder = Arc::clone(servable);
        let decoding = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            let started = Instant::now();
            let pixels = decoder.pixels(&image, &limits);
            (pixels, started.elapsed())
        });
        let (pixels, decode) = decoding.await.map_err(failed)?;
        let pixels = pixels.map_err(|error| ServingError::Image { index, error })?;
        Ok((pixels, decode))
    }

    fn reserve(&self, images: usize) -> Result<Vec<OwnedSemaphorePermit>, ServingError> {
        let full = || ServingError::QueueFull {
            images,
            capacity: self.config.queue_capacity,
        };
        let count = u32::try_from(images).map_err(|_| full())?;
        let mut all = Arc::clone(&self.places)
            .try_acquire_many_owned(count)
            .map_err(|_| full())?;
        let mut places: Vec<_> = (1..images).filter_map(|_| all.split(1)).collect();
        places.push(all);
        Ok(places)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.arrived.notify_all();
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

/// Runs one batch and answers each of its images. A panic in the network fails the batch, not the
/// thread.
fn compute(batch: Vec<Work>) {
    let Some(servable) = batch.first().map(|work| Arc::clone(&work.servable)) else {
        return;
    };
    let started = Instant::now();
    let scores = catch_unwind(AssertUnwindSafe(|| {
        servable.scores(batch.iter().map(|work| work.pixels.as_slice()))
    }));
    let computed = started.elapsed();
    let images = batch.len();
    match scores {
        Ok(scores) => {
            servable.statistics().computed(images);
            for (work, scores) in batch.into_iter().zip(scores) {
                let timings = Timings {
                    decode: work.decode,
                    queue: started.duration_since(work.queued),
                    compute: computed,
                    batch: images,
                };
                work.answer(Ok(Scored { scores, timings }));
            }
        }
        Err(_) => {
            tracing::error!(
                model = servable.model(),
                version = servable.version(),
                images,
                "the network panicked"
            );
            for work in batch {
                work.answer(Err(ServingError::Internal("running the network")));
            }
        }
    }
}
