//! The life of the server: it serves, then it drains, then it is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Whether the server is draining, and how many connections and requests it still has.
#[derive(Debug)]
pub(super) struct Lifecycle {
    leaving: CancellationToken,
    draining: CancellationToken,
    in_flight: watch::Sender<usize>,
    connections: AtomicUsize,
}

impl Lifecycle {
    pub(super) fn new() -> Self {
        Self {
            leaving: CancellationToken::new(),
            draining: CancellationToken::new(),
            in_flight: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        }
    }

    /// From here on the server is not ready: nobody should send it requests any more. It still takes those that come.
    pub(super) fn leave(&self) {
        self.leaving.cancel();
    }

    /// From here on the server takes no new work.
    pub(super) fn drain(&self) {
        self.leave();
        self.draining.cancel();
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.is_cancelled()
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

    /// Counts a connection until the guard is dropped.
    pub(super) fn connect(self: &Arc<Self>) -> Connected {
        self.connections.fetch_add(1, Ordering::Relaxed);
        Connected(Arc::clone(self))
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
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

pub(super) struct Connected(Arc<Lifecycle>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}
