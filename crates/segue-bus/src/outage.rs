//! Losing the bus and finding it again: said once each, and tried again after growing pauses.

use std::{
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use segue_core::ports::BusError;
use tracing::{info, warn};

const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(5);

/// What both tasks of a bus know of its being away.
#[derive(Debug, Default)]
pub(crate) struct Outage {
    since: Mutex<Option<Instant>>,
}

impl Outage {
    /// The first of an outage is worth a line.
    pub(crate) fn note(&self, place: &str, error: &BusError) {
        let mut since = self.since();
        if since.is_none() {
            *since = Some(Instant::now());
            warn!(bus = place, "{error}; runs go on, and whoever follows them reads the log");
        }
    }

    /// It answers.
    pub(crate) fn end(&self, place: &str) {
        if let Some(since) = self.since().take() {
            info!(bus = place, away_ms = since.elapsed().as_millis(), "the event bus is back");
        }
    }

    fn since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.since.lock().expect("no panic happens under this lock")
    }
}

/// The pauses between one task's tries.
#[derive(Debug)]
pub(crate) struct Pauses {
    next: Duration,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { next: PAUSE_MIN }
    }
}

impl Pauses {
    /// Twice as long each time, and by chance shorter: those who lost the bus together do not come back together.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(PAUSE_MAX);
        pause
    }

    /// A try succeeded.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }
}
