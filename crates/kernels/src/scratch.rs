//! Memory that a thread keeps from one call to the next, so that a kernel that has run before allocates nothing.
use std::cell::Cell;

use crate::aligned::Aligned;

thread_local! {
    static KEPT: Cell<Aligned> = const { Cell::new(Aligned::new()) };
}

/// Calls `work` with `len` values that hold anything and begin at a cache line.
///
/// The memory is taken out while `work` runs: a task that rayon starts inside it finds none and allocates its own.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut values = KEPT.take();
    values.grow(len);
    let result = work(&mut values[..len]);
    KEPT.set(values);
    result
}
