//! What can be seen from outside: metrics, logs and spans, written once, around the ports.
//!
//! [`ObservedStore`] and [`ObservedAdapter`] wrap what they measure; the observer reads committed facts. The kernel
//! and the backends contain none of it.

mod adapter;
mod store;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use segue_core::{
    event::{Envelope, Event, EventKind},
    ids::{HandlerId, RunId},
    ports::{BusError, EventBus, EventStream, MetricsCollector, Topic},
    run::Run,
};

pub use self::{adapter::ObservedAdapter, store::ObservedStore};
use crate::registry::Adapters;

/// Reads committed facts.
pub(crate) struct Observer {
    pub(crate) metrics: Arc<dyn MetricsCollector>,
    pub(crate) adapters: Arc<Adapters>,
}

impl Observer {
    /// These facts are in the log.
    pub(crate) fn committed(&self, run: &Run, events: &[Event]) {
        for event in events {
            self.count(run, event);
            log(run, event);
        }
    }

    fn count(&self, run: &Run, event: &Event) {
        if event.kind.ends_run() {
            self.metrics.add("segue_runs_total", &[("status", run.status().as_str())], 1);
        }
        let (EventKind::TaskRetrying { error, .. }, Some(task)) = (&event.kind, &event.task_id) else { return };
        let adapter = run.node(task).map_or("", |node| self.name_of(&node.handler));
        self.metrics.add("segue_task_retries_total", &[("adapter", adapter), ("kind", error.kind.as_str())], 1);
    }

    /// A task got its place after waiting for it.
    pub(crate) fn queued(&self, handler: &HandlerId, waited: Duration) {
        self.metrics.observe("segue_task_queue_seconds", &[("adapter", self.name_of(handler))], waited);
    }

    /// So many runs are driven here.
    pub(crate) fn live(&self, runs: usize) {
        self.metrics.set("segue_runs_live", &[], i64::try_from(runs).unwrap_or(i64::MAX));
    }

    fn name_of(&self, handler: &HandlerId) -> &'static str {
        self.adapters.of(handler).map_or("", |adapter| adapter.name())
    }
}

/// One line a fact: what fails is a warning, what a run comes to is worth a line, the rest is detail.
fn log(run: &Run, event: &Event) {
    let (run_id, what) = (run.id(), event.kind.name());
    let task_id = event.task_id.as_ref().map(tracing::field::display);
    match &event.kind {
        EventKind::TaskRetrying { error, due, .. } => {
            tracing::warn!(%run_id, task_id, attempt = event.attempt, kind = error.kind.as_str(), error = %error.message, %due, "{what}");
        }
        EventKind::TaskFailed { error, .. } => {
            tracing::warn!(%run_id, task_id, attempt = event.attempt, kind = error.kind.as_str(), error = %error.message, "{what}");
        }
        EventKind::RunFailed { error } => {
            tracing::warn!(%run_id, kind = error.kind.as_str(), error = %error.message, "{what}");
        }
        EventKind::RunCancelling { reason, .. } => tracing::info!(%run_id, %reason, "{what}"),
        _ if event.task_id.is_some() => tracing::debug!(%run_id, task_id, attempt = event.attempt, "{what}"),
        _ => tracing::info!(%run_id, "{what}"),
    }
}

/// Measures nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoMetrics;

impl MetricsCollector for NoMetrics {
    fn add(&self, _: &'static str, _: &[(&'static str, &str)], _: u64) {}
    fn observe(&self, _: &'static str, _: &[(&'static str, &str)], _: Duration) {}
    fn set(&self, _: &'static str, _: &[(&'static str, &str)], _: i64) {}
}

/// A bus on which nobody can listen.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBus;

#[async_trait]
impl EventBus for NoBus {
    fn publish(&self, _: Vec<Envelope>) {}

    fn is_listened(&self, _: RunId) -> bool {
        false
    }

    async fn subscribe(&self, _: Topic) -> Result<EventStream, BusError> {
        Err(BusError("this engine has no bus".to_owned()))
    }
}
