//! A step of an optimizer, in one pass over a parameter, in the parameter's own memory.

use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Backend, Dispatch, Flex, backend_extension};
use burn::tensor::Tensor;
use kernels::{Level, Update};

use super::{Values, checked};

/// `(weight, memories)` after a step. There are always three memories; those past what the rule
/// remembers may be of any size and stay as they are.
#[backend_extension(Flex)]
trait Updated: Backend {
    fn updated(
        weight: FloatTensor<Self>,
        gradient: FloatTensor<Self>,
        first: FloatTensor<Self>,
        second: FloatTensor<Self>,
        third: FloatTensor<Self>,
        update: Update,
    ) -> (
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
        FloatTensor<Self>,
    );
}

impl Updated for Flex {
    fn updated(
        weight: FlexTensor,
        gradient: FlexTensor,
        first: FlexTensor,
        second: FlexTensor,
        third: FlexTensor,
        update: Update,
    ) -> (FlexTensor, FlexTensor, FlexTensor, FlexTensor) {
        // What nobody else holds is changed where it lies.
        let mut weight = whole(weight);
        let mut memory = [first, second, third].map(whole);
        let gradient = Values::of(&gradient);
        let mut slots = memory.each_mut().map(|tensor| tensor.storage_mut::<f32>());
        checked(update.step(
            Level::default(),
            weight.storage_mut(),
            &gradient,
            &mut slots[..update.remembers()],
        ));
        let [first, second, third] = memory;
        (weight, first, second, third)
    }
}

/// The tensor, or a copy of what it is a view of.
fn whole(tensor: FlexTensor) -> FlexTensor {
    if tensor.is_contiguous() {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// Moves `weight` against `gradient` by `update`, and what the rule remembers with it: as many tensors of
/// the weight's shape as [`Update::remembers`] says.
pub fn update<const D: usize>(
    weight: Tensor<D>,
    gradient: Tensor<D>,
    memory: Vec<Tensor<D>>,
    update: Update,
) -> (Tensor<D>, Vec<Tensor<D>>) {
    let device = weight.device();
    let mut memory = memory.into_iter().map(Tensor::into_dispatch);
    let mut slot = || {
        let none = || Tensor::<1>::zeros([1], &device).into_dispatch();
        memory.next().unwrap_or_else(none)
    };
    let (first, second, third) = (slot(), slot(), slot());
    let (weight, first, second, third) = Dispatch::updated(
        weight.into_dispatch(),
        gradient.into_dispatch(),
        first,
        second,
        third,
        update,
    );
    let kept = [first, second, third].into_iter().take(update.remembers());
    let kept = kept.map(Tensor::from_dispatch).collect();
    (Tensor::from_dispatch(weight), kept)
}
