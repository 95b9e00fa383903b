//! Layers that a pass computes in one operation, so that what lies between them stays in the cache.

use super::NodeWeights;
use super::layers::{self, Weights};
use super::ops::Window;
use crate::architecture::{Activation, BatchNormalization, Layer, Node};

/// What a layer's operation does at its end: its own activation, or what the layers after it would do.
pub(super) struct Ending<'a> {
    /// A batch normalization, in training.
    pub norm: Option<Normalization<'a>>,
    pub activation: Activation,
    /// The window of a maximum pooling.
    pub pool: Option<Window>,
}

/// A batch normalization that is part of the operation before it.
pub(super) struct Normalization<'a> {
    pub layer: &'a BatchNormalization,
    pub weights: Weights<'a>,
    /// Its node.
    pub node: usize,
}

impl Ending<'_> {
    /// Nothing but an activation.
    pub fn of(activation: Activation) -> Self {
        Self {
            norm: None,
            activation,
            pool: None,
        }
    }
}

/// Nodes that follow each other and are computed as one: the first, with those after it as its ending.
pub(super) struct Block<'a> {
    /// The last node.
    pub last: usize,
    pub ending: Ending<'a>,
}

impl<'a> Block<'a> {
    /// The block that begins with node `first`, where so many nodes use each one's value.
    ///
    /// The network's last node is never part of another's operation, since its activation waits.
    pub fn at(
        nodes: &'a [Node],
        weights: &'a [NodeWeights],
        uses: &[usize],
        first: usize,
        training: bool,
    ) -> Self {
        let mut block = Self {
            last: first,
            ending: Ending::of(match first + 1 < nodes.len() {
                true => layers::activation(&nodes[first].layer),
                false => Activation::Linear,
            }),
        };
        let is_convolution = matches!(
            nodes[first].layer,
            Layer::Conv2D(_) | Layer::DepthwiseConv2D(_) | Layer::SeparableConv2D(_)
        );
        let is_normalization = matches!(nodes[first].layer, Layer::BatchNormalization(_))
            && nodes[first].trainable
            && training;
        if !is_convolution && !is_normalization {
            return block;
        }
        // The next node, if it alone uses the last one's value.
        let next = |last: usize| {
            let next = nodes.get(last + 1).filter(|_| last + 2 < nodes.len())?;
            (uses[last] == 1 && next.inputs == [last]).then_some(next)
        };
        let is_linear = |block: &Self| block.ending.activation == Activation::Linear;
        if let Some(node) = next(block.last)
            && let Layer::BatchNormalization(layer) = &node.layer
            && is_convolution
            && is_linear(&block)
            && node.trainable
            && training
        {
            block.last += 1;
            block.ending.norm = Some(Normalization {
                layer,
                weights: Weights(weights[block.last].weights.iter()),
                node: block.last,
            });
        }
        if let Some(node) = next(block.last)
            && is_linear(&block)
            && matches!(node.layer, Layer::Activation(_) | Layer::ReLU { .. })
            && layers::activation(&node.layer) != Activation::Linear
        {
            block.last += 1;
            block.ending.activation = layers::activation(&node.layer);
        }
        if let Some(node) = next(block.last)
            && let Layer::MaxPooling2D(pool) = &node.layer
            && is_convolution
            && block.ending.norm.is_none()
        {
            let [_, height, width, _] = layers::batch_of(&nodes[block.last].output_shape, 1);
            block.last += 1;
            block.ending.pool = Some(layers::pooling_window([height, width], pool));
        }
        block
    }
}
