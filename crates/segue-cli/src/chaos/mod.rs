//! What happens in the processes that `segue chaos` starts: they keep a ledger of what they do, and end themselves, or
//! their workers, at a moment that was chosen before.
//!
//! * [`plan`]: what such a process is told, in one hidden variable. Without it nothing here is active.
//! * [`ledger`]: what it writes down, one line a fact, for whoever started it.
//! * [`moments`]: the numbered moments of a run, and the kill at one of them.
//! * [`store`], [`journal`], [`adapter`]: decorators around the ports, where the moments are.
//!
//! A kill is SIGKILL, to the process itself: nothing is flushed, told or tidied up that would not be after a crash.

mod adapter;
mod journal;
pub(crate) mod ledger;
mod moments;
pub(crate) mod plan;
mod store;
mod workers;

use std::sync::{Arc, OnceLock};

use segue_core::ports::Adapter;

use self::{adapter::ChaosAdapter, journal::ChaosJournal, moments::Moments, store::ChaosStore};
use crate::{
    failure::{Failure, Outcome},
    wiring::Stores,
};

/// The moments of this process, if `segue chaos` has started it.
static MOMENTS: OnceLock<Option<Arc<Moments>>> = OnceLock::new();

/// The stores, watched if this process is one of chaos; else as they are.
pub(crate) fn around(stores: Stores) -> Outcome<Stores> {
    let Some(plan) = plan::Plan::of_environment() else { return Ok(stores) };
    let moments = MOMENTS.get_or_init(|| Moments::begin(plan).map(Arc::new).ok()).clone();
    let moments = moments.ok_or_else(|| Failure::internal("the ledger of `segue chaos` cannot be written"))?;
    Ok(Stores {
        runs: Arc::new(ChaosStore::new(stores.runs, moments.clone())),
        journal: Arc::new(ChaosJournal::new(stores.journal, moments)),
        ..stores
    })
}

/// An adapter, watched if this process is one of chaos.
pub(crate) fn watched(adapter: Arc<dyn Adapter>) -> Arc<dyn Adapter> {
    match MOMENTS.get().cloned().flatten() {
        Some(moments) => Arc::new(ChaosAdapter::new(adapter, moments)),
        None => adapter,
    }
}
