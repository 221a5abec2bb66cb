//! The one clock of the shell.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use segue_core::time::Timestamp;
use tokio::time::Instant;

/// Wall time that never goes backwards within a process.
///
/// It reads the wall once, when it is made, and counts from there by the monotonic clock: a wall that is set back, or
/// forward by an hour, fires no timer and loses none. An engine's clock is set to the time of its store when it starts,
/// so that engines on machines whose walls differ agree. Under a paused tokio clock it stands still with it. Clones are
/// one clock.
#[derive(Debug, Clone)]
pub struct Clock {
    /// The time at `started`, in microseconds.
    wall: Arc<AtomicI64>,
    started: Instant,
}

/// A smaller difference between two clocks is the time that it takes to ask.
const AGREES_WITHIN: Duration = Duration::from_secs(1);

/// A timer that is further away than this is set again when it comes.
const FURTHEST: Duration = Duration::from_secs(86_400 * 365);

impl Clock {
    /// Reads the wall and starts counting.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX)))
    }

    /// Starts counting from here.
    pub fn at(wall: Timestamp) -> Self {
        Self { wall: Arc::new(AtomicI64::new(wall.as_micros())), started: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.wall.load(Ordering::Acquire)).plus(self.started.elapsed())
    }

    /// The moment of `at` on the monotonic clock; now, if it has passed.
    pub fn instant_of(&self, at: Timestamp) -> Instant {
        self.instant_after(at.since(self.now()))
    }

    /// The moment so long from now, or as far as a timer goes.
    pub(crate) fn instant_after(&self, pause: Duration) -> Instant {
        Instant::now() + pause.min(FURTHEST)
    }

    /// Goes by another clock, if the two are more than a second apart.
    pub(crate) fn agree_with(&self, other: Timestamp) {
        let own = self.now();
        let apart = own.since(other).max(other.since(own));
        if apart > AGREES_WITHIN {
            tracing::warn!(%own, store = %other, "the clock of this machine is not that of the store, which counts");
            self.wall.fetch_add(other.as_micros() - own.as_micros(), Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_timer_fires_at_its_time_and_not_before() {
        let clock = Clock::start();
        let due = clock.now().plus(Duration::from_secs(90));
        tokio::time::sleep_until(clock.instant_of(due)).await;
        assert!(clock.now() >= due && clock.now().since(due) < Duration::from_millis(10));
        assert_eq!(clock.instant_of(Timestamp::from_micros(0)), Instant::now());
        assert!(clock.instant_of(Timestamp::from_micros(i64::MAX)) > Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_an_hour_off_is_set_to_the_stores() {
        let (clock, store) = (Clock::start(), Clock::start());
        let clone = clock.clone();
        for hours in [-1, 1] {
            clock.agree_with(Timestamp::from_micros(store.now().as_micros() + hours * 3_600_000_000));
            assert_eq!(clone.now().as_micros() - store.now().as_micros(), hours * 3_600_000_000);
            clock.agree_with(store.now().plus(Duration::from_millis(100)));
        }
        let before = clock.now();
        clock.agree_with(before.plus(Duration::from_millis(900)));
        assert_eq!(clock.now(), before, "less than what asking takes");
    }
}
