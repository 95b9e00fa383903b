//! The trainer: Keras' `fit` and `evaluate`, over images in memory.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::fit::{Monitor, Watch};
use super::{Compile, Fit, Learner, TrainingError};
use crate::dataset::Samples;
use crate::evaluation::{Epoch, Evaluator, History};
use crate::imaging::{Normaliser, Preprocessing};
use crate::network::{Network, Output, Parameters};

/// Images evaluated together.
const EVALUATION_BATCH: usize = 256;

/// Where the training stands, after each batch.
#[derive(Clone, Copy, Debug)]
pub enum Report<'a> {
    /// A batch of an epoch is done.
    Batch {
        /// The epoch, from 1.
        epoch: usize,
        /// Images of this epoch that are done.
        done: usize,
        /// Mean loss over them.
        loss: f64,
        /// Accuracy over them, in 0..=1.
        accuracy: f64,
        /// Since the epoch began.
        images_per_second: f64,
    },
    /// An epoch is done.
    Epoch(&'a Epoch),
}

/// What the trainer tells its caller, and whether the caller wants it to go on.
pub type Observer<'a> = dyn FnMut(Report) -> ControlFlow<()> + 'a;

/// Some of the images of a set, with the numbers that the network reads.
#[derive(Clone, Copy)]
pub struct Part<'a> {
    /// The set.
    pub samples: &'a Samples,
    /// Which images of it.
    pub indices: &'a [usize],
}

/// Everything that a training run goes by.
pub struct Trainer<'a> {
    /// Optimizer and loss.
    pub compile: &'a Compile,
    /// Batches and epochs.
    pub fit: &'a Fit,
    /// From pixels to what the network reads.
    pub preprocessing: &'a Preprocessing,
    /// The names of the classes.
    pub labels: &'a [String],
    /// What shuffling and dropout are drawn from.
    pub seed: u64,
}

impl Trainer<'_> {
    /// Trains `network` (on an autodiff device) and returns it with its history.
    ///
    /// # Errors
    ///
    /// [`TrainingError::LossNotFinite`] as soon as a batch has such a loss, and
    /// [`TrainingError::Cancelled`] when the observer breaks.
    pub fn fit(
        &self,
        network: Network,
        train: Part,
        validation: Option<Part>,
        observer: &mut Observer,
    ) -> Result<(Network, History), TrainingError> {
        let learning_rate = self.compile.optimizer.learning_rate();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut order = train.indices.to_vec();
        let mut history = History::default();
        let mut watch = self.fit.early_stopping.clone().map(Watch::new);
        let mut best: Option<Parameters> = None;
        let batches = Batches::new(self.preprocessing, train.samples, network.outputs());
        let device = network.device().clone();
        let mut learner = Learner::new(network, self.compile.clone(), self.seed);

        for epoch in 1..=self.fit.epochs {
            let started = Instant::now();
            if self.fit.shuffle {
                order.shuffle(&mut rng);
            }
            let mut seen = Evaluator::new(self.labels.to_vec())?;
            let mut input = Duration::ZERO;
            for (step, indices) in order.chunks(self.fit.batch_size).enumerate() {
                let begun = Instant::now();
                let (images, target) = batches.make(indices, &device);
                input += begun.elapsed();
                let (loss, output) = learner.train_on_batch(images, target);
                if !loss.is_finite() {
                    return Err(TrainingError::LossNotFinite {
                        epoch,
                        step: step + 1,
                        loss,
                        learning_rate,
                    });
                }
                let scores = to_vec(output.scores());
                let truth = batches.truth(indices);
                seen.add(&scores, &truth, loss * indices.len() as f64)?;
                let done = seen.images() as usize;
                let report = Report::Batch {
                    epoch,
                    done,
                    loss: seen.loss(),
                    accuracy: seen.accuracy(),
                    images_per_second: done as f64 / started.elapsed().as_secs_f64(),
                };
                if observer(report).is_break() {
                    return Err(TrainingError::Cancelled);
                }
            }
            let seconds = started.elapsed().as_secs_f64();
            let images_per_second = order.len() as f64 / seconds;
            let input_share = input.as_secs_f64() / seconds;
            tracing::info!(epoch, images_per_second, input_share, "trained an epoch");
            let validated = match validation {
                Some(part) => {
                    let mut go_on = |_: usize| ControlFlow::Continue(());
                    Some(self.evaluate(&learner.network().valid(), part, &mut go_on)?)
                }
                None => None,
            };
            let figures = Epoch {
                epoch: u32::try_from(epoch).unwrap_or(u32::MAX),
                loss: seen.loss(),
                accuracy: seen.accuracy(),
                val_loss: validated.as_ref().map(Evaluator::loss),
                val_accuracy: validated.as_ref().map(Evaluator::accuracy),
                learning_rate,
                seconds: started.elapsed().as_secs_f64(),
                images_per_second,
            };
            history.push(figures)?;
            if observer(Report::Epoch(&figures)).is_break() {
                return Err(TrainingError::Cancelled);
            }
            if let Some(watch) = &mut watch {
                let (improved, stop) = watch.observe(monitored(watch.monitor(), &figures));
                if improved && watch.keeps_best() {
                    best = Some(learner.network().parameters());
                }
                if stop {
                    break;
                }
            }
        }
        let last = learner.network();
        let network = match best {
            Some(best) => Network::new(last.architecture(), &best, &device)?,
            None => last.clone(),
        };
        Ok((network, history))
    }

    /// Scores images with `network` (on a device without autodiff) and counts them against the
    /// truth. `progress` is told after each batch how many images are done.
    ///
    /// # Errors
    ///
    /// [`TrainingError::Cancelled`] when `progress` breaks.
    pub fn evaluate(
        &self,
        network: &Network,
        part: Part,
        progress: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Evaluator, TrainingError> {
        let mut evaluator = Evaluator::new(self.labels.to_vec())?;
        let batches = Batches::new(self.preprocessing, part.samples, network.outputs());
        for indices in part.indices.chunks(EVALUATION_BATCH) {
            let (images, target) = batches.make(indices, network.device());
            let output: Output = network.forward(images);
            let losses = to_vec(self.compile.loss.per_example(&output, target));
            let loss_sum = losses.iter().map(|&loss| f64::from(loss)).sum();
            let scores = to_vec(output.scores());
            evaluator.add(&scores, &batches.truth(indices), loss_sum)?;
            if progress(evaluator.images() as usize).is_break() {
                return Err(TrainingError::Cancelled);
            }
        }
        Ok(evaluator)
    }
}

fn monitored(monitor: Monitor, epoch: &Epoch) -> f64 {
    match monitor {
        Monitor::Loss => epoch.loss,
        Monitor::Accuracy => epoch.accuracy,
        // `Fit::check` has refused these where there are no validation images.
        Monitor::ValLoss => epoch.val_loss.unwrap_or(f64::NAN),
        Monitor::ValAccuracy => epoch.val_accuracy.unwrap_or(f64::NAN),
    }
}

/// The numbers of a float tensor, row by row.
fn to_vec<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    // Every tensor here is f32, which is what the conversion asks for.
    tensor.into_data().try_into_vec().unwrap_or_default()
}

/// Makes batches out of images in memory.
struct Batches<'a> {
    samples: &'a Samples,
    normaliser: Normaliser,
    outputs: usize,
}

impl<'a> Batches<'a> {
    fn new(preprocessing: &Preprocessing, samples: &'a Samples, outputs: usize) -> Self {
        Self {
            samples,
            normaliser: preprocessing.normaliser(samples.dimensions.channels),
            outputs,
        }
    }

    /// The images `[n, H, W, C]` and their targets `[n, outputs]`.
    fn make(&self, indices: &[usize], device: &Device) -> (Tensor<4>, Tensor<2>) {
        let dimensions = self.samples.dimensions;
        let values = dimensions.values().unwrap_or(0);
        let mut pixels = vec![0.0f32; indices.len() * values];
        for (&index, out) in indices.iter().zip(pixels.chunks_exact_mut(values.max(1))) {
            self.normaliser.apply(self.samples.image(index), out);
        }
        let shape = [
            indices.len(),
            dimensions.height,
            dimensions.width,
            dimensions.channels,
        ];
        let mut target = vec![0.0f32; indices.len() * self.outputs];
        for (&index, row) in indices.iter().zip(target.chunks_exact_mut(self.outputs)) {
            let class = self.samples.label(index);
            match row {
                [single] => *single = class as f32,
                row => {
                    if let Some(hot) = row.get_mut(class as usize) {
                        *hot = 1.0;
                    }
                }
            }
        }
        (
            Tensor::from_data(TensorData::new(pixels, shape), device),
            Tensor::from_data(
                TensorData::new(target, [indices.len(), self.outputs]),
                device,
            ),
        )
    }

    fn truth(&self, indices: &[usize]) -> Vec<u32> {
        indices.iter().map(|&i| self.samples.label(i)).collect()
    }
}
