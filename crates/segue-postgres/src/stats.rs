//! Counters of what a store has done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What this handle has done since it was opened. Other handles on the same database count for themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostgresStats {
    /// Runs created and commits accepted.
    pub commits: u64,
    /// Statements that wrote them: each one transaction, one round trip and, on the server, one `fsync`.
    pub batches: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    commits: AtomicU64,
    batches: AtomicU64,
}

impl Counters {
    pub(crate) fn batch(&self, commits: usize) {
        self.commits.fetch_add(commits as u64, Relaxed);
        self.batches.fetch_add(u64::from(commits > 0), Relaxed);
    }

    pub(crate) fn read(&self) -> PostgresStats {
        PostgresStats { commits: self.commits.load(Relaxed), batches: self.batches.load(Relaxed) }
    }
}
