//! Batch normalization by the batch's own statistics, with its gradient.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{Shape, Tensor};
use kernels::{BatchNorm, BatchNormGrads};

use super::{Values, checked, fill, memory};

/// `(y, moments)` of `(x, gamma, beta)`; the moments are the means, then the variances.
#[backend_extension(Flex, Autodiff)]
trait Normalized: Backend {
    fn normalized(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        plan: BatchNorm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

impl Normalized for Flex {
    fn normalized(
        x: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        plan: BatchNorm,
    ) -> (FlexTensor, FlexTensor) {
        let channels = gamma.shape().num_elements();
        let mut y = None;
        let moments = fill(Shape::new([2, channels]), |moments| {
            let (x, gamma, beta) = (Values::of(&x), Values::of(&gamma), Values::of(&beta));
            let (mean, variance) = moments.split_at_mut(channels);
            y = Some(fill(x.0.shape(), |y| {
                plan.forward(&x, Some(&gamma), Some(&beta), mean, variance, y)
            }));
            Ok(())
        });
        (y.unwrap_or(x), moments)
    }
}

#[derive(Debug)]
struct NormalizedBackward;

impl Backward<Flex, 3> for NormalizedBackward {
    /// The input, gamma, the moments, and the plan.
    type State = (FlexTensor, FlexTensor, FlexTensor, BatchNorm);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, gamma, moments, plan) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let channels = gamma.shape().num_elements();
        let (mut dgamma, mut dbeta) = (vec![0.0; channels], vec![0.0; channels]);
        let dx = fill(x.shape(), |dx| {
            let (x, dy) = (Values::of(&x), Values::of(&dy));
            let (gamma, moments) = (Values::of(&gamma), Values::of(&moments));
            let (mean, variance) = moments.split_at(channels);
            let grads = BatchNormGrads {
                dx,
                dgamma: &mut dgamma,
                dbeta: &mut dbeta,
            };
            plan.grad(&x, Some(&gamma), mean, variance, &dy, grads)
        });
        memory::keep(dy);
        memory::keep(x);
        let [x_node, gamma_node, beta_node] = ops.parents;
        if let Some(node) = x_node {
            gradients.register::<Flex>(node.id, dx);
        }
        let vector = |values: Vec<f32>| super::tensor(values, Shape::new([channels]));
        if let Some(node) = gamma_node {
            gradients.register::<Flex>(node.id, vector(dgamma));
        }
        if let Some(node) = beta_node {
            gradients.register::<Flex>(node.id, vector(dbeta));
        }
    }
}

impl<C: CheckpointStrategy> Normalized for Autodiff<Flex, C> {
    fn normalized(
        x: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        plan: BatchNorm,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, x_node), (gamma, gamma_node), (beta, beta_node)) =
            (x.into_parts(), gamma.into_parts(), beta.into_parts());
        let prepared = NormalizedBackward
            .prepare::<C>([x_node, gamma_node, beta_node])
            .compute_bound()
            .stateful();
        let (y, moments) = Flex::normalized(x.clone(), gamma.clone(), beta, plan);
        let y = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((x, gamma, moments.clone(), plan), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        (y, Self::from_inner(moments))
    }
}

/// `y`, and the mean and the variance of the batch.
pub fn batch_norm(
    x: Tensor<4>,
    gamma: Option<Tensor<1>>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let [.., channels] = x.dims();
    let plan = checked(BatchNorm::new(channels, epsilon as f32));
    let gamma = gamma.unwrap_or_else(|| Tensor::ones([channels], &x.device()));
    let beta = beta.unwrap_or_else(|| Tensor::zeros([channels], &x.device()));
    let (y, moments) = Dispatch::normalized(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        plan,
    );
    let moments = Tensor::<2>::from_dispatch(moments);
    let moment = |row: usize| {
        moments
            .clone()
            .slice([row..row + 1, 0..channels])
            .flatten(0, 1)
    };
    (Tensor::from_dispatch(y), [moment(0), moment(1)])
}
