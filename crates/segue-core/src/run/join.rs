//! Joins: which outcomes of its dependencies let a task run.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    event::{SkipCode, SkipReason},
    outcome::TaskError,
    spec::Join,
};

/// How the edges that lead to a task have ended. An edge whose condition was false ended as skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) unfinished: u32,
    pub(super) succeeded: u32,
    pub(super) failed: u32,
    pub(super) skipped: u32,
}

/// How one edge ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EdgeEnd {
    Succeeded,
    Failed,
    Skipped,
}

/// What a join says of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision {
    Fires,
    Waits,
    Skips(SkipCode),
}

/// A decision that waits to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Skip(SkipReason),
    Fail(TaskError),
    /// `foreach` has these items.
    Map(Vec<Arc<Value>>),
    /// The next iteration of `repeat`.
    Iterate,
    /// The members of a group.
    Open,
    /// An answer, a time or a signal is awaited.
    Wait,
    /// All parts have ended.
    Conclude,
    /// The body of a loop runs once more.
    Again,
    /// All parts have ended, and the run is being stopped.
    Cancel,
}

impl Counts {
    pub(super) fn of(edges: usize) -> Self {
        Self { unfinished: u32::try_from(edges).expect("a document has fewer than 2^32 edges"), ..Self::default() }
    }

    pub(super) fn add(&mut self, end: EdgeEnd) {
        self.unfinished -= 1;
        match end {
            EdgeEnd::Succeeded => self.succeeded += 1,
            EdgeEnd::Failed if planted!(CountsFailuresAsSkips) => self.skipped += 1,
            EdgeEnd::Failed => self.failed += 1,
            EdgeEnd::Skipped => self.skipped += 1,
        }
    }

    /// The table of joins. A task without dependencies fires at once.
    pub(super) fn decide(self, join: Join) -> Decision {
        use Decision::{Fires, Skips, Waits};
        let done = self.unfinished == 0;
        if done && self == Self::default() {
            return Fires;
        }
        match join {
            Join::NoFailure | Join::AllSuccess if self.failed > 0 => Skips(SkipCode::UpstreamFailed),
            Join::NoFailure | Join::AllSuccess if !done => Waits,
            Join::NoFailure | Join::AllSuccess if self.succeeded == 0 => Skips(SkipCode::NotReached),
            Join::AllSuccess if self.skipped > 0 => Skips(SkipCode::JoinNeverHolds),
            Join::NoFailure | Join::AllSuccess => Fires,
            Join::AnySuccess if self.succeeded > 0 => Fires,
            Join::AnyFailure if self.failed > 0 => Fires,
            Join::AnySuccess | Join::AnyFailure | Join::AllDone if !done => Waits,
            Join::AllDone => Fires,
            Join::AnySuccess if self.failed > 0 => Skips(SkipCode::UpstreamFailed),
            Join::AnyFailure if self.succeeded > 0 => Skips(SkipCode::NothingFailed),
            Join::AnySuccess | Join::AnyFailure => Skips(SkipCode::NotReached),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table of the language's documentation, row by row: (unfinished, succeeded, failed, skipped).
    #[test]
    fn joins_decide_as_the_table_says() {
        use Decision::{Fires, Skips, Waits};
        use SkipCode::{JoinNeverHolds, NotReached, NothingFailed, UpstreamFailed};
        let table = [
            (Join::NoFailure, (1, 1, 0, 0), Waits),
            (Join::NoFailure, (0, 1, 0, 1), Fires),
            (Join::NoFailure, (1, 0, 1, 0), Skips(UpstreamFailed)),
            (Join::NoFailure, (0, 0, 0, 2), Skips(NotReached)),
            (Join::AllSuccess, (0, 2, 0, 0), Fires),
            (Join::AllSuccess, (0, 1, 0, 1), Skips(JoinNeverHolds)),
            (Join::AllSuccess, (1, 0, 0, 1), Waits),
            (Join::AllSuccess, (0, 0, 0, 2), Skips(NotReached)),
            (Join::AllSuccess, (1, 1, 1, 0), Skips(UpstreamFailed)),
            (Join::AnySuccess, (1, 1, 0, 0), Fires),
            (Join::AnySuccess, (1, 0, 1, 0), Waits),
            (Join::AnySuccess, (0, 0, 1, 1), Skips(UpstreamFailed)),
            (Join::AnySuccess, (0, 0, 0, 2), Skips(NotReached)),
            (Join::AllDone, (1, 1, 0, 0), Waits),
            (Join::AllDone, (0, 0, 1, 1), Fires),
            (Join::AllDone, (0, 0, 0, 1), Fires),
            (Join::AnyFailure, (1, 0, 1, 0), Fires),
            (Join::AnyFailure, (1, 1, 0, 0), Waits),
            (Join::AnyFailure, (0, 1, 0, 1), Skips(NothingFailed)),
            (Join::AnyFailure, (0, 0, 0, 1), Skips(NotReached)),
        ];
        for (join, (unfinished, succeeded, failed, skipped), expected) in table {
            let counts = Counts { unfinished, succeeded, failed, skipped };
            assert_eq!(counts.decide(join), expected, "{join:?} {counts:?}");
        }
        for join in [Join::NoFailure, Join::AllSuccess, Join::AnySuccess, Join::AllDone, Join::AnyFailure] {
            assert_eq!(Counts::of(0).decide(join), Fires, "a task without dependencies, {join:?}");
        }
    }
}
