//! An activation by itself, where it lies if nobody else needs what it is applied to.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::Tensor;
use kernels::{Activation, Level};

use super::{Values, fill, memory};

#[backend_extension(Flex, Autodiff)]
trait Activated: Backend {
    fn activated(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self>;
}

impl Activated for Flex {
    fn activated(mut x: FlexTensor, activation: Activation) -> FlexTensor {
        let whole =
            x.is_contiguous() && x.bytes().len() == size_of::<f32>() * x.shape().num_elements();
        if let Some(values) = x.try_storage_mut().filter(|_| whole) {
            activation.apply(Level::default(), values);
            return x;
        }
        fill(x.shape(), |y| {
            y.copy_from_slice(&Values::of(&x));
            activation.apply(Level::default(), y);
            Ok(())
        })
    }
}

/// The gradient of what an activation was applied to, from its results and their gradient.
pub(super) fn before(activation: Activation, y: FlexTensor, dy: FlexTensor) -> FlexTensor {
    let dx = fill(y.shape(), |dx| {
        let (y, dy) = (Values::of(&y), Values::of(&dy));
        activation.grad(Level::default(), &y, &dy, dx)
    });
    memory::keep(y);
    memory::keep(dy);
    dx
}

#[derive(Debug)]
struct ActivatedBackward;

impl Backward<Flex, 1> for ActivatedBackward {
    /// The output, and what made it.
    type State = (FlexTensor, Activation);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (y, activation) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x_node] = ops.parents;
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, before(activation, y, dy));
        }
    }
}

impl<C: CheckpointStrategy> Activated for Autodiff<Flex, C> {
    fn activated(x: FloatTensor<Self>, activation: Activation) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let prepared = ActivatedBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful();
        let y = Flex::activated(x, activation);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((y.clone(), activation), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

/// `activation(x)`.
pub fn activated(x: Tensor<4>, activation: Activation) -> Tensor<4> {
    Tensor::from_dispatch(Dispatch::activated(x.into_dispatch(), activation))
}
