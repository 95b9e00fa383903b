//! Serving: from images to predictions, in batches, off the async threads.

mod apart;
mod engine;
mod error;
mod loaded;
mod models;
mod places;
mod prediction;
mod queue;
mod servable;
mod statistics;
mod threads;
mod turns;
mod watch;
mod work;

pub use engine::{Engine, EngineConfig, Input, Scored, Timings, cpus};
pub use error::ServingError;
pub use models::Models;
pub use prediction::{Candidate, Prediction};
pub use servable::Servable;
pub use statistics::{Distribution, Histogram, Runs, Statistics};
pub use watch::Watch;
