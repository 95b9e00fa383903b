//! A queue of images between two kinds of thread, from which models are served in turn.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::engine::Scored;
use super::places::Place;
use super::{Servable, ServingError};

/// One image on its way through the engine, as an encoded file or as pixels.
pub(super) struct Work<T> {
    pub(super) servable: Arc<Servable>,
    /// Its place in the request.
    pub(super) index: usize,
    pub(super) image: T,
    /// When it came into this queue.
    pub(super) queued: Instant,
    /// How long its decoding took.
    pub(super) decode: Duration,
    pub(super) reply: oneshot::Sender<Result<Scored, ServingError>>,
    pub(super) place: Place,
}

impl<T> Work<T> {
    /// The same with the image in another form.
    pub(super) fn with<U>(self, image: U) -> Work<U> {
        Work {
            servable: self.servable,
            index: self.index,
            image,
            queued: self.queued,
            decode: self.decode,
            reply: self.reply,
            place: self.place,
        }
    }

    /// Answers the client, who finds its place free again. One that has gone needs no answer.
    pub(super) fn answer(self, answer: Result<Scored, ServingError>) {
        drop(self.place);
        let _ = self.reply.send(answer);
    }

    /// Whether nobody waits for the answer any more: the client has left, or its time was up.
    pub(super) fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }
}

/// How many images are taken together, and how long they may wait for each other.
#[derive(Clone, Copy)]
pub(super) struct Batching {
    pub(super) most: usize,
    pub(super) delay: Duration,
}

/// What waits for one version.
type Turn<T> = VecDeque<Work<T>>;

struct Waiting<T> {
    /// For each model that has something waiting, in the order of their turns, its versions in the order of theirs.
    models: VecDeque<VecDeque<Turn<T>>>,
    /// Threads that have nothing to do.
    idle: usize,
    closed: bool,
}

/// The queue. Images of one version are taken together, versions of a model in turn, and models in turn.
pub(super) struct Queue<T> {
    waiting: Mutex<Waiting<T>>,
    arrived: Condvar,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: Mutex::new(Waiting {
                models: VecDeque::new(),
                idle: 0,
                closed: false,
            }),
            arrived: Condvar::new(),
        }
    }
}

impl<T> Queue<T> {
    /// A panic while the lock is held leaves whole `Work`s behind, so the queue stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting<T>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, work: impl IntoIterator<Item = Work<T>>) {
        let mut waiting = self.lock();
        let mut pushed = 0;
        for work in work {
            waiting.push(work);
            pushed += 1;
        }
        drop(waiting);
        match pushed {
            0 => {}
            1 => self.arrived.notify_one(),
            _ => self.arrived.notify_all(),
        }
    }

    /// Waits for images and takes up to `batching.most` of the version whose turn it is, sharing them with the threads that
    /// have nothing to do; `None` once the queue is closed and empty. What nobody waits for any more is dropped here.
    pub(super) fn take(&self, batching: Batching) -> Option<Vec<Work<T>>> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            if let Some((model, version)) = waiting.ripe(batching, now) {
                let batch = waiting.take(model, version, batching);
                if batch.is_empty() {
                    continue;
                }
                if waiting.idle > 0 && waiting.ripe(batching, now).is_some() {
                    self.arrived.notify_one();
                }
                return Some(batch);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = match waiting.due(batching) {
                Some(due) => {
                    let patience = due.saturating_duration_since(now);
                    let woken = self.arrived.wait_timeout(waiting, patience);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.arrived.wait(waiting);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
            waiting.idle -= 1;
        }
    }

    /// Drops what nobody waits for any more, so that its places are free.
    pub(super) fn sweep(&self) {
        let mut waiting = self.lock();
        for versions in &mut waiting.models {
            for turn in &mut *versions {
                turn.retain(|work| !work.is_abandoned());
            }
            versions.retain(|turn| !turn.is_empty());
        }
        waiting.models.retain(|versions| !versions.is_empty());
    }

    /// Lets [`take`](Self::take) end once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl<T> Waiting<T> {
    fn push(&mut self, work: Work<T>) {
        let is_of = |versions: &VecDeque<Turn<T>>| {
            let first = versions.front().and_then(VecDeque::front);
            first.is_some_and(|first| first.servable.model() == work.servable.model())
        };
        let Some(model) = self.models.iter().position(is_of) else {
            let version = VecDeque::from([work]);
            self.models.push_back(VecDeque::from([version]));
            return;
        };
        let versions = &mut self.models[model];
        let is_of = |turn: &Turn<T>| {
            let first = turn.front();
            first.is_some_and(|first| Arc::ptr_eq(&first.servable, &work.servable))
        };
        match versions.iter().position(is_of) {
            Some(version) => versions[version].push_back(work),
            None => versions.push_back(VecDeque::from([work])),
        }
    }

    /// The first version, by its turn, that has a full batch or has waited for one long enough.
    fn ripe(&self, batching: Batching, now: Instant) -> Option<(usize, usize)> {
        let is_ripe = |turn: &Turn<T>| {
            self.closed
                || turn.len() >= batching.most
                || turn.front().is_some_and(|first| {
                    now.saturating_duration_since(first.queued) >= batching.delay
                })
        };
        let mut models = self.models.iter().enumerate();
        models.find_map(|(model, versions)| Some((model, versions.iter().position(is_ripe)?)))
    }

    /// When the first version will have waited long enough.
    fn due(&self, batching: Batching) -> Option<Instant> {
        let firsts = self.models.iter().flatten().filter_map(VecDeque::front);
        firsts.map(|first| first.queued + batching.delay).min()
    }

    /// Takes this thread's share of a version's images, and moves it and its model to the end of their lines.
    fn take(&mut self, model: usize, version: usize, batching: Batching) -> Vec<Work<T>> {
        let mut batch = Vec::new();
        let Some(mut versions) = self.models.remove(model) else {
            return batch;
        };
        let Some(mut turn) = versions.remove(version) else {
            return batch;
        };
        // Who lets images wait for each other wants full batches.
        let share = if batching.delay.is_zero() {
            turn.len().div_ceil(self.idle + 1)
        } else {
            turn.len()
        };
        let most = batching.most.min(share);
        batch.reserve(most);
        while batch.len() < most
            && let Some(work) = turn.pop_front()
        {
            if !work.is_abandoned() {
                batch.push(work);
            }
        }
        if !turn.is_empty() {
            versions.push_back(turn);
        }
        if !versions.is_empty() {
            self.models.push_back(versions);
        }
        batch
    }
}
