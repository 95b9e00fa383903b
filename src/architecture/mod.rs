//! An architecture: the checked graph of a model's layers, read from and written as Keras JSON.
//!
//! [`Architecture::from_json`] takes what Keras 3 `to_json()` writes, what Keras 1 and 2 wrote, and
//! what a person types by hand; [`Architecture::to_json`] writes what Keras 3 writes. Everything in
//! between is settled once read: every default is filled in, every shape is known, every size is
//! within bounds.
//!
//! Computation is in float32. A document with another float policy (`mixed_float16`, `bfloat16`,
//! `float64`) is read as float32 and written so. A fixed batch size is not kept either.

mod activation;
mod error;
mod infer;
mod initializer;
mod layer;
mod operations;
mod read;
mod regularizer;
mod shape;
mod summary;
mod variables;
mod write;

use serde_json::Value;

pub use activation::Activation;
pub use error::{ArchitectureError, Fault, Place};
pub use initializer::{Distribution, Fan, Initializer};
pub use layer::{
    Augmentation, BatchNormalization, Conv2D, Dense, DepthwiseConv2D, Interpolation, Layer,
    LayerNormalization, Normalization, Padding, Pooling2D, Resizing, SeparableConv2D, Sides,
    Statistics, Window,
};
pub use regularizer::Regularizer;
pub use shape::Shape;
pub use variables::Variable;

/// How many layers a model may have.
pub const MAX_LAYERS: usize = 10_000;

/// How many numbers one example of a layer's output may have.
pub const MAX_ELEMENTS: usize = 1 << 31;

/// How many numbers all weights together may have.
pub const MAX_PARAMETERS: usize = 1 << 31;

/// A model without its weights: layers in the order they are computed.
#[derive(Clone, Debug, PartialEq)]
pub struct Architecture {
    /// The model's name.
    pub name: String,
    /// Each node after those it takes its inputs from; the first is the input, the last the output.
    pub nodes: Vec<Node>,
}

/// One layer in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// The layer's name, unique in its model.
    pub name: String,
    /// What is computed.
    pub layer: Layer,
    /// The nodes whose outputs come in, by their place in [`Architecture::nodes`]; empty for the
    /// input.
    pub inputs: Vec<usize>,
    /// What goes out.
    pub output_shape: Shape,
    /// Whether training moves the layer's weights.
    pub trainable: bool,
}

impl Architecture {
    /// Reads a JSON text; see [`from_value`](Self::from_value).
    ///
    /// # Errors
    ///
    /// [`ArchitectureError::Syntax`] with line and column where the text is not JSON,
    /// [`ArchitectureError::TooDeep`] where it is nested beyond reason; else as `from_value`.
    pub fn from_json(text: &str) -> Result<Self, ArchitectureError> {
        read::from_json(text)
    }

    /// Reads a `Sequential` document of Keras 1, 2 or 3, `{"layers": […]}`, or a bare list of layers.
    ///
    /// A `Functional` document, of class `Model` before Keras 2.4, is read where it has one input and
    /// one output. All layers here take one input; none merges several, so such a model is always a
    /// chain, and [`to_json`](Self::to_json) writes it as the `Sequential` that it is.
    ///
    /// # Errors
    ///
    /// The first fault found, in the order of the layers. What Irori does not compute is refused,
    /// never ignored; custom code is refused by its name.
    pub fn from_value(value: &Value) -> Result<Self, ArchitectureError> {
        read::from_value(value.clone())
    }

    /// The document that Keras 3 `to_json()` writes for this model; Keras' `model_from_json` reads it,
    /// and so does [`from_value`](Self::from_value), which gives back this architecture.
    pub fn to_json(&self) -> Value {
        write::model(self)
    }

    /// What the model takes in.
    pub fn input_shape(&self) -> &Shape {
        &self.nodes[0].output_shape
    }

    /// What the model gives out.
    pub fn output_shape(&self) -> &Shape {
        &self.nodes[self.nodes.len() - 1].output_shape
    }

    /// All weights in Keras' order: layer by layer, and in a layer those that an optimizer moves
    /// first.
    ///
    /// `Normalization`'s counter of the batches it adapted to is not among them: nothing is computed
    /// from it.
    pub fn variables(&self) -> Vec<Variable> {
        self.nodes
            .iter()
            .flat_map(|node| variables::of_node(node, self.input_of(node)))
            .collect()
    }

    /// Keras' table of the layers, their output shapes and their numbers of parameters, at most 80
    /// columns wide.
    pub fn summary(&self) -> String {
        summary::table(self)
    }

    /// What comes into a node; for the input node, what goes out of it.
    fn input_of<'a>(&'a self, node: &'a Node) -> &'a Shape {
        node.inputs
            .first()
            .map_or(&node.output_shape, |&index| &self.nodes[index].output_shape)
    }
}
