//! The statistics of a version: what its requests cost, counted as they are answered.
//!
//! The engine alone adds to them; `/metrics` and `/v2/…/stats` read the same figures.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::{Scored, ServingError, Timings};

/// The code of requests whose clients left, or that came too late to be waited for any longer.
const ABANDONED: &str = "abandoned";

/// Upper bounds of the durations' buckets in nanoseconds: 100 µs to 10 s, three to a decade.
const DURATIONS: [u64; 16] = [
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];
/// Upper bounds of the batch sizes' buckets.
const BATCHES: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// A histogram that many threads add to without waiting for each other. Values are integers, so that
/// sums of durations stay exact.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One more than there are bounds: the last one takes what is above all of them.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

impl Histogram {
    fn new(bounds: &'static [u64]) -> Self {
        Self {
            bounds,
            counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(),
            sum: AtomicU64::new(0),
        }
    }

    fn add(&self, value: u64) {
        self.add_many(value, 1);
    }

    fn add_many(&self, value: u64, times: u64) {
        let bucket = self.bounds.partition_point(|&bound| bound < value);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(times, Ordering::Relaxed);
        }
        let sum = value.saturating_mul(times);
        self.sum.fetch_add(sum, Ordering::Relaxed);
    }

    fn add_duration(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// How many values were added.
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// Their sum.
    pub fn sum(&self) -> u64 {
        self.sum.load(Ordering::Relaxed)
    }

    /// What was added up to now.
    pub fn distribution(&self) -> Distribution {
        let bounds = self.bounds.iter().copied().chain([u64::MAX]);
        let counts = self.counts.iter().map(|c| c.load(Ordering::Relaxed));
        Distribution {
            sum: self.sum(),
            buckets: bounds.zip(counts).collect(),
        }
    }
}

/// How values are distributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Distribution {
    /// The sum of all values.
    pub sum: u64,
    /// Each bucket's upper bound, which belongs to it, and how many values are in it alone. The last
    /// bound is `u64::MAX`.
    pub buckets: Vec<(u64, u64)>,
}

/// What the runs of the network over batches of one size cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    /// How many there were.
    pub count: u64,
    /// From bytes to pixels, of each batch's slowest image.
    pub decode: Duration,
    /// In the network.
    pub compute: Duration,
}

/// What the requests to one version cost. Durations are in nanoseconds.
#[derive(Debug)]
pub struct Statistics {
    /// Requests answered: from coming to the engine until all their images were scored.
    pub success: Histogram,
    /// Requests that got no scores: refused, failed, too late, or left by their clients.
    pub failure: Histogram,
    /// From bytes to pixels, of each answered request's slowest image. Tensors take no time.
    pub decode: Histogram,
    /// From the queue to the computation, of each answered request's slowest image.
    pub queue: Histogram,
    /// In the network, of each answered request's slowest batch.
    pub compute: Histogram,
    /// By how many images were computed together: as many sizes at most as a batch may have images.
    batches: Mutex<BTreeMap<usize, Runs>>,
    images: AtomicU64,
    failures: Mutex<BTreeMap<&'static str, u64>>,
    /// Milliseconds since 1970 of the last answer; 0 before the first.
    last_answer: AtomicU64,
}

impl Default for Statistics {
    fn default() -> Self {
        let durations = || Histogram::new(&DURATIONS);
        Self {
            success: durations(),
            failure: durations(),
            decode: durations(),
            queue: durations(),
            compute: durations(),
            batches: Mutex::default(),
            images: AtomicU64::new(0),
            failures: Mutex::default(),
            last_answer: AtomicU64::new(0),
        }
    }
}

impl Statistics {
    /// Images in answered requests.
    pub fn images(&self) -> u64 {
        self.images.load(Ordering::Relaxed)
    }

    /// The runs of the network, by how many images were computed together.
    pub fn batches(&self) -> BTreeMap<usize, Runs> {
        lock(&self.batches).clone()
    }

    /// How many images were computed together, for each run of the network.
    pub fn batch_sizes(&self) -> Distribution {
        let sizes = Histogram::new(&BATCHES);
        for (images, runs) in self.batches() {
            sizes.add_many(images as u64, runs.count);
        }
        sizes.distribution()
    }

    /// Requests that got no scores, by the code of what was wrong.
    pub fn failures(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.failures).clone()
    }

    /// When the last request was answered, in milliseconds since 1970; 0 before the first.
    pub fn last_answer(&self) -> u64 {
        self.last_answer.load(Ordering::Relaxed)
    }

    /// Begins to count a request, which fails unless it is answered.
    pub(super) fn begin(&self) -> Request<'_> {
        Request {
            statistics: self,
            started: Instant::now(),
            failure: Some(ABANDONED),
        }
    }

    /// Counts a run of the network over so many images, of which the slowest was decoded in `decode`.
    pub(super) fn computed(&self, images: usize, decode: Duration, compute: Duration) {
        let mut batches = lock(&self.batches);
        let runs = batches.entry(images).or_default();
        runs.count += 1;
        runs.decode += decode;
        runs.compute += compute;
    }
}

/// What is counted stays whole where a thread that counts panics.
fn lock<T>(counted: &Mutex<T>) -> MutexGuard<'_, T> {
    counted.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A request that is being counted.
pub(super) struct Request<'a> {
    statistics: &'a Statistics,
    started: Instant,
    /// What it is counted as if nothing more happens; `None` once it is answered.
    failure: Option<&'static str>,
}

impl Request<'_> {
    pub(super) fn answered(mut self, scored: &[Scored]) {
        self.failure = None;
        let statistics = self.statistics;
        let slowest = Timings::slowest(scored);
        statistics.success.add_duration(self.started.elapsed());
        statistics.decode.add_duration(slowest.decode);
        statistics.queue.add_duration(slowest.queue);
        statistics.compute.add_duration(slowest.compute);
        let images = scored.len() as u64;
        statistics.images.fetch_add(images, Ordering::Relaxed);
        let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
        statistics.last_answer.store(now, Ordering::Relaxed);
    }

    pub(super) fn failed(mut self, error: &ServingError) {
        self.failure = Some(error.code());
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        if let Some(code) = self.failure {
            let statistics = self.statistics;
            statistics.failure.add_duration(self.started.elapsed());
            *lock(&statistics.failures).entry(code).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_takes_its_bound_and_the_last_one_everything_above() {
        let histogram = Histogram::new(&BATCHES);
        for value in [1, 2, 3, 4, 256, 257, u64::MAX / 2] {
            histogram.add(value);
        }
        let mut filled = histogram.distribution().buckets;
        filled.retain(|(_, count)| *count > 0);
        assert_eq!(filled, [(1, 1), (2, 1), (4, 2), (256, 1), (u64::MAX, 2)]);
        assert_eq!(histogram.count(), 7);
    }

    #[test]
    fn a_request_that_is_not_answered_has_failed() {
        let statistics = Statistics::default();
        drop(statistics.begin());
        statistics
            .begin()
            .failed(&ServingError::Internal("testing"));
        assert_eq!(
            (statistics.failure.count(), statistics.success.count()),
            (2, 0)
        );
        let scored = Scored {
            scores: vec![1.0],
            timings: Timings {
                queue: Duration::from_nanos(7),
                ..Timings::default()
            },
        };
        statistics.begin().answered(&[scored.clone(), scored]);
        assert_eq!(
            (statistics.failure.count(), statistics.success.count()),
            (2, 1)
        );
        assert_eq!(
            statistics.failures(),
            BTreeMap::from([("abandoned", 1), ("internal", 1)])
        );
        assert_eq!((statistics.queue.sum(), statistics.images()), (7, 2));
        assert!(statistics.last_answer() > 0);
    }
}
