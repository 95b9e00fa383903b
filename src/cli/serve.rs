//! `irori serve`: the models of a folder over HTTP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;

use super::doors::DoorFlags;
use super::options::{ImageLimits, ModelsFolder, seconds, worker_pool};
use crate::dataset;
use crate::http::{self, AppState, HttpConfig};
use crate::serving::{Engine, EngineConfig, Models, Watch};
use crate::training::Jobs;

#[derive(clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    models: ModelsFolder,
    /// Where uploaded data sets and the made admin token are kept.
    #[arg(long, default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// The model that the bare POST /predict uses; without it the only model there is.
    #[arg(long, value_name = "NAME")]
    default_model: Option<String>,
    /// Images that may be in the server at once, being decoded, waiting or computed; a request that
    /// finds no room is answered 429 at once.
    #[arg(long, default_value_t = 1024, value_name = "IMAGES")]
    queue: usize,
    /// Seconds between two looks at the models folder for what other processes have changed; 0 does
    /// not look.
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds)]
    watch_interval: Duration,
    /// Bytes of weights in memory. The versions that models serve by name stay in any case; those
    /// asked for by number are loaded beside them as far as there is room, and the least recently
    /// used leaves first.
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    max_loaded_bytes: u64,
    /// Images computed together at most. Nothing waits for a batch to fill.
    #[arg(long, default_value_t = 32, value_name = "IMAGES")]
    max_batch: usize,
    /// Images decoded at the same time; without it one for each CPU.
    #[arg(long, value_name = "N")]
    decode_threads: Option<usize>,
    /// Threads that training computes with, at low priority; without it one for each CPU.
    #[arg(long, value_name = "N")]
    training_threads: Option<usize>,
    #[command(flatten)]
    limits: ImageLimits,
    /// Bytes that the body of a prediction may have.
    #[arg(long, default_value_t = HttpConfig::default().max_body_bytes, value_name = "BYTES")]
    max_body_bytes: usize,
    /// Bytes of memory that the bodies of all predictions may take together; a request that finds
    /// no room is answered 429.
    #[arg(long, default_value_t = HttpConfig::default().max_bodies_bytes, value_name = "BYTES")]
    max_bodies_bytes: usize,
    /// Bytes that an uploaded data set or model may have.
    #[arg(long, default_value_t = HttpConfig::default().max_upload_bytes, value_name = "BYTES")]
    max_upload_bytes: u64,
    /// Images in one request.
    #[arg(long, default_value_t = HttpConfig::default().max_images_per_request, value_name = "N")]
    max_images_per_request: usize,
    /// Seconds that a prediction may take before it is answered 504.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    request_timeout: Duration,
    /// Seconds that accepted requests get to finish after SIGTERM.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    drain_timeout: Duration,
    #[command(flatten)]
    doors: DoorFlags,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cpus)
        .enable_all()
        .build()?;
    let repository = args.models.open()?;
    let models = Models::load(repository, Device::flex(), args.default_model)?;
    let models = Arc::new(models.with_max_loaded_bytes(args.max_loaded_bytes));
    let _watch = (!args.watch_interval.is_zero())
        .then(|| Watch::start(Arc::clone(&models), args.watch_interval))
        .transpose()?;
    let engine = Engine::start(EngineConfig {
        queue_capacity: args.queue,
        max_batch: args.max_batch,
        decode_threads: args.decode_threads.unwrap_or(cpus),
        limits: args.limits.limits(),
    })?;
    let jobs = Jobs::start(worker_pool(args.training_threads.unwrap_or(cpus))?)?;
    let access = args.doors.access(&args.data)?;
    let config = HttpConfig {
        max_body_bytes: args.max_body_bytes,
        max_bodies_bytes: args.max_bodies_bytes,
        max_upload_bytes: args.max_upload_bytes,
        max_images_per_request: args.max_images_per_request,
        request_timeout: args.request_timeout,
        drain_timeout: args.drain_timeout,
        ..args.doors.config()
    };
    let datasets = dataset::Store::new(args.data.join("datasets")).with_options(dataset::Options {
        limits: args.limits.limits(),
        ..Default::default()
    });
    let state = AppState::new(config, models, engine, jobs, datasets, access);
    runtime.block_on(async {
        let doors = args.doors.open().await?;
        http::run(doors, state, shutdown_signal()).await?;
        Ok(())
    })
}

/// Ends on SIGTERM, as container runtimes send it, and on SIGINT, as Ctrl-C does.
async fn shutdown_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(error) => {
                tracing::error!(%error, "SIGTERM can't be awaited");
                std::future::pending::<()>().await;
            }
        }
    };
    tokio::select! {
        () = terminate => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
