//! How often what goes wrong.

use fastrand::Rng;

/// Faults in a thousand calls, and in a thousand signals.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// A call fails and did not happen.
    pub before: u16,
    /// A write happens, and its caller is told that it failed.
    pub after: u16,
    /// A write fails, and happens later all the same: it was still under way.
    pub late: u16,
    /// There is no room for a write.
    pub full: u16,
    /// A call takes its time, before it happens or after.
    pub slow: u16,
    /// A write happens twice, the second time unseen.
    pub twice: u16,
    /// From this call on nothing gets through for up to 40 s.
    pub outage: u16,
    /// A signal is lost.
    pub signal_lost: u16,
    /// A signal changes places with the next one.
    pub signal_late: u16,
    /// A signal comes twice.
    pub signal_twice: u16,
}

impl Weather {
    /// Nothing goes wrong.
    pub const CALM: Self = Self {
        before: 0,
        after: 0,
        late: 0,
        full: 0,
        slow: 0,
        twice: 0,
        outage: 0,
        signal_lost: 0,
        signal_late: 0,
        signal_twice: 0,
    };

    /// A mixture: of each fault none, a little or much.
    pub fn drawn(rng: &mut Rng) -> Self {
        let mut often = |most: u16| match rng.u8(..3) {
            0 => 0,
            1 => rng.u16(..=most / 5),
            _ => rng.u16(..=most),
        };
        Self {
            before: often(150),
            after: often(150),
            late: often(100),
            full: often(60),
            slow: often(200),
            twice: often(150),
            outage: often(8),
            signal_lost: often(1_000),
            signal_late: often(500),
            signal_twice: often(500),
        }
    }

    /// A third of it, and no outages: an engine keeps its lease.
    #[must_use]
    pub const fn mild(self) -> Self {
        Self {
            before: self.before / 3,
            after: self.after / 3,
            late: self.late / 3,
            full: self.full / 3,
            slow: self.slow / 3,
            twice: self.twice / 3,
            outage: 0,
            ..self
        }
    }
}
