//! Why the repository can't do what it was asked, and what is wrong with a version; each with a stable code.

use std::fmt::Display;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use thiserror::Error;

use super::{MAX_ALIASES, MAX_VERSION};
use crate::architecture::ArchitectureError;
use crate::imaging::PreprocessingError;
use crate::interchange::SafetensorsError;
use crate::network::ParametersError;

/// Names or numbers that a message lists before it stops.
const LISTED: usize = 20;

/// Why the repository can't do what it was asked.
#[derive(Debug, Error)]
pub enum RepositoryError {
    /// The text can't be the name of a model.
    #[error(
        "{found:?} can't be the name of a model; use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or \
         digit, without \"..\""
    )]
    InvalidModelName {
        /// The text, cut short.
        found: String,
    },
    /// The text can't be an alias.
    #[error(
        "{found:?} can't be an alias; use 1 to 63 letters, digits, '.', '_' and '-', beginning with a letter or digit, \
         without \"..\"; \"serving\" is moved by promote and rollback alone"
    )]
    InvalidAlias {
        /// The text, cut short.
        found: String,
    },
    /// There is no model of this name.
    #[error("there is no model {model:?}; {}", existing("models", models))]
    ModelNotFound {
        /// The name asked for.
        model: String,
        /// The names there are.
        models: Vec<String>,
    },
    /// The model has no such version.
    #[error(
        "model {model:?} has no version {version}; {}",
        existing("versions", versions)
    )]
    VersionNotFound {
        /// The model.
        model: String,
        /// The version asked for.
        version: u64,
        /// The versions there are, ascending.
        versions: Vec<u64>,
    },
    /// The model has no such alias.
    #[error(
        "model {model:?} has no alias {alias:?}; {}",
        existing("aliases", aliases)
    )]
    AliasNotFound {
        /// The model.
        model: String,
        /// The alias asked for.
        alias: String,
        /// The aliases there are.
        aliases: Vec<String>,
    },
    /// The version's folder is not what a version is.
    #[error(
        "version {version} of model {model:?} is broken: {fault}; restore that file, or delete the version"
    )]
    VersionBroken {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// What is wrong.
        fault: Arc<VersionFault>,
    },
    /// Every version of the model is broken.
    #[error(
        "none of the versions of model {model:?} can be served; the newest, {version}, is broken: {fault}"
    )]
    NoGoodVersion {
        /// The model.
        model: String,
        /// Its newest version.
        version: u64,
        /// What is wrong with that.
        fault: Arc<VersionFault>,
    },
    /// What should be published is no version.
    #[error("this can't be published: {0}")]
    Unpublishable(#[source] Arc<VersionFault>),
    /// The version is what the model's name stands for.
    #[error("version {version} of model {model:?} is being served; promote another version first")]
    VersionIsServing {
        /// The model.
        model: String,
        /// The version.
        version: u64,
    },
    /// An alias stands for the version.
    #[error(
        "version {version} of model {model:?} is what the alias {alias:?} stands for; move or remove the alias first"
    )]
    VersionIsAliased {
        /// The model.
        model: String,
        /// The version.
        version: u64,
        /// The alias.
        alias: String,
    },
    /// No good version was served before this one.
    #[error(
        "model {model:?} serves version {serving} and no version that was served before it is left; promote the version you want"
    )]
    NothingToRollBack {
        /// The model.
        model: String,
        /// The version that is served.
        serving: u64,
    },
    /// The file with the aliases is garbled.
    #[error(
        "the aliases of model {model:?} can't be read: {reason}; repair its aliases.json, or delete the file to serve the newest version"
    )]
    AliasesUnreadable {
        /// The model.
        model: String,
        /// What is wrong with the file.
        reason: String,
    },
    /// The model has as many aliases as it may have.
    #[error(
        "model {model:?} has {MAX_ALIASES} aliases, which is all it may have; remove one first"
    )]
    TooManyAliases {
        /// The model.
        model: String,
    },
    /// The highest number is taken.
    #[error(
        "model {model:?} has used the highest version number, {MAX_VERSION}; publish under another name"
    )]
    NumbersExhausted {
        /// The model.
        model: String,
    },
    /// Nothing can be written where the models are.
    #[error(
        "no version can be published: the models folder {} can't be written ({source}); make it writable, or serve another folder with --models",
        path.display()
    )]
    NotWritable {
        /// The folder that was tried.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file system refused.
    #[error("could not {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl RepositoryError {
    /// The stable code of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidModelName { .. } => "invalid_model_name",
            Self::InvalidAlias { .. } => "invalid_alias",
            Self::ModelNotFound { .. } => "model_not_found",
            Self::VersionNotFound { .. } => "version_not_found",
            Self::AliasNotFound { .. } => "alias_not_found",
            Self::VersionBroken { .. } => "version_broken",
            Self::NoGoodVersion { .. } => "no_good_version",
            Self::Unpublishable(fault) => fault.code(),
            Self::VersionIsServing { .. } => "version_is_serving",
            Self::VersionIsAliased { .. } => "version_is_aliased",
            Self::NothingToRollBack { .. } => "nothing_to_roll_back",
            Self::AliasesUnreadable { .. } => "aliases_unreadable",
            Self::TooManyAliases { .. } => "too_many_aliases",
            Self::NumbersExhausted { .. } => "version_numbers_exhausted",
            Self::NotWritable { .. } => "models_not_writable",
            Self::Io { .. } => "repository_io",
        }
    }
}

/// What is wrong with a version.
#[derive(Debug, Error)]
pub enum VersionFault {
    /// A file that every version has is not there.
    #[error("{file} is missing")]
    Missing {
        /// The file.
        file: &'static str,
    },
    /// The file system refused.
    #[error("{file} can't be read: {source}")]
    Unreadable {
        /// The file.
        file: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The file is larger than any good one.
    #[error("{file} has {bytes} bytes, and {allowed} are the most that it can need")]
    TooLarge {
        /// The file.
        file: &'static str,
        /// Its size in bytes.
        bytes: u64,
        /// The largest size in bytes.
        allowed: u64,
    },
    /// The file is not the JSON document that it should be.
    #[error("{file} is malformed at {path:?}: {source}")]
    Json {
        /// The file.
        file: &'static str,
        /// The place in the document, such as `lineage.dataset`; `.` is the whole.
        path: String,
        /// What was found there, and what was expected.
        source: serde_json::Error,
    },
    /// The card is of a form that this build does not know.
    #[error("card.json has format {found}, and this Irori knows format 1; use a newer Irori")]
    CardFormat {
        /// The form it says.
        found: u32,
    },
    /// The architecture is none.
    #[error("architecture.json: {0}")]
    Architecture(#[source] Box<ArchitectureError>),
    /// The network does not end in one score per class.
    #[error(
        "architecture.json: the output has shape {shape}; a classifier ends in one axis, with a score per class"
    )]
    NotAClassifier {
        /// The shape of the output.
        shape: String,
    },
    /// The weights are not those that the version was made with.
    #[error(
        "weights.safetensors has the digest {found}, and card.json says {expected}: the file was changed or damaged"
    )]
    Digest {
        /// The digest of the file.
        found: String,
        /// The digest on the card.
        expected: String,
    },
    /// The weights' file is no safetensors file.
    #[error("weights.safetensors: {0}")]
    Weights(#[source] SafetensorsError),
    /// The weights are not those of the architecture.
    #[error("weights.safetensors: {0}")]
    Parameters(#[source] ParametersError),
    /// A weight is NaN or infinite.
    #[error(
        "weights.safetensors: {name} holds {value} at position {index}, and no network can compute with that; train again with a lower learning rate"
    )]
    NotFinite {
        /// The variable.
        name: String,
        /// The position in it, row-major, from 0.
        index: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// The card counts the weights wrongly.
    #[error("card.json says {expected} parameters, and weights.safetensors has {found}")]
    ParameterCount {
        /// How many there are.
        found: u64,
        /// How many the card says.
        expected: u64,
    },
    /// There are not as many labels as classes.
    #[error(
        "card.json has {labels} labels, and the output layer has {outputs} units; give one label per unit (two for a single sigmoid unit), or change the output layer"
    )]
    LabelsMismatch {
        /// How many labels there are.
        labels: usize,
        /// How many scores the network gives.
        outputs: usize,
    },
    /// A label says nothing.
    #[error("card.json: label {index} (from 0) is blank; give every class a name")]
    BlankLabel {
        /// Its place, from 0.
        index: usize,
    },
    /// The preprocessing does not suit the network's input.
    #[error("card.json: {0}")]
    Preprocessing(#[source] PreprocessingError),
    /// The evaluation is of another model.
    #[error(
        "evaluation.json has other classes than the {labels} labels of card.json; evaluate this version on a data set with its classes"
    )]
    EvaluationMismatch {
        /// How many labels the card has.
        labels: usize,
    },
    /// The golden answers can't be read, or are of another network.
    #[error("golden.safetensors: {0}")]
    Golden(String),
    /// The network takes no images, so that nothing can be predicted with it.
    #[error("architecture.json: the input has shape {shape}; only images [H, W, C] can be served")]
    NotAnImage {
        /// The shape of the input.
        shape: String,
    },
    /// Reading it, or running its network over its golden answers, ended in a panic.
    #[error(
        "loading it ended in a panic, which is a fault of this program; the log has the place: please report it"
    )]
    Panicked,
    /// The network does not give the scores any more that it gave when the version was made.
    #[error(
        "the self-test failed: for image {image} of golden.safetensors, score {output} is {found} and was {expected} when the \
         version was made"
    )]
    SelfTest {
        /// The image, from 0.
        image: usize,
        /// The output, from 0.
        output: usize,
        /// Its score now.
        found: f32,
        /// Its score then.
        expected: f32,
    },
}

impl VersionFault {
    /// The stable code of this fault.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing { .. } => "file_missing",
            Self::Unreadable { .. } => "file_unreadable",
            Self::TooLarge { .. } => "file_too_large",
            Self::Json { .. } => "file_malformed",
            Self::CardFormat { .. } => "card_format",
            Self::Architecture(error) => error.code(),
            Self::NotAClassifier { .. } => "not_a_classifier",
            Self::Digest { .. } => "weights_digest_mismatch",
            Self::Weights(error) => error.code(),
            Self::Parameters(error) => error.code(),
            Self::NotFinite { .. } => "weights_not_finite",
            Self::ParameterCount { .. } => "parameter_count_mismatch",
            Self::LabelsMismatch { .. } => "labels_mismatch",
            Self::BlankLabel { .. } => "label_blank",
            Self::Preprocessing(error) => error.code(),
            Self::EvaluationMismatch { .. } => "evaluation_mismatch",
            Self::Golden(_) => "golden_malformed",
            Self::NotAnImage { .. } => "input_not_an_image",
            Self::Panicked => "load_panicked",
            Self::SelfTest { .. } => "self_test_failed",
        }
    }
}

/// What there is to choose from, for a message.
fn existing(what: &str, names: &[impl Display]) -> String {
    if names.is_empty() {
        return format!("there are no {what} yet");
    }
    let shown: Vec<String> = names.iter().take(LISTED).map(ToString::to_string).collect();
    let rest = match names.len() - shown.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("there are the {what} {}{rest}", shown.join(", "))
}
