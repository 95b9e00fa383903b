//! `irori evaluate`: counts a model's predictions against labelled images.

use burn::tensor::Device;

use super::options::{Images, ModelsFolder, Which};
use super::output::print;
use super::progress::follow;
use crate::evaluation;
use crate::training::{Evaluate, JobKind};

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    images: Images,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    models: ModelsFolder,
    /// Print the report as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    let version = args.which.version(&repository)?;
    let model = args.which.model.clone();
    let source = args.images.source();
    let dataset = source.name.clone();
    let evaluate = Evaluate::check(model.clone(), Some(version), source, &repository)?;
    let job = follow(JobKind::Evaluate, &model, dataset, 0, {
        let repository = repository.clone();
        move |job| evaluate.run(job, &repository, &Device::flex()).map(drop)
    })?;
    if let Some(report) = &job.evaluation {
        if args.json {
            print(serde_json::to_string_pretty(report)?)?;
        } else {
            print(evaluation::table(report))?;
        }
    }
    Ok(())
}
