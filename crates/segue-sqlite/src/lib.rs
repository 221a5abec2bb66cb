//! [`RunStore`](segue_core::ports::RunStore) and [`ModelJournal`](segue_core::ports::ModelJournal) on one SQLite file: the
//! default store.
//!
//! * One writer thread has the only connection that writes. It takes every job that is queued and commits them in one
//!   transaction (group commit); each job gets its own answer after that commit is on disk. The more runs are live, the
//!   fewer `fsync`s each of their steps costs.
//! * Reads run on a few threads with read-only connections. SQLite never runs on the async runtime's threads, and this
//!   crate needs no particular runtime.
//! * One row of the log a commit, hashed and chained to the row before; summaries carry a checksum; large values are kept
//!   under their hash. What does not match is reported as broken and never served.
//! * A run is deleted in small steps between the commits of others: first it is out of sight, then its log, its tasks and
//!   the values that nothing else refers to are removed. The file does not shrink; its free pages are written again.
//! * Several processes may use one file. Who may commit for a run is said by its fencing token; the request inbox is
//!   watched through `PRAGMA data_version`.
//!
//! ```
//! # fn main() -> Result<(), segue_core::ports::StoreError> {
//! # let folder = tempfile::tempdir().expect("a folder");
//! use segue_sqlite::{SqliteOptions, SqliteStore};
//!
//! let store = SqliteStore::open(&folder.path().join("segue.db"), SqliteOptions::default())?;
//! assert_eq!(store.stats().transactions, 0);
//! # Ok(())
//! # }
//! ```

mod boot;
mod cache;
mod checkpoint;
mod deployments;
mod encode;
mod failure;
mod garbage;
mod inbox;
mod journal;
mod leases;
mod limits;
mod lists;
mod log;
pub mod mutants;
mod open;
mod options;
mod readers;
mod runs;
mod schema;
mod stats;
mod store;
mod tasks;
mod threads;
mod upkeep;
mod values;
mod waiting;
mod watch;
mod workflows;
mod writer;

pub use options::{SqliteOptions, Synchronous};
pub use stats::SqliteStats;
pub use store::SqliteStore;
pub use upkeep::SqliteUpkeep;
