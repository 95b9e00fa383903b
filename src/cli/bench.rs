//! `irori bench`: how fast a network is computed on this machine, and what share of its peak that is.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use burn::tensor::{Device, Tensor, TensorData};
use comfy_table::{CellAlignment, Table, presets};
use kernels::{Level, peak_flops};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::json;

use super::options::{ModelsFolder, model_name};
use super::output::print;
use super::summary::read_architecture;
use crate::architecture::Architecture;
use crate::network::{Network, Parameters, Predictor, initialize};
use crate::repository::{ModelName, Repository};
use crate::training::{Compile, Learner};

/// What weights, images and classes are drawn from.
const SEED: u64 = 0;
/// The least runs that are timed, however long one takes.
const LEAST_RUNS: usize = 2;
/// The most numbers that a batch of images may have.
const MAX_VALUES: usize = 1 << 31;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A model of the folder; without it and without --architecture, the only one there is.
    #[arg(long, value_name = "NAME", value_parser = model_name, conflicts_with = "architecture")]
    model: Option<ModelName>,
    /// The version of that model; without it the one that is served.
    #[arg(long, value_name = "N", requires = "model")]
    version: Option<u64>,
    #[command(flatten)]
    models: ModelsFolder,
    /// Instead of a model: what Keras' to_json() writes, or {"layers": […]} by hand, with weights
    /// drawn by its initializers.
    #[arg(long, value_name = "FILE")]
    architecture: Option<PathBuf>,
    /// Images that are computed together, one number or several.
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 8, 32, 128],
        value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Vec<u32>,
    /// Threads that compute; without it one for each processor.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Time training steps (forward, backward, optimizer) on random images instead of predictions;
    /// with the model's own optimizer and loss where its card names them, else Adam and a
    /// crossentropy.
    #[arg(long)]
    train: bool,
    /// How long each batch size is timed, at least.
    #[arg(long, value_name = "SECONDS", default_value_t = 0.5, value_parser = seconds)]
    seconds: f64,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=600.0).contains(&seconds) => Ok(seconds),
        _ => Err("expected a number from 0 to 600".into()),
    }
}

/// What is timed.
struct Subject {
    title: String,
    architecture: Architecture,
    parameters: Parameters,
    compile: Compile,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Forward,
    Train,
}

/// The figures of one batch size.
#[derive(Serialize)]
struct Figures {
    mode: Mode,
    batch: usize,
    threads: usize,
    images_per_second: f64,
    seconds_median: f64,
    seconds_min: f64,
    gflops: f64,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let subject = Subject::of(&args)?;
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = args.threads {
        pool = pool.num_threads(threads.into());
    }
    pool.build()?.install(|| {
        let level = Level::default();
        let peak = peak_flops(level) / 1e9;
        let mode = if args.train {
            Mode::Train
        } else {
            Mode::Forward
        };
        let results = args
            .batch
            .iter()
            .map(|&batch| subject.time(mode, batch as usize, args.seconds))
            .collect::<anyhow::Result<Vec<_>>>()?;
        if args.json {
            print(json!({"peak_gflops": peak, "results": results}))
        } else {
            print(format_args!(
                "{}: {:.3} million operations for an image; the peak is {peak:.1} GFLOP/s ({})\n\n{}",
                subject.title,
                subject.operations(mode) as f64 / 1e6,
                level.name(),
                table(&results, peak).trim_fmt()
            ))
        }
    })
}

impl Subject {
    fn of(args: &Args) -> anyhow::Result<Self> {
        match &args.architecture {
            Some(file) => Self::drawn(file),
            None => {
                let repository = args.models.open()?;
                let model = match &args.model {
                    Some(model) => model.to_string(),
                    None => only_model(&repository)?,
                };
                Self::stored(&repository, &model, args.version)
            }
        }
    }

    fn drawn(file: &Path) -> anyhow::Result<Self> {
        let architecture = read_architecture(file)?;
        Ok(Self {
            title: file.display().to_string(),
            parameters: initialize(&architecture, SEED),
            compile: default_compile(&architecture)?,
            architecture,
        })
    }

    fn stored(repository: &Repository, model: &str, version: Option<u64>) -> anyhow::Result<Self> {
        let version = match version {
            Some(version) => version,
            None => repository.serving_version(model)?,
        };
        let stored = repository.load(model, version)?;
        Ok(Self {
            title: format!("{model} version {version}"),
            compile: match stored.card.lineage.compile {
                Some(compile) => Compile::try_from(compile)?,
                None => default_compile(&stored.architecture)?,
            },
            architecture: stored.architecture,
            parameters: stored.parameters,
        })
    }

    /// The operations for one image.
    fn operations(&self, mode: Mode) -> u64 {
        match mode {
            Mode::Forward => self.architecture.forward_operations(),
            Mode::Train => self.architecture.training_operations(),
        }
    }

    /// Times batches of one size on the threads of the pool that this is called in.
    fn time(&self, mode: Mode, batch: usize, seconds: f64) -> anyhow::Result<Figures> {
        let values = self
            .architecture
            .input_shape()
            .elements()
            .and_then(|each| each.checked_mul(batch))
            .filter(|&values| values <= MAX_VALUES)
            .with_context(|| {
                format!("--batch {batch}: so many images don't fit into memory; allowed: {MAX_VALUES} numbers")
            })?;
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let images: Vec<f32> = (0..values).map(|_| rng.random()).collect();
        let times = match mode {
            Mode::Forward => self.predictions(images, batch, seconds)?,
            Mode::Train => self.steps(images, batch, seconds, &mut rng)?,
        };
        let median = median(&times);
        Ok(Figures {
            mode,
            batch,
            threads: rayon::current_num_threads(),
            images_per_second: batch as f64 / median,
            seconds_median: median,
            seconds_min: times.iter().copied().fold(f64::INFINITY, f64::min),
            gflops: self.operations(mode) as f64 * batch as f64 / median / 1e9,
        })
    }

    fn predictions(
        &self,
        images: Vec<f32>,
        batch: usize,
        seconds: f64,
    ) -> anyhow::Result<Vec<f64>> {
        let network = Predictor::new(&self.architecture, &self.parameters, &Device::flex())?;
        let mut scores = vec![0.0; batch * network.outputs()];
        repeat(seconds, || {
            network.predict(black_box(&images), black_box(&mut scores));
            Ok(())
        })
    }

    fn steps(
        &self,
        images: Vec<f32>,
        batch: usize,
        seconds: f64,
        rng: &mut ChaCha8Rng,
    ) -> anyhow::Result<Vec<f64>> {
        let device = Device::flex().autodiff();
        let network = Network::new(&self.architecture, &self.parameters, &device)?;
        let outputs = network.outputs();
        let mut target = vec![0.0f32; batch * outputs];
        for row in target.chunks_exact_mut(outputs.max(1)) {
            match row {
                [single] => *single = f32::from(rng.random::<bool>()),
                row => row[rng.random_range(0..outputs)] = 1.0,
            }
        }
        let images = Tensor::from_data(
            TensorData::new(images, network.input_extents(batch)),
            &device,
        );
        let target = Tensor::from_data(TensorData::new(target, [batch, outputs]), &device);
        let mut learner = Learner::new(network, self.compile.clone(), SEED);
        repeat(seconds, || {
            let (loss, _) = learner.train_on_batch(images.clone(), target.clone());
            // Such a step moves nothing, and would be timed short.
            ensure!(loss.is_finite(), "the loss on random images is {loss}");
            Ok(())
        })
    }
}

/// The name of the one model of the folder.
fn only_model(repository: &Repository) -> anyhow::Result<String> {
    match repository.models()?.as_slice() {
        [model] => Ok(model.clone()),
        models => bail!(
            "{} holds {} models ({}); choose one with --model, or a file with --architecture",
            repository.root().display(),
            models.len(),
            models.join(", ")
        ),
    }
}

/// Adam, and the crossentropy that suits the outputs.
fn default_compile(architecture: &Architecture) -> anyhow::Result<Compile> {
    let loss = match architecture.output_shape().elements() {
        Some(1) => "binary_crossentropy",
        _ => "sparse_categorical_crossentropy",
    };
    Ok(Compile::try_from(
        json!({"optimizer": "adam", "loss": loss}),
    )?)
}

/// The seconds that each run takes, over `seconds` in all, after a fifth of that to warm up.
fn repeat(seconds: f64, mut run: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<Vec<f64>> {
    let started = Instant::now();
    loop {
        run()?;
        if started.elapsed().as_secs_f64() >= seconds / 5.0 {
            break;
        }
    }
    let mut times = Vec::new();
    let started = Instant::now();
    while times.len() < LEAST_RUNS || started.elapsed().as_secs_f64() < seconds {
        let began = Instant::now();
        run()?;
        times.push(began.elapsed().as_secs_f64());
    }
    Ok(times)
}

/// The middle of some figures, or the mean of the middle two.
fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let half = figures.len() / 2;
    (figures[half] + figures[figures.len() - 1 - half]) / 2.0
}

fn table(results: &[Figures], peak: f64) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "MODE", "BATCH", "THREADS", "IMAGES/S", "MEDIAN", "BEST", "GFLOP/S", "OF PEAK",
    ]);
    for figures in results {
        table.add_row([
            match figures.mode {
                Mode::Forward => "forward".to_owned(),
                Mode::Train => "train".to_owned(),
            },
            figures.batch.to_string(),
            figures.threads.to_string(),
            format!("{:.0}", figures.images_per_second),
            format!("{:.3} ms", figures.seconds_median * 1e3),
            format!("{:.3} ms", figures.seconds_min * 1e3),
            format!("{:.1}", figures.gflops),
            format!("{:.0} %", figures.gflops / peak * 100.0),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
