//! The numbers of a bus.

use std::time::Duration;

use segue_core::memory::QUEUE_DEFAULT;

/// The numbers of a bus; the defaults suit production.
#[derive(Debug, Clone)]
pub struct BusOptions {
    /// Events that wait to be sent, at most. What does not fit is dropped.
    pub outbox_events_max: usize,
    /// Bytes that wait to be sent, at most.
    pub outbox_bytes_max: usize,
    /// Events kept for a subscriber that is behind.
    pub queue: usize,
    /// How long one step over the network may take; also how long `subscribe` waits for the bus.
    pub patience: Duration,
    /// How often the audience is looked at. Whoever comes or goes in good order is noticed at once.
    pub look_every: Duration,
    /// How long somebody who vanished counts as listening: they may be connecting again, and want what they missed.
    pub linger: Duration,
    /// How often a silent connection is tried.
    pub ping_every: Duration,
}

impl Default for BusOptions {
    fn default() -> Self {
        Self {
            outbox_events_max: 10_000,
            outbox_bytes_max: 16 * 1024 * 1024,
            queue: QUEUE_DEFAULT,
            patience: Duration::from_secs(3),
            look_every: Duration::from_secs(2),
            linger: Duration::from_secs(60),
            ping_every: Duration::from_secs(10),
        }
    }
}
