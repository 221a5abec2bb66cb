//! So many a minute, kept as one timestamp (the generic cell rate algorithm).

use std::time::Duration;

use crate::time::Timestamp;

/// A minute and a millisecond: what rounding gives away is less.
const MINUTE_MICROS: u128 = 60_001_000;

/// Up to here a unit is long enough for its rounding to matter.
const COARSE_MAX: u64 = 10_000;

/// Nothing is used up for longer than this ahead: what lies further in the future comes from a clock that was set back,
/// or from a single task that took more than a minute's worth.
pub const TOO_FAR_AHEAD: Duration = Duration::from_secs(60);

/// At most so many units in any 60 seconds. A tenth of them, one at least, may go at once; the others follow evenly. That
/// is what keeps the promise for *any* 60 seconds with a single timestamp: the long run is nine tenths of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    per_minute: u64,
}

impl Rate {
    /// So many units a minute; 0 means 1.
    pub const fn per_minute(per_minute: u64) -> Self {
        Self { per_minute: if per_minute == 0 { 1 } else { per_minute } }
    }

    /// When `units` may go, if what went before uses up the time to `used_until`. More than a tenth of a minute's units go
    /// when nothing is used up.
    pub fn opens_at(self, used_until: Timestamp, units: u64) -> Timestamp {
        let (cost, burst) = (self.cost(units), self.burst());
        if cost >= burst { used_until } else { earlier(used_until, burst - cost) }
    }

    /// To when the time is used up after `units` went at `now`.
    #[must_use]
    pub fn after(self, used_until: Timestamp, units: u64, now: Timestamp) -> Timestamp {
        used_until.max(now).plus(self.cost(units)).min(now.plus(TOO_FAR_AHEAD))
    }

    /// The same, if `charged` units were counted before and it was `units` in truth.
    #[must_use]
    pub fn corrected(self, used_until: Timestamp, charged: u64, units: u64, now: Timestamp) -> Timestamp {
        if units >= charged {
            self.after(used_until, units - charged, now)
        } else {
            earlier(used_until, self.cost(charged - units))
        }
    }

    /// The time that so many units use up. Rounded up: never more go than may.
    fn cost(self, units: u64) -> Duration {
        let micros = (u128::from(units) * MINUTE_MICROS).div_ceil(u128::from(self.steady()));
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX / 2))
    }

    /// The time that may be used up at once.
    fn burst(self) -> Duration {
        let units = 1 + self.per_minute / 10;
        if self.per_minute <= COARSE_MAX {
            return self.cost(1) * u32::try_from(units).unwrap_or(u32::MAX);
        }
        let micros = u128::from(units) * MINUTE_MICROS / u128::from(self.steady());
        Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX / 2))
    }

    /// Units a minute in the long run: with the burst, no more than the limit in any minute.
    const fn steady(self) -> u64 {
        self.per_minute - self.per_minute / 10
    }
}

fn earlier(time: Timestamp, span: Duration) -> Timestamp {
    let micros = i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros(time.as_micros().saturating_sub(micros))
}
