//! The ports in memory: for tests, for rehearsals, and for programs whose runs need not outlive them.
//!
//! They are siblings of the durable ones and pass the same conformance suites; only durability is missing.

mod bus;
mod fanout;
mod metrics;
mod store;

pub use bus::MemoryBus;
pub use fanout::{Fanout, QUEUE_DEFAULT};
pub use metrics::{LatencySample, MemoryMetrics, MetricsSnapshot, Sample};
pub use store::{MemoryStats, MemoryStore};
