//! A network: the layer graph as a Burn module, with forward passes and parameters.
//!
//! The architecture says what a layer does; the module holds only its weights, in the order of
//! [`Architecture::variables`]. Every value between layers is a channels-last tensor
//! `[N, H, W, C]`; a layer of lower rank has leading axes of size 1 (`[N, 1, 1, units]` after
//! `Flatten`), so all layers have one type.

mod activation;
mod blocks;
mod convolution;
mod geometry;
mod initialize;
mod layers;
pub mod ops;
mod parameters;
mod predictor;

use std::sync::Arc;

use burn::module::{Module, Param, ParamId};
use burn::tensor::{Device, Tensor, TensorData};
use rand_chacha::ChaCha8Rng;

use self::blocks::Block;
use self::ops::Value;
use crate::architecture::{Activation, Architecture, Regularizer};

pub use initialize::initialize;
pub use kernels::alone;
pub use parameters::{Parameter, ParameterFault, Parameters, ParametersError};
pub use predictor::Predictor;

/// One weight of a layer. Keras has vectors (biases, statistics), matrices (`Dense`) and kernels
/// (`[kh, kw, in, out]`).
#[derive(Module, Debug)]
enum Weight {
    Vector(Param<Tensor<1>>),
    Matrix(Param<Tensor<2>>),
    Kernel(Param<Tensor<4>>),
}

/// The weights of one node of the graph, in Keras' order.
#[derive(Module, Debug)]
struct NodeWeights {
    weights: Vec<Weight>,
}

/// A layer graph with its weights on a device.
#[derive(Module, Debug)]
pub struct Network {
    nodes: Vec<NodeWeights>,
    #[module(skip)]
    architecture: Arc<Architecture>,
    #[module(skip)]
    device: Device,
}

/// What comes out of a network, with the last activation still to be applied.
///
/// A crossentropy is computed from the values before softmax or sigmoid, as Keras does it.
pub struct Output {
    value: Tensor<4>,
    /// The last activation.
    pub activation: Activation,
}

impl Output {
    /// `[N, outputs]`, before the last activation.
    pub fn before_activation(&self) -> Tensor<2> {
        flat(self.value.clone())
    }

    /// The scores `[N, outputs]`.
    pub fn scores(&self) -> Tensor<2> {
        flat(activation::apply(self.activation, self.value.clone()))
    }
}

fn flat(x: Tensor<4>) -> Tensor<2> {
    x.flatten(1, 3)
}

/// What a forward pass in training needs beside the weights, and what it learns on the way.
pub(crate) struct Pass<'a> {
    /// What dropout and noise are drawn from.
    pub(crate) rng: &'a mut ChaCha8Rng,
    /// New moving statistics: node, place among its weights, value.
    pub(crate) moving: Vec<(usize, usize, Tensor<1>)>,
}

impl Network {
    /// A network of this architecture with these weights, on `device`.
    ///
    /// # Errors
    ///
    /// [`ParametersError`] where the weights are not the architecture's.
    pub fn new(
        architecture: &Architecture,
        parameters: &Parameters,
        device: &Device,
    ) -> Result<Self, ParametersError> {
        parameters.check(architecture)?;
        let mut variables = architecture.variables().into_iter().peekable();
        let mut nodes = Vec::with_capacity(architecture.nodes.len());
        for node in &architecture.nodes {
            let mut weights = Vec::new();
            while let Some(variable) = variables.next_if(|v| v.node_name() == node.name) {
                if let Some(parameter) = parameters.get(&variable.name) {
                    weights.push(Weight::new(parameter, variable.trainable, device));
                }
            }
            nodes.push(NodeWeights { weights });
        }
        Ok(Self {
            nodes,
            architecture: Arc::new(architecture.clone()),
            device: device.clone(),
        })
    }

    /// The architecture that the network was made from.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// The device that the weights are on.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// How many scores the network gives for an image.
    pub fn outputs(&self) -> usize {
        self.architecture.output_shape().elements().unwrap_or(0)
    }

    /// The scores of `count` images, whose pixels lie one after another in `images`: `count` times
    /// [`outputs`](Self::outputs) numbers.
    ///
    /// # Panics
    ///
    /// If `images` has another length.
    pub fn predict(&self, images: Vec<f32>, count: usize) -> Vec<f32> {
        let images = TensorData::new(images, self.input_extents(count));
        let output = self.forward(Tensor::from_data(images, &self.device));
        // Every tensor of a network is f32, which is what the conversion asks for.
        output
            .scores()
            .into_data()
            .try_into_vec()
            .unwrap_or_default()
    }

    /// The extents of a batch of inputs, `[count, H, W, C]`.
    pub fn input_extents(&self, count: usize) -> [usize; 4] {
        layers::batch_of(self.architecture.input_shape(), count)
    }

    /// A forward pass as in serving: dropout passes, normalization uses its moving statistics.
    pub fn forward(&self, images: Tensor<4>) -> Output {
        self.run(images, None)
    }

    /// A forward pass as in training; batch normalization moves its statistics.
    pub fn forward_training(&mut self, images: Tensor<4>, rng: &mut ChaCha8Rng) -> Output {
        let mut pass = Pass {
            rng,
            moving: Vec::new(),
        };
        let output = self.run(images, Some(&mut pass));
        for (node, place, value) in pass.moving {
            if let Some(weight) = self
                .nodes
                .get_mut(node)
                .and_then(|node| node.weights.get_mut(place))
            {
                *weight = Weight::Vector(frozen(value));
            }
        }
        output
    }

    fn run(&self, images: Tensor<4>, mut pass: Option<&mut Pass>) -> Output {
        let nodes = &self.architecture.nodes;
        // What a node gives is let go of at its last use.
        let mut uses = vec![0usize; nodes.len()];
        for &input in nodes.iter().flat_map(|node| &node.inputs) {
            uses[input] += 1;
        }
        let mut values: Vec<Option<Value>> = vec![None; nodes.len()];
        let images = Value::Tensor(images);
        let mut last = images.clone();
        let mut activation = Activation::Linear;
        let mut index = 0;
        while let (Some(node), Some(weights)) = (nodes.get(index), self.nodes.get(index)) {
            let (x, input) = match node.inputs.first() {
                Some(&from) => {
                    uses[from] -= 1;
                    let value = if uses[from] == 0 {
                        values[from].take()
                    } else {
                        values[from].clone()
                    };
                    // Inputs stand before the nodes that use them.
                    (
                        value.unwrap_or_else(|| images.clone()),
                        &nodes[from].output_shape,
                    )
                }
                None => (images.clone(), &node.output_shape),
            };
            activation = layers::activation(&node.layer);
            let Block { last: end, ending } =
                Block::at(nodes, &self.nodes, &uses, index, pass.is_some());
            let value = layers::forward(
                x,
                node,
                input,
                ending,
                layers::Weights(weights.weights.iter()),
                pass.as_deref_mut().map(|pass| (pass, index)),
            );
            match uses[end] {
                0 => last = value,
                1 => values[end] = Some(value),
                _ => values[end] = Some(Value::Tensor(value.tensor())),
            }
            index = end + 1;
        }
        Output {
            value: last.tensor(),
            activation,
        }
    }

    /// Takes the weights out, to be given back as another network.
    pub(crate) fn take(&mut self) -> Self {
        Self {
            nodes: std::mem::take(&mut self.nodes),
            architecture: Arc::clone(&self.architecture),
            device: self.device.clone(),
        }
    }

    /// What the regularizers of the trainable weights add to the loss; nothing where there are none.
    pub fn penalty(&self) -> Option<Tensor<1>> {
        let variables = self.architecture.variables();
        let weights = self.nodes.iter().flat_map(|node| &node.weights);
        let penalties = variables
            .iter()
            .zip(weights)
            .filter_map(|(variable, weight)| {
                let regularizer = variable.regularizer?;
                variable.trainable.then(|| weight.penalty(regularizer))
            });
        penalties.reduce(|sum, penalty| sum + penalty)
    }

    /// The weights, in Keras' layouts and order.
    pub fn parameters(&self) -> Parameters {
        let variables = self.architecture.variables();
        let weights = self.nodes.iter().flat_map(|node| &node.weights);
        let parameters = variables
            .into_iter()
            .zip(weights)
            .map(|(variable, weight)| {
                let parameter = Parameter {
                    values: weight.values(),
                    shape: variable.shape,
                };
                (variable.name, parameter)
            });
        parameters.collect()
    }
}

impl Weight {
    fn new(parameter: &Parameter, trainable: bool, device: &Device) -> Self {
        let values = |shape: Vec<usize>| TensorData::new(parameter.values.clone(), shape);
        match parameter.shape.len() {
            2 => Self::Matrix(param(values(parameter.shape.clone()), trainable, device)),
            4 => Self::Kernel(param(values(parameter.shape.clone()), trainable, device)),
            // Three axes occur only in `LayerNormalization`, which spreads them itself.
            _ => Self::Vector(param(
                values(vec![parameter.values.len()]),
                trainable,
                device,
            )),
        }
    }

    fn values(&self) -> Vec<f32> {
        let data = match self {
            Self::Vector(param) => param.val().into_data(),
            Self::Matrix(param) => param.val().into_data(),
            Self::Kernel(param) => param.val().into_data(),
        };
        data.try_into_vec().unwrap_or_default()
    }

    fn penalty(&self, regularizer: Regularizer) -> Tensor<1> {
        match self {
            Self::Vector(param) => penalty(param.val(), regularizer),
            Self::Matrix(param) => penalty(param.val(), regularizer),
            Self::Kernel(param) => penalty(param.val(), regularizer),
        }
    }
}

fn param<const D: usize>(data: TensorData, trainable: bool, device: &Device) -> Param<Tensor<D>> {
    let tensor = Tensor::from_data(data, device);
    if trainable {
        Param::from_tensor(tensor)
    } else {
        frozen(tensor)
    }
}

/// A weight that no optimizer moves.
fn frozen<const D: usize>(tensor: Tensor<D>) -> Param<Tensor<D>> {
    Param::initialized(ParamId::new(), tensor.detach()).set_require_grad(false)
}

/// `l1 · Σ|w| + l2 · Σw²`.
fn penalty<const D: usize>(weight: Tensor<D>, regularizer: Regularizer) -> Tensor<1> {
    let squares = (weight.clone() * weight.clone()).sum() * regularizer.l2;
    if regularizer.l1 == 0.0 {
        squares
    } else {
        squares + weight.abs().sum() * regularizer.l1
    }
}
