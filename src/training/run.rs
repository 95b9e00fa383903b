//! A run: from a request to a published version, or to a new evaluation of an old one.
//!
//! `check` refuses what can be refused at once, before anything is queued; `run` does the work
//! inside a job. The HTTP routes and the command line use the same two steps.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::Device;
use rand::RngExt;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Compile, Fit, JobHandle, Loss, Optimizer, Part, Phase, Progress, Report, Trainer, TrainingError,
};
use crate::architecture::{Architecture, Layer};
use crate::dataset::{self, Dataset};
use crate::evaluation::{DatasetPart, Evaluation};
use crate::imaging::{Dimensions, Preprocessing};
use crate::network::{Network, Parameters, initialize};
use crate::repository::{DatasetLineage, Draft, Lineage, ModelName, Origin, Outputs, Repository};

/// Held out of a data set that has no test part, unless the request says otherwise.
const DEFAULT_SPLIT: f64 = 0.2;
/// Progress is reported at most this often, in seconds.
const REPORT_EVERY: f64 = 0.1;

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
    #[schema(value_type = Object)]
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

/// A data set as a run sees it: a name for the card, the file or folder, and how to read it.
#[derive(Clone)]
pub struct Source {
    /// What the card calls it.
    pub name: String,
    /// The archive or folder.
    pub path: PathBuf,
    /// How it is read.
    pub options: dataset::Options,
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
        self.fit.check(split > 0.0).map_err(TrainingError::Setting)?;
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
                (Some(Part { samples: test, indices: &everything }), "test")
            }
            None if !validation.is_empty() => (Some(part(&validation)), "validation"),
            None => (None, ""),
        };
        let evaluation = match held_out {
            Some(part) => Some(evaluate(job, &trainer, &network, part, &dataset, &self.source, name)?),
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
                    fit: serde_json::to_value(&self.fit).ok(),
                    duration_seconds: Some(started.elapsed().as_secs_f64()),
                    ..Default::default()
                },
                evaluation: evaluation.clone(),
                history: Some(history),
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

/// The image that a network takes.
fn image_input(architecture: &Architecture) -> Result<Dimensions, TrainingError> {
    let shape = architecture.input_shape();
    match shape.as_image() {
        Some(image @ [_, _, 1 | 3]) => Ok(image.into()),
        _ => Err(TrainingError::NotAnImage {
            found: shape.to_string(),
        }),
    }
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

/// Reads and preprocesses the images, and says so in the job.
fn load(
    job: &JobHandle,
    source: &Source,
    preprocessing: &Preprocessing,
    input: Dimensions,
) -> Result<Dataset, TrainingError> {
    let reporting = job.clone();
    let mut options = source.options.clone();
    options.progress = Some(Arc::new(move |done, total| {
        reporting.update(|job| {
            let mut progress = Progress::of(Phase::Loading, total);
            progress.done = done;
            job.progress = Some(progress);
        });
        reporting.check()
    }));
    let dataset = dataset::load(&source.path, &options, preprocessing, input)?;
    let bad = dataset.description.bad_file_count;
    if bad > 0 {
        let named: Vec<String> = dataset.description.bad_files.iter().take(10)
            .map(|file| format!("{} ({})", file.name, file.reason))
            .collect();
        let warning = format!("{bad} files were skipped: {}", named.join("; "));
        tracing::warn!(dataset = source.name, warning);
        job.update(|job| job.warnings.push(warning));
    }
    Ok(dataset)
}

/// Counts a network's scores over a part of a data set, and says so in the job.
fn evaluate(
    job: &JobHandle,
    trainer: &Trainer,
    network: &Network,
    part: Part,
    dataset: &Dataset,
    source: &Source,
    name: &str,
) -> Result<Evaluation, TrainingError> {
    let started = Instant::now();
    let total = part.indices.len();
    let evaluator = trainer.evaluate(network, part, &mut |done| {
        let mut progress = Progress::of(Phase::Evaluating, total);
        let speed = done as f64 / started.elapsed().as_secs_f64();
        progress.done = done;
        progress.images_per_second = Some(speed);
        progress.eta_seconds = Some((total - done) as f64 / speed);
        job.update(|job| job.progress = Some(progress));
        job.check()
    })?;
    Ok(evaluator.finish(Some(DatasetPart {
        name: source.name.clone(),
        digest: dataset.description.digest.clone(),
        part: name.to_owned(),
    }))?)
}

/// Turns what the trainer reports into the job's progress.
struct Reporter<'a> {
    job: &'a JobHandle,
    epochs: usize,
    images: usize,
    last: Option<Instant>,
}

impl<'a> Reporter<'a> {
    fn new(job: &'a JobHandle, epochs: usize, images: usize) -> Self {
        Self {
            job,
            epochs,
            images,
            last: None,
        }
    }

    fn report(&mut self, report: Report) -> ControlFlow<()> {
        match report {
            Report::Batch {
                epoch,
                done,
                loss,
                accuracy,
                images_per_second,
            } => {
                let is_due = self
                    .last
                    .is_none_or(|last| last.elapsed().as_secs_f64() >= REPORT_EVERY);
                if is_due || done == self.images {
                    self.last = Some(Instant::now());
                    let left = self.images * (self.epochs - epoch) + (self.images - done);
                    self.job.update(|job| {
                        job.progress = Some(Progress {
                            phase: Phase::Training,
                            epoch: Some(epoch),
                            epochs: Some(self.epochs),
                            done,
                            total: self.images,
                            loss: Some(loss),
                            accuracy: Some(accuracy),
                            images_per_second: Some(images_per_second),
                            eta_seconds: Some(left as f64 / images_per_second),
                        });
                    });
                }
            }
            Report::Epoch(epoch) => self.job.update(|job| job.history.push(*epoch)),
        }
        self.job.check()
    }
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
        [units] => mismatch(units, format!("give the last layer {} units", classes.len())),
        // `check_trainable` has refused every other shape.
        _ => Ok(()),
    }
}
