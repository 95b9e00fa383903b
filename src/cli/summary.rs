//! `irori summary`: Keras' table of an architecture.

use std::path::{Path, PathBuf};

use anyhow::Context;

use super::options::ModelsFolder;
use super::output::print;
use crate::architecture::Architecture;

/// The largest architecture file that is read.
const MAX_BYTES: u64 = 64 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    /// What Keras' to_json() writes, or {"layers": […]} by hand.
    #[arg(value_name = "FILE", required_unless_present = "model")]
    file: Option<PathBuf>,
    /// A model of the folder instead of a file.
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    model: Option<String>,
    /// The version of that model; without it the one that is served.
    #[arg(long, value_name = "N", requires = "model")]
    version: Option<u64>,
    #[command(flatten)]
    models: ModelsFolder,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let architecture = match (&args.file, &args.model) {
        (Some(file), _) => read_architecture(file)?,
        (None, Some(model)) => {
            let repository = args.models.open()?;
            let version = match args.version {
                Some(version) => version,
                None => repository.serving_version(model)?,
            };
            repository.load(model, version)?.architecture
        }
        (None, None) => anyhow::bail!("name a FILE, or a model with --model"),
    };
    print(architecture.summary().trim_end())
}

/// Reads and checks an architecture file.
pub(super) fn read_architecture(file: &Path) -> anyhow::Result<Architecture> {
    let text = read_text(file, MAX_BYTES)?;
    Architecture::from_json(&text).with_context(|| file.display().to_string())
}

/// Reads a text file of at most `max_bytes`.
pub(super) fn read_text(file: &Path, max_bytes: u64) -> anyhow::Result<String> {
    let bytes = std::fs::metadata(file)
        .with_context(|| format!("could not read {}", file.display()))?
        .len();
    anyhow::ensure!(
        bytes <= max_bytes,
        "{} has {bytes} bytes; at most {max_bytes} are read",
        file.display()
    );
    std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}
