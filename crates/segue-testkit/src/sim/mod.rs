//! A simulator of runs: the kernel in a hostile world.
//!
//! One seed is one run of a random workflow. Workers answer late, twice, in another order, wrongly or never; engines
//! crash before and after any commit and are drained; people answer, twice, too late, to the wrong task and with nonsense;
//! they cancel and reopen; the clock stands still and leaps. After
//! every input the memory must be the fold of the log, the rows must say what the log says, and the kernel must owe
//! exactly what an independent [`Auditor`](crate::auditor::Auditor) says it owes; the auditor judges every event. When
//! the world becomes kind, every run must end.
//!
//! ```
//! let coverage = segue_testkit::sim::simulate(7)?;
//! assert!(coverage.count("input") > 0);
//! # Ok::<(), Box<segue_testkit::sim::Failure>>(())
//! ```

mod check;
mod coverage;
mod failure;
mod generate;
mod people;
mod races;
mod workers;
mod world;

use segue_core::event::Event;

pub use self::{
    coverage::Coverage,
    failure::{Failure, smallest_of},
    generate::{Case, case},
};

/// Plays the run of this seed. Deterministic: a seed that fails fails again.
pub fn simulate(seed: u64) -> Result<Coverage, Box<Failure>> {
    world::World::new(seed)?.play().map(|world| world.coverage)
}

/// The workflow and the whole log of this seed's run.
pub fn log_of(seed: u64) -> Result<(Case, Vec<Event>), Box<Failure>> {
    world::World::new(seed)?.play().map(|world| (world.case, world.log))
}
