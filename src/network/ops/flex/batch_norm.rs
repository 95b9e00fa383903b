//! Batch normalization by the batch's own statistics, with its gradient.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, AutodiffBackend, Backend, Dispatch, Flex, TensorMetadata, backend_extension,
};
use burn::tensor::{Device, Shape, Tensor};
use kernels::{Activation, BatchNorm, BatchNormBack, Normalizer, ScaleShift};

use super::{Norm, Values, checked, fill, fill_both, memory, tensor};

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
        let shapes = [x.shape(), Shape::new([2, channels])];
        let [y, moments] = fill_both(shapes, |y, moments| {
            let (x, weights) = (Values::of(&x), Weights::of(&gamma, &beta));
            plan.moments(&x, moments)?;
            plan.normalizer(weights.scale_shift(), moments)?
                .apply(&x, y)
        });
        (y, moments)
    }
}

#[derive(Debug)]
struct NormalizedBackward;

impl Backward<Flex, 3> for NormalizedBackward {
    /// The input, gamma, beta, the moments, and the plan.
    type State = (FlexTensor, FlexTensor, FlexTensor, FlexTensor, BatchNorm);

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, gamma, beta, moments, plan) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let [x_node, gamma_node, beta_node] = ops.parents;
        {
            let (x, dy) = (Values::of(&x), Values::of(&dy));
            let (weights, moments) = (Weights::of(&gamma, &beta), Values::of(&moments));
            let by = checked(plan.normalizer(weights.scale_shift(), &moments));
            let sums = checked(by.sums(&x, &dy));
            let rows = x.len() / by.channels();
            let nodes = [gamma_node, beta_node].map(|node| node.map(|node| node.id));
            let back = back(by, &sums, rows, nodes, gradients);
            if let Some(node) = x_node {
                let dx = fill(x.0.shape(), |dx| back.grad_input(&x, &dy, dx));
                gradients.register::<Flex>(node.id, dx);
            }
        }
        memory::keep(dy);
        memory::keep(x);
    }
}

/// Gamma and beta.
pub(super) struct Weights {
    gamma: Values,
    beta: Values,
}

impl Weights {
    pub fn of(gamma: &FlexTensor, beta: &FlexTensor) -> Self {
        Self {
            gamma: Values::of(gamma),
            beta: Values::of(beta),
        }
    }

    pub fn scale_shift(&self) -> ScaleShift<'_> {
        ScaleShift {
            gamma: Some(&self.gamma),
            beta: Some(&self.beta),
        }
    }
}

/// The way back to the input of so many rows, with the gradients of gamma and beta registered on the way.
pub(super) fn back(
    by: Normalizer,
    sums: &[f32],
    rows: usize,
    nodes: [Option<NodeId>; 2],
    gradients: &mut Gradients,
) -> BatchNormBack {
    let mut grads = [0, 1].map(|_| vec![0.0; by.channels()]);
    let slices = grads.each_mut().map(Vec::as_mut_slice);
    let back = checked(by.back(sums, rows, slices));
    for (node, values) in nodes.into_iter().zip(grads) {
        if let Some(node) = node {
            let shape = Shape::new([values.len()]);
            gradients.register::<Flex>(node, tensor(values, shape));
        }
    }
    back
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
        let (y, moments) = Flex::normalized(x.clone(), gamma.clone(), beta.clone(), plan);
        let y = match prepared {
            OpsKind::Tracked(prepared) => {
                prepared.finish((x, gamma, beta, moments.clone(), plan), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        (y, Self::from_inner(moments))
    }
}

impl Norm {
    /// The plan, gamma and beta for so many channels.
    pub(super) fn planned(
        self,
        channels: usize,
        activation: Activation,
        device: &Device,
    ) -> (BatchNorm, Tensor<1>, Tensor<1>) {
        let plan = checked(BatchNorm::new(channels, self.epsilon as f32));
        // Who calls has made sure that it can be part of it.
        let plan = plan.with_activation(activation).unwrap_or(plan);
        let gamma = self
            .gamma
            .unwrap_or_else(|| Tensor::ones([channels], device));
        let beta = self
            .beta
            .unwrap_or_else(|| Tensor::zeros([channels], device));
        (plan, gamma, beta)
    }
}

/// The mean and the variance among moments.
pub(super) fn both(moments: Tensor<2>) -> [Tensor<1>; 2] {
    let [_, channels] = moments.dims();
    [0, 1].map(|row| {
        moments
            .clone()
            .slice([row..row + 1, 0..channels])
            .flatten(0, 1)
    })
}

/// The activation of what is normalised, and the mean and the variance of the batch.
pub fn batch_norm(x: Tensor<4>, norm: Norm, activation: Activation) -> (Tensor<4>, [Tensor<1>; 2]) {
    let [.., channels] = x.dims();
    let (plan, gamma, beta) = norm.planned(channels, activation, &x.device());
    let (y, moments) = Dispatch::normalized(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        plan,
    );
    (
        Tensor::from_dispatch(y),
        both(Tensor::from_dispatch(moments)),
    )
}
