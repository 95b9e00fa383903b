//! What each version's requests cost, from the statistics that the engine keeps.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::VersionLabels;
use crate::serving::{Distribution, Models, Statistics};

const NANOSECONDS_PER_SECOND: f64 = 1e9;

/// Which of a version's distributions.
type Which = fn(&Statistics) -> Distribution;

/// A refusal or failure of a version's.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct FailureLabels {
    model: String,
    version: u64,
    code: &'static str,
}

/// The versions that were ever loaded and still exist.
pub(super) struct Versions(pub(super) Arc<Models>);

impl fmt::Debug for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versions").finish_non_exhaustive()
    }
}

impl Collector for Versions {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let versions: Vec<(VersionLabels, Arc<Statistics>)> = self
            .0
            .statistics()
            .into_iter()
            .map(|((model, version), counted)| (VersionLabels { model, version }, counted))
            .collect();
        let encoder = &mut encoder;
        counter(
            encoder,
            "predictions",
            "Prediction requests answered",
            &versions,
            |statistics| statistics.success.count(),
        )?;
        counter(
            encoder,
            "images",
            "Images predicted",
            &versions,
            Statistics::images,
        )?;
        failures(encoder, &versions)?;
        let durations: [(&str, &str, Which); 4] = [
            (
                "prediction",
                "From a request's coming to the queue until its last image is scored",
                |statistics| statistics.success.distribution(),
            ),
            (
                "decode",
                "From bytes to pixels, for a request's slowest image",
                |statistics| statistics.decode.distribution(),
            ),
            (
                "queue",
                "From the queue to the computation, for a request's slowest image",
                |statistics| statistics.queue.distribution(),
            ),
            (
                "compute",
                "In the network, for a request's slowest batch",
                |statistics| statistics.compute.distribution(),
            ),
        ];
        for (name, help, of) in durations {
            let unit = Some(&Unit::Seconds);
            histogram(
                encoder,
                name,
                help,
                unit,
                NANOSECONDS_PER_SECOND,
                &versions,
                of,
            )?;
        }
        histogram(
            encoder,
            "batch_size",
            "Images computed together, for each run of the network",
            None,
            1.0,
            &versions,
            Statistics::batch_sizes,
        )
    }
}

fn counter(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    versions: &[(VersionLabels, Arc<Statistics>)],
    value: fn(&Statistics) -> u64,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    for (labels, statistics) in versions {
        family
            .encode_family(labels)?
            .encode_counter::<NoLabelSet, _, u64>(&value(statistics), None)?;
    }
    Ok(())
}

fn failures(
    encoder: &mut DescriptorEncoder,
    versions: &[(VersionLabels, Arc<Statistics>)],
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "prediction_failures",
        "Prediction requests that got no scores, by the problem's code; abandoned are those that nobody waited for any longer",
        None,
        MetricType::Counter,
    )?;
    for (version, statistics) in versions {
        for (code, count) in statistics.failures() {
            let labels = FailureLabels {
                model: version.model.clone(),
                version: version.version,
                code,
            };
            family
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// A histogram of values that are `scale` times as large as what is shown.
fn histogram(
    encoder: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    unit: Option<&Unit>,
    scale: f64,
    versions: &[(VersionLabels, Arc<Statistics>)],
    of: Which,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Histogram)?;
    for (labels, statistics) in versions {
        let Distribution { sum, buckets } = of(statistics);
        let sum = sum as f64 / scale;
        let buckets: Vec<(f64, u64)> = buckets
            .into_iter()
            .map(|(bound, count)| match bound {
                u64::MAX => (f64::INFINITY, count),
                bound => (bound as f64 / scale, count),
            })
            .collect();
        // Counted from the same look as the buckets, so that the last of them agrees with it.
        let count = buckets.iter().map(|(_, count)| count).sum();
        family
            .encode_family(labels)?
            .encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}
