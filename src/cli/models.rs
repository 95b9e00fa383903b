//! `irori models`: what a folder of models holds; promote, roll back, delete, golden answers.

use std::path::PathBuf;

use anyhow::Context;
use comfy_table::{Table, presets};

use super::options::ModelsFolder;
use super::output::print;
use crate::imaging::{self, Limits};
use crate::repository::{Golden, Repository, VersionState};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    models: ModelsFolder,
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(clap::Subcommand)]
enum Action {
    /// List models and versions (the default).
    List,
    /// Serve this version under the model's name, also when newer ones are published.
    Promote {
        /// The model's name.
        model: String,
        /// The version that is to be served.
        version: u64,
    },
    /// Serve the version that was served before this one.
    Rollback {
        /// The model's name.
        model: String,
    },
    /// Delete a version for good; the one that is being served is refused.
    Delete {
        /// The model's name.
        model: String,
        /// The version that is to go.
        version: u64,
    },
    /// Give golden answers to a version of an older Irori, which has none. A server compares them
    /// with what the network gives when it loads the version, and serves it only if they are the
    /// same.
    Golden {
        /// The model's name.
        model: String,
        /// The version.
        version: u64,
        /// Image files, of which the first few are used beside images that are made up.
        #[arg(value_name = "IMAGE")]
        images: Vec<PathBuf>,
    },
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    match args.action.unwrap_or(Action::List) {
        Action::List => list(&repository),
        Action::Promote { model, version } => {
            repository.promote(&model, version)?;
            print(format_args!("{model} now serves version {version}."))
        }
        Action::Rollback { model } => {
            let version = repository.rollback(&model)?;
            print(format_args!("{model} now serves version {version}."))
        }
        Action::Delete { model, version } => {
            repository.delete(&model, version)?;
            print(format_args!("Version {version} of {model} is gone."))
        }
        Action::Golden {
            model,
            version,
            images,
        } => golden(&repository, &model, version, &images),
    }
}

fn golden(
    repository: &Repository,
    model: &str,
    version: u64,
    images: &[PathBuf],
) -> anyhow::Result<()> {
    let stored = repository.load(model, version)?;
    let input = stored.architecture.input_shape().as_image();
    let input = input.with_context(|| format!("{model} takes no images"))?;
    let mut examples = Vec::new();
    for file in images.iter().take(Golden::EXAMPLES) {
        let name = || file.display().to_string();
        let bytes = std::fs::read(file).with_context(name)?;
        let image = imaging::decode(&bytes, &Limits::default()).with_context(name)?;
        examples.extend(stored.card.preprocessing.fit(&image, input.into()));
    }
    if repository.add_golden(model, version, &examples)? {
        print(format_args!(
            "Version {version} of {model} has golden answers now."
        ))
    } else {
        print(format_args!(
            "Version {version} of {model} has golden answers already, and keeps them."
        ))
    }
}

fn list(repository: &Repository) -> anyhow::Result<()> {
    let models = repository.models()?;
    if models.is_empty() {
        return print(format_args!(
            "{} holds no models; `irori train` or `irori import` makes one.",
            repository.root().display()
        ));
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "MODEL",
        "VERSION",
        "SERVING",
        "ORIGIN",
        "CREATED",
        "PARAMETERS",
        "ACCURACY",
    ]);
    for model in models {
        let listing = repository.describe(&model)?;
        for version in &listing.versions {
            let serving = match (listing.serving == Some(version.version), listing.pinned) {
                (true, true) => "yes, promoted",
                (true, false) => "yes, newest",
                (false, _) => "",
            };
            let number = version.version.to_string();
            match &version.state {
                VersionState::Ok => {
                    let stored = repository.load(&model, version.version)?;
                    let accuracy = stored
                        .evaluation
                        .map(|report| format!("{:.2} %", report.accuracy * 100.0));
                    table.add_row([
                        model.clone(),
                        number,
                        serving.into(),
                        format!("{:?}", stored.card.lineage.origin).to_lowercase(),
                        stored
                            .card
                            .created_at
                            .strftime("%Y-%m-%d %H:%M")
                            .to_string(),
                        stored.card.parameters.to_string(),
                        accuracy.unwrap_or_default(),
                    ]);
                }
                VersionState::Broken { reason, .. } => {
                    table.add_row([model.clone(), number, format!("broken: {reason}")]);
                }
            }
        }
    }
    print(table.trim_fmt())
}
