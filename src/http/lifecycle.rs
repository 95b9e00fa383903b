//! The life of the server: it serves, then it drains, then it is gone.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whether the server is draining, and how many requests it still has to answer.
#[derive(Debug)]
pub(super) struct Lifecycle {
    draining: CancellationToken,
    in_flight: watch::Sender<usize>,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self {
            draining: CancellationToken::new(),
            in_flight: watch::Sender::new(0),
        }
    }

    /// From here on the server is not ready, and takes no new work.
    pub(super) fn drain(&self) {
        self.draining.cancel();
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// A token that ends what would otherwise go on for ever.
    pub(super) fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Counts a request until the guard is dropped.
    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.send_modify(|count| *count += 1);
        InFlight(self)
    }

    /// Requests that are being answered.
    pub(super) fn in_flight(&self) -> usize {
        *self.in_flight.borrow()
    }

    /// Waits until no request is being answered.
    pub(super) async fn idle(&self) {
        // The sender lives as long as `self`, so this ends only with the count at zero.
        let _ = self
            .in_flight
            .subscribe()
            .wait_for(|count| *count == 0)
            .await;
    }
}

pub(super) struct InFlight<'a>(&'a Lifecycle);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.send_modify(|count| *count -= 1);
    }
}
