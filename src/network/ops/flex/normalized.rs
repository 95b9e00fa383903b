//! Convolutions with a batch normalization and an activation after each, with their gradients.
//!
//! A normalization needs the moments of the whole batch, so it begins when the convolution has ended. What it gives is made
//! by whoever comes next: by another convolution a few images at a time, so that it never goes through memory. On the way
//! back that one gives the gradient of what is normalised, and this one begins with the way through the normalization.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
use kernels::{Activation, BatchNorm, Conv2d, Input, Normalizer, OutputGrad};

use super::batch_norm::{Weights, back, both};
use super::conv2d::{grads, input, planned};
use super::{Norm, Value, Values, Window, checked, fill, fill_both, memory};

/// A normalization of a convolution, as far as it is known to who makes it and to who uses it.
#[derive(Debug, Default)]
pub(super) struct Normalization {
    /// Whether the convolution goes through a batch from its last image to its first.
    from_last: bool,
    /// Known when the convolution has ended.
    by: OnceLock<Normalizer>,
    /// Those that lead back through it, if who used it has summed them on its own way back.
    sums: Mutex<Option<Vec<f32>>>,
}

impl Normalization {
    fn by(&self) -> &Normalizer {
        self.by
            .get()
            .unwrap_or_else(|| unreachable!("a convolution that has not ended"))
    }

    /// What is normalised of `x`, for a convolution.
    pub fn of<'a>(&'a self, x: &'a [f32]) -> Input<'a> {
        Input::Normalized { by: self.by(), x }
    }

    /// Sums of nothing yet.
    pub fn no_sums(&self) -> Vec<f32> {
        vec![0.0; 2 * self.by().channels()]
    }

    /// Notes the sums for the way back.
    pub fn note(&self, sums: Vec<f32>) {
        *self.sums.lock().unwrap_or_else(PoisonError::into_inner) = Some(sums);
    }

    fn noted(&self) -> Option<Vec<f32>> {
        self.sums
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// What is computed.
#[derive(Clone, Debug)]
struct Plan {
    conv: Box<Conv2d>,
    /// What makes the input of its tensor.
    before: Option<Arc<Normalization>>,
    norm: BatchNorm,
    after: Arc<Normalization>,
    output: Shape,
}

/// What is convolved, and its moments: the means, then the variances. The gradient that comes back is not its own, but that
/// of what it is normalised to.
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
    convolved: FlexTensor,
    plan: Plan,
}

impl Plan {
    /// What led to the output, the output among it, and the moments; the inputs are `x`, the kernel, the bias, gamma and beta.
    fn forward(self, [x, kernel, bias, gamma, beta]: [FlexTensor; 5]) -> (Kept, FlexTensor) {
        let channels = gamma.shape().num_elements();
        let shapes = [self.output.clone(), Shape::new([2, channels])];
        let [convolved, moments] = fill_both(shapes, |convolved, moments| {
            let (x, kernel, bias) = (Values::of(&x), Values::of(&kernel), Values::of(&bias));
            let x = input(self.before.as_deref(), &x);
            self.conv
                .forward_moments(x, &kernel, Some(&bias), &self.norm, convolved, moments)
        });
        let weights = Weights::of(&gamma, &beta);
        let by = self
            .norm
            .normalizer(weights.scale_shift(), &Values::of(&moments));
        self.after.by.get_or_init(|| checked(by));
        let kept = Kept {
            x,
            kernel,
            bias,
            convolved,
            plan: self,
        };
        (kept, moments)
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
        let (kept, moments) = plan.forward([x, kernel, bias, gamma, beta]);
        (kept.convolved, moments)
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
            convolved,
            plan,
        } = ops.state;
        let dy = Values::new(gradients.consume::<Flex>(&ops.node));
        {
            let [x_node, kernel_node, bias_node, gamma_node, beta_node] =
                ops.parents.map(|node| node.map(|node| node.id));
            let y = Values::of(&convolved);
            let by = plan.after.by();
            let sums = plan.after.noted();
            let sums = sums.unwrap_or_else(|| checked(by.sums(&y, &dy)));
            let rows = y.len() / by.channels();
            let back = back(by.clone(), &sums, rows, [gamma_node, beta_node], gradients);
            let dy = OutputGrad::Normalized {
                back: &back,
                y: &y,
                dy: &dy,
            };
            let nodes = [x_node, kernel_node, bias_node];
            let before = plan.before.as_deref();
            let tensors = [&x, &kernel, &bias];
            grads(&plan.conv, before, tensors, dy, nodes, gradients);
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
        let (kept, moments) = plan.forward([x, kernel, bias, gamma, beta]);
        let convolved = kept.convolved.clone();
        let convolved = match prepared {
            OpsKind::Tracked(prepared) => prepared.finish(kept, convolved),
            OpsKind::UnTracked(prepared) => prepared.finish(convolved),
        };
        (convolved, Self::from_inner(moments))
    }
}

/// What is normalised.
#[backend_extension(Flex, Autodiff)]
trait Finished: Backend {
    fn finished(convolved: FloatTensor<Self>, norm: Arc<Normalization>) -> FloatTensor<Self>;
}

impl Finished for Flex {
    fn finished(convolved: FlexTensor, norm: Arc<Normalization>) -> FlexTensor {
        fill(convolved.shape(), |y| {
            norm.by().apply(&Values::of(&convolved), y)
        })
    }
}

#[derive(Debug)]
struct FinishedBackward;

impl Backward<Flex, 1> for FinishedBackward {
    type State = ();

    fn backward(
        self,
        ops: Ops<Self::State, 1>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let dy = gradients.consume::<Flex>(&ops.node);
        if let [Some(node)] = ops.parents {
            gradients.register::<Flex>(node.id, dy);
        }
    }
}

impl<C: CheckpointStrategy> Finished for Autodiff<Flex, C> {
    fn finished(convolved: FloatTensor<Self>, norm: Arc<Normalization>) -> FloatTensor<Self> {
        let (convolved, node) = convolved.into_parts();
        let prepared = FinishedBackward
            .prepare::<C>([node])
            .compute_bound()
            .stateful();
        let y = Flex::finished(convolved, norm);
        match prepared {
            OpsKind::Tracked(prepared) => prepared.finish((), y),
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

/// A normalization of a convolution that is still to be made. Only one operation may use it.
#[derive(Clone, Debug)]
pub struct Normalized {
    pub(in super::super) convolved: Tensor<4>,
    norm: Arc<Normalization>,
}

impl Normalized {
    /// Makes it.
    pub fn tensor(self) -> Tensor<4> {
        let y = Dispatch::finished(self.convolved.into_dispatch(), self.norm);
        Tensor::from_dispatch(y)
    }
}

/// As [`batch_norm`](super::batch_norm()) of a convolution.
pub fn conv2d_normalized(
    x: Value,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    norm: Norm,
    activation: Activation,
) -> (Normalized, [Tensor<1>; 2]) {
    let (x, before) = match x {
        Value::Tensor(x) => (x, None),
        Value::Normalized(Normalized { convolved, norm }) => (convolved, Some(norm)),
    };
    let (conv, bias) = planned(&x, &kernel, bias, window, groups);
    let [n, ..] = x.dims();
    let [.., channels] = kernel.dims();
    let (height, width) = conv.output();
    let (norm, gamma, beta) = norm.planned(channels, activation, &x.device());
    // The other way than the one before.
    let from_last = before.as_ref().is_some_and(|before| !before.from_last);
    let conv = if from_last { conv.from_last() } else { conv };
    let after = Arc::new(Normalization {
        from_last,
        ..Normalization::default()
    });
    let plan = Plan {
        conv: Box::new(conv),
        before,
        norm,
        after: Arc::clone(&after),
        output: Shape::new([n, height, width, channels]),
    };
    let (convolved, moments) = Dispatch::normally_convolved(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        plan,
    );
    let normalized = Normalized {
        convolved: Tensor::from_dispatch(convolved),
        norm: after,
    };
    (normalized, both(Tensor::from_dispatch(moments)))
}
