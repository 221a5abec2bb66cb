//! HTTP of an engine that serves others: is it alive, is it ready, what does it measure; and room for the API.
//!
//! Only programs on this machine can ask: without access tokens nothing else is listened on. Every connection has
//! bounds in time and size, every request is looked at before it is routed, and whatever is refused says why.
//!
//! * `server`: where it listens, and for whom.
//! * `guard`: who may ask at all: the `Host` and `Origin` headers, the size of bodies; the headers of every answer.
//! * `routes`: what can be asked. `health`: `/healthz` and `/readyz`. `problem`: errors as RFC 9457 describes them.
//! * `prometheus`: measurements in the text format of Prometheus.

mod guard;
mod health;
mod problem;
mod prometheus;
mod routes;
mod server;

use std::sync::Arc;

use segue_engine::Engine;

pub use prometheus::{CATALOG, Metric, MetricKind, PrometheusMetrics};
pub use segue_listen::Server;
pub use server::{Bound, ServerError};

/// What is asked about.
#[derive(Clone)]
pub struct Served {
    /// The engine.
    pub engine: Arc<Engine>,
    /// What it measures.
    pub metrics: Arc<PrometheusMetrics>,
    /// Measures what only has a value when somebody asks. Cheap; called each time before the metrics are read.
    pub measure: Arc<dyn Fn() + Send + Sync>,
}
