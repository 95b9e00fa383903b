//! From layers to operations: what each layer computes, in the terms of the kernels.

use std::collections::HashMap;

use burn::tensor::Device;
use kernels::{Activation, Conv2dShape, Pool2dShape};

use super::super::layers::{self, batch_of};
use super::super::ops::{self, Window, fuse};
use super::super::{NodeWeights, Parameter, Parameters, Weight};
use crate::architecture::{self, Architecture, Layer, Node, Shape};

/// What is computed of one image, whose values are `[height, width, channels]`.
#[derive(Debug)]
pub(super) enum Operation {
    Conv2d(Conv2d),
    Dense(Dense),
    MaxPool(Pool2dShape),
    AveragePool(Pool2dShape),
    Affine(Affine),
    Activation(Activation),
    Softmax {
        classes: usize,
    },
    /// A layer that has no kernel: Burn's operations compute it.
    Layer(Box<LayerOnBurn>),
}

/// `activation(x ∗ kernel + bias)`.
#[derive(Debug)]
pub(super) struct Conv2d {
    pub shape: Conv2dShape,
    pub kernel: Vec<f32>,
    pub bias: Vec<f32>,
    pub activation: Activation,
}

/// `activation(x · kernel + bias)` along the last axis, `rows` times.
#[derive(Debug)]
pub(super) struct Dense {
    pub rows: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: Vec<f32>,
    pub bias: Vec<f32>,
    pub activation: Activation,
}

/// `activation(x · scale + shift)`, channel by channel.
#[derive(Debug)]
pub(super) struct Affine {
    /// Height and width.
    pub size: [usize; 2],
    /// A scale and a shift for each channel.
    pub channels: Vec<(f64, f64)>,
    pub activation: Activation,
}

/// A layer with its weights as Burn's tensors.
#[derive(Debug)]
pub(super) struct LayerOnBurn {
    pub node: Node,
    pub input: Shape,
    pub weights: NodeWeights,
}

/// The operations of an architecture, from its input to its output.
///
/// Every layer has one input, so what leads to the output is a chain. The parameters have been checked.
pub(super) fn lowered(architecture: &Architecture, parameters: &Parameters) -> Vec<Operation> {
    let nodes = &architecture.nodes;
    let mut chain = Vec::new();
    let mut at = nodes.len().checked_sub(1);
    while let Some(node) = at {
        chain.push(node);
        at = nodes[node].inputs.first().copied();
    }
    let variables = architecture.variables();
    let mut weights: HashMap<&str, Vec<&Parameter>> = HashMap::new();
    for variable in &variables {
        let own = weights.entry(variable.node_name()).or_default();
        own.extend(parameters.get(&variable.name));
    }
    let mut operations = Vec::new();
    for &index in chain.iter().rev() {
        let node = &nodes[index];
        let input = node
            .inputs
            .first()
            .map_or(&node.output_shape, |&from| &nodes[from].output_shape);
        let weights = weights.remove(node.name.as_str()).unwrap_or_default();
        lower(node, input, weights, &mut operations);
    }
    operations
}

fn lower(node: &Node, input: &Shape, weights: Vec<&Parameter>, operations: &mut Vec<Operation>) {
    let [_, height, width, channels] = batch_of(input, 1);
    let size = [height, width];
    let mut values = weights.iter().map(|parameter| parameter.values.clone());
    let mut next = |used: bool| if used { values.next() } else { None };
    match &node.layer {
        Layer::Input
        | Layer::Augmentation(_)
        | Layer::Flatten
        | Layer::Reshape { .. }
        | Layer::Dropout { .. }
        | Layer::SpatialDropout2D { .. }
        | Layer::GaussianNoise { .. } => {}
        Layer::Activation(activation) => activate(*activation, &node.output_shape, operations),
        Layer::Softmax => operations.push(Operation::Softmax { classes: channels }),
        &Layer::ReLU {
            max_value,
            negative_slope: 0.0,
            threshold: 0.0,
        } if max_value.is_none() || max_value == Some(6.0) => {
            let activation = if max_value.is_none() {
                Activation::Relu
            } else {
                Activation::Relu6
            };
            operations.push(Operation::Activation(activation));
        }
        Layer::ELU { alpha: 1.0 } => operations.push(Operation::Activation(Activation::Elu)),
        Layer::Dense(dense) => {
            let kernel = next(true).unwrap_or_default();
            let bias = next(dense.use_bias);
            let (fused, rest) = fuse(dense.activation);
            operations.push(Operation::Dense(Dense {
                rows: height * width,
                inputs: channels,
                outputs: dense.units,
                kernel,
                bias: bias.unwrap_or_else(|| vec![0.0; dense.units]),
                activation: fused,
            }));
            activate(rest, &node.output_shape, operations);
        }
        Layer::Conv2D(conv) => {
            let kernel = next(true).unwrap_or_default();
            let bias = next(conv.use_bias);
            let window = layers::window(size, &conv.window);
            let shape = ops::conv2d_shape(size, channels, conv.filters, &window, conv.groups);
            convolve(shape, kernel, bias, conv.activation, node, operations);
        }
        Layer::DepthwiseConv2D(conv) => {
            let kernel = next(true).unwrap_or_default();
            let bias = next(conv.use_bias);
            let outputs = channels * conv.depth_multiplier;
            let window = layers::window(size, &conv.window);
            let shape = ops::conv2d_shape(size, channels, outputs, &window, channels);
            convolve(shape, kernel, bias, conv.activation, node, operations);
        }
        Layer::SeparableConv2D(conv) => {
            let depthwise = next(true).unwrap_or_default();
            let pointwise = next(true).unwrap_or_default();
            let bias = next(conv.use_bias);
            let between = channels * conv.depth_multiplier;
            let window = layers::window(size, &conv.window);
            let shape = ops::conv2d_shape(size, channels, between, &window, channels);
            let linear = architecture::Activation::Linear;
            convolve(shape, depthwise, None, linear, node, operations);
            let [_, height, width, _] = batch_of(&node.output_shape, 1);
            let shape =
                ops::conv2d_shape([height, width], between, conv.filters, &Window::POINT, 1);
            convolve(shape, pointwise, bias, conv.activation, node, operations);
        }
        Layer::MaxPooling2D(pooling) => {
            let window = layers::pooling_window(size, pooling);
            let shape = ops::pool2d_shape(size, channels, &window);
            operations.push(Operation::MaxPool(shape));
        }
        Layer::AveragePooling2D(pooling) => {
            let window = layers::pooling_window(size, pooling);
            let shape = ops::pool2d_shape(size, channels, &window);
            operations.push(Operation::AveragePool(shape));
        }
        Layer::GlobalMaxPooling2D { .. } => {
            operations.push(Operation::MaxPool(global(size, channels)));
        }
        Layer::GlobalAveragePooling2D { .. } => {
            operations.push(Operation::AveragePool(global(size, channels)));
        }
        Layer::BatchNormalization(norm) => {
            let gamma = next(norm.scale);
            let beta = next(norm.center);
            let (mean, variance) = (
                next(true).unwrap_or_default(),
                next(true).unwrap_or_default(),
            );
            let channel = |index: usize| {
                let at = |values: &Option<Vec<f32>>, without: f64| {
                    let value = values.as_ref().and_then(|values| values.get(index));
                    value.map_or(without, |&value| f64::from(value))
                };
                let scale = at(&gamma, 1.0) / (f64::from(variance[index]) + norm.epsilon).sqrt();
                (scale, at(&beta, 0.0) - f64::from(mean[index]) * scale)
            };
            let count = mean.len().min(variance.len());
            operations.push(affine(size, (0..count).map(channel).collect()));
        }
        Layer::Rescaling { scale, offset } => {
            let at = |values: &[f64], index: usize| values.get(index).or(values.first()).copied();
            let channel = |index| {
                (
                    at(scale, index).unwrap_or(1.0),
                    at(offset, index).unwrap_or(0.0),
                )
            };
            operations.push(affine(size, (0..channels).map(channel).collect()));
        }
        _ => operations.push(on_burn(node.clone(), input, &weights)),
    }
}

fn affine(size: [usize; 2], channels: Vec<(f64, f64)>) -> Operation {
    Operation::Affine(Affine {
        size,
        channels,
        activation: Activation::Linear,
    })
}

fn on_burn(node: Node, input: &Shape, weights: &[&Parameter]) -> Operation {
    let weights = weights.iter();
    let weights = weights.map(|parameter| Weight::new(parameter, false, &Device::flex()));
    Operation::Layer(Box::new(LayerOnBurn {
        node,
        input: input.clone(),
        weights: NodeWeights {
            weights: weights.collect(),
        },
    }))
}

/// An activation that is not part of another operation, over values of this shape.
fn activate(activation: architecture::Activation, shape: &Shape, operations: &mut Vec<Operation>) {
    let [.., classes] = batch_of(shape, 1);
    match fuse(activation) {
        (Activation::Linear, architecture::Activation::Linear) => {}
        (Activation::Linear, architecture::Activation::Softmax) => {
            operations.push(Operation::Softmax { classes });
        }
        (Activation::Linear, rest) => {
            let node = Node {
                name: String::new(),
                layer: Layer::Activation(rest),
                inputs: Vec::new(),
                output_shape: shape.clone(),
                trainable: false,
            };
            operations.push(on_burn(node, shape, &[]));
        }
        (fused, _) => operations.push(Operation::Activation(fused)),
    }
}

fn convolve(
    shape: Conv2dShape,
    kernel: Vec<f32>,
    bias: Option<Vec<f32>>,
    activation: architecture::Activation,
    node: &Node,
    operations: &mut Vec<Operation>,
) {
    let (fused, rest) = fuse(activation);
    operations.push(Operation::Conv2d(Conv2d {
        kernel,
        bias: bias.unwrap_or_else(|| vec![0.0; shape.out_channels]),
        activation: fused,
        shape,
    }));
    activate(rest, &node.output_shape, operations);
}

/// One window over the whole image.
fn global(size: [usize; 2], channels: usize) -> Pool2dShape {
    ops::pool2d_shape(size, channels, &Window::whole(size))
}
