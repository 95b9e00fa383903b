//! `irori serve`: the models of a folder over HTTP.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use burn::tensor::Device;

use super::doors::DoorFlags;
use super::options::{ImageLimits, ModelsFolder, seconds, worker_pool};
use crate::dataset;
use crate::http::{self, AppState, HttpConfig};
use crate::serving::{Engine, EngineConfig, Models, Watch, cpus};
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
    /// Images of each model that may be in the server at once, being decoded, waiting or computed; a
    /// request that finds no room is answered 429 at once, with when to try again.
    #[arg(long, default_value_t = EngineConfig::default().queue_capacity, value_name = "IMAGES")]
    queue_capacity: usize,
    /// Bytes that the pixels of all models' images may take meanwhile.
    #[arg(long, default_value_t = EngineConfig::default().queue_bytes, value_name = "BYTES")]
    queue_bytes: usize,
    /// Seconds between two looks at the models folder for what other processes have changed; 0 does
    /// not look.
    #[arg(long, default_value = "1", value_name = "SECONDS", value_parser = seconds)]
    watch_interval: Duration,
    /// Bytes of weights in memory. The versions that models serve by name stay in any case; those
    /// asked for by number are loaded beside them as far as there is room, and the least recently
    /// used leaves first.
    #[arg(long, default_value_t = 1 << 30, value_name = "BYTES")]
    max_loaded_bytes: u64,
    /// Images computed together at most: those that wait at the moment when the last batch is done.
    #[arg(long, default_value_t = EngineConfig::default().max_batch, value_name = "IMAGES")]
    max_batch: usize,
    /// Seconds that an image may wait for others to fill its batch, such as 0.005. More makes batches
    /// fuller, and every lone client wait.
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    max_queue_delay: Duration,
    /// Threads that decode images and run networks. Without it one for each CPU that the process may
    /// use, by its affinity and the quota of its control group (docker run --cpus).
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// How many of them may decode at the same time; without it all.
    #[arg(long, value_name = "N")]
    decode_threads: Option<usize>,
    /// Threads that training computes with, at low priority; without it as --threads.
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
    /// Seconds that a prediction may take, from the arrival of its request, before it is answered 504;
    /// what is too late is neither decoded nor computed.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    request_timeout: Duration,
    /// Seconds that the server still takes new requests after SIGTERM, while /health/ready says 503
    /// already. Give load balancers a moment to notice: 5 is usual in Kubernetes.
    #[arg(long, default_value = "0", value_name = "SECONDS", value_parser = seconds)]
    drain_grace: Duration,
    /// Seconds that accepted requests then get to finish, while new ones are answered 503.
    #[arg(long, default_value = "30", value_name = "SECONDS", value_parser = seconds)]
    drain_timeout: Duration,
    #[command(flatten)]
    doors: DoorFlags,
}

pub(super) fn run(args: Args) -> anyhow::Result<()> {
    refuse_huge_pages();
    let threads = args.threads.unwrap_or_else(cpus);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // They only pass things on: half as many keep those busy that compute.
        .worker_threads(threads.div_ceil(2))
        .enable_all()
        .build()?;
    // Where versions are tested when they are loaded, and large images split that have the threads to themselves.
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("irori-split-{index}"))
        .build_global()?;
    let repository = args.models.open()?;
    let models = Models::load(repository, Device::flex(), args.default_model)?;
    let models = Arc::new(models.with_max_loaded_bytes(args.max_loaded_bytes));
    let _watch = (!args.watch_interval.is_zero())
        .then(|| Watch::start(Arc::clone(&models), args.watch_interval))
        .transpose()?;
    let engine = Engine::start(EngineConfig {
        queue_capacity: args.queue_capacity,
        queue_bytes: args.queue_bytes,
        max_batch: args.max_batch,
        max_queue_delay: args.max_queue_delay,
        threads,
        decode_threads: args.decode_threads.unwrap_or(threads),
        limits: args.limits.limits(),
    })?;
    let jobs = Jobs::start(worker_pool(args.training_threads.unwrap_or(threads))?)?;
    let access = args.doors.access(&args.data)?;
    let config = HttpConfig {
        max_body_bytes: args.max_body_bytes,
        max_bodies_bytes: args.max_bodies_bytes,
        max_upload_bytes: args.max_upload_bytes,
        max_images_per_request: args.max_images_per_request,
        request_timeout: args.request_timeout,
        drain_grace: args.drain_grace,
        drain_timeout: args.drain_timeout,
        ..args.doors.config()
    };
    let datasets = dataset::Store::new(args.data.join("datasets")).with_options(dataset::Options {
        limits: args.limits.limits(),
        ..Default::default()
    });
    let state = AppState::new(config, models, engine, jobs, datasets, access);
    let served: anyhow::Result<()> = runtime.block_on(async {
        let doors = args.doors.open().await?;
        http::run(doors, state, shutdown_signal()).await?;
        Ok(())
    });
    // What still runs off the async threads, such as a load, has nobody to answer to any more.
    runtime.shutdown_background();
    served
}

/// Keeps memory in small pages. Of a huge one, 2 MiB, that was used once for a load or a burst of requests hardly any is ever
/// free as a whole, so it stays with the process: about half of a busy server's memory.
fn refuse_huge_pages() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory may come in huge pages");
    }
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
