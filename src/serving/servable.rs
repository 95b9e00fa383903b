//! A servable: one version of a model, loaded and warmed, with what it takes from bytes to
//! probabilities.

use std::sync::Arc;

use burn::tensor::Device;

use super::{Prediction, Statistics};
use crate::architecture::Node;
use crate::evaluation::Evaluation;
use crate::imaging::{self, Dimensions, ImagingError, Limits, Normaliser};
use crate::network::Predictor;
use crate::repository::{Card, Golden, Outputs, Stamp, StoredVersion, VersionFault};

/// One version of a model in memory. Immutable: another version is another servable.
pub struct Servable {
    model: String,
    version: u64,
    card: Card,
    evaluation: Option<Evaluation>,
    input: Dimensions,
    normaliser: Normaliser,
    input_name: String,
    output_name: String,
    network: Predictor,
    operations: u64,
    bytes: usize,
    stamp: Stamp,
    self_tested: bool,
    statistics: Arc<Statistics>,
}

impl Servable {
    /// Builds the network on `device` and has it give its golden answers once more: alone and
    /// together, as clients will ask for them. That warms it too, so that the first client does not
    /// pay for what is done only once; a version without golden answers is warmed by a blank image.
    /// What it is asked from then on is added to `statistics`.
    ///
    /// # Errors
    ///
    /// Why the version can't be served: its input is no image, or the answers are others.
    pub fn load(
        stored: StoredVersion,
        statistics: Arc<Statistics>,
        device: &Device,
    ) -> Result<Self, VersionFault> {
        let shape = stored.architecture.input_shape();
        let input = shape.as_image().map(Dimensions::from);
        let input = input.ok_or_else(|| VersionFault::NotAnImage {
            shape: shape.to_string(),
        })?;
        let network = Predictor::new(&stored.architecture, &stored.parameters, device)
            .map_err(VersionFault::Parameters)?;
        let nodes = &stored.architecture.nodes;
        let name_of = |node: Option<&Node>| node.map(|node| node.name.clone()).unwrap_or_default();
        let servable = Self {
            normaliser: stored.card.preprocessing.normaliser(input.channels),
            bytes: stored.parameters.bytes(),
            model: stored.model,
            version: stored.version,
            card: stored.card,
            evaluation: stored.evaluation,
            input,
            input_name: name_of(nodes.first()),
            output_name: name_of(nodes.last()),
            network,
            operations: stored.architecture.forward_operations(),
            stamp: stored.stamp,
            self_tested: stored.golden.is_some(),
            statistics,
        };
        match &stored.golden {
            Some(golden) => servable.self_test(golden)?,
            None => {
                let blank = vec![0.0; input.values().unwrap_or(0)];
                servable.scores([blank.as_slice()].into_iter());
            }
        }
        Ok(servable)
    }

    fn self_test(&self, golden: &Golden) -> Result<(), VersionFault> {
        let pixels = golden.images().map(|image| {
            let mut pixels = vec![0.0; image.len()];
            self.normaliser.apply(image, &mut pixels);
            pixels
        });
        let pixels: Vec<Vec<f32>> = pixels.collect();
        let images = || pixels.iter().map(Vec::as_slice);
        let alone = images().flat_map(|image| self.scores([image].into_iter()));
        let alone: Vec<Vec<f32>> = alone.collect();
        golden.compare(alone.iter().map(Vec::as_slice))?;
        let together = self.scores(images());
        golden.compare(together.iter().map(Vec::as_slice))
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The version's number.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Labels, preprocessing and lineage.
    pub fn card(&self) -> &Card {
        &self.card
    }

    /// The report on held-out images, where there is one.
    pub fn evaluation(&self) -> Option<&Evaluation> {
        self.evaluation.as_ref()
    }

    /// The image that the network takes.
    pub fn input(&self) -> Dimensions {
        self.input
    }

    /// The weights' size in memory.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The multiplications and additions for one image.
    pub fn operations(&self) -> u64 {
        self.operations
    }

    /// What the version's files looked like when they were read.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Whether the network has given its golden answers again; not so for an old version that has
    /// none.
    pub fn is_self_tested(&self) -> bool {
        self.self_tested
    }

    /// The name of the network's first layer, which stands for its input.
    pub fn input_name(&self) -> &str {
        &self.input_name
    }

    /// The name of the network's last layer, which stands for its output.
    pub fn output_name(&self) -> &str {
        &self.output_name
    }

    /// How many scores the network gives for an image: as many as there are labels, or one for two
    /// labels.
    pub fn outputs(&self) -> usize {
        self.network.outputs()
    }

    /// What its requests have cost so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Decodes and preprocesses an encoded image.
    pub fn pixels(&self, image: &[u8], limits: &Limits) -> Result<Vec<f32>, ImagingError> {
        let image = imaging::decode(image, limits)?;
        let fitted = self.card.preprocessing.fit(&image, self.input);
        let mut pixels = vec![0.0; fitted.len()];
        self.normaliser.apply(&fitted, &mut pixels);
        Ok(pixels)
    }

    /// Runs the network over images that are preprocessed already: a score per output, for each
    /// image.
    pub fn scores<'a>(&self, images: impl ExactSizeIterator<Item = &'a [f32]>) -> Vec<Vec<f32>> {
        let count = images.len();
        let mut batch = Vec::with_capacity(count * self.input.values().unwrap_or(0));
        for image in images {
            batch.extend_from_slice(image);
        }
        let mut scores = vec![0.0; count * self.outputs()];
        self.network.predict(&batch, &mut scores);
        scores
            .chunks_exact(self.outputs().max(1))
            .map(<[f32]>::to_vec)
            .collect()
    }

    /// A probability per label, of one image's scores.
    pub fn probabilities(&self, scores: &[f32]) -> Vec<f32> {
        let is_logit = self.card.outputs == Outputs::Logits;
        match scores {
            [single] => {
                let p = if is_logit {
                    1.0 / (1.0 + (-single).exp())
                } else {
                    *single
                };
                vec![1.0 - p, p]
            }
            several if is_logit => softmax(several),
            several => several.to_vec(),
        }
    }

    /// The answer for one image's scores.
    pub fn prediction(&self, scores: &[f32], top_k: usize) -> Option<Prediction> {
        Prediction::rank(&self.card.labels, &self.probabilities(scores), top_k)
    }
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exponentials: Vec<f32> = logits.iter().map(|z| (z - largest).exp()).collect();
    let sum: f32 = exponentials.iter().sum();
    exponentials.into_iter().map(|e| e / sum).collect()
}
