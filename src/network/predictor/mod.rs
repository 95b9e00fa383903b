//! A predictor: a network in the form that it serves in, made once at load.
//!
//! On Burn's Flex device the chain of layers becomes a chain of kernel calls. What can be computed
//! at load is: batch normalization and rescaling are folded into the weights beside them
//! (`fold.rs`), kernels are transformed, activations go into the layer before them. What is left
//! runs group by group of images, so that what one layer hands to the next stays in a core's cache
//! (`plan.rs`), in buffers that each thread keeps: a prediction of a size that was seen before allocates
//! nothing, but for layers that have no kernel of ours (`step.rs`). On any other device a predictor
//! is the [`Network`].
//!
//! An image gets the same scores, bit for bit, in whatever batch it comes and on however many threads.

mod fold;
mod lower;
mod plan;
mod step;

use burn::tensor::Device;

use super::{Network, Parameters, ParametersError, ops};
use crate::architecture::Architecture;
use plan::Plan;

/// A network that only predicts.
pub struct Predictor {
    form: Form,
    input: usize,
    outputs: usize,
}

enum Form {
    Kernels(Plan),
    Burn(Box<Network>),
}

impl Predictor {
    /// A predictor of this architecture with these weights, on `device`.
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
        // The architecture has bounded both.
        let input = architecture.input_shape().elements().unwrap_or(0);
        let outputs = architecture.output_shape().elements().unwrap_or(0);
        let form = if ops::is_flex(device) {
            let operations = lower::lowered(architecture, parameters);
            Form::Kernels(Plan::new(fold::folded(operations), input))
        } else {
            Form::Burn(Box::new(Network::new(architecture, parameters, device)?))
        };
        Ok(Self {
            form,
            input,
            outputs,
        })
    }

    /// How many numbers an image has.
    pub fn input(&self) -> usize {
        self.input
    }

    /// How many scores the network gives for an image.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Fills `scores` with the scores of the images whose pixels lie one after another in `images`,
    /// on the threads of the rayon pool that the caller is in.
    ///
    /// # Panics
    ///
    /// If `images` is not a whole number of images, or `scores` has no place for each.
    pub fn predict(&self, images: &[f32], scores: &mut [f32]) {
        let count = images.len() / self.input.max(1);
        assert_eq!(images.len(), count * self.input, "whole images");
        assert_eq!(scores.len(), count * self.outputs, "a place for each score");
        match &self.form {
            Form::Kernels(plan) => plan.run(images, count, scores),
            Form::Burn(network) => {
                scores.copy_from_slice(&network.predict(images.to_vec(), count));
            }
        }
    }
}
