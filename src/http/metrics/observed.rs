//! What is looked up when it is asked for: the queue, the models, the running job.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::VersionLabels;
use crate::http::bodies::Budget;
use crate::http::lifecycle::Lifecycle;
use crate::serving::{Engine, Models, Servable};
use crate::training::{JobState, Jobs};

/// A version, and a state that it may be in.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StateLabels {
    model: String,
    version: u64,
    state: &'static str,
}

/// The parts of the server that are looked at.
pub(super) struct Observed {
    pub(super) models: Arc<Models>,
    pub(super) engine: Arc<Engine>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) lifecycle: Arc<Lifecycle>,
    pub(super) bodies: Arc<Budget>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Observed").finish_non_exhaustive()
    }
}

impl Collector for Observed {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let encoder = &mut encoder;
        gauge(
            encoder,
            "http_requests_in_flight",
            "Requests being answered",
            None,
            self.lifecycle.in_flight() as f64,
        )?;
        gauge(
            encoder,
            "http_connections",
            "Connections that are open",
            None,
            self.lifecycle.connections() as f64,
        )?;
        gauge(
            encoder,
            "http_bodies",
            "What the bodies of requests take of the memory that they may",
            Some(&Unit::Bytes),
            self.bodies.taken() as f64,
        )?;
        self.queues(encoder)?;
        let capacity = self.engine.config().queue_capacity as f64;
        gauge(
            encoder,
            "queue_capacity",
            "Images of each model that the queue holds",
            None,
            capacity,
        )?;
        self.models(encoder)?;
        self.training(encoder)
    }
}

impl Observed {
    fn queues(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "queue_depth",
            "Images being decoded, waiting or computed",
            None,
            MetricType::Gauge,
        )?;
        for name in self.models.names() {
            family
                .encode_family(&[("model", name.as_str())])?
                .encode_gauge(&(self.engine.depth_of(&name) as f64))?;
        }
        Ok(())
    }

    fn models(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let serving = self.models.serving();
        let unavailable = self.models.names().len().saturating_sub(serving.len());
        gauge(
            encoder,
            "models_unavailable",
            "Models of which no version can be served",
            None,
            unavailable as f64,
        )?;
        let in_memory = self.models.in_memory();
        self.states(encoder, &serving, &in_memory)?;
        let bytes = |servable: &Servable| Some(servable.bytes() as f64);
        of_versions(
            encoder,
            "model_loaded",
            "Weights in memory",
            Some(&Unit::Bytes),
            &in_memory,
            bytes,
        )?;
        let accuracy = |servable: &Servable| Some(servable.evaluation()?.accuracy);
        of_versions(
            encoder,
            "model_accuracy",
            "Accuracy on held-out images",
            None,
            &in_memory,
            accuracy,
        )?;
        let loss = |servable: &Servable| servable.evaluation()?.loss;
        of_versions(
            encoder,
            "model_loss",
            "Mean loss on held-out images",
            None,
            &in_memory,
            loss,
        )?;
        let f1 = |servable: &Servable| Some(servable.evaluation()?.macro_average.f1);
        of_versions(
            encoder,
            "model_macro_f1",
            "F1 on held-out images, averaged over the classes",
            None,
            &in_memory,
            f1,
        )
    }

    /// One series for each state that a version can be in, 1 for that in which it is.
    fn states(
        &self,
        encoder: &mut DescriptorEncoder,
        serving: &[Arc<Servable>],
        in_memory: &[Arc<Servable>],
    ) -> fmt::Result {
        let mut family = encoder.encode_descriptor(
            "model_state",
            "1 for the state that a version is in: serving where its model's name stands for it, else loaded or unloaded",
            None,
            MetricType::Gauge,
        )?;
        for ((model, version), _) in self.models.statistics() {
            let is_it = |s: &Arc<Servable>| s.model() == model && s.version() == version;
            let now = if serving.iter().any(is_it) {
                "serving"
            } else if in_memory.iter().any(is_it) {
                "loaded"
            } else {
                "unloaded"
            };
            for state in ["serving", "loaded", "unloaded"] {
                let labels = StateLabels {
                    model: model.clone(),
                    version,
                    state,
                };
                family
                    .encode_family(&labels)?
                    .encode_gauge(&i64::from(state == now))?;
            }
        }
        Ok(())
    }

    fn training(&self, encoder: &mut DescriptorEncoder) -> fmt::Result {
        let jobs = self.jobs.list();
        let queued = jobs
            .iter()
            .filter(|job| job.state == JobState::Queued)
            .count();
        let running = jobs.into_iter().find(|job| job.state == JobState::Running);
        gauge(
            encoder,
            "jobs_queued",
            "Jobs waiting for their turn",
            None,
            queued as f64,
        )?;
        gauge(
            encoder,
            "jobs_running",
            "Jobs running",
            None,
            f64::from(u8::from(running.is_some())),
        )?;
        let Some((model, progress)) = running.and_then(|job| Some((job.model, job.progress?)))
        else {
            return Ok(());
        };
        let figures = [
            (
                "training_epoch",
                "The running job's epoch, from 1",
                progress.epoch.map(|epoch| epoch as f64),
            ),
            (
                "training_epochs",
                "Epochs that the running job is to have",
                progress.epochs.map(|epochs| epochs as f64),
            ),
            (
                "training_loss",
                "Mean loss of the running job's epoch so far",
                progress.loss,
            ),
            (
                "training_accuracy",
                "Accuracy of the running job's epoch so far",
                progress.accuracy,
            ),
            (
                "training_images_per_second",
                "Speed of the running job",
                progress.images_per_second,
            ),
        ];
        for (name, help, value) in figures {
            if let Some(value) = value {
                encoder
                    .encode_descriptor(name, help, None, MetricType::Gauge)?
                    .encode_family(&[("model", model.as_str())])?
                    .encode_gauge(&value)?;
            }
        }
        Ok(())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    value: f64,
) -> fmt::Result {
    encoder
        .encode_descriptor(name, help, unit, MetricType::Gauge)?
        .encode_gauge(&value)
}

fn of_versions(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    servables: &[Arc<Servable>],
    value: impl Fn(&Servable) -> Option<f64>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
    for servable in servables {
        if let Some(value) = value(servable) {
            family
                .encode_family(&VersionLabels::of(servable))?
                .encode_gauge(&value)?;
        }
    }
    Ok(())
}
