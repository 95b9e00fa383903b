//! `irori predict`: says what image files show, with a model of the folder and no server.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail};
use burn::tensor::Device;

use super::export::write_whole;
use super::options::{ImageLimits, ModelsFolder, Which};
use super::output::print;
use crate::interchange::{read_safetensors, write_safetensors};
use crate::network::{Parameter, Predictor};
use crate::repository::StoredVersion;
use crate::serving::{Prediction, Servable};

#[derive(clap::Args)]
pub(super) struct Args {
    /// Image files: PNG, JPEG, WebP, GIF, BMP or TIFF.
    #[arg(
        value_name = "IMAGE",
        required_unless_present = "tensor",
        conflicts_with = "tensor"
    )]
    images: Vec<PathBuf>,
    /// Instead of images: a safetensors file with a tensor "x", [N, …] as the network takes it, with
    /// no preprocessing.
    #[arg(long, value_name = "FILE", requires = "output")]
    tensor: Option<PathBuf>,
    /// Where the network's scores for --tensor go, as a tensor "y", [N, outputs].
    #[arg(long, value_name = "FILE", requires = "tensor")]
    output: Option<PathBuf>,
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
    if let (Some(tensor), Some(output)) = (&args.tensor, &args.output) {
        return predict_tensor(&stored, tensor, output);
    }
    let servable = Servable::load(stored, Arc::default(), &Device::flex())?;
    let limits = args.limits.limits();
    let mut predictions = Vec::with_capacity(args.images.len());
    for file in &args.images {
        let name = || file.display().to_string();
        let bytes = std::fs::read(file).with_context(|| format!("could not read {}", name()))?;
        let pixels = servable.pixels(&bytes, &limits).with_context(name)?;
        let scores = servable.scores([pixels.as_slice()].into_iter());
        let mut prediction = scores
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
        print(serde_json::to_string_pretty(&answer)?)
    } else {
        predictions.iter().map(line).try_for_each(print)
    }
}

/// Runs the bare network over a tensor.
fn predict_tensor(stored: &StoredVersion, tensor: &Path, output: &Path) -> anyhow::Result<()> {
    let name = || tensor.display().to_string();
    let file = std::fs::read(tensor).with_context(name)?;
    let tensors = read_safetensors(&file).with_context(name)?;
    let x = tensors
        .get("x")
        .with_context(|| format!("{}: there is no tensor \"x\"", name()))?;
    let input = stored.architecture.input_shape();
    let count = match x.shape.split_first() {
        Some((&count, rest)) if rest == input.dims() => count,
        _ => bail!(
            "{}: \"x\" has the shape {:?}; expected {input}",
            name(),
            x.shape
        ),
    };
    let network = Predictor::new(&stored.architecture, &stored.parameters, &Device::flex())?;
    let mut values = vec![0.0; count * network.outputs()];
    network.predict(&x.values, &mut values);
    let shape = vec![count, network.outputs()];
    let scores = [("y".to_owned(), Parameter { shape, values })];
    let file = write_safetensors(&scores.into_iter().collect())?;
    write_whole(output, &file)
}

/// `four.png: 4 99.98 %, 9 0.01 %`
fn line(prediction: &Prediction) -> String {
    let top: Vec<String> = prediction
        .top
        .iter()
        .map(|candidate| {
            let percent = f64::from(candidate.probability) * 100.0;
            format!("{} {percent:.2} %", candidate.label)
        })
        .collect();
    format!(
        "{}: {}",
        prediction.image.as_deref().unwrap_or_default(),
        top.join(", ")
    )
}
