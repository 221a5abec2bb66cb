//! [`RunStore`](segue_core::ports::RunStore), [`ModelJournal`](segue_core::ports::ModelJournal) and
//! [`CheckpointStore`](segue_core::ports::CheckpointStore) on a PostgreSQL database: the store of several engines on
//! several machines.
//!
//! * One task commits. It takes every step that is queued and writes them in one statement, that is in one transaction
//!   and one round trip; the statement says whose steps were written, and a conflict of one run fails only that run.
//! * Everything else runs on a few shared connections. A lost one is made anew; reading is begun again, writing never:
//!   what was under way may have happened.
//! * Who may commit for a run is said by its fencing token; leases are measured by the database's clock, whichever
//!   machine asks.
//! * One row of the log a commit, hashed and chained to the row before; summaries carry a checksum; large values are kept
//!   under their hash. What does not match is reported as broken and never served.
//! * One connection listens: requests to runs, and runs that are left to be claimed, are told by `NOTIFY`.
//! * [`PostgresBus`] tells by `NOTIFY` what happens, to whoever listens now.
//! * Several engines, also of the version before, may use one database: the schema is brought up to date under a lock,
//!   and only added to.
//!
//! No error, no log line and no `Debug` shows a URL's password.
//!
//! ```no_run
//! # async fn open() -> Result<(), segue_core::ports::StoreError> {
//! use segue_postgres::{PostgresOptions, PostgresStore};
//!
//! let store = PostgresStore::connect("postgres://segue@localhost/segue", PostgresOptions::default()).await?;
//! assert_eq!(store.shown(), "postgres://segue@localhost/segue");
//! # Ok(())
//! # }
//! ```

mod address;
mod batch;
mod bus;
mod cache;
mod committer;
mod deployments;
mod encode;
mod failure;
mod garbage;
mod inbox;
mod journal;
mod leases;
mod limits;
mod listener;
mod lists;
mod log;
#[cfg(feature = "mutants")]
pub mod mutants;
mod options;
#[cfg(test)]
mod plans;
mod pool;
mod runs;
mod schema;
mod stats;
mod store;
mod tasks;
mod texts;
mod threads;
mod tls;
mod upkeep;
mod values;
mod waiting;
mod watch;
mod workflows;

pub use address::shown;
pub use bus::PostgresBus;
pub use options::PostgresOptions;
pub use stats::PostgresStats;
pub use store::PostgresStore;
pub use upkeep::PostgresUpkeep;
