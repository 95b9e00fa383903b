//! Memory of tensors that nothing needs any more, kept for those of the next training step.
//!
//! A step makes and drops the same large tensors as the one before. New memory for each would be cleared, and often
//! given back to the system and asked for again.

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;

use burn::backend::TensorMetadata;
use burn::backend::flex::FlexTensor;

/// Smaller tensors are not worth the looking up.
const SMALLEST: usize = 1 << 12;

thread_local! {
    static KEPT: RefCell<Kept> = RefCell::default();
}

#[derive(Default)]
struct Kept {
    /// How many [`Memory`] live.
    owners: usize,
    /// By length, what is kept of it.
    shelves: HashMap<usize, Shelf>,
}

#[derive(Default)]
struct Shelf {
    values: Vec<Vec<f32>>,
    /// How many were taken and have not come back. No more than these are kept: a network's other tensors, its inputs
    /// among them, are made elsewhere, and would gather here step by step.
    away: usize,
}

/// While it lives, the memory of this thread's dropped tensors is kept; afterwards it is given back.
#[derive(Debug)]
pub struct Memory {
    /// It belongs to its thread.
    thread: PhantomData<*const ()>,
}

impl Memory {
    /// Begins to keep.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        KEPT.with_borrow_mut(|kept| kept.owners += 1);
        Self {
            thread: PhantomData,
        }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        KEPT.with_borrow_mut(|kept| {
            kept.owners -= 1;
            if kept.owners == 0 {
                kept.shelves = HashMap::new();
            }
        });
    }
}

/// `len` numbers that hold anything.
pub(super) fn take(len: usize) -> Vec<f32> {
    let kept = KEPT.with_borrow_mut(|kept| {
        if kept.owners == 0 || len < SMALLEST {
            return None;
        }
        let shelf = kept.shelves.entry(len).or_default();
        shelf.away += 1;
        shelf.values.pop()
    });
    kept.unwrap_or_else(|| vec![0.0; len])
}

/// Keeps the memory of a tensor that was [taken](take), if nobody else has it.
pub(super) fn keep(tensor: FlexTensor) {
    let len = tensor.shape().num_elements();
    if !tensor.is_unique() || !tensor.is_contiguous() {
        return;
    }
    KEPT.with_borrow_mut(|kept| {
        let Some(shelf) = kept.shelves.get_mut(&len).filter(|shelf| shelf.away > 0) else {
            return;
        };
        let values: Vec<f32> = tensor.into_data().try_into_vec().unwrap_or_default();
        if values.len() == len {
            shelf.away -= 1;
            shelf.values.push(values);
        }
    });
}

#[cfg(test)]
mod tests {
    use burn::tensor::Shape;

    use super::*;
    use crate::network::ops::flex::tensor;

    #[test]
    fn memory_comes_back_while_somebody_keeps_it() {
        let shape = || Shape::new([2, SMALLEST]);
        let len = 2 * SMALLEST;
        let address = |values: &[f32]| values.as_ptr() as usize;
        let memory = Memory::new();
        let values = take(len);
        let first = address(&values);
        let held = tensor(values, shape());
        keep(held.clone());
        assert_ne!(address(&take(len)), first, "it is still held");
        keep(held);
        let again = take(len);
        assert_eq!(address(&again), first);
        keep(tensor(again, shape()));
        drop(memory);
        assert!(KEPT.with_borrow(|kept| kept.shelves.is_empty()));
    }

    #[test]
    fn memory_that_was_made_elsewhere_does_not_gather() {
        let len = SMALLEST;
        let _memory = Memory::new();
        for _ in 0..3 {
            // A step that takes one tensor and sees two of the same size go.
            let taken = tensor(take(len), Shape::new([len]));
            keep(tensor(vec![0.0; len], Shape::new([len])));
            keep(taken);
        }
        let held = KEPT.with_borrow(|kept| kept.shelves[&len].values.len());
        assert_eq!(held, 1);
    }
}
