//! Ten thousand races each of two things that cannot both count: one wins, the log says which, and both can.
//!
//! `SEGUE_DUEL_SEED=7` replays the seed in every kind.
#![allow(clippy::unwrap_used)]

use segue_testkit::sim::{Careless, Duel, Winner};

const RACES: u64 = 10_000;

/// How often the first and the second won; panics where a rule is broken.
fn race(duel: Duel) -> (u64, u64) {
    if let Ok(seed) = std::env::var("SEGUE_DUEL_SEED") {
        let winner = duel.play(seed.parse().unwrap()).unwrap_or_else(|why| panic!("{why}"));
        panic!("{duel:?}: {winner:?} wins");
    }
    let (mut first, mut second) = (0, 0);
    for seed in 1..=RACES {
        match duel.play(seed).unwrap_or_else(|why| panic!("{why}")) {
            Winner::First => first += 1,
            Winner::Second => second += 1,
        }
    }
    println!("{duel:?}: {first} to {second}");
    assert_eq!(first + second, RACES);
    assert!(first > RACES / 5 && second > RACES / 5, "both sides win: {first} to {second}");
    (first, second)
}

#[test]
fn a_cancel_and_a_completion_never_both_count() {
    race(Duel::CancelOrCompletion);
}

#[test]
fn a_timeout_and_a_completion_never_both_count() {
    race(Duel::TimeoutOrCompletion);
}

#[test]
fn an_answer_and_a_timeout_never_both_count() {
    race(Duel::AnswerOrTimeout);
}

#[test]
fn a_new_owner_and_the_old_one_never_both_commit() {
    race(Duel::TakeoverOrOwner);
}

/// A store that forgets to look at the fence is caught.
#[test]
fn an_accepted_commit_of_an_old_owner_is_noticed() {
    let found = (1..=100).find_map(|seed| Duel::TakeoverOrOwner.play_with(seed, Careless::Store).err());
    let why = found.expect("one of a hundred shows it");
    assert!(why.contains("an old owner's commit is accepted"), "{why}");
}
