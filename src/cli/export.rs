//! `irori export`: a version of a model as a file for other tools.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::options::{ModelsFolder, Which};
use super::output::print;
use crate::repository::ExportFormat;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    models: ModelsFolder,
    /// h5 and keras are whole models for Keras' load_model, json is the architecture alone,
    /// safetensors the weights alone.
    #[arg(long, value_parser = format_parser())]
    format: ExportFormat,
    /// The file to write; without it MODEL-VERSION.FORMAT in this folder. A file that is there is
    /// replaced.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
}

fn format_parser() -> impl TypedValueParser<Value = ExportFormat> {
    let names = ExportFormat::ALL.map(ExportFormat::extension);
    PossibleValuesParser::new(names).try_map(|name| {
        let mut all = ExportFormat::ALL.into_iter();
        all.find(|format| format.extension() == name)
            .ok_or("no such format")
    })
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    let version = args.which.version(&repository)?;
    let model = args.which.model.as_str();
    let file = repository.load(model, version)?.export(args.format)?;
    let path = args
        .output
        .unwrap_or_else(|| PathBuf::from(format!("{model}-{version}.{}", args.format.extension())));
    write_whole(&path, &file)?;
    print(format_args!(
        "Wrote version {version} of {model} to {}.",
        path.display()
    ))
}

/// Writes a file that is there whole or not at all.
pub(super) fn write_whole(path: &std::path::Path, content: &[u8]) -> anyhow::Result<()> {
    let name = || format!("could not write {}", path.display());
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let mut scratch = tempfile::Builder::new()
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .with_context(name)?;
    scratch.write_all(content).with_context(name)?;
    scratch.as_file().sync_all().with_context(name)?;
    scratch.persist(path).with_context(name)?;
    Ok(())
}
