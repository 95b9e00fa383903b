//! A draft from a model that was made elsewhere, which brings no labels and no word about its input.

use super::{Draft, Lineage, Origin, Outputs};
use crate::architecture::{Activation, Architecture, Layer};
use crate::imaging::Preprocessing;
use crate::interchange::Imported;

/// What the importer says of a model beyond its file.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// The names of the classes. Without: their numbers, from 0.
    pub labels: Option<Vec<String>>,
    /// From an image to the network's input. Without: stretched to its size and scaled to 0..1, or left at 0..255 where the
    /// network begins by scaling its input itself.
    pub preprocessing: Option<Preprocessing>,
    /// What the last layer gives. Without: probabilities where it ends in a softmax or sigmoid, else logits.
    pub outputs: Option<Outputs>,
}

impl Draft {
    /// The draft of a version from an imported model.
    pub fn imported(imported: Imported, options: ImportOptions) -> Self {
        let architecture = imported.architecture;
        Self {
            labels: options.labels.unwrap_or_else(|| numbers(&architecture)),
            preprocessing: options
                .preprocessing
                .unwrap_or_else(|| preprocessing(&architecture)),
            outputs: options.outputs.unwrap_or_else(|| outputs(&architecture)),
            parameters: imported.parameters,
            lineage: Lineage {
                origin: Origin::Imported,
                compile: imported.compile,
                source: Some(imported.source),
                ..Lineage::default()
            },
            evaluation: None,
            history: None,
            examples: Vec::new(),
            architecture,
        }
    }
}

fn numbers(architecture: &Architecture) -> Vec<String> {
    let outputs = architecture.output_shape().channels().unwrap_or(0);
    let classes = if outputs == 1 { 2 } else { outputs };
    (0..classes).map(|class| class.to_string()).collect()
}

fn preprocessing(architecture: &Architecture) -> Preprocessing {
    let channels = architecture.input_shape().channels().unwrap_or(1);
    let mut preprocessing = Preprocessing::for_channels(channels);
    // What stands before the first layer that computes features prepares the input.
    let scales_itself = architecture
        .nodes
        .iter()
        .take_while(|node| !matches!(node.layer, Layer::Conv2D(_) | Layer::Dense(_)))
        .any(|node| {
            matches!(
                node.layer,
                Layer::Rescaling { .. } | Layer::Normalization(_)
            )
        });
    if scales_itself {
        preprocessing.scale = 1.0;
    }
    preprocessing
}

fn outputs(architecture: &Architecture) -> Outputs {
    let is_probability =
        |activation: &Activation| matches!(activation, Activation::Softmax | Activation::Sigmoid);
    match architecture.nodes.last().map(|node| &node.layer) {
        Some(Layer::Softmax) => Outputs::Probabilities,
        Some(Layer::Activation(activation)) if is_probability(activation) => Outputs::Probabilities,
        Some(Layer::Dense(dense)) if is_probability(&dense.activation) => Outputs::Probabilities,
        _ => Outputs::Logits,
    }
}
