//! Measurements, kept for whoever comes to read them.
//!
//! [`CATALOG`] says what is measured; nothing else is kept. The number of series is bounded whatever is measured: a label
//! that has had many values calls every further one `other`.

mod catalog;
mod family;
mod text;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use segue_core::ports::MetricsCollector;

pub use self::catalog::{CATALOG, Metric, MetricKind};
use self::family::Family;

/// Keeps every series of the catalog, in bounded memory.
#[derive(Debug)]
pub struct PrometheusMetrics {
    /// In the catalog's order. Each behind a lock of its own: who measures one thing waits for nobody who measures another.
    families: Vec<Mutex<Family>>,
}

impl Default for PrometheusMetrics {
    fn default() -> Self {
        Self { families: CATALOG.iter().map(|metric| Mutex::new(Family::new(metric))).collect() }
    }
}

impl PrometheusMetrics {
    /// All of it in the text format of Prometheus, version 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for (metric, family) in CATALOG.iter().zip(&self.families) {
            text::write(&mut out, metric, &family.lock().unwrap_or_else(PoisonError::into_inner));
        }
        out
    }

    fn with(&self, name: &'static str, change: impl FnOnce(&mut Family)) {
        let known = CATALOG.iter().position(|metric| metric.name == name);
        debug_assert!(known.is_some(), "`{name}` is not in the catalog of metrics");
        if let Some(at) = known {
            change(&mut self.families[at].lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl MetricsCollector for PrometheusMetrics {
    fn add(&self, name: &'static str, labels: &[(&'static str, &str)], n: u64) {
        self.with(name, |family| family.add(labels, n));
    }

    fn observe(&self, name: &'static str, labels: &[(&'static str, &str)], took: Duration) {
        self.with(name, |family| family.observe(labels, took));
    }

    fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: i64) {
        self.with(name, |family| family.set(labels, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_measured_can_be_read() {
        let metrics = PrometheusMetrics::default();
        metrics.add("segue_runs_total", &[("status", "FAILED")], 1);
        metrics.add("segue_runs_total", &[("status", "FAILED")], 2);
        metrics.set("segue_runs_live", &[], 7);
        metrics.observe("segue_task_queue_seconds", &[("adapter", "http")], Duration::from_millis(20));
        metrics.observe("segue_task_queue_seconds", &[("adapter", "http")], Duration::from_secs(100_000));
        let text = metrics.text();
        for line in [
            "# TYPE segue_runs_total counter",
            "segue_runs_total{status=\"FAILED\"} 3",
            "segue_runs_live 7",
            "# TYPE segue_task_queue_seconds histogram",
            "segue_task_queue_seconds_bucket{adapter=\"http\",le=\"0.01\"} 0",
            "segue_task_queue_seconds_bucket{adapter=\"http\",le=\"0.025\"} 1",
            "segue_task_queue_seconds_bucket{adapter=\"http\",le=\"+Inf\"} 2",
            "segue_task_queue_seconds_sum{adapter=\"http\"} 100000.02",
            "segue_task_queue_seconds_count{adapter=\"http\"} 2",
        ] {
            assert!(text.lines().any(|own| own == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_label_has_a_bounded_number_of_values() {
        let metrics = PrometheusMetrics::default();
        for n in 0..10_000 {
            let model = format!("model-{n}");
            metrics.add("segue_model_calls_total", &[("model", &model), ("outcome", "ok")], 1);
        }
        let text = metrics.text();
        let series: Vec<&str> = text.lines().filter(|line| line.starts_with("segue_model_calls_total{")).collect();
        assert!(series.len() <= family::VALUES_MAX + 1, "{}", series.len());
        let other =
            format!("segue_model_calls_total{{model=\"other\",outcome=\"ok\"}} {}", 10_000 - family::VALUES_MAX);
        assert!(series.contains(&other.as_str()), "{text}");
    }

    #[test]
    fn values_cannot_break_the_text() {
        let metrics = PrometheusMetrics::default();
        metrics.add("segue_model_calls_total", &[("model", "a\"b\\c\nd"), ("outcome", "ok")], 1);
        metrics.add("segue_model_calls_total", &[("model", &"x".repeat(1_000)), ("outcome", "ok")], 1);
        let text = metrics.text();
        assert!(text.contains("segue_model_calls_total{model=\"a\\\"b\\\\c\\nd\",outcome=\"ok\"} 1\n"), "{text}");
        assert!(text.contains("segue_model_calls_total{model=\"other\",outcome=\"ok\"} 1\n"), "{text}");
    }
}
