//! The watch: looks at the models folder every so often, for what other processes have changed in it.
//!
//! It asks the file system again and again instead of being told, because network mounts tell nobody. A folder that looks the
//! same twice in a row is taken for whole; one that is still being copied is left alone. Either way a version is served only
//! after all of it was checked.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use super::Models;
use crate::repository::Snapshot;

/// The thread that looks; it ends when this is dropped.
pub struct Watch {
    _stop: SyncSender<()>,
}

impl Watch {
    /// Starts to look, once per `interval`.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub fn start(models: Arc<Models>, interval: Duration) -> io::Result<Self> {
        let (stop, stopped) = sync_channel(0);
        std::thread::Builder::new()
            .name("irori-watch".into())
            .spawn(move || {
                let mut seen = Seen::default();
                while stopped.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                    seen.look(&models);
                }
            })?;
        Ok(Self { _stop: stop })
    }
}

/// What each model's folder looked like last time; nothing where there was none.
#[derive(Default)]
struct Seen(BTreeMap<String, Option<Snapshot>>);

impl Seen {
    fn look(&mut self, models: &Models) {
        let mut names = match models.repository().models() {
            Ok(names) => names,
            // What is in memory goes on being served.
            Err(error) => return tracing::warn!(%error, "the models folder can't be watched"),
        };
        names.extend(models.names());
        self.0.retain(|name, _| names.contains(name));
        for name in names {
            let snapshot = models.repository().snapshot(&name);
            if self.0.get(&name) == Some(&snapshot) {
                models.refresh(&name);
            } else {
                self.0.insert(name, snapshot);
            }
        }
    }
}
