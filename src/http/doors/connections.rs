//! The connections of one door: how many there may be, and which of them have to go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::{Connection, Phase};
use crate::http::config::HttpConfig;
use crate::http::lifecycle::{Connected, Lifecycle};

/// How often a full house is searched for somebody who can go.
const SEARCH_EVERY: Duration = Duration::from_millis(20);

/// The open connections.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<Open>,
    lifecycle: Arc<Lifecycle>,
    header_timeout: Duration,
    idle_timeout: Duration,
    body_timeout: Duration,
}

#[derive(Default)]
struct Open {
    connections: HashMap<u64, Arc<Connection>>,
    next: u64,
}

/// A connection's place among the others, until it is dropped.
pub(super) struct Place {
    pub(super) connection: Arc<Connection>,
    id: u64,
    house: Arc<Connections>,
    _connected: Connected,
    // The last to go: whoever gets it finds one connection less.
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(config: &HttpConfig, lifecycle: Arc<Lifecycle>) -> Self {
        let most = config.max_connections.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(most)),
            open: Mutex::default(),
            lifecycle,
            header_timeout: config.header_timeout,
            idle_timeout: config.idle_timeout,
            body_timeout: config.body_timeout,
        }
    }

    /// Finds a place for a new connection. In a full house the one that has been without a request
    /// for longest makes room, so that whoever only holds connections open keeps nobody out.
    pub(super) async fn admit(self: &Arc<Self>) -> Place {
        let permit = loop {
            if let Ok(permit) = Arc::clone(&self.places).try_acquire_owned() {
                break permit;
            }
            self.cut_longest_waiting();
            let freed = Arc::clone(&self.places).acquire_owned();
            if let Ok(Ok(permit)) = tokio::time::timeout(SEARCH_EVERY, freed).await {
                break permit;
            }
        };
        let connection = Arc::new(Connection::new());
        let mut open = self.open();
        let id = open.next;
        open.next = open.next.wrapping_add(1);
        open.connections.insert(id, Arc::clone(&connection));
        Place {
            connection,
            id,
            house: Arc::clone(self),
            _permit: permit,
            _connected: self.lifecycle.connect(),
        }
    }

    /// Ends, now and again for ever, what has taken too long.
    pub(super) async fn watch(&self) {
        let shortest = self.header_timeout.min(self.idle_timeout);
        let every = shortest.min(self.body_timeout) / 4;
        let every = every.clamp(Duration::from_millis(10), Duration::from_secs(1));
        loop {
            tokio::time::sleep(every).await;
            self.cut_those(|phase| match phase {
                Phase::Head(since) => since.elapsed() > self.header_timeout,
                Phase::Idle(since) => since.elapsed() > self.idle_timeout,
                Phase::Sending(since) => since.elapsed() > self.body_timeout,
                Phase::Answering(_) => false,
            });
        }
    }

    /// Ends all connections without a request.
    pub(super) fn cut_waiting(&self) {
        self.cut_those(|phase| matches!(phase, Phase::Head(_) | Phase::Idle(_)));
    }

    fn cut_those(&self, has_to_go: impl Fn(Phase) -> bool) {
        for connection in self.open().connections.values() {
            if has_to_go(connection.phase()) {
                connection.cut();
            }
        }
    }

    fn cut_longest_waiting(&self) {
        let open = self.open();
        let waiting = open
            .connections
            .values()
            .filter_map(|connection| match connection.phase() {
                Phase::Head(since) | Phase::Idle(since) => Some((since, connection)),
                Phase::Answering(_) | Phase::Sending(_) => None,
            });
        if let Some((_, connection)) = waiting.min_by_key(|(since, _)| *since) {
            connection.cut();
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.house.open().connections.remove(&self.id);
    }
}
