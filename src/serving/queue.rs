//! The queue before the engine's threads: images to decode, and pixels to run networks over.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::turns::{Turn, Turns};
use super::work::Work;

/// How long pixels wait, at most, while images are decoded that may join them.
const PATIENCE: Duration = Duration::from_millis(1);

/// What is taken together, and when.
#[derive(Clone, Copy)]
pub(super) struct Rules {
    /// Images computed together at most.
    pub(super) most: usize,
    /// How long pixels wait for others to fill their batch.
    pub(super) delay: Duration,
    /// Threads that decode at the same time at most.
    pub(super) decoders: usize,
}

/// What a thread is to do next.
pub(super) enum Task {
    /// Decode an image, and [bring](Queue::decoded) what comes of it.
    Decode(Work<Bytes>),
    /// Run a network over these.
    Compute(Vec<Work<Vec<f32>>>),
}

#[derive(Default)]
struct Waiting {
    encoded: Turns<Bytes>,
    pixels: Turns<Vec<f32>>,
    /// Threads that decode.
    decoding: usize,
    /// Threads that have nothing to do, and how many of them have been told that there is something.
    idle: usize,
    told: usize,
    closed: bool,
}

/// The queue.
pub(super) struct Queue {
    rules: Rules,
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

impl Queue {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            waiting: Mutex::default(),
            arrived: Condvar::new(),
        }
    }

    /// A panic while the lock is held leaves whole `Work`s behind, so the queue stays usable.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts images into the queue, in either form.
    pub(super) fn push(&self, encoded: Vec<Work<Bytes>>, pixels: Vec<Work<Vec<f32>>>) {
        let pushed = encoded.len() + pixels.len();
        let mut waiting = self.lock();
        encoded
            .into_iter()
            .for_each(|work| waiting.encoded.push(work));
        pixels
            .into_iter()
            .for_each(|work| waiting.pixels.push(work));
        self.tell(waiting, pushed);
    }

    /// What a thread has decoded, or that it could not.
    pub(super) fn decoded(&self, pixels: Option<Work<Vec<f32>>>) {
        let mut waiting = self.lock();
        waiting.decoding -= 1;
        if let Some(work) = pixels {
            waiting.pixels.push(work);
        }
    }

    /// Tells as many threads as have nothing to do. Those that are awake look for themselves.
    fn tell(&self, mut waiting: MutexGuard<'_, Waiting>, tasks: usize) {
        let new = tasks.min(waiting.idle.saturating_sub(waiting.told));
        waiting.told += new;
        drop(waiting);
        for _ in 0..new {
            self.arrived.notify_one();
        }
    }

    /// Waits for something to do; `None` once the queue is closed and nothing is left for this thread. What nobody waits for
    /// any more is dropped here.
    pub(super) fn take(&self) -> Option<Task> {
        let mut waiting = self.lock();
        loop {
            let now = Instant::now();
            if let Some(task) = waiting.next(&self.rules, now) {
                let tasks = usize::from(waiting.has_more(&self.rules, now));
                self.tell(waiting, tasks);
                return Some(task);
            }
            if waiting.closed {
                return None;
            }
            waiting.idle += 1;
            waiting = match waiting.due(&self.rules) {
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
            waiting.told = waiting.told.saturating_sub(1);
        }
    }

    /// Drops what nobody waits for any more, so that its places are free.
    pub(super) fn sweep(&self) {
        let mut waiting = self.lock();
        waiting.encoded.sweep();
        waiting.pixels.sweep();
    }

    /// Lets [`take`](Self::take) end once the queue is empty.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.arrived.notify_all();
    }
}

impl Waiting {
    /// Takes what is to be done next. Images are decoded before others are computed, so that batches are large; but a full
    /// batch does not wait, and none waits long.
    fn next(&mut self, rules: &Rules, now: Instant) -> Option<Task> {
        loop {
            let decodes = self.decodes(rules);
            let patience = if decodes { PATIENCE } else { Duration::ZERO };
            let is_ripe = |turn: &Turn<Vec<f32>>| self.is_ripe(turn, rules, now, patience);
            if let Some(at) = self.pixels.find(is_ripe) {
                let sharing = self.idle + 1;
                let batch = self.pixels.take(at, |waiting| {
                    // Who lets images wait for each other wants full batches.
                    let share = if rules.delay.is_zero() {
                        waiting.div_ceil(sharing)
                    } else {
                        waiting
                    };
                    share.min(rules.most)
                });
                if !batch.is_empty() {
                    return Some(Task::Compute(batch));
                }
            } else if decodes && let Some(at) = self.encoded.find(|_| true) {
                if let Some(work) = self.encoded.take(at, |_| 1).pop() {
                    self.decoding += 1;
                    return Some(Task::Decode(work));
                }
            } else {
                return None;
            }
        }
    }

    fn has_more(&self, rules: &Rules, now: Instant) -> bool {
        let is_ripe = |turn: &Turn<Vec<f32>>| self.is_ripe(turn, rules, now, Duration::ZERO);
        self.decodes(rules) || self.pixels.find(is_ripe).is_some()
    }

    /// Whether there is an image to decode, and may be.
    fn decodes(&self, rules: &Rules) -> bool {
        self.decoding < rules.decoders && !self.encoded.is_empty()
    }

    /// Whether a turn has a full batch, or has waited long enough.
    fn is_ripe(
        &self,
        turn: &Turn<Vec<f32>>,
        rules: &Rules,
        now: Instant,
        patience: Duration,
    ) -> bool {
        turn.len() >= rules.most
            || turn.front().is_some_and(|first| {
                let waited = now.saturating_duration_since(first.queued);
                waited >= patience && (self.closed || waited >= rules.delay)
            })
    }

    /// When the first pixels will have waited long enough.
    fn due(&self, rules: &Rules) -> Option<Instant> {
        let queued = self.pixels.firsts().map(|first| first.queued);
        queued.min().map(|first| first + rules.delay)
    }
}
