//! An evaluation run.

use burn::tensor::Device;
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Source, evaluate, image_input, load};
use crate::evaluation::Evaluation;
use crate::network::Network;
use crate::repository::{ModelName, Repository};
use crate::training::{Compile, Fit, JobHandle, Loss, Optimizer, Part, Trainer, TrainingError};

/// What an evaluation request says.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EvaluateRequest {
    /// The name of an uploaded data set.
    #[schema(example = "fashion-mnist")]
    pub dataset: String,
    /// The version that is evaluated. Without it: the one that is served.
    #[serde(default)]
    pub version: Option<u64>,
}

/// An evaluation that has been checked as far as that is possible without reading the images.
pub struct Evaluate {
    model: ModelName,
    version: u64,
    source: Source,
}

impl Evaluate {
    /// Checks that the version is there.
    ///
    /// # Errors
    ///
    /// Where the model or the version is missing or broken.
    pub fn check(
        model: ModelName,
        version: Option<u64>,
        source: Source,
        repository: &Repository,
    ) -> Result<Self, TrainingError> {
        let version = match version {
            Some(version) => repository.load(model.as_str(), version)?.version,
            None => repository.serving_version(model.as_str())?,
        };
        Ok(Self {
            model,
            version,
            source,
        })
    }

    /// The version that will be evaluated.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Evaluates on the data set's test part, or on all its images where it has none, and keeps the
    /// report with the version.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Cancelled`] if the job is asked to stop.
    pub fn run(
        self,
        job: &JobHandle,
        repository: &Repository,
        device: &Device,
    ) -> Result<Evaluation, TrainingError> {
        let stored = repository.load(self.model.as_str(), self.version)?;
        let input = image_input(&stored.architecture)?;
        let preprocessing = &stored.card.preprocessing;
        let dataset = load(job, &self.source, preprocessing, input)?;
        if dataset.classes != stored.card.labels {
            return Err(TrainingError::OtherLabels {
                found: dataset.classes,
                expected: stored.card.labels,
            });
        }
        let network = Network::new(&stored.architecture, &stored.parameters, device)?;
        let compile = stored
            .card
            .lineage
            .compile
            .and_then(|compile| Compile::try_from(compile).ok())
            .unwrap_or(Compile {
                optimizer: Optimizer::named("rmsprop")?,
                loss: if network.outputs() == 1 {
                    Loss::BinaryCrossentropy
                } else {
                    Loss::SparseCategoricalCrossentropy
                },
            });
        let trainer = Trainer {
            compile: &compile,
            fit: &Fit::default(),
            preprocessing,
            labels: &stored.card.labels,
            seed: 0,
        };
        let (samples, name) = match &dataset.test {
            Some(test) => (test, "test"),
            None => (&dataset.train, "all"),
        };
        let indices: Vec<usize> = (0..samples.len()).collect();
        let part = Part {
            samples,
            indices: &indices,
        };
        let evaluation = evaluate(job, &trainer, &network, part, &dataset, &self.source, name)?;
        repository.write_evaluation(self.model.as_str(), self.version, &evaluation)?;
        job.update(|job| job.evaluation = Some(evaluation.clone()));
        Ok(evaluation)
    }
}
