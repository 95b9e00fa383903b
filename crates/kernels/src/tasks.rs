//! How finely work is split over the caller's thread pool.
use std::cell::Cell;

/// Tasks are split until they are about so many multiplications, two microseconds with vectors of 16: as long as it takes
/// to hand one to a thread that looks for it, and short beside the layers of an image that is computed alone.
pub(crate) const TASK: usize = 1 << 17;

thread_local! {
    static ALONE: Cell<bool> = const { Cell::new(false) };
}

/// How many threads the caller may split its work over: those of its pool, or itself if it is [`alone`].
pub fn threads() -> usize {
    if ALONE.get() {
        1
    } else {
        rayon::current_num_threads()
    }
}

/// How many tasks to split `work` multiplications into.
pub(crate) fn tasks(work: usize) -> usize {
    let threads = threads();
    if threads == 1 {
        1
    } else {
        (work / TASK).clamp(1, 4 * threads)
    }
}

/// Whether `work` multiplications are enough to call other threads for: some ten microseconds. To wake one takes about
/// that, far longer than to hand the next task to one that is awake.
pub(crate) fn calls(work: usize) -> bool {
    work >= 8 * TASK
}

/// Calls `work`, inside which nothing is split over threads.
///
/// For a caller who has split a batch itself, image by image: what one image's layers hand to each other then stays in
/// one core's cache. The results are the same to the bit.
pub fn alone<R>(work: impl FnOnce() -> R) -> R {
    /// Sets the flag back even if `work` panics.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ALONE.set(self.0);
        }
    }
    let _before = Before(ALONE.replace(true));
    work()
}

/// Calls `work` with parts of `values` of at most `len`, on several threads unless the caller is [`alone`].
pub(crate) fn parts_mut<T: Send>(
    values: &mut [T],
    len: usize,
    work: impl Fn(usize, &mut [T]) + Sync,
) {
    use rayon::prelude::*;

    if ALONE.get() || values.len() <= len {
        for (index, part) in values.chunks_mut(len).enumerate() {
            work(index, part);
        }
    } else {
        let parts = values.par_chunks_mut(len).enumerate();
        parts.for_each(|(index, part)| work(index, part));
    }
}
