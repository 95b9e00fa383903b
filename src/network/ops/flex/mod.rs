//! The operations on Burn's Flex device: a backend extension over our own kernels, with their
//! gradients.
//!
//! The extension has one operation with weights (convolution, dense) and one without (pooling); the
//! kernels' plans say which it is. `Autodiff` registers the backward passes by hand.

mod activated;
mod batch_norm;
mod memory;
mod update;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor, TensorData};
use kernels::{
    Activation, AveragePool2d, Conv2d, Conv2dShape, Dense, Level, MaxPool2d, Padding2d,
    Pool2dShape, ShapeError, column_sums,
};

use super::{Padding, Window};
use crate::architecture;

pub use activated::activated;
pub use batch_norm::batch_norm;
pub use memory::Memory;
pub use update::update;

/// A plan of an operation with weights, and what is applied to its result on the way out.
#[derive(Clone, Debug)]
struct Weighted {
    product: Product,
    activation: Activation,
}

#[derive(Clone, Debug)]
enum Product {
    Conv2d(Box<Conv2d>),
    Dense(Dense),
}

/// A plan of an operation without weights.
#[derive(Clone, Debug)]
enum Pooling {
    Max(MaxPool2d),
    Average(AveragePool2d),
}

#[backend_extension(Flex, Autodiff)]
trait Kernels: Backend {
    fn weighted(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Weighted,
        output: Shape,
    ) -> FloatTensor<Self>;

    fn pooled(x: FloatTensor<Self>, plan: Pooling, output: Shape) -> FloatTensor<Self>;
}

impl Kernels for Flex {
    fn weighted(
        x: FlexTensor,
        kernel: FlexTensor,
        bias: FlexTensor,
        plan: Weighted,
        output: Shape,
    ) -> FlexTensor {
        fill(output, |y| {
            let (x, kernel, bias) = (Values::of(&x), Values::of(&kernel), Values::of(&bias));
            match &plan.product {
                Product::Conv2d(product) => {
                    product.forward(&x, &kernel, Some(&bias), plan.activation, y)
                }
                Product::Dense(product) => {
                    product.forward(&x, &kernel, Some(&bias), plan.activation, y)
                }
            }
        })
    }

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
struct WeightedBackward;

impl Backward<Flex, 3> for WeightedBackward {
    /// The inputs, the output if the gradient of the activation needs it, and the plan.
    type State = (
        FlexTensor,
        FlexTensor,
        FlexTensor,
        Option<FlexTensor>,
        Weighted,
    );

    fn backward(
        self,
        ops: Ops<Self::State, 3>,
        gradients: &mut Gradients,
        _checkpointer: &mut Checkpointer,
    ) {
        let (x, kernel, bias, y, plan) = ops.state;
        let dy = gradients.consume::<Flex>(&ops.node);
        let dy = match y {
            // From here on the gradient of the sum, before the activation.
            Some(y) => activated::before(plan.activation, y, dy),
            None => dy,
        };
        let dy = Values::new(dy);
        let [x_node, kernel_node, bias_node] = ops.parents;
        if let Some(node) = x_node {
            let kernel = Values::of(&kernel);
            let dx = fill(x.shape(), |dx| match &plan.product {
                Product::Conv2d(product) => product.grad_input(&dy, &kernel, dx),
                Product::Dense(product) => product.grad_input(&dy, &kernel, dx),
            });
            gradients.register::<Flex>(node.id, dx);
        }
        if let Some(node) = kernel_node {
            let x = Values::of(&x);
            let dkernel = fill(kernel.shape(), |dkernel| match &plan.product {
                Product::Conv2d(product) => product.grad_kernel(&x, &dy, dkernel),
                Product::Dense(product) => product.grad_kernel(&x, &dy, dkernel),
            });
            gradients.register::<Flex>(node.id, dkernel);
        }
        if let Some(node) = bias_node {
            let dbias = fill(bias.shape(), |dbias| {
                column_sums(Level::default(), &dy, dbias)
            });
            gradients.register::<Flex>(node.id, dbias);
        }
        memory::keep(dy.0);
        memory::keep(x);
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

impl<C: CheckpointStrategy> Kernels for Autodiff<Flex, C> {
    fn weighted(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Weighted,
        output: Shape,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (kernel, kernel_node), (bias, bias_node)) =
            (x.into_parts(), kernel.into_parts(), bias.into_parts());
        let prepared = WeightedBackward
            .prepare::<C>([x_node, kernel_node, bias_node])
            .compute_bound()
            .stateful();
        let y = Flex::weighted(
            x.clone(),
            kernel.clone(),
            bias.clone(),
            plan.clone(),
            output,
        );
        match prepared {
            OpsKind::Tracked(prepared) => {
                let output = (plan.activation != Activation::Linear).then(|| y.clone());
                prepared.finish((x, kernel, bias, output, plan), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }

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

/// A tensor's numbers, row by row.
struct Values(FlexTensor);

impl Values {
    fn of(tensor: &FlexTensor) -> Self {
        Self(tensor.to_contiguous())
    }

    fn new(tensor: FlexTensor) -> Self {
        if tensor.is_contiguous() {
            Self(tensor)
        } else {
            Self::of(&tensor)
        }
    }
}

impl std::ops::Deref for Values {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        self.0
            .as_slice()
            .unwrap_or_else(|| unreachable!("a contiguous tensor of f32"))
    }
}

/// A new tensor that `kernel` fills.
fn fill(shape: Shape, kernel: impl FnOnce(&mut [f32]) -> Result<(), ShapeError>) -> FlexTensor {
    let mut values = memory::take(shape.num_elements());
    checked(kernel(&mut values));
    tensor(values, shape)
}

fn tensor(values: Vec<f32>, shape: Shape) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values, shape))
}

/// The architecture has checked every shape before a network is made of it.
pub fn checked<T>(result: Result<T, ShapeError>) -> T {
    result.unwrap_or_else(|error| unreachable!("a shape that was checked: {error}"))
}

fn padding(padding: Padding) -> Padding2d {
    Padding2d {
        top: padding.top,
        bottom: padding.bottom,
        left: padding.left,
        right: padding.right,
    }
}

/// The shape of a convolution over images of this height and width.
pub fn conv2d_shape(
    input: [usize; 2],
    in_channels: usize,
    out_channels: usize,
    window: &Window,
    groups: usize,
) -> Conv2dShape {
    Conv2dShape {
        input: input.into(),
        in_channels,
        out_channels,
        kernel: window.size.into(),
        stride: window.strides.into(),
        dilation: window.dilation.into(),
        padding: padding(window.padding),
        groups,
    }
}

/// The shape of a pooling over images of this height and width.
pub fn pool2d_shape(input: [usize; 2], channels: usize, window: &Window) -> Pool2dShape {
    Pool2dShape {
        input: input.into(),
        channels,
        window: window.size.into(),
        stride: window.strides.into(),
        padding: padding(window.padding),
    }
}

/// The activation as far as the kernels can apply it on the way out, and what is left to do.
pub fn fuse(activation: architecture::Activation) -> (Activation, architecture::Activation) {
    use architecture::Activation as Keras;
    let fused = match activation {
        Keras::Relu => Activation::Relu,
        Keras::Relu6 => Activation::Relu6,
        Keras::Elu { alpha: 1.0 } => Activation::Elu,
        Keras::Selu => Activation::Selu,
        Keras::Sigmoid => Activation::Sigmoid,
        Keras::HardSigmoid => Activation::HardSigmoid,
        Keras::Tanh => Activation::Tanh,
        Keras::Exponential => Activation::Exponential,
        Keras::Softsign => Activation::Softsign,
        other => return (Activation::Linear, other),
    };
    (fused, Keras::Linear)
}

pub fn conv2d(
    x: Tensor<4>,
    kernel: Tensor<4>,
    bias: Option<Tensor<1>>,
    window: &Window,
    groups: usize,
    activation: Activation,
) -> Tensor<4> {
    let [n, h, w, in_channels] = x.dims();
    let [.., out_channels] = kernel.dims();
    let shape = conv2d_shape([h, w], in_channels, out_channels, window, groups);
    let plan = checked(Conv2d::new(shape));
    let (out_h, out_w) = plan.output();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([out_channels], &kernel.device()));
    Tensor::from_dispatch(Dispatch::weighted(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        Weighted {
            product: Product::Conv2d(Box::new(plan)),
            activation,
        },
        Shape::new([n, out_h, out_w, out_channels]),
    ))
}

pub fn dense(
    x: Tensor<2>,
    kernel: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<2> {
    let [n, inputs] = x.dims();
    let [_, outputs] = kernel.dims();
    let plan = checked(Dense::new(inputs, outputs));
    let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], &kernel.device()));
    Tensor::from_dispatch(Dispatch::weighted(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        Weighted {
            product: Product::Dense(plan),
            activation,
        },
        Shape::new([n, outputs]),
    ))
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
