//! Counters and latencies, with bounded labels: never a run id.

use std::time::Duration;

/// Takes measurements. Cheap, never blocks, never fails.
pub trait MetricsCollector: Send + Sync {
    /// Adds `n` to the counter `name` with these labels.
    fn add(&self, name: &'static str, labels: &[(&'static str, &str)], n: u64);

    /// Records one latency under `name` with these labels.
    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], took: Duration);

    /// Sets the gauge `name` with these labels.
    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: i64);
}
