//! `irori predict`: says what image files show, with a model of the folder and no server.

use std::path::PathBuf;

use anyhow::Context;
use burn::tensor::Device;

use super::options::{ImageLimits, ModelsFolder, Which};
use crate::serving::{Prediction, Servable};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Image files: PNG, JPEG, WebP, GIF, BMP or TIFF.
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    models: ModelsFolder,
    /// How many labels are shown for each image.
    #[arg(long, default_value_t = 3, value_name = "K")]
    top_k: usize,
    /// Print JSON, as POST /predict answers it.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    limits: ImageLimits,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    let version = args.which.version(&repository)?;
    let stored = repository.load(args.which.model.as_str(), version)?;
    let servable = Servable::load(stored, &Device::flex())?;
    let limits = args.limits.limits();
    let mut predictions = Vec::with_capacity(args.images.len());
    for file in &args.images {
        let name = || file.display().to_string();
        let bytes = std::fs::read(file).with_context(|| format!("could not read {}", name()))?;
        let pixels = servable.pixels(&bytes, &limits).with_context(name)?;
        let probabilities = servable.probabilities([pixels.as_slice()].into_iter());
        let mut prediction = probabilities
            .first()
            .and_then(|scores| servable.prediction(scores, args.top_k))
            .with_context(|| format!("{}: the model has no labels", name()))?;
        prediction.image = Some(name());
        predictions.push(prediction);
    }
    if args.json {
        let answer = serde_json::json!({
            "model": servable.model(),
            "version": servable.version(),
            "predictions": predictions,
        });
        println!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        predictions.iter().for_each(print_line);
    }
    Ok(())
}

/// `four.png: 4 99.98 %, 9 0.01 %`
fn print_line(prediction: &Prediction) {
    let top: Vec<String> = prediction
        .top
        .iter()
        .map(|candidate| {
            let percent = f64::from(candidate.probability) * 100.0;
            format!("{} {percent:.2} %", candidate.label)
        })
        .collect();
    println!(
        "{}: {}",
        prediction.image.as_deref().unwrap_or_default(),
        top.join(", ")
    );
}
