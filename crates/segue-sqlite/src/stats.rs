//! Counters of what a store has done.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What this handle has done since it was opened. Other handles on the same file count for themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SqliteStats {
    /// Runs created and commits accepted.
    pub commits: u64,
    /// All writing jobs that were answered, accepted or refused.
    pub jobs: u64,
    /// Transactions that changed something: each one `fsync` under [`Synchronous::Full`](crate::Synchronous::Full).
    pub transactions: u64,
    /// Times the write-ahead log was moved into the file.
    pub checkpoints: u64,
    /// `fsync`s, reckoned: one a transaction, three a checkpoint (log, file, head of the log begun again).
    pub fsyncs: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: AtomicU64,
    pub(crate) jobs: AtomicU64,
    pub(crate) transactions: AtomicU64,
    pub(crate) checkpoints: AtomicU64,
}

impl Counters {
    pub(crate) fn read(&self, syncs_commits: bool) -> SqliteStats {
        let transactions = self.transactions.load(Relaxed);
        let checkpoints = self.checkpoints.load(Relaxed);
        SqliteStats {
            commits: self.commits.load(Relaxed),
            jobs: self.jobs.load(Relaxed),
            transactions,
            checkpoints,
            fsyncs: 3 * checkpoints + if syncs_commits { transactions } else { 0 },
        }
    }
}
