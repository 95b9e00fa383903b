//! Progress bars for a terminal, from what a job reports; plain lines where stderr is none.

use std::io::IsTerminal;

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::tell;
use crate::evaluation::Epoch;
use crate::repository::ModelName;
use crate::training::{
    JobHandle, JobKind, JobSnapshot, Jobs, Outcome, Phase, Progress, TrainingError,
};

/// Follows one job on stderr.
pub(super) struct Follower {
    bar: ProgressBar,
    phase: Option<(Phase, Option<usize>)>,
    epochs: usize,
    epochs_shown: usize,
    is_terminal: bool,
}

impl Follower {
    pub(super) fn new(epochs: usize) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self {
            bar,
            phase: None,
            epochs,
            epochs_shown: 0,
            is_terminal: std::io::stderr().is_terminal(),
        }
    }

    /// Shows what is new in a snapshot.
    pub(super) fn show(&mut self, job: &JobSnapshot) {
        for epoch in job.history.iter().skip(self.epochs_shown) {
            self.line(&epoch_line(epoch, self.epochs));
        }
        self.epochs_shown = job.history.len();
        if let Some(progress) = &job.progress {
            self.bar(progress);
        }
    }

    /// Clears the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }

    fn line(&self, line: &str) {
        if self.is_terminal {
            self.bar.println(line);
        } else {
            tell(line);
        }
    }

    fn bar(&mut self, progress: &Progress) {
        let phase = Some((progress.phase, progress.epoch));
        if self.phase != phase {
            self.phase = phase;
            self.bar.set_style(style());
            self.bar.reset();
            self.bar.set_length(progress.total as u64);
            self.bar.set_prefix(match (progress.phase, progress.epoch) {
                (Phase::Loading, _) => "Loading".to_owned(),
                (Phase::Training, Some(epoch)) => format!("Epoch {epoch}/{}", self.epochs),
                (Phase::Training, None) => "Training".to_owned(),
                (Phase::Evaluating, _) => "Evaluating".to_owned(),
                (Phase::Publishing, _) => "Publishing".to_owned(),
            });
        }
        self.bar.set_position(progress.done as u64);
        let mut figures = Vec::new();
        if let Some(eta) = progress.eta_seconds {
            figures.push(format!("ETA {}", clock(eta)));
        }
        if let Some(accuracy) = progress.accuracy {
            figures.push(format!("accuracy: {accuracy:.4}"));
        }
        if let Some(loss) = progress.loss {
            figures.push(format!("loss: {loss:.4}"));
        }
        if let Some(speed) = progress.images_per_second {
            figures.push(format!("{speed:.0} images/s"));
        }
        self.bar.set_message(figures.join(" - "));
    }
}

fn style() -> ProgressStyle {
    // What does not fit the terminal is cut off at the end of the message. The template is a constant,
    // so the default is never taken.
    ProgressStyle::with_template("{prefix} {bar:12} {pos}/{len} {wide_msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// The line that Keras prints at the end of an epoch.
fn epoch_line(epoch: &Epoch, epochs: usize) -> String {
    let mut line = format!(
        "Epoch {}/{epochs} - {:.1}s - accuracy: {:.4} - loss: {:.4}",
        epoch.epoch, epoch.seconds, epoch.accuracy, epoch.loss
    );
    if let (Some(accuracy), Some(loss)) = (epoch.val_accuracy, epoch.val_loss) {
        line.push_str(&format!(
            " - val_accuracy: {accuracy:.4} - val_loss: {loss:.4}"
        ));
    }
    line.push_str(&format!(" - {:.0} images/s", epoch.images_per_second));
    line
}

/// Seconds as `m:ss`, or `h:mm:ss` from an hour on.
fn clock(seconds: f64) -> String {
    let seconds = seconds.max(0.0).round() as u64;
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}:{minutes:02}:{seconds:02}")
    } else {
        format!("{minutes}:{seconds:02}")
    }
}

/// Runs one job in this process and follows it to its end.
///
/// # Errors
///
/// What the job failed at.
pub(super) fn follow(
    kind: JobKind,
    model: &ModelName,
    dataset: String,
    epochs: usize,
    task: impl FnOnce(&JobHandle) -> Result<(), TrainingError> + Send + 'static,
) -> anyhow::Result<JobSnapshot> {
    let pool = rayon::ThreadPoolBuilder::new().build()?;
    let jobs = Jobs::start(pool)?;
    let job = jobs.submit(kind, model.as_str(), &dataset, None, move |handle| {
        Outcome::from(task(handle))
    })?;
    let mut changes = jobs
        .watch(job.id)
        .context("the job was forgotten before it began")?;
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let mut follower = Follower::new(epochs);
    let ended = loop {
        let snapshot = changes.borrow_and_update().clone();
        follower.show(&snapshot);
        if snapshot.state.has_ended() {
            break snapshot;
        }
        runtime.block_on(changes.changed())?;
    };
    follower.finish();
    for warning in &ended.warnings {
        tell(format_args!("warning: {warning}"));
    }
    match &ended.error {
        Some(error) => bail!("{}", error.detail),
        None => Ok(ended),
    }
}
