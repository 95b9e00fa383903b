//! Jobs: training and evaluation that run one at a time, off the serving path, and are followed.
//!
//! One thread, `irori-jobs`, owns the queue and runs each job; it alone moves a job's state
//! forward. Everybody else reads snapshots, and raises the flag that asks a job to stop, which the
//! job looks at after every batch. A panic becomes a failed job. The list of jobs is in memory: it
//! is gone with the process, what a job has published is not.

use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;
use utoipa::ToSchema;

use super::TrainingError;
use crate::dataset::DatasetError;
use crate::evaluation::{Epoch, Evaluation};

/// Jobs that may wait for their turn.
const WAITING: usize = 16;
/// Jobs that are remembered after they have ended.
const REMEMBERED: usize = 200;

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum JobKind {
    Train,
    Evaluate,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum JobState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
}

impl JobState {
    /// Whether the job will not change any more.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// What a running job is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Phase {
    Loading,
    Training,
    Evaluating,
    Publishing,
}

/// How far a running job has come.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Progress {
    /// What it is at.
    pub phase: Phase,
    /// The epoch, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<usize>,
    /// Epochs in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// Images done in this phase (of this epoch, while training).
    pub done: usize,
    /// Images in this phase.
    pub total: usize,
    /// Mean loss over the images of this epoch so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<f64>,
    /// Accuracy over the images of this epoch so far, in 0..=1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<f64>,
    /// Images per second in this phase.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images_per_second: Option<f64>,
    /// Seconds that the rest of the training will take at this speed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_seconds: Option<f64>,
}

impl Progress {
    /// The beginning of a phase.
    pub fn of(phase: Phase, total: usize) -> Self {
        Self {
            phase,
            epoch: None,
            epochs: None,
            done: 0,
            total,
            loss: None,
            accuracy: None,
            images_per_second: None,
            eta_seconds: None,
        }
    }
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct JobError {
    /// A stable code, as in a problem.
    #[schema(example = "loss_not_finite")]
    pub code: String,
    /// What happened and what to change.
    pub detail: String,
}

/// What a job has come to at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct JobSnapshot {
    /// The job's number, from 1.
    #[schema(example = 1)]
    pub id: u64,
    /// What it does.
    pub kind: JobKind,
    /// Where it stands.
    pub state: JobState,
    /// The model it is for.
    #[schema(example = "fashion")]
    pub model: String,
    /// The version that it evaluates, or that it has published.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    /// The data set it uses.
    #[schema(example = "fashion-mnist")]
    pub dataset: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
    /// How far it has come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// The epochs that are done.
    pub history: Vec<Epoch>,
    /// The report on the held-out images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluation: Option<Evaluation>,
    /// What the operator should know of the data, e.g. files that were skipped.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// What a job's own code sees: the place to report to, and the wish to stop.
#[derive(Clone)]
pub struct JobHandle {
    snapshot: watch::Sender<JobSnapshot>,
    stop: Arc<AtomicBool>,
}

impl JobHandle {
    /// Changes the snapshot that others see.
    pub fn update(&self, change: impl FnOnce(&mut JobSnapshot)) {
        self.snapshot.send_modify(change);
    }

    /// Breaks if the job was asked to stop.
    pub fn check(&self) -> ControlFlow<()> {
        if self.stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }
}

/// How a job's code ended.
pub enum Outcome {
    /// It did what it was asked to.
    Done,
    /// It noticed that it was asked to stop.
    Cancelled,
    /// It could not.
    Failed(JobError),
}

impl From<Result<(), TrainingError>> for Outcome {
    fn from(result: Result<(), TrainingError>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(TrainingError::Cancelled | TrainingError::Dataset(DatasetError::Cancelled)) => {
                Self::Cancelled
            }
            Err(error) => Self::Failed(JobError {
                code: error.code().to_owned(),
                detail: error.to_string(),
            }),
        }
    }
}

type Task = Box<dyn FnOnce(&JobHandle) -> Outcome + Send>;

struct Entry {
    snapshot: watch::Receiver<JobSnapshot>,
    stop: Arc<AtomicBool>,
}

/// Why a job can't be queued.
#[derive(Debug, thiserror::Error)]
#[error(
    "{WAITING} jobs are waiting already; wait for one to end, or cancel one (POST /admin/jobs/{{id}}/cancel)"
)]
pub struct TooManyJobs;

/// The list of jobs, and the way to add one.
pub struct Jobs {
    queue: SyncSender<(JobHandle, Task)>,
    entries: Mutex<(u64, VecDeque<Entry>)>,
}

impl Jobs {
    /// Starts the thread that runs jobs, inside `pool`: the jobs' own compute threads.
    pub fn start(pool: rayon::ThreadPool) -> std::io::Result<Self> {
        let (queue, tasks) = sync_channel::<(JobHandle, Task)>(WAITING);
        std::thread::Builder::new()
            .name("irori-jobs".into())
            .spawn(move || {
                for (handle, task) in tasks {
                    pool.install(|| run(&handle, task));
                }
            })?;
        Ok(Self {
            queue,
            entries: Mutex::new((0, VecDeque::new())),
        })
    }

    fn lock(&self) -> MutexGuard<'_, (u64, VecDeque<Entry>)> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a job and returns its first snapshot.
    ///
    /// # Errors
    ///
    /// [`TooManyJobs`] where the queue is full.
    pub fn submit(
        &self,
        kind: JobKind,
        model: &str,
        dataset: &str,
        version: Option<u64>,
        task: impl FnOnce(&JobHandle) -> Outcome + Send + 'static,
    ) -> Result<JobSnapshot, TooManyJobs> {
        let mut entries = self.lock();
        let snapshot = JobSnapshot {
            id: entries.0 + 1,
            kind,
            state: JobState::Queued,
            model: model.to_owned(),
            version,
            dataset: dataset.to_owned(),
            created_at: Timestamp::now(),
            started_at: None,
            finished_at: None,
            progress: None,
            history: Vec::new(),
            evaluation: None,
            warnings: Vec::new(),
            error: None,
        };
        let (sender, receiver) = watch::channel(snapshot.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let handle = JobHandle {
            snapshot: sender,
            stop: Arc::clone(&stop),
        };
        match self.queue.try_send((handle, Box::new(task))) {
            Ok(()) => {}
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => return Err(TooManyJobs),
        }
        entries.0 = snapshot.id;
        entries.1.push_back(Entry {
            snapshot: receiver,
            stop,
        });
        while entries.1.len() > REMEMBERED
            && entries
                .1
                .front()
                .is_some_and(|oldest| oldest.snapshot.borrow().state.has_ended())
        {
            entries.1.pop_front();
        }
        Ok(snapshot)
    }

    /// All jobs, the newest first.
    pub fn list(&self) -> Vec<JobSnapshot> {
        let entries = self.lock();
        let newest_first = entries.1.iter().rev();
        newest_first
            .map(|entry| entry.snapshot.borrow().clone())
            .collect()
    }

    /// A view of one job that follows its changes; ends when the job's thread lets go of it.
    pub fn watch(&self, id: u64) -> Option<watch::Receiver<JobSnapshot>> {
        let entries = self.lock();
        let mut found = entries.1.iter().filter(|e| e.snapshot.borrow().id == id);
        found.next().map(|entry| entry.snapshot.clone())
    }

    /// Asks a job to stop, and returns how it stands; a running one stops after its batch.
    pub fn cancel(&self, id: u64) -> Option<JobSnapshot> {
        let entries = self.lock();
        let entry = entries.1.iter().find(|e| e.snapshot.borrow().id == id)?;
        entry.stop.store(true, Ordering::Relaxed);
        Some(entry.snapshot.borrow().clone())
    }

    /// Asks all jobs to stop, as the process is about to end.
    pub fn cancel_all(&self) {
        for entry in &self.lock().1 {
            entry.stop.store(true, Ordering::Relaxed);
        }
    }
}

fn run(handle: &JobHandle, task: Task) {
    let span = {
        let job = handle.snapshot.borrow();
        tracing::info_span!("job", job = job.id, kind = ?job.kind, model = job.model)
    };
    let _span = span.entered();
    if handle.check().is_break() {
        return end(handle, Outcome::Cancelled);
    }
    handle.update(|job| {
        job.state = JobState::Running;
        job.started_at = Some(Timestamp::now());
    });
    let outcome = catch_unwind(AssertUnwindSafe(|| task(handle))).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
            .unwrap_or_else(|| "no message".into());
        tracing::error!(message, "a job panicked");
        Outcome::Failed(JobError {
            code: "internal".into(),
            detail: "the job stopped at a fault of the server's own; its log says more".into(),
        })
    });
    end(handle, outcome);
}

fn end(handle: &JobHandle, outcome: Outcome) {
    handle.update(|job| {
        job.finished_at = Some(Timestamp::now());
        match outcome {
            Outcome::Done => {
                job.state = JobState::Succeeded;
                job.progress = None;
            }
            Outcome::Cancelled => job.state = JobState::Cancelled,
            Outcome::Failed(error) => {
                job.state = JobState::Failed;
                job.error = Some(error);
            }
        }
    });
    handle.snapshot.borrow().log();
}

impl JobSnapshot {
    fn log(&self) {
        let error = self.error.as_ref().map(|error| error.detail.as_str());
        tracing::info!(version = self.version, state = ?self.state, error, "job ended");
    }
}
