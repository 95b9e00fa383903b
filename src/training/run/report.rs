//! A reporter: turns what the trainer tells into a job's progress.

use std::ops::ControlFlow;
use std::time::Instant;

use crate::training::{JobHandle, Phase, Progress, Report};

/// Progress is reported at most this often, in seconds.
const REPORT_EVERY: f64 = 0.1;

/// Turns what the trainer reports into the job's progress.
pub(super) struct Reporter<'a> {
    job: &'a JobHandle,
    epochs: usize,
    images: usize,
    last: Option<Instant>,
}

impl<'a> Reporter<'a> {
    pub(super) fn new(job: &'a JobHandle, epochs: usize, images: usize) -> Self {
        Self {
            job,
            epochs,
            images,
            last: None,
        }
    }

    pub(super) fn report(&mut self, report: Report) -> ControlFlow<()> {
        match report {
            Report::Batch {
                epoch,
                done,
                loss,
                accuracy,
                images_per_second,
            } => {
                let is_due = self
                    .last
                    .is_none_or(|last| last.elapsed().as_secs_f64() >= REPORT_EVERY);
                if is_due || done == self.images {
                    self.last = Some(Instant::now());
                    let left = self.images * (self.epochs - epoch) + (self.images - done);
                    self.job.update(|job| {
                        job.progress = Some(Progress {
                            phase: Phase::Training,
                            epoch: Some(epoch),
                            epochs: Some(self.epochs),
                            done,
                            total: self.images,
                            loss: Some(loss),
                            accuracy: Some(accuracy),
                            images_per_second: Some(images_per_second),
                            eta_seconds: Some(left as f64 / images_per_second),
                        });
                    });
                }
            }
            Report::Epoch(epoch) => self.job.update(|job| job.history.push(*epoch)),
        }
        self.job.check()
    }
}
