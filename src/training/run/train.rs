//! A training run.

use std::collections::BTreeSet;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rand::RngExt;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::report::Reporter;
use super::{Source, evaluate, image_input, load};
use crate::architecture::{Architecture, Layer};
use crate::dataset::Samples;
use crate::imaging::{Dimensions, Preprocessing};
use crate::network::{Network, Parameters, initialize};
use crate::repository::{
    DatasetLineage, Draft, Golden, Lineage, ModelName, Origin, Outputs, Repository,
};
use crate::training::{
    Compile, Fit, JobHandle, Loss, Part, Phase, Progress, Trainer, TrainingError,
};

/// Held out of a data set that has no test part, unless the request says otherwise.
const DEFAULT_SPLIT: f64 = 0.2;

/// What a training request says.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainRequest {
    /// The name of an uploaded data set.
    #[schema(example = "fashion-mnist")]
    pub dataset: String,
    /// What Keras' `to_json()` writes, or `{"layers": […]}` by hand. Without it: the architecture
    /// of the model's serving version.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub architecture: Option<Value>,
    /// Keras' `compile`: optimizer, loss, metrics.
    pub compile: Compile,
    /// Keras' `fit`: batch size, epochs, shuffling, early stopping.
    #[serde(default)]
    pub fit: Fit,
    /// How images become the network's input. Without it: stretched to the input's size, in the
    /// colour of its channels, scaled to 0..1; for a model that has versions, as its serving one.
    #[serde(default)]
    pub preprocessing: Option<Preprocessing>,
    /// The share of the training images that is held out for validation. Without it: 0 where the
    /// data set has a test part, else 0.2.
    #[serde(default)]
    #[schema(example = 0.1, minimum = 0.0, exclusive_maximum = 1.0)]
    pub validation_split: Option<f64>,
    /// What the first weights, the split, the shuffling and dropout are drawn from. Without it: one
    /// is drawn, and written to the version's card.
    #[serde(default)]
    pub seed: Option<u64>,
    /// A version of this model whose weights the training goes on from.
    #[serde(default)]
    pub initial_weights: Option<u64>,
}

/// A training that has been checked as far as that is possible without reading the images.
pub struct Train {
    model: ModelName,
    source: Source,
    architecture: Architecture,
    input: Dimensions,
    parameters: Option<Parameters>,
    preprocessing: Preprocessing,
    compile: Compile,
    fit: Fit,
    validation_split: Option<f64>,
    seed: u64,
}

impl Train {
    /// Checks a request for `model` against what the repository has.
    ///
    /// # Errors
    ///
    /// Everything that can be refused before the images are read.
    pub fn check(
        model: ModelName,
        request: TrainRequest,
        source: Source,
        repository: &Repository,
    ) -> Result<Self, TrainingError> {
        repository.check_writable()?;
        let based_on = match request.initial_weights {
            Some(version) => Some(repository.load(model.as_str(), version)?),
            None if request.architecture.is_none() => {
                let version = repository.serving_version(model.as_str()).map_err(|_| {
                    TrainingError::NoArchitecture {
                        model: model.to_string(),
                    }
                })?;
                Some(repository.load(model.as_str(), version)?)
            }
            None => None,
        };
        let architecture = match (&request.architecture, &based_on) {
            (Some(document), _) => Architecture::from_value(document)?,
            (None, Some(version)) => version.architecture.clone(),
            (None, None) => {
                return Err(TrainingError::NoArchitecture {
                    model: model.to_string(),
                });
            }
        };
        let input = image_input(&architecture)?;
        check_trainable(&architecture)?;
        let preprocessing = match (request.preprocessing, &based_on) {
            (Some(given), _) => given,
            (None, Some(version)) => version.card.preprocessing.clone(),
            (None, None) => Preprocessing::for_channels(input.channels),
        };
        let preprocessing = preprocessing.checked(input.channels)?;
        let split = request.validation_split;
        if let Some(split) = split
            && !(0.0..1.0).contains(&split)
        {
            return Err(TrainingError::Setting(format!(
                "\"validation_split\" is {split}; allowed: at least 0 and below 1"
            )));
        }
        request
            .fit
            .check(split != Some(0.0))
            .map_err(TrainingError::Setting)?;
        let parameters = match (request.initial_weights, based_on) {
            (Some(_), Some(version)) => {
                version.parameters.check(&architecture)?;
                Some(version.parameters)
            }
            _ => None,
        };
        Ok(Self {
            model,
            source,
            architecture,
            input,
            parameters,
            preprocessing,
            compile: request.compile,
            fit: request.fit,
            validation_split: split,
            // Kept below 2^53, so that JSON readers that use doubles see the same number.
            seed: request
                .seed
                .unwrap_or_else(|| rand::rng().random_range(0..1 << 53)),
        })
    }

    /// The architecture that will be trained.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Trains, evaluates and publishes; returns the new version.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Cancelled`] if the job is asked to stop; nothing is published then, nor
    /// after any other error.
    pub fn run(
        self,
        job: &JobHandle,
        repository: &Repository,
        device: &Device,
    ) -> Result<u64, TrainingError> {
        let started = Instant::now();
        let dataset = load(job, &self.source, &self.preprocessing, self.input)?;
        let outputs = self.architecture.output_shape().dims();
        check_labels(&dataset.classes, outputs, self.compile.loss)?;

        let split = self.validation_split.unwrap_or(match dataset.test {
            Some(_) => 0.0,
            None => DEFAULT_SPLIT,
        });
        self.fit
            .check(split > 0.0)
            .map_err(TrainingError::Setting)?;
        let (train, validation) = if split > 0.0 {
            dataset.train.split(split, self.seed)?
        } else {
            ((0..dataset.train.len()).collect(), Vec::new())
        };
        let parameters = match &self.parameters {
            Some(parameters) => parameters.clone(),
            None => initialize(&self.architecture, self.seed),
        };
        let training_device = device.clone().autodiff();
        let network = Network::new(&self.architecture, &parameters, &training_device)?;
        let trainer = Trainer {
            compile: &self.compile,
            fit: &self.fit,
            preprocessing: &self.preprocessing,
            labels: &dataset.classes,
            seed: self.seed,
        };
        let part = |indices| Part {
            samples: &dataset.train,
            indices,
        };
        let mut reporter = Reporter::new(job, self.fit.epochs, train.len());
        let (network, history) = trainer.fit(
            network,
            part(&train),
            (!validation.is_empty()).then(|| part(&validation)),
            &mut |report| reporter.report(report),
        )?;

        let network = network.valid();
        let everything: Vec<usize>;
        let (held_out, name) = match &dataset.test {
            Some(test) => {
                everything = (0..test.len()).collect();
                (
                    Some(Part {
                        samples: test,
                        indices: &everything,
                    }),
                    "test",
                )
            }
            None if !validation.is_empty() => (Some(part(&validation)), "validation"),
            None => (None, ""),
        };
        let evaluation = match held_out {
            Some(part) => Some(evaluate(
                job,
                &trainer,
                &network,
                part,
                &dataset,
                &self.source,
                name,
            )?),
            None => None,
        };
        job.update(|job| job.progress = Some(Progress::of(Phase::Publishing, 1)));
        let version = repository.publish(
            self.model.as_str(),
            &Draft {
                architecture: self.architecture,
                parameters: network.parameters(),
                labels: dataset.classes.clone(),
                preprocessing: self.preprocessing,
                outputs: Outputs::Probabilities,
                lineage: Lineage {
                    origin: Origin::Trained,
                    dataset: Some(DatasetLineage {
                        name: self.source.name.clone(),
                        digest: dataset.description.digest.clone(),
                        images: train.len() as u64,
                    }),
                    seed: Some(self.seed),
                    compile: serde_json::to_value(&self.compile).ok(),
                    fit: fit_lineage(&self.fit, split),
                    duration_seconds: Some(started.elapsed().as_secs_f64()),
                    ..Default::default()
                },
                evaluation: evaluation.clone(),
                history: Some(history),
                examples: examples(&dataset.train),
            },
        )?;
        tracing::info!(
            model = %self.model,
            version,
            seconds = started.elapsed().as_secs_f64(),
            accuracy = evaluation.as_ref().map(|e| e.accuracy),
            "trained"
        );
        job.update(|job| {
            job.version = Some(version);
            job.evaluation = evaluation;
        });
        Ok(version)
    }
}

/// The first image of each of the first classes that occur.
fn examples(samples: &Samples) -> Vec<u8> {
    let mut seen = BTreeSet::new();
    (0..samples.len())
        .filter(|&index| seen.insert(samples.label(index)))
        .take(Golden::EXAMPLES)
        .flat_map(|index| samples.image(index))
        .copied()
        .collect()
}

/// The settings of `fit` as a card keeps them: with the split, which is an argument of Keras' `fit`.
fn fit_lineage(fit: &Fit, validation_split: f64) -> Option<Value> {
    let mut settings = serde_json::to_value(fit).ok()?;
    settings
        .as_object_mut()?
        .insert("validation_split".into(), validation_split.into());
    Some(settings)
}

/// Whether this can be trained as a classifier.
fn check_trainable(architecture: &Architecture) -> Result<(), TrainingError> {
    let output = architecture.output_shape();
    if output.rank() != 1 {
        return Err(TrainingError::NotAClassifier {
            found: output.to_string(),
        });
    }
    for node in &architecture.nodes {
        if let Layer::Augmentation(augmentation) = &node.layer {
            return Err(TrainingError::Augmentation {
                layer: node.name.clone(),
                class_name: augmentation.class_name,
            });
        }
    }
    Ok(())
}

/// A data set's classes have to be the network's outputs.
fn check_labels(classes: &[String], outputs: &[usize], loss: Loss) -> Result<(), TrainingError> {
    let mismatch = |outputs: usize, advice: String| {
        Err(TrainingError::LabelsMismatch {
            classes: classes.len(),
            labels: classes.to_vec(),
            outputs,
            advice,
        })
    };
    match *outputs {
        [1] if loss.is_categorical() => mismatch(
            1,
            format!(
                "{} needs a unit per class; use binary_crossentropy, or give the last layer {} units",
                loss.name(),
                classes.len()
            ),
        ),
        [1] if classes.len() == 2 => Ok(()),
        [units] if units == classes.len() => Ok(()),
        [units] => mismatch(
            units,
            format!("give the last layer {} units", classes.len()),
        ),
        // `check_trainable` has refused every other shape.
        _ => Ok(()),
    }
}
