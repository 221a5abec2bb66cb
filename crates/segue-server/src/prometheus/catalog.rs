//! What is measured.

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What its values are.
    pub kind: MetricKind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub about: &'static str,
}

/// What the values of a metric are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// A number that only grows, from 0 at the start of the process.
    Counter,
    /// A number as it is now.
    Gauge,
    /// Latencies in seconds, counted by these upper bounds.
    Histogram(&'static [f64]),
}

/// Of commits: from a fast disk to one that is stuck.
const COMMITS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Of tasks: from data that is passed on to agents that think for hours.
const TASKS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// Every metric, by name.
pub const CATALOG: &[Metric] = &[
    Metric {
        name: "segue_cache_lookups_total",
        kind: MetricKind::Counter,
        labels: &["result"],
        about: "Times that a result was looked for that is kept to be used again, and whether it was there.",
    },
    Metric {
        name: "segue_model_calls_total",
        kind: MetricKind::Counter,
        labels: &["model", "outcome"],
        about: "Calls of models by attempts, and what came of them.",
    },
    Metric {
        name: "segue_model_tokens_total",
        kind: MetricKind::Counter,
        labels: &["model", "direction"],
        about: "Tokens that models read (input) and wrote (output).",
    },
    Metric {
        name: "segue_runs_live",
        kind: MetricKind::Gauge,
        labels: &[],
        about: "Runs that this engine carries out now.",
    },
    Metric {
        name: "segue_runs_total",
        kind: MetricKind::Counter,
        labels: &["status"],
        about: "Runs that ended on this engine, by how.",
    },
    Metric {
        name: "segue_store_commit_events",
        kind: MetricKind::Counter,
        labels: &[],
        about: "Events that this engine has committed.",
    },
    Metric {
        name: "segue_store_commit_seconds",
        kind: MetricKind::Histogram(COMMITS),
        labels: &[],
        about: "How long commits took, those that failed included.",
    },
    Metric {
        name: "segue_task_duration_seconds",
        kind: MetricKind::Histogram(TASKS),
        labels: &["adapter"],
        about: "How long attempts took, from their dispatch to their answer.",
    },
    Metric {
        name: "segue_task_queue_seconds",
        kind: MetricKind::Histogram(TASKS),
        labels: &["adapter"],
        about: "How long tasks that were ready waited for a place.",
    },
    Metric {
        name: "segue_task_retries_total",
        kind: MetricKind::Counter,
        labels: &["adapter", "kind"],
        about: "Attempts that are made again, by the kind of the error.",
    },
    Metric {
        name: "segue_tasks_running",
        kind: MetricKind::Gauge,
        labels: &["adapter"],
        about: "Attempts that run now.",
    },
    Metric {
        name: "segue_tasks_total",
        kind: MetricKind::Counter,
        labels: &["adapter", "status"],
        about: "Attempts that ended, by how.",
    },
    Metric {
        name: "segue_workers",
        kind: MetricKind::Gauge,
        labels: &["adapter", "state"],
        about: "Worker processes, by what they do.",
    },
];
