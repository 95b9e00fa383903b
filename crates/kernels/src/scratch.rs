//! Memory that a thread keeps from one call to the next, so that a kernel that has run before allocates nothing.
use std::cell::RefCell;

use crate::aligned::Aligned;

thread_local! {
    /// One for each call that is inside another.
    static KEPT: RefCell<Vec<Aligned>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `len` values that hold anything and begin at a cache line.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    let mut values = KEPT.with_borrow_mut(Vec::pop).unwrap_or_default();
    values.grow(len);
    let result = work(&mut values[..len]);
    KEPT.with_borrow_mut(|kept| kept.push(values));
    result
}
