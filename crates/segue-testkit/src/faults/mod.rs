//! A store that fails as stores do: a decorator around a [`RunStore`](segue_core::ports::RunStore) and what lies beside it.
//!
//! What goes wrong is told by the test, call by call ([`Faults::fail_next`], [`Faults::set_away`]), or drawn from a seed
//! by a [`Weather`]: a call fails before it happened, fails although it happened, happens *after* its failure was told,
//! is slow, happens twice, finds no room; for a while nothing gets through; signals are lost, doubled and change places.
//! On a runtime with one thread and paused time a seed always does the same.
//!
//! ```
//! # tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(async {
//! use std::sync::Arc;
//! use segue_core::{memory::MemoryStore, ports::{RunStore, StoreError}};
//! use segue_testkit::{conformance, faults::{FaultStore, Faults, Journal}};
//!
//! let inner = Arc::new(MemoryStore::new(Arc::new(conformance::now)));
//! let store = FaultStore::new(inner, Arc::new(Faults::calm()), Arc::new(Journal::default()));
//! assert!(store.engines().await.is_ok());
//! store.faults.set_away(true);
//! assert!(matches!(store.engines().await, Err(StoreError::Unavailable(_))));
//! # });
//! ```

mod fate;
mod journal;
mod limits;
mod records;
mod run_store;
mod signals;
mod weather;

pub use self::{
    fate::{Fault, Faults, unavailable},
    journal::{Journal, names},
    limits::FaultLimits,
    records::{FaultCheckpoints, FaultJournal},
    run_store::FaultStore,
    weather::Weather,
};
