//! Does the simulator find bugs? Each of these is planted in the kernel, and must be found within a few seeds.
//!
//! `cargo test -p segue-testkit --features mutants --test mutation -- --nocapture` also says after how many.
#![allow(clippy::unwrap_used)]

use std::{
    io::Write,
    panic::{self, AssertUnwindSafe},
};

use segue_core::run::mutants::{Mutant, plant};
use segue_testkit::sim::simulate;

/// A bug that is not found in so many runs is not found.
const SEEDS_MAX: u64 = 5_000;

/// The first seed that finds the planted bug, and what it finds.
fn found(mutant: Mutant) -> Option<(u64, String)> {
    plant(Some(mutant));
    let found = (1..=SEEDS_MAX).find_map(|seed| match panic::catch_unwind(AssertUnwindSafe(|| simulate(seed))) {
        Ok(Ok(_)) => None,
        Ok(Err(failure)) => Some((seed, failure.problem)),
        Err(_) => Some((seed, "the kernel panics".into())),
    });
    plant(None);
    found
}

/// As [`found`]; says so at once, so that a bug that makes the kernel run for ever has a name.
fn told(mutant: Mutant) -> Option<(u64, String)> {
    print!("{mutant:?}: ");
    std::io::stdout().flush().unwrap();
    let found = found(mutant);
    match &found {
        Some((seed, problem)) => {
            let first_line = problem.lines().next().unwrap();
            println!("seed {seed}: {}", first_line.chars().take(110).collect::<String>());
        }
        None => println!("NOT FOUND"),
    }
    found
}

#[test]
fn every_planted_bug_is_found() {
    // A kernel that breaks its own assertions is expected here, and would print each time.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let results: Vec<_> = Mutant::ALL.iter().map(|&mutant| (mutant, told(mutant))).collect();
    panic::set_hook(hook);
    assert!(results.len() >= 80);
    let survivors: Vec<_> = results.iter().filter(|(_, found)| found.is_none()).map(|(mutant, _)| mutant).collect();
    assert!(survivors.is_empty(), "these bugs live: {survivors:?}");
}

#[test]
fn without_a_planted_bug_nothing_is_found() {
    plant(None);
    for seed in 1..=SEEDS_MAX {
        simulate(seed).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// Each race has a bug that would let both sides count; a hundred duels show it.
#[test]
fn a_race_that_both_win_is_found() {
    use segue_testkit::sim::Duel;
    let planted = [
        (Mutant::TakesAnswersOfTheCancelled, Duel::CancelOrCompletion),
        (Mutant::TimesOutWhatHasEnded, Duel::TimeoutOrCompletion),
        (Mutant::TakesSecondAnswers, Duel::AnswerOrTimeout),
    ];
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = planted.map(|(mutant, duel)| {
        plant(Some(mutant));
        let found = (1..=100).any(|seed| !matches!(panic::catch_unwind(|| duel.play(seed)), Ok(Ok(_))));
        plant(None);
        (mutant, found)
    });
    panic::set_hook(hook);
    assert!(found.iter().all(|(_, found)| *found), "{found:?}");
}
