//! The events of a job: what happens to it, as a stream.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::Event;
use futures_util::{Stream, stream};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::training::{JobSnapshot, Progress};

/// Progress is told at most this often.
const PROGRESS_EVERY: Duration = Duration::from_millis(250);

/// Follows a job from its epoch `known` on, until it ends or the server drains.
pub(super) fn follow(
    job: watch::Receiver<JobSnapshot>,
    known: usize,
    draining: CancellationToken,
) -> impl Stream<Item = Result<Event, Infallible>> {
    let follower = Follower {
        job,
        draining,
        pending: VecDeque::new(),
        epochs: known,
        progress: None,
        next_progress: Instant::now(),
        has_ended: false,
    };
    stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok(event), follower))
    })
}

struct Follower {
    job: watch::Receiver<JobSnapshot>,
    draining: CancellationToken,
    /// Events that are to be sent before the job is looked at again.
    pending: VecDeque<Event>,
    /// Epochs that have been told.
    epochs: usize,
    /// The progress that was told last.
    progress: Option<Progress>,
    /// When progress may be told again.
    next_progress: Instant,
    has_ended: bool,
}

impl Follower {
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            let is_withheld = self.look();
            if !self.pending.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.job.changed() => {
                    // Its thread has let go of the job: there is nothing more to come.
                    if changed.is_err() {
                        self.look();
                        self.has_ended = true;
                    }
                }
                () = tokio::time::sleep_until(self.next_progress), if is_withheld => {}
                () = self.draining.cancelled() => self.has_ended = true,
            }
        }
    }

    /// Puts what is new about the job among the pending events. Returns whether there is progress that it is too early to
    /// tell.
    fn look(&mut self) -> bool {
        let job = self.job.borrow_and_update();
        for epoch in job.history.iter().skip(self.epochs) {
            self.epochs += 1;
            let event = event("epoch", epoch).id(self.epochs.to_string());
            self.pending.push_back(event);
        }
        if job.state.has_ended() {
            self.has_ended = true;
            self.pending.push_back(event("end", &*job));
            return false;
        }
        if job.progress == self.progress {
            return false;
        }
        if Instant::now() < self.next_progress {
            return true;
        }
        if let Some(progress) = &job.progress {
            self.pending.push_back(event("progress", progress));
        }
        self.progress.clone_from(&job.progress);
        self.next_progress = Instant::now() + PROGRESS_EVERY;
        false
    }
}

fn event(name: &str, data: &impl Serialize) -> Event {
    let event = Event::default().event(name);
    match serde_json::to_string(data) {
        Ok(json) => event.data(json),
        Err(error) => {
            tracing::error!(%error, name, "an event can't be written");
            event
        }
    }
}
