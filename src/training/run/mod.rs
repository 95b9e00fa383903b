//! A run: from a request to a published version, or to a new evaluation of an old one.
//!
//! `check` refuses what can be refused at once, before anything is queued; `run` does the work
//! inside a job. The HTTP routes and the command line use the same two steps.

mod evaluate;
mod report;
mod train;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

pub use evaluate::{Evaluate, EvaluateRequest};
pub use train::{Train, TrainRequest};

use super::{JobHandle, Part, Phase, Progress, Trainer, TrainingError};
use crate::architecture::Architecture;
use crate::dataset::{self, Dataset};
use crate::evaluation::{DatasetPart, Evaluation};
use crate::imaging::{Dimensions, Preprocessing};
use crate::network::Network;

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
        let named: Vec<String> = dataset
            .description
            .bad_files
            .iter()
            .take(10)
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
