//! A convolution with the activation and the maximum pooling after it, with their gradients.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use kernels::{Activation, Conv2d, Conv2dGrads, Input, MaxPool2d, OutputGrad};

use super::normalized::Normalization;
use super::{
    Values, Window, checked, conv2d_shape, fill, fill_both, max_pool2d, memory, pool2d_shape,
    tensor,
};

/// What is computed.
#[derive(Clone, Debug)]
struct Plan {
    conv: Box<Conv2d>,
    activation: Activation,
    /// The pooling after the activation.
    pool: Option<Box<MaxPool2d>>,
    output: Shape,
}

#[backend_extension(Flex, Autodiff)]
trait Convolved: Backend {
    fn convolved(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

impl Plan {
    /// The output, and where in their windows its values were found if they were pooled.
    fn forward(
        &self,
        x: &FlexTensor,
        kernel: &FlexTensor,
        bias: &FlexTensor,
    ) -> (FlexTensor, Option<FlexTensor>) {
        let (x, kernel, bias) = (Values::of(x), Values::of(kernel), Values::of(bias));
        let (activation, output) = (self.activation, || self.output.clone());
        let Some(pool) = &self.pool else {
            let y = fill(output(), |y| {
                self.conv.forward(&x, &kernel, Some(&bias), activation, y)
            });
            return (y, None);
        };
        let [y, places] = fill_both([output(), output()], |y, places| {
            let then = (activation, &**pool);
            self.conv
                .forward_pooled(&x, &kernel, Some(&bias), then, y, places)
        });
        (y, Some(places))
    }
}

impl Convolved for Flex {
    fn convolved(x: FlexTensor, kernel: FlexTensor, bias: FlexTensor, plan: Plan) -> FlexTensor {
        plan.forward(&x, &kernel, &bias).0
    }
}

#[derive(Debug)]
struct ConvolvedBackward;

/// What the way back needs.
#[derive(Clone, Debug)]
struct Kept {
    x: FlexTensor,
    kernel: FlexTensor,
    bias: FlexTensor,
    /// The output, if the gradient of the activation needs it.
    y: Option<FlexTensor>,
    places: Option<FlexTensor>,
    plan: Plan,
}

impl Backward<Flex, 3> for ConvolvedBackward {
    type State = Kept;

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let Kept {
            x,
            kernel,
            bias,
            y,
            places,
            plan,
        } = ops.state;
        let dy = Values::new(gradients.consume::<Flex>(&ops.node));
        {
            let y = y.as_ref().map(Values::of);
            let places = places.as_ref().map(Values::of);
            let activation = plan.activation;
            let dy = match (&y, &places, &plan.pool) {
                (Some(y), Some(places), Some(pool)) => OutputGrad::Pooled {
                    activation,
                    pool,
                    y,
                    places,
                    dy: &dy,
                },
                (Some(y), ..) => OutputGrad::Activated {
                    activation,
                    y,
                    dy: &dy,
                },
                _ => OutputGrad::Plain(&dy),
            };
            let nodes = ops.parents.map(|node| node.map(|node| node.id));
            let tensors = [&x, &kernel, &bias];
            grads(&plan.conv, None, tensors, dy, nodes, gradients);
        }
        for tensor in [Some(dy.0), y, places, Some(x)].into_iter().flatten() {
            memory::keep(tensor);
        }
    }
}

/// Registers the gradients of a convolution's input, kernel and bias where there are nodes that want them. The input's is
/// that of what it is normalised to, if it is.
pub(super) fn grads(
    conv: &Conv2d,
    before: Option<&Normalization>,
    tensors: [&FlexTensor; 3],
    dy: OutputGrad,
    nodes: [Option<NodeId>; 3],
    gradients: &mut Gradients,
) {
    let [x, kernel, _] = tensors.map(Values::of);
    let mut wanted = [0, 1, 2].map(|index| {
        let len = tensors[index].shape().num_elements();
        nodes[index].map(|_| memory::take(len))
    });
    let mut sums = before
        .filter(|_| nodes[0].is_some())
        .map(Normalization::no_sums);
    let [dx, dkernel, dbias] = wanted.each_mut().map(Option::as_deref_mut);
    let filled = Conv2dGrads {
        dx,
        dkernel,
        dbias,
        sums: sums.as_deref_mut(),
    };
    checked(conv.grads(input(before, &x), &kernel, dy, filled));
    if let (Some(before), Some(sums)) = (before, sums) {
        before.note(sums);
    }
    for (index, values) in wanted.into_iter().enumerate() {
        if let (Some(node), Some(values)) = (nodes[index], values) {
            gradients.register::<Flex>(node, tensor(values, tensors[index].shape()));
        }
    }
}

/// What is convolved.
pub(super) fn input<'a>(before: Option<&'a Normalization>, x: &'a [f32]) -> Input<'a> {
    match before {
        Some(before) => before.of(x),
        None => Input::Plain(x),
    }
}

impl<C: CheckpointStrategy> Convolved for Autodiff<Flex, C> {
    fn convolved(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (kernel, kernel_node), (bias, bias_node)) =
            (x.into_parts(), kernel.into_parts(), bias.into_parts());
        let prepared = ConvolvedBackward
            .prepare::<C>([x_node, kernel_node, bias_node])
            .compute_bound()
            .stateful();
        let (y, places) = plan.forward(&x, &kernel, &bias);
        match prepared {
            OpsKind::Tracked(prepared) => {
                let needed = plan.activation != Activation::Linear || places.is_some();
                let kept = Kept {
                    x,
                    kernel,
                    bias,
                    y: needed.then(|| y.clone()),
                    places,
                    plan,
                };
                prepared.finish(kept, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

/// The plan of a convolution of `x`, and a bias for it.
pub(super) fn planned(
    x: &Tensor<4>,
    kernel: &Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
) -> (Conv2d, Tensor<1>) {
    let [_, h, w, in_channels] = x.dims();
    let [.., out_channels] = kernel.dims();
    let shape = conv2d_shape([h, w], in_channels, out_channels, window, groups);
    let bias = bias.unwrap_or_else(|| Tensor::zeros([out_channels], &kernel.device()));
    (checked(Conv2d::new(shape)), bias)
}

/// `activation(x ∗ kernel + bias)`; where there is a `pool`, its maxima under that window.
pub fn conv2d(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    activation: Activation,
    pool: Option<&Window>,
) -> Tensor<4> {
    let (conv, bias) = planned(&x, &kernel, bias, window, groups);
    let [n, ..] = x.dims();
    let [.., channels] = kernel.dims();
    let (height, width) = conv.output();
    let pool = pool.map(|window| {
        let shape = pool2d_shape([height, width], channels, window);
        (window, checked(MaxPool2d::new(shape)))
    });
    let pool = match pool {
        Some((_, pool)) if conv.pools(&pool) => Some(Box::new(pool)),
        Some((pool, _)) => {
            let y = conv2d(x, kernel, Some(bias), window, groups, activation, None);
            return max_pool2d(y, pool);
        }
        None => None,
    };
    let (height, width) = pool.as_ref().map_or((height, width), |pool| pool.output());
    let plan = Plan {
        conv: Box::new(conv),
        activation,
        pool,
        output: Shape::new([n, height, width, channels]),
    };
    Tensor::from_dispatch(Dispatch::convolved(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        plan,
    ))
}
