//! Does the chaos find bugs? Each of these is planted in the engine, and must be found within a few seeds.
//!
//! `cargo test -p segue-engine --features mutants --test mutation -- --nocapture` also says after how many.
// What the other tests need of their support is of no use here.
#![allow(clippy::unwrap_used, missing_docs, unreachable_pub, dead_code, unused_imports, unused_macros)]

#[path = "engine/chaos.rs"]
mod chaos;
#[path = "engine/leases.rs"]
mod leases;
#[path = "engine/storm.rs"]
mod storm;
#[path = "engine/support/mod.rs"]
mod support;

use std::panic::{self, AssertUnwindSafe};

use segue_engine::mutants::{Mutant, plant};

/// A bug that is not found in so many seeds is not found.
const SEEDS_MAX: u64 = 2_000;

/// The first seed that finds the planted bug, and what it finds.
fn found(mutant: Mutant) -> Option<(u64, String)> {
    plant(Some(mutant));
    let found = (0..SEEDS_MAX).find_map(|seed| {
        let played = panic::catch_unwind(AssertUnwindSafe(|| match mutant {
            Mutant::ForgetsTheRoom => paused(storm::storm()),
            Mutant::RunsSuspectsTogether => paused(async { leases::poison(support::World::in_memory()).await }),
            _ => {
                chaos::play(seed);
            }
        }));
        played.err().map(|panic| (seed, said(&*panic)))
    });
    plant(None);
    found
}

fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(test);
}

fn said(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or_default().lines().next().unwrap_or_default().chars().take(110).collect()
}

#[test]
fn every_planted_bug_is_found() {
    // What is found panics, and would print each time.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let results: Vec<_> = Mutant::ALL.iter().map(|&mutant| (mutant, found(mutant))).collect();
    panic::set_hook(hook);
    for (mutant, found) in &results {
        match found {
            Some((seed, what)) => println!("{mutant:?}: seed {seed}: {what}"),
            None => println!("{mutant:?}: NOT FOUND"),
        }
    }
    let survivors: Vec<_> = results.iter().filter(|(_, found)| found.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "these bugs live: {survivors:?}");
}
