//! Flags that several commands share.

use std::path::PathBuf;
use std::time::Duration;

use crate::dataset::{self, BadFiles};
use crate::imaging::Limits;
use crate::repository::{ModelName, Repository};
use crate::training::Source;

/// Where the models are.
#[derive(clap::Args)]
pub(super) struct ModelsFolder {
    /// The folder of models: a folder for each model in it, and in that one for each version.
    #[arg(long = "models", default_value = "models", value_name = "DIR")]
    folder: PathBuf,
}

impl ModelsFolder {
    pub(super) fn open(&self) -> anyhow::Result<Repository> {
        Ok(Repository::open(&self.folder)?)
    }
}

/// Which version of which model.
#[derive(clap::Args)]
pub(super) struct Which {
    /// The model's name.
    #[arg(long, value_name = "NAME", value_parser = model_name)]
    pub(super) model: ModelName,
    /// The version; without it the one that is served.
    #[arg(long, value_name = "N")]
    version: Option<u64>,
}

impl Which {
    pub(super) fn version(&self, repository: &Repository) -> anyhow::Result<u64> {
        match self.version {
            Some(version) => Ok(version),
            None => Ok(repository.serving_version(self.model.as_str())?),
        }
    }
}

/// Labelled images on this machine.
#[derive(clap::Args)]
pub(super) struct Images {
    /// Labelled images: a folder with a folder per class, or MNIST's IDX files; or a zip, tar or
    /// tar.gz of either. Parts named train and test are kept apart.
    #[arg(long, value_name = "PATH")]
    dataset: PathBuf,
    /// What the data set is called in the card; without it the name of its file or folder.
    #[arg(long, value_name = "NAME")]
    dataset_name: Option<String>,
    /// Stop at the first file that is no image, instead of skipping and counting such files.
    #[arg(long)]
    refuse_bad_files: bool,
    #[command(flatten)]
    limits: ImageLimits,
}

impl Images {
    pub(super) fn source(&self) -> Source {
        Source {
            name: self.dataset_name.clone().unwrap_or_else(|| {
                let name = self.dataset.file_name().unwrap_or(self.dataset.as_os_str());
                name.to_string_lossy().into_owned()
            }),
            path: self.dataset.clone(),
            options: dataset::Options {
                bad_files: if self.refuse_bad_files {
                    BadFiles::Refuse
                } else {
                    BadFiles::Skip
                },
                limits: self.limits.limits(),
                ..Default::default()
            },
        }
    }
}

/// Reads a model's name from the command line.
pub(super) fn model_name(name: &str) -> Result<ModelName, String> {
    ModelName::try_from(name).map_err(|error| error.to_string())
}

/// Reads a time from the command line.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "expected seconds, such as 30 or 0.5")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// The threads that jobs compute with. They are the least urgent of the process, so that serving
/// comes first where both want the same CPU.
pub(super) fn worker_pool(threads: usize) -> anyhow::Result<rayon::ThreadPool> {
    Ok(rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .thread_name(|index| format!("irori-train-{index}"))
        .start_handler(|_| {
            if let Err(error) = give_way() {
                tracing::warn!(?error, "training runs at the same priority as serving");
            }
        })
        .build()?)
}

/// Makes this thread one that leaves its CPU the moment another one wants it. Being nice is not enough: Linux lets even the
/// nicest thread go on to the end of its slice, some 3 ms, by which a prediction would be late.
#[cfg(target_os = "linux")]
fn give_way() -> Result<(), thread_priority::Error> {
    use thread_priority::{
        NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy,
        set_thread_priority_and_policy, thread_native_id,
    };

    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle)
}

/// Makes this thread the least urgent.
#[cfg(not(target_os = "linux"))]
fn give_way() -> Result<(), thread_priority::Error> {
    thread_priority::set_current_thread_priority(thread_priority::ThreadPriority::Min)
}

/// What an image may cost.
#[derive(clap::Args)]
pub(super) struct ImageLimits {
    /// Bytes that an image file may have; a larger one is refused unread.
    #[arg(long, default_value_t = Limits::default().max_bytes, value_name = "BYTES")]
    max_image_bytes: usize,
    /// Pixels that an image may have; read from its header, before anything is decoded.
    #[arg(long, default_value_t = Limits::default().max_pixels, value_name = "N")]
    max_image_pixels: u64,
    /// Memory that a decoder may take for one image.
    #[arg(long, default_value_t = Limits::default().max_decoder_bytes, value_name = "BYTES")]
    max_decoder_bytes: u64,
}

impl ImageLimits {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            max_bytes: self.max_image_bytes,
            max_pixels: self.max_image_pixels,
            max_decoder_bytes: self.max_decoder_bytes,
        }
    }
}
