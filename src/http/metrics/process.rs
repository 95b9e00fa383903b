//! The process as the system sees it, under the names that Prometheus' own clients use.
//!
//! From `/proc`; on a system without it there are no such metrics.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// Ticks per second in `/proc/*/stat`: `USER_HZ`, 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// This process.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let Some(figures) = Figures::read() else {
            return Ok(());
        };
        encoder
            .encode_descriptor(
                "process_cpu",
                "CPU time used",
                Some(&Unit::Seconds),
                MetricType::Counter,
            )?
            .encode_counter::<NoLabelSet, _, u64>(&figures.cpu_seconds, None)?;
        let gauges = [
            (
                "process_resident_memory",
                "Memory in RAM",
                Some(&Unit::Bytes),
                figures.resident_bytes,
            ),
            (
                "process_virtual_memory",
                "Address space",
                Some(&Unit::Bytes),
                figures.virtual_bytes,
            ),
            (
                "process_start_time",
                "When the process began, since 1970",
                Some(&Unit::Seconds),
                figures.start_seconds,
            ),
            ("process_threads", "Threads", None, figures.threads),
            (
                "process_open_fds",
                "Open file descriptors",
                None,
                figures.open_fds,
            ),
            (
                "process_max_fds",
                "File descriptors that may be open",
                None,
                figures.max_fds,
            ),
        ];
        for (name, help, unit, value) in gauges {
            encoder
                .encode_descriptor(name, help, unit, MetricType::Gauge)?
                .encode_gauge(&value)?;
        }
        Ok(())
    }
}

struct Figures {
    cpu_seconds: f64,
    resident_bytes: f64,
    virtual_bytes: f64,
    start_seconds: f64,
    threads: f64,
    open_fds: f64,
    max_fds: f64,
}

impl Figures {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The name may hold anything, but nothing after its closing bracket does.
        let after_name = stat.rsplit_once(')')?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Numbered as in proc_pid_stat(5); the first field after the name is the third.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let kilobytes = |name: &str| number_after(&status, name);
        let boot_seconds = number_after(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
        let limits = fs::read_to_string("/proc/self/limits").ok()?;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            resident_bytes: kilobytes("VmRSS:")? * 1024.0,
            virtual_bytes: kilobytes("VmSize:")? * 1024.0,
            start_seconds: boot_seconds + field(22)? / TICKS_PER_SECOND,
            threads: field(20)?,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as f64,
            max_fds: number_after(&limits, "Max open files")?,
        })
    }
}

/// The number that follows a name at the beginning of a line.
fn number_after(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}
