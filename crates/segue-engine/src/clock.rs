//! The one clock of the shell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use segue_core::time::Timestamp;
use tokio::time::Instant;

/// Wall time that never goes backwards within a process.
///
/// It reads the wall once, when it is made, and counts from there by the monotonic clock: a wall that is set back, or
/// forward by an hour, fires no timer and loses none. Under a paused tokio clock it stands still with it.
#[derive(Debug, Clone)]
pub struct Clock {
    wall: Timestamp,
    started: Instant,
}

/// A timer that is further away than this is set again when it comes.
const FURTHEST: Duration = Duration::from_secs(86_400 * 365);

impl Clock {
    /// Reads the wall and starts counting.
    pub fn start() -> Self {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX);
        Self { wall: Timestamp::from_micros(micros), started: Instant::now() }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        self.wall.plus(self.started.elapsed())
    }

    /// The moment of `at` on the monotonic clock; now, if it has passed.
    pub fn instant_of(&self, at: Timestamp) -> Instant {
        let now = Instant::now();
        now + at.since(self.wall.plus(now - self.started)).min(FURTHEST)
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
}
