//! A dense layer's product, with its gradients.

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Dispatch, Flex, TensorMetadata, backend_extension};
use burn::tensor::{Shape, Tensor};
use kernels::{Activation, Dense, Level, column_sums};

use super::{Values, activated, checked, fill, memory};

/// The plan, and what is applied to its result on the way out.
#[derive(Clone, Debug)]
struct Plan {
    product: Dense,
    activation: Activation,
    output: Shape,
}

#[backend_extension(Flex, Autodiff)]
trait Products: Backend {
    fn product(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self>;
}

impl Products for Flex {
    fn product(x: FlexTensor, kernel: FlexTensor, bias: FlexTensor, plan: Plan) -> FlexTensor {
        fill(plan.output, |y| {
            let (x, kernel, bias) = (Values::of(&x), Values::of(&kernel), Values::of(&bias));
            plan.product
                .forward(&x, &kernel, Some(&bias), plan.activation, y)
        })
    }
}

#[derive(Debug)]
struct ProductBackward;

impl Backward<Flex, 3> for ProductBackward {
    /// The inputs, the output if the gradient of the activation needs it, and the plan.
    type State = (FlexTensor, FlexTensor, FlexTensor, Option<FlexTensor>, Plan);

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
            let dx = fill(x.shape(), |dx| plan.product.grad_input(&dy, &kernel, dx));
            gradients.register::<Flex>(node.id, dx);
        }
        if let Some(node) = kernel_node {
            let x = Values::of(&x);
            let dkernel = fill(kernel.shape(), |dkernel| {
                plan.product.grad_kernel(&x, &dy, dkernel)
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

impl<C: CheckpointStrategy> Products for Autodiff<Flex, C> {
    fn product(
        x: FloatTensor<Self>,
        kernel: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        plan: Plan,
    ) -> FloatTensor<Self> {
        let ((x, x_node), (kernel, kernel_node), (bias, bias_node)) =
            (x.into_parts(), kernel.into_parts(), bias.into_parts());
        let prepared = ProductBackward
            .prepare::<C>([x_node, kernel_node, bias_node])
            .compute_bound()
            .stateful();
        let y = Flex::product(x.clone(), kernel.clone(), bias.clone(), plan.clone());
        match prepared {
            OpsKind::Tracked(prepared) => {
                let output = (plan.activation != Activation::Linear).then(|| y.clone());
                prepared.finish((x, kernel, bias, output, plan), y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(y),
        }
    }
}

pub fn dense(
    x: Tensor<2>,
    kernel: Tensor<2>,
    bias: Option<Tensor<1>>,
    activation: Activation,
) -> Tensor<2> {
    let [n, inputs] = x.dims();
    let [_, outputs] = kernel.dims();
    let bias = bias.unwrap_or_else(|| Tensor::zeros([outputs], &kernel.device()));
    Tensor::from_dispatch(Dispatch::product(
        x.into_dispatch(),
        kernel.into_dispatch(),
        bias.into_dispatch(),
        Plan {
            product: checked(Dense::new(inputs, outputs)),
            activation,
            output: Shape::new([n, outputs]),
        },
    ))
}
