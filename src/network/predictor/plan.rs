//! A plan: the steps in stages, and the buffers between them.
//!
//! A stage takes the batch in groups of images and runs each group through all its steps on one
//! thread: groups are as large as their values fit into a core's cache. Where a group would be too
//! small to make good use of a step's weights, the next stage begins, with larger groups.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use kernels::Aligned;
use rayon::prelude::*;

use super::lower::Operation;
use super::step::Step;

/// Bytes that a step's values for a group of images may take, in and out: half a second-level cache.
const CACHE: usize = 1 << 19;

/// Values in a cache line, at which each of a thread's buffers begins.
const LINE: usize = 16;

/// Images in a group, at most.
const GROUP: usize = 32;

/// Bytes that a thread keeps for its next prediction, of whatever network, at most.
const KEPT: usize = 64 << 20;

/// A network as a chain of stages.
pub(super) struct Plan {
    stages: Vec<Stage>,
}

struct Stage {
    steps: Vec<Step>,
    /// Images that one thread takes through the steps at a time; `None` for a stage whose step is
    /// split over threads itself.
    group: Option<usize>,
    /// The most values that an image has between two steps.
    between: usize,
}

/// What a thread keeps from one prediction to the next, whichever networks they are of.
struct Buffers {
    /// What the last stage gave, and what the next one fills.
    values: [Aligned; 2],
    /// What is handed from step to step, for each thread.
    work: Aligned,
}

thread_local! {
    static BUFFERS: Cell<Buffers> = const { Cell::new(Buffers::new()) };
}

impl Buffers {
    const fn new() -> Self {
        Self {
            values: [Aligned::new(), Aligned::new()],
            work: Aligned::new(),
        }
    }

    fn bytes(&self) -> usize {
        let [from, to] = &self.values;
        (from.len() + to.len() + self.work.len()) * size_of::<f32>()
    }
}

impl Plan {
    /// Plans a chain of operations.
    pub fn new(operations: Vec<Operation>, input: usize) -> Self {
        let mut stages: Vec<Stage> = Vec::new();
        for step in Step::chain(operations, input) {
            let group = group(&step);
            match stages.last_mut() {
                Some(stage) if stage.takes(group) => {
                    stage.between = stage.between.max(stage.output());
                    stage.group = stage.group.zip(group).map(|(a, b)| a.min(b));
                    stage.steps.push(step);
                }
                _ => stages.push(Stage {
                    steps: vec![step],
                    group,
                    between: 0,
                }),
            }
        }
        Self { stages }
    }

    /// Computes the scores of `count` images.
    pub fn run(&self, images: &[f32], count: usize, scores: &mut [f32]) {
        if count == 0 {
            return;
        }
        let mut steps = self.stages.iter().flat_map(|stage| &stage.steps);
        let is_split = count > 1 || steps.any(|step| step.splits(count));
        if is_split && kernels::threads() > 1 {
            with_threads_awake(|| self.compute(images, count, scores));
        } else {
            // No step is enough to wake a thread for, however finely those that are awake would share it.
            kernels::alone(|| self.compute(images, count, scores));
        }
    }

    fn compute(&self, images: &[f32], count: usize, scores: &mut [f32]) {
        // Taken out meanwhile: another prediction that rayon begins on this thread within this one finds none.
        let mut buffers = BUFFERS.replace(Buffers::new());
        self.compute_in(&mut buffers, images, count, scores);
        if buffers.bytes() <= KEPT {
            BUFFERS.set(buffers);
        }
    }

    fn compute_in(&self, buffers: &mut Buffers, images: &[f32], count: usize, scores: &mut [f32]) {
        let Buffers { values, work } = buffers;
        let [from, to] = values;
        let (mut from, mut to) = (from, to);
        let last = self.stages.len() - 1;
        for (index, stage) in self.stages.iter().enumerate() {
            let x = if index == 0 {
                images
            } else {
                &from[..count * stage.input()]
            };
            if index == last {
                stage.run(x, count, scores, work);
            } else {
                let needed = count * stage.output();
                to.grow(needed);
                stage.run(x, count, &mut to[..needed], work);
                std::mem::swap(&mut from, &mut to);
            }
        }
    }
}

/// Calls `work` while the other threads of the pool look for what it splits off.
///
/// A thread that has nothing to do for some microseconds goes to sleep, and is woken in many: as long as a step of a
/// small batch takes. So they wait here for the next step, no longer than one prediction.
fn with_threads_awake(work: impl FnOnce() + Send) {
    let done = AtomicBool::new(false);
    rayon::scope(|scope| {
        for _ in 1..rayon::current_num_threads() {
            scope.spawn(|_| {
                while !done.load(Ordering::Relaxed) {
                    if rayon::yield_now() != Some(rayon::Yield::Executed) {
                        std::hint::spin_loop();
                    }
                }
            });
        }
        let _done = Done(&done);
        work();
    });
}

/// Lets the threads go, even if the work panics.
struct Done<'a>(&'a AtomicBool);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many images a step takes at a time; `None` for one that shares its weights among all.
fn group(step: &Step) -> Option<usize> {
    let image = (step.input + step.output) * size_of::<f32>();
    if step.weights() > 4 * image {
        return None;
    }
    Some((CACHE / image.max(1)).clamp(1, GROUP))
}

impl Stage {
    /// Whether a step with groups of this size belongs to the stage too.
    fn takes(&self, group: Option<usize>) -> bool {
        match (self.group, group) {
            (Some(own), Some(next)) => next <= own.saturating_mul(4),
            (own, next) => own.is_none() && next.is_none(),
        }
    }

    fn input(&self) -> usize {
        self.steps.first().map_or(0, |step| step.input)
    }

    fn output(&self) -> usize {
        self.steps.last().map_or(0, |step| step.output)
    }

    fn run(&self, x: &[f32], count: usize, y: &mut [f32], work: &mut Aligned) {
        let threads = kernels::threads();
        // With fewer images than threads, the threads share each step of an image.
        let (groups, group) = match self.group {
            // As many groups for each thread, and all of one size but for an image.
            Some(group) if count >= threads => {
                let groups = count.div_ceil(group).next_multiple_of(threads);
                (groups.min(count), count.div_ceil(groups))
            }
            _ => (1, count),
        };
        let room = 2 * (group * self.between).next_multiple_of(LINE);
        let workers = threads.min(groups);
        work.grow(workers * room);
        if groups == 1 {
            return self.compute(x, count, y, &mut work[..room]);
        }
        let parts = Mutex::new((0, x, y));
        let next = || {
            let mut parts = parts.lock().unwrap_or_else(PoisonError::into_inner);
            let (index, x, y) = &mut *parts;
            let images = (*index + 1) * count / groups - *index * count / groups;
            *index += 1;
            let y = y.split_off_mut(..images * self.output())?;
            Some((x.split_off(..images * self.input())?, y))
        };
        let worker = |work: &mut [f32]| {
            kernels::alone(|| {
                while let Some((x, y)) = next() {
                    self.compute(x, x.len() / self.input(), y, work);
                }
            });
        };
        if workers == 1 {
            worker(work);
        } else if room == 0 {
            (0..workers).into_par_iter().for_each(|_| worker(&mut []));
        } else {
            let work = &mut work[..workers * room];
            work.par_chunks_mut(room).for_each(worker);
        }
    }

    /// Takes images through all steps.
    fn compute(&self, x: &[f32], count: usize, y: &mut [f32], work: &mut [f32]) {
        let (from, to) = work.split_at_mut(work.len() / 2);
        let (mut from, mut to) = (from, to);
        let last = self.steps.len() - 1;
        for (index, step) in self.steps.iter().enumerate() {
            let x = if index == 0 {
                x
            } else {
                &from[..count * step.input]
            };
            if index == last {
                step.run(x, count, y);
            } else {
                step.run(x, count, &mut to[..count * step.output]);
                std::mem::swap(&mut from, &mut to);
            }
        }
    }
}
