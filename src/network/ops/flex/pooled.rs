//! Pooling, with its gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use kernels::{AveragePool2d, MaxPool2d, Pool2dShape};

use super::{Values, Window, checked, fill, memory, pool2d_shape};

#[derive(Clone, Debug)]
enum Pooling {
    Max(MaxPool2d),
    Average(AveragePool2d),
}

#[backend_extension(Flex, Autodiff)]
trait Pooled: Backend {
    fn pooled(x: FloatTensor<Self>, plan: Pooling, output: Shape) -> FloatTensor<Self>;
}

impl Pooled for Flex {
    fn pooled(x: FlexTensor, plan: Pooling, output: Shape) -> FlexTensor {
        fill(output, |y| {
            let x = Values::of(&x);
            match &plan {
                Pooling::Max(plan) => plan.forward(&x, y),
                Pooling::Average(plan) => plan.forward(&x, y),
            }
        })
    }
}

#[derive(Debug)]
struct PooledBackward;

impl Backward<Flex, 1> for PooledBackward {
    type State = (FlexTensor, Pooling);

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, plan) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x_node] = ops.parents;
        if let Some(node) = x_node {
            let dx = fill(x.shape(), |dx| match &plan {
                Pooling::Max(plan) => plan.grad_input(&Values::of(&x), &Values::of(&dy), dx),
                Pooling::Average(plan) => plan.grad_input(&Values::of(&dy), dx),
            });
            gradients.register::<Flex>(node.id, dx);
        }
        memory::keep(dy);
        memory::keep(x);
    }
}

impl<C: CheckpointStrategy> Pooled for Autodiff<Flex, C> {
    fn pooled(x: FloatTensor<Self>, plan: Pooling, output: Shape) -> FloatTensor<Self> {
        let (x, node) = x.into_parts();
        let prepared = PooledBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful();
        let y = Flex::pooled(x.clone(), plan.clone(), output);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, plan), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

pub fn max_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    let plan = checked(MaxPool2d::new(pool_shape(&x, window)));
    let (out_h, out_w) = plan.output();
    pool(x, Pooling::Max(plan), [out_h, out_w])
}

pub fn average_pool2d(x: Tensor<4>, window: &Window) -> Tensor<4> {
    let plan = checked(AveragePool2d::new(pool_shape(&x, window)));
    let (out_h, out_w) = plan.output();
    pool(x, Pooling::Average(plan), [out_h, out_w])
}

fn pool_shape(x: &Tensor<4>, window: &Window) -> Pool2dShape {
    let [_, h, w, channels] = x.dims();
    pool2d_shape([h, w], channels, window)
}

fn pool(x: Tensor<4>, plan: Pooling, [out_h, out_w]: [usize; 2]) -> Tensor<4> {
    let [n, _, _, channels] = x.dims();
    let output = Shape::new([n, out_h, out_w, channels]);
    Tensor::from_dispatch(Dispatch::pooled(x.into_dispatch(), plan, output))
}
