//! The state: what every handler can reach, as one handle that is cheap to clone.

use std::ops::Deref;
use std::sync::Arc;

use super::auth::Access;
use super::bodies::Budget;
use super::config::HttpConfig;
use super::lifecycle::Lifecycle;
use super::metrics::Metrics;
use super::problem::Problem;
use crate::dataset::Store;
use crate::serving::{Engine, Models};
use crate::training::Jobs;

/// What the handlers work with: one handle, which every layer around them clones for every request.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts of the server.
pub struct Parts {
    pub(super) config: HttpConfig,
    pub(super) models: Arc<Models>,
    pub(super) engine: Arc<Engine>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) datasets: Arc<Store>,
    pub(super) access: Arc<Access>,
    pub(super) bodies: Arc<Budget>,
    pub(super) metrics: Metrics,
    pub(super) lifecycle: Arc<Lifecycle>,
}

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

impl AppState {
    /// The state of a server over these models, this engine, these jobs and data sets; `access` says
    /// who may use and change them.
    pub fn new(
        config: HttpConfig,
        models: Arc<Models>,
        engine: Engine,
        jobs: Jobs,
        datasets: Store,
        access: Access,
    ) -> Self {
        let engine = Arc::new(engine);
        let jobs = Arc::new(jobs);
        let bodies = Arc::new(Budget::new(config.max_bodies_bytes));
        let lifecycle = Arc::new(Lifecycle::new());
        let metrics = Metrics::new(
            Arc::clone(&models),
            Arc::clone(&engine),
            Arc::clone(&jobs),
            Arc::clone(&lifecycle),
            Arc::clone(&bodies),
        );
        Self(Arc::new(Parts {
            config,
            models,
            engine,
            jobs,
            datasets: Arc::new(datasets),
            access: Arc::new(access),
            bodies,
            metrics,
            lifecycle,
        }))
    }

    /// Images that one request may carry: more than the queue holds would never find a place, however
    /// often the client tries.
    pub(super) fn most_images(&self) -> usize {
        let queue = self.engine.config().queue_capacity;
        self.config.max_images_per_request.min(queue)
    }

    /// Runs what may wait for the disk off the async threads.
    pub(super) async fn blocking<T, E>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, E> + Send + 'static,
    ) -> Result<T, Problem>
    where
        T: Send + 'static,
        E: Into<Problem> + Send + 'static,
    {
        let state = self.clone();
        match tokio::task::spawn_blocking(move || work(&state)).await {
            Ok(result) => result.map_err(Into::into),
            Err(error) => Err(Problem::internal(error)),
        }
    }
}
