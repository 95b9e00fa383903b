//! `irori train`: the training of `POST /admin/models/{model}/train`, in the terminal.

use std::path::{Path, PathBuf};

use anyhow::Context;
use burn::tensor::Device;
use serde_json::{Map, Value, json};

use super::options::{Images, ModelsFolder, model_name};
use super::output::print;
use super::progress::follow;
use super::summary::read_text;
use crate::evaluation;
use crate::repository::ModelName;
use crate::training::{Compile, EarlyStopping, Fit, JobKind, Monitor, Train, TrainRequest};

/// The largest JSON file that is read.
const MAX_JSON_BYTES: u64 = 64 << 20;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    images: Images,
    /// The model that gets a new version.
    #[arg(long, value_name = "NAME", value_parser = model_name)]
    model: ModelName,
    #[command(flatten)]
    models: ModelsFolder,
    /// What Keras' to_json() writes, or {"layers": […]} by hand; without it the architecture of the
    /// version that is served.
    #[arg(long, value_name = "FILE")]
    architecture: Option<PathBuf>,
    /// SGD, RMSprop, Adagrad, Adadelta or Adam; or as JSON with its settings, e.g.
    /// '{"name":"sgd","momentum":0.9,"nesterov":true}'.
    #[arg(long, default_value = "adam")]
    optimizer: String,
    /// Overrides the optimizer's learning rate.
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f64>,
    /// mean_squared_error, categorical_crossentropy, sparse_categorical_crossentropy or
    /// binary_crossentropy.
    #[arg(long, default_value = "sparse_categorical_crossentropy")]
    loss: String,
    /// Passes over the training images.
    #[arg(long, default_value_t = 5)]
    epochs: usize,
    /// Images per step.
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    /// The share of the training images that is held out to follow the training by; without it 0
    /// where the data set has a test part, else 0.2.
    #[arg(long, value_name = "SHARE")]
    validation_split: Option<f64>,
    /// Stop after so many epochs in which the validation loss (or, with nothing held out, the loss)
    /// did not improve, and keep the best weights.
    #[arg(long, value_name = "EPOCHS")]
    patience: Option<usize>,
    /// How images become the network's input: a JSON file like the "preprocessing" of a card.json.
    #[arg(long, value_name = "FILE")]
    preprocessing: Option<PathBuf>,
    /// What weights, split, shuffling and dropout are drawn from; without it one is drawn.
    #[arg(long)]
    seed: Option<u64>,
    /// Go on from the weights of this version.
    #[arg(long, value_name = "VERSION")]
    initial_weights: Option<u64>,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let repository = args.models.open()?;
    let source = args.images.source();
    let dataset = source.name.clone();
    let request = TrainRequest {
        dataset: dataset.clone(),
        architecture: args.architecture.as_deref().map(read_json).transpose()?,
        compile: compile(&args)?,
        fit: fit(&args),
        preprocessing: match &args.preprocessing {
            Some(file) => Some(
                serde_json::from_value(read_json(file)?)
                    .with_context(|| file.display().to_string())?,
            ),
            None => None,
        },
        validation_split: args.validation_split,
        seed: args.seed,
        initial_weights: args.initial_weights,
    };
    let train = Train::check(args.model.clone(), request, source, &repository)?;
    print(train.architecture().summary().trim_end())?;
    let job = follow(JobKind::Train, &args.model, dataset, args.epochs, {
        let repository = repository.clone();
        move |job| train.run(job, &repository, &Device::flex()).map(drop)
    })?;
    if let Some(report) = &job.evaluation {
        print(evaluation::table(report))?;
    }
    if let Some(version) = job.version {
        print(format_args!(
            "Published version {version} of {} in {}.",
            args.model,
            repository.root().display()
        ))?;
    }
    Ok(())
}

fn compile(args: &Args) -> anyhow::Result<Compile> {
    let mut optimizer = if args.optimizer.trim_start().starts_with('{') {
        serde_json::from_str(&args.optimizer).context("--optimizer")?
    } else {
        json!({"name": args.optimizer})
    };
    if let (Some(rate), Some(settings)) = (args.learning_rate, optimizer.as_object_mut()) {
        let settings = match settings.get_mut("config").and_then(Value::as_object_mut) {
            Some(config) => config,
            None => settings,
        };
        settings.insert("learning_rate".into(), rate.into());
    }
    let mut compile = Map::new();
    compile.insert("optimizer".into(), optimizer);
    compile.insert("loss".into(), args.loss.clone().into());
    Ok(Compile::try_from(Value::Object(compile))?)
}

fn fit(args: &Args) -> Fit {
    let early_stopping = args.patience.map(|patience| EarlyStopping {
        monitor: if args.validation_split == Some(0.0) {
            Monitor::Loss
        } else {
            Monitor::ValLoss
        },
        patience,
        min_delta: 0.0,
        restore_best_weights: true,
    });
    Fit {
        batch_size: args.batch_size,
        epochs: args.epochs,
        shuffle: true,
        early_stopping,
    }
}

fn read_json(file: &Path) -> anyhow::Result<Value> {
    let text = read_text(file, MAX_JSON_BYTES)?;
    serde_json::from_str(&text).with_context(|| file.display().to_string())
}
