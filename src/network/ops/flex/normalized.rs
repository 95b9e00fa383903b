//! A convolution with the batch normalization and the activation after it, with their gradients.

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
use kernels::{Activation, BatchNorm, Conv2d, OutputGrad};

use super::batch_norm::{Weights, back, both};
use super::conv2d::{grads, planned};
use super::{Norm, Values, Window, fill, fill_both, memory};

/// What is computed.
#[derive(Clone, Debug)]
struct Plan {
    conv: Box<Conv2d>,
    norm: BatchNorm,
    output: Shape,
}

/// `(y, moments)`; the moments are the means of what is convolved, then the variances.
#[backend_extension(Flex, Autodiff)]
trait NormallyConvolved: Backend {
    fn normally_convolved(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        plan: Plan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);
}

/// The inputs, and what is convolved of them.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    kernel: FlexTensor,
    bias: FlexTensor,
    gamma: FlexTensor,
    beta: FlexTensor,
    convolved: FlexTensor,
    moments: FlexTensor,
    plan: Plan,
}

impl Plan {
    /// The output, and what led to it; the inputs are `x`, the kernel, the bias, gamma and beta.
    fn forward(self, [x, kernel, bias, gamma, beta]: [FlexTensor; 5]) -> (FlexTensor, Kept) {
        let channels = gamma.shape().num_elements();
        let shapes = [self.output.clone(), Shape::new([2, channels])];
        let [convolved, moments] = fill_both(shapes, |convolved, moments| {
            let (x, kernel, bias) = (Values::of(&x), Values::of(&kernel), Values::of(&bias));
            self.conv
                .forward_moments(&x, &kernel, Some(&bias), &self.norm, convolved, moments)
        });
        let y = fill(self.output.clone(), |y| {
            let weights = Weights::of(&gamma, &beta);
            let (x, moments) = (Values::of(&convolved), Values::of(&moments));
            self.norm.normalize(&x, weights.scale_shift(), &moments, y)
        });
        let kept = Kept {
            x,
            kernel,
            bias,
            gamma,
            beta,
            convolved,
            moments,
            plan: self,
        };
        (y, kept)
    }
}

impl NormallyConvolved for Flex {
    fn normally_convolved(
        x: FlexTensor,
        kernel: FlexTensor,
        bias: FlexTensor,
        gamma: FlexTensor,
        beta: FlexTensor,
        plan: Plan,
    ) -> (FlexTensor, FlexTensor) {
        let (y, kept) = plan.forward([x, kernel, bias, gamma, beta]);
        (y, kept.moments)
    }
}

#[derive(Debug)]
struct NormallyConvolvedBackward;

impl Backward<Flex, 5> for NormallyConvolvedBackward {
    type State = Kept;

    fn backward(
        self,
        ops: Ops<Self::State, 5>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Kept {
            x,
            kernel,
            bias,
            gamma,
            beta,
            convolved,
            moments,
            plan,
        } = ops.state;
        let dy = Values::new(gradients.consume::<Flex>(&ops.node));
        {
            let [x_node, kernel_node, bias_node, gamma_node, beta_node] =
                ops.parents.map(|node| node.map(|node| node.id));
            let (y, moments) = (Values::of(&convolved), Values::of(&moments));
            let weights = Weights::of(&gamma, &beta);
            let back = back(
                plan.norm,
                &y,
                weights.scale_shift(),
                &moments,
                &dy,
                [gamma_node, beta_node],
                gradients,
            );
            let dy = OutputGrad::Normalized {
                back: &back,
                y: &y,
                dy: &dy,
            };
            let nodes = [x_node, kernel_node, bias_node];
            grads(&plan.conv, [&x, &kernel, &bias], dy, nodes, gradients);
        }
        for tensor in [dy.0, convolved, x] {
            memory::keep(tensor);
        }
    }
}

impl<C: CheckpointStrategy> NormallyConvolved for Autodiff<Flex, C> {
    fn normally_convolved(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        gamma: FloatTensor<Self>,
        beta: FloatTensor<Self>,
        plan: Plan,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let ((x, x_node), (kernel, kernel_node), (bias, bias_node)) =
            (x.into_parts(), kernel.into_parts(), bias.into_parts());
        let ((gamma, gamma_node), (beta, beta_node)) = (gamma.into_parts(), beta.into_parts());
        let prepared = NormallyConvolvedBackward
            .prepare::<C>([x_node, kernel_node, bias_node, gamma_node, beta_node])
            .compute_bound()
            .stateful();
        let (y, kept) = plan.forward([x, kernel, bias, gamma, beta]);
        let moments = Self::from_inner(kept.moments.clone());
        let y = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(kept, y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        };
        (y, moments)
    }
}

/// As [`batch_norm`](super::batch_norm()) of a convolution.
pub fn conv2d_normalized(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    norm: Norm,
    activation: Activation,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let (conv, bias) = planned(&x, &kernel, bias, window, groups);
    let [n, ..] = x.dims();
    let [.., channels] = kernel.dims();
    let (height, width) = conv.output();
    let (norm, gamma, beta) = norm.planned(channels, activation, &x.device());
    let plan = Plan {
        conv: Box::new(conv),
        norm,
        output: Shape::new([n, height, width, channels]),
    };
    let (y, moments) = Dispatch::normally_convolved(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        plan,
    );
    (
        Tensor::from_dispatch(y),
        both(Tensor::from_dispatch(moments)),
    )
}
