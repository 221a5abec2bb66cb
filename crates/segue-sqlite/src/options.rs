//! How a store is opened.

use std::time::Duration;

/// When a commit counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Synchronous {
    /// After `fsync`: it survives the loss of power.
    #[default]
    Full,
    /// After the write: it survives the death of the process, but the last commits before a loss of power may be gone.
    Normal,
}

/// How a store is opened. The default is right for nearly everybody.
#[derive(Debug, Clone)]
pub struct SqliteOptions {
    /// When a commit counts as durable.
    pub synchronous: Synchronous,
    /// How long to wait for another process that is writing before the answer is "unavailable".
    pub busy_timeout: Duration,
    /// Threads that read, at least one. They open their connection when they are first needed.
    pub readers: usize,
    /// The file grows to at most this many pages of 4 KiB; then the store is full. `None`: as far as the disk goes.
    pub pages_max: Option<u32>,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { synchronous: Synchronous::Full, busy_timeout: Duration::from_secs(5), readers: 2, pages_max: None }
    }
}
