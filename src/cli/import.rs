//! `irori import`: a Keras file as a new version of a model.

use std::path::PathBuf;

use anyhow::Context;

use super::options::{ModelsFolder, model_name};
use super::output::print;
use super::summary::read_text;
use crate::interchange::{import, import_beside};
use crate::repository::{Draft, ImportOptions, ModelName};

/// The largest model file that is read.
const MAX_MODEL_BYTES: u64 = 16 << 30;
/// The largest architecture file that is read.
const MAX_ARCHITECTURE_BYTES: u64 = 64 << 20;
/// The largest file of labels or preprocessing that is read.
const MAX_TEXT_BYTES: u64 = 16 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A whole model (.h5, .hdf5, .keras), or weights alone (.h5, .safetensors) with --architecture.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The model that gets a new version.
    #[arg(long, value_name = "NAME", value_parser = model_name)]
    model: ModelName,
    #[command(flatten)]
    models: ModelsFolder,
    /// For weights alone: what Keras' to_json() writes.
    #[arg(long, value_name = "FILE")]
    architecture: Option<PathBuf>,
    /// The names of the classes in the order of the outputs; without them 0, 1, 2, …
    #[arg(
        long,
        value_name = "NAMES",
        value_delimiter = ',',
        conflicts_with = "labels_file"
    )]
    labels: Option<Vec<String>>,
    /// A file with such names, one a line.
    #[arg(long, value_name = "FILE")]
    labels_file: Option<PathBuf>,
    /// How images become the network's input: a JSON file like the "preprocessing" of a card.json;
    /// without it stretched to the input's size and scaled to 0..1.
    #[arg(long, value_name = "FILE")]
    preprocessing: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    let name = || args.file.display().to_string();
    let labels = match &args.labels_file {
        Some(file) => {
            let text = read_text(file, MAX_TEXT_BYTES)?;
            Some(text.lines().map(str::to_owned).collect())
        }
        None => args.labels,
    };
    let preprocessing = match &args.preprocessing {
        Some(file) => {
            let text = read_text(file, MAX_TEXT_BYTES)?;
            Some(serde_json::from_str(&text).with_context(|| file.display().to_string())?)
        }
        None => None,
    };
    let bytes = std::fs::metadata(&args.file).with_context(name)?.len();
    anyhow::ensure!(
        bytes <= MAX_MODEL_BYTES,
        "{} has {bytes} bytes; at most {MAX_MODEL_BYTES} are read",
        name()
    );
    let file = std::fs::read(&args.file).with_context(name)?;
    let imported = match &args.architecture {
        Some(document) => {
            let text = read_text(document, MAX_ARCHITECTURE_BYTES)?;
            let document =
                serde_json::from_str(&text).with_context(|| document.display().to_string())?;
            import_beside(file, document)
        }
        None => import(file, None),
    }
    .with_context(name)?;
    let options = ImportOptions {
        labels,
        preprocessing,
        outputs: None,
    };
    let version = repository.publish(args.model.as_str(), &Draft::imported(imported, options))?;
    print(format_args!(
        "Published version {version} of {}.",
        args.model
    ))
}
