//! Training: Keras' `compile`, `fit` and `evaluate`, and the jobs that run them.

mod compile;
mod error;
mod fit;
mod jobs;
mod learner;
mod losses;
mod optimizers;
mod run;
mod trainer;

pub use compile::{Compile, CompileError};
pub use error::TrainingError;
pub use fit::{EarlyStopping, Fit, Monitor};
pub use jobs::{
    JobError, JobHandle, JobKind, JobSnapshot, JobState, Jobs, Outcome, Phase, Progress,
    TooManyJobs,
};
pub use learner::Learner;
pub use losses::Loss;
pub use optimizers::Optimizer;
pub use run::{Evaluate, EvaluateRequest, Source, Train, TrainRequest};
pub use trainer::{Observer, Part, Report, Trainer};
