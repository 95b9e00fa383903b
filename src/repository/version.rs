//! The folder of one version: written from a draft, or read and checked whole.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::time::SystemTime;

use jiff::{Timestamp, Unit};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::card::{Card, FORMAT, Lineage, Outputs};
use super::folder::{self, During};
use super::golden::Golden;
use super::{RepositoryError, VersionFault};
use crate::architecture::Architecture;
use crate::evaluation::{Evaluation, History};
use crate::imaging::Preprocessing;
use crate::interchange::{read_safetensors, write_safetensors};
use crate::network::Parameters;

const ARCHITECTURE: &str = "architecture.json";
const WEIGHTS: &str = "weights.safetensors";
const CARD: &str = "card.json";
const EVALUATION: &str = "evaluation.json";
const HISTORY: &str = "history.json";
const GOLDEN: &str = "golden.safetensors";

/// The most that a JSON file can need, in bytes: a confusion matrix of a thousand classes has some millions.
const MAX_JSON_BYTES: u64 = 64 << 20;

/// A version to be.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The layers.
    pub architecture: Architecture,
    /// Their weights.
    pub parameters: Parameters,
    /// The name of each class, in the order of the outputs; two for a single sigmoid output.
    pub labels: Vec<String>,
    /// From an image to the network's input.
    pub preprocessing: Preprocessing,
    /// What the last layer gives.
    pub outputs: Outputs,
    /// Where it comes from.
    pub lineage: Lineage,
    /// The report on held-out images, where there is one.
    pub evaluation: Option<Evaluation>,
    /// The epochs of its training, where there were any.
    pub history: Option<History>,
    /// Real images for its golden answers, of which the first few are taken: as preprocessing fits them to the input,
    /// `height × width × channels` bytes each, end to end. Images that are made up are used in any case.
    pub examples: Vec<u8>,
}

/// A version, read from the disk and checked.
#[derive(Clone, Debug)]
pub struct StoredVersion {
    /// The model's name.
    pub model: String,
    /// The version's number.
    pub version: u64,
    /// Labels, preprocessing and lineage.
    pub card: Card,
    /// The layers.
    pub architecture: Architecture,
    /// Their weights: exactly the variables of `architecture`, all of them finite.
    pub parameters: Parameters,
    /// The report on held-out images, where there is one.
    pub evaluation: Option<Evaluation>,
    /// The epochs of its training, where there were any.
    pub history: Option<History>,
    /// What it gave for a few images when it was made; older versions have none.
    pub golden: Option<Golden>,
    /// What its files looked like when they were read.
    pub stamp: Stamp,
}

/// What a version's folder holds.
pub(super) struct Contents {
    pub card: Card,
    pub architecture: Architecture,
    pub parameters: Parameters,
    pub evaluation: Option<Evaluation>,
    pub history: Option<History>,
    pub golden: Option<Golden>,
    pub stamp: Stamp,
}

impl Contents {
    pub fn stored(self, model: String, version: u64) -> StoredVersion {
        StoredVersion {
            model,
            version,
            card: self.card,
            architecture: self.architecture,
            parameters: self.parameters,
            evaluation: self.evaluation,
            history: self.history,
            golden: self.golden,
            stamp: self.stamp,
        }
    }

    /// Whether the parts, each sound in itself, make one model.
    fn check(&self) -> Result<(), VersionFault> {
        self.parameters
            .check(&self.architecture)
            .map_err(VersionFault::Parameters)?;
        for (name, parameter) in self.parameters.iter() {
            let mut values = parameter.values.iter().copied().enumerate();
            if let Some((index, value)) = values.find(|(_, value)| !value.is_finite()) {
                let name = name.to_owned();
                return Err(VersionFault::NotFinite { name, index, value });
            }
        }
        let (found, expected) = (count(&self.parameters), self.card.parameters);
        if found != expected {
            return Err(VersionFault::ParameterCount { found, expected });
        }

        let labels = &self.card.labels;
        let output = self.architecture.output_shape();
        let &[outputs] = output.dims() else {
            return Err(VersionFault::NotAClassifier {
                shape: output.to_string(),
            });
        };
        let classes = if outputs == 1 { 2 } else { outputs };
        if labels.len() != classes {
            return Err(VersionFault::LabelsMismatch {
                labels: labels.len(),
                outputs,
            });
        }
        if let Some(index) = labels.iter().position(|label| label.trim().is_empty()) {
            return Err(VersionFault::BlankLabel { index });
        }
        // Only an image has channels for the recipe to suit.
        if let &[_, _, channels] = self.architecture.input_shape().dims() {
            let preprocessing = &self.card.preprocessing;
            preprocessing
                .check(channels)
                .map_err(VersionFault::Preprocessing)?;
        }
        match &self.evaluation {
            Some(evaluation) => check_evaluation(&self.card, evaluation),
            None => Ok(()),
        }
    }
}

/// Writes a version's files into an empty folder and waits until they are on the disk.
pub(super) fn write(folder: &Path, draft: &Draft) -> Result<(), RepositoryError> {
    let unpublishable = |fault: VersionFault| RepositoryError::Unpublishable(fault.into());
    let weights = write_safetensors(&draft.parameters)
        .map_err(|error| unpublishable(VersionFault::Weights(error)))?;
    let now = Timestamp::now();
    let card = Card {
        format: FORMAT,
        labels: draft.labels.clone(),
        preprocessing: draft.preprocessing.clone(),
        outputs: draft.outputs,
        created_at: now.round(Unit::Millisecond).unwrap_or(now),
        weights_digest: digest(&weights),
        parameters: count(&draft.parameters),
        lineage: draft.lineage.clone(),
    };
    let architecture = json(ARCHITECTURE, &draft.architecture.to_json());
    let card = json(CARD, &card);
    let evaluation = draft.evaluation.as_ref().map(|e| json(EVALUATION, e));
    let history = draft.history.as_ref().map(|h| json(HISTORY, h));
    let golden = Golden::compute(
        &draft.architecture,
        &draft.parameters,
        &draft.preprocessing,
        &draft.examples,
    );
    let golden = golden.map(|golden| golden.write(&draft.architecture));
    let files = [
        (ARCHITECTURE, Some(architecture)),
        (WEIGHTS, Some(Ok(weights))),
        (CARD, Some(card)),
        (EVALUATION, evaluation),
        (HISTORY, history),
        (GOLDEN, golden),
    ];
    for (file, content) in files {
        if let Some(content) = content {
            let path = folder.join(file);
            folder::write(&path, &content.map_err(unpublishable)?).during("write", &path)?;
        }
    }
    folder::sync_folder(folder).during("write", folder)
}

/// Reads a version's folder, and checks all of it.
pub(super) fn read(folder: &Path) -> Result<Contents, VersionFault> {
    // Taken first: what changes while it is read makes another stamp.
    let stamp = Stamp::of(folder);
    let architecture = required(
        ARCHITECTURE,
        read_bytes(folder, ARCHITECTURE, MAX_JSON_BYTES)?,
    )?;
    let architecture = Architecture::from_value(&parse(ARCHITECTURE, &architecture)?)
        .map_err(|error| VersionFault::Architecture(Box::new(error)))?;
    let card = read_card(folder)?;

    let weights = read_bytes(folder, WEIGHTS, largest_weights(&architecture))?;
    let weights = required(WEIGHTS, weights)?;
    let found = digest(&weights);
    if found != card.weights_digest {
        let expected = card.weights_digest;
        return Err(VersionFault::Digest { found, expected });
    }
    let parameters = read_safetensors(&weights).map_err(VersionFault::Weights)?;
    drop(weights);
    let golden = read_bytes(folder, GOLDEN, Golden::largest(&architecture))?;
    let golden = golden.map(|bytes| Golden::read(&bytes, &architecture));

    let contents = Contents {
        card,
        architecture,
        parameters,
        evaluation: read_json(folder, EVALUATION)?,
        history: read_json(folder, HISTORY)?,
        golden: golden.transpose()?,
        stamp,
    };
    contents.check()?;
    Ok(contents)
}

/// The `evaluation.json` of the version in `folder`, to be: the file's name and content.
pub(super) fn evaluation_file(
    folder: &Path,
    evaluation: &Evaluation,
) -> Result<(&'static str, Vec<u8>), VersionFault> {
    check_evaluation(&read_card(folder)?, evaluation)?;
    let content = json(EVALUATION, evaluation)?;
    // What JSON has no word for, such as NaN, could not be read again.
    parse::<Evaluation>(EVALUATION, &content)?;
    Ok((EVALUATION, content))
}

/// The `golden.safetensors` of a version that has none, to be: the file's name and content.
pub(super) fn golden_file(
    contents: &Contents,
    examples: &[u8],
) -> Result<(&'static str, Vec<u8>), VersionFault> {
    let (architecture, preprocessing) = (&contents.architecture, &contents.card.preprocessing);
    let golden = Golden::compute(architecture, &contents.parameters, preprocessing, examples);
    let golden = golden.ok_or_else(|| VersionFault::NotAnImage {
        shape: architecture.input_shape().to_string(),
    })?;
    Ok((GOLDEN, golden.write(architecture)?))
}

/// What tells whether a version's files have changed: the size and the time of each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp([Option<(u64, Option<SystemTime>)>; 6]);

impl Stamp {
    /// The size of the file with the weights; 0 where there is none.
    pub fn weights_bytes(&self) -> u64 {
        self.0[1].map_or(0, |(bytes, _)| bytes)
    }

    pub(super) fn of(folder: &Path) -> Self {
        Self(
            [ARCHITECTURE, WEIGHTS, CARD, EVALUATION, HISTORY, GOLDEN].map(|file| {
                let metadata = fs::metadata(folder.join(file)).ok()?;
                Some((metadata.len(), metadata.modified().ok()))
            }),
        )
    }
}

fn check_evaluation(card: &Card, evaluation: &Evaluation) -> Result<(), VersionFault> {
    let classes = evaluation.classes.iter().map(|class| &class.label);
    if classes.eq(&card.labels) {
        Ok(())
    } else {
        Err(VersionFault::EvaluationMismatch {
            labels: card.labels.len(),
        })
    }
}

fn read_card(folder: &Path) -> Result<Card, VersionFault> {
    /// What every card has, of whatever format.
    #[derive(serde::Deserialize)]
    struct Format {
        format: u32,
    }
    let bytes = required(CARD, read_bytes(folder, CARD, MAX_JSON_BYTES)?)?;
    let Format { format } = parse(CARD, &bytes)?;
    if format == FORMAT {
        parse(CARD, &bytes)
    } else {
        Err(VersionFault::CardFormat { found: format })
    }
}

fn read_json<T: DeserializeOwned>(
    folder: &Path,
    file: &'static str,
) -> Result<Option<T>, VersionFault> {
    let bytes = read_bytes(folder, file, MAX_JSON_BYTES)?;
    bytes.map(|bytes| parse(file, &bytes)).transpose()
}

/// A file's bytes, if it is there. One that has more than `allowed` is not read.
fn read_bytes(
    folder: &Path,
    file: &'static str,
    allowed: u64,
) -> Result<Option<Vec<u8>>, VersionFault> {
    let unreadable = |source| VersionFault::Unreadable { file, source };
    let path = folder.join(file);
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(error)),
    };
    // Opening a pipe would wait for whoever writes to it.
    if !metadata.is_file() {
        return Err(unreadable(io::Error::other("it is not a regular file")));
    }
    let bytes = metadata.len();
    if bytes > allowed {
        return Err(VersionFault::TooLarge {
            file,
            bytes,
            allowed,
        });
    }
    let mut content = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
    File::open(path)
        .and_then(|file| file.take(allowed).read_to_end(&mut content))
        .map_err(unreadable)?;
    Ok(Some(content))
}

fn required(file: &'static str, content: Option<Vec<u8>>) -> Result<Vec<u8>, VersionFault> {
    content.ok_or(VersionFault::Missing { file })
}

fn parse<T: DeserializeOwned>(file: &'static str, bytes: &[u8]) -> Result<T, VersionFault> {
    let malformed = |path: String, source| VersionFault::Json { file, path, source };
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer)
        .map_err(|error| malformed(error.path().to_string(), error.into_inner()))?;
    deserializer
        .end()
        .map_err(|error| malformed(".".to_owned(), error))?;
    Ok(value)
}

/// A JSON file for people too: indented, and ending with its line.
fn json(file: &'static str, value: &impl Serialize) -> Result<Vec<u8>, VersionFault> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|source| VersionFault::Json {
        file,
        path: ".".to_owned(),
        source,
    })?;
    text.push(b'\n');
    Ok(text)
}

/// The most bytes that the weights of `architecture` can take: in F64, with a generous header.
fn largest_weights(architecture: &Architecture) -> u64 {
    let variables = architecture.variables();
    variables.iter().fold(1 << 20, |bytes: u64, variable| {
        let extents = variable.shape.iter().map(|&extent| extent as u64);
        let values = extents.fold(1, u64::saturating_mul);
        bytes
            .saturating_add(values.saturating_mul(8))
            .saturating_add(1 << 10)
    })
}

fn count(parameters: &Parameters) -> u64 {
    parameters.iter().map(|(_, p)| p.values.len() as u64).sum()
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}
