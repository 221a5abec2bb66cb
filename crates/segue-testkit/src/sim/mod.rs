//! A simulator of runs: the kernel in a hostile world.
//!
//! One seed is one run of a random workflow, from its beginning or with results of an earlier one. Workers answer late,
//! twice, in another order, wrongly or never, or ask; engines crash before and after any commit and are drained; child
//! runs live on and end well, badly or when they are told to; people answer, decide about failures, twice, too late, to the
//! wrong task and with nonsense; they cancel, once more at the end of a run, and reopen; the clock stands still and leaps.
//! After every input the memory must be the fold of the log, the rows must say what the log says, and the kernel must owe
//! exactly what an independent [`Auditor`](crate::auditor::Auditor) says it owes; the auditor judges every event. When
//! the world becomes kind, every run must end.
//!
//! ```
//! let coverage = segue_testkit::sim::simulate(7)?;
//! assert!(coverage.count("input") > 0);
//! # Ok::<(), Box<segue_testkit::sim::Failure>>(())
//! ```

mod check;
mod children;
mod coverage;
mod duel;
mod engine;
mod failure;
mod generate;
mod judge;
mod keep;
mod people;
mod races;
mod rerun;
mod steps;
mod workers;
mod world;

use segue_core::event::Event;

pub use self::{
    coverage::Coverage,
    duel::{Careless, Duel, Winner},
    failure::{Failure, smallest_of},
    generate::{Case, case},
    keep::keep,
};

/// Plays the run of this seed. Deterministic: a seed that fails fails again.
pub fn simulate(seed: u64) -> Result<Coverage, Box<Failure>> {
    world::World::new(seed)?.play().map(|world| world.coverage)
}

/// The workflow and the whole log of this seed's run.
pub fn log_of(seed: u64) -> Result<(Case, Vec<Event>), Box<Failure>> {
    world::World::new(seed)?.play().map(|world| (world.case, world.log))
}
