//! The rules of limits, played by seed: engines that ask in turn, answer signals late, die, are cancelled and vanish, on
//! a clock that the test sets. Whatever happens: never more at once and never more a minute than may, everybody who stays
//! has a turn, and nothing is left behind.
#![allow(clippy::unwrap_used)]

mod play;

use std::{panic::AssertUnwindSafe, time::Duration};

use segue_core::ports::Bounds;
use segue_testkit::conformance::block_on;

use self::play::{Cast, Play};

const SEEDS: u64 = 100;

fn concurrent(most: u32) -> Bounds {
    Bounds { concurrent: Some(most), ..Bounds::default() }
}

/// Plays each seed; says which one failed.
fn each_seed(play: impl Fn(&mut fastrand::Rng)) {
    for seed in 1..=SEEDS {
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| play(&mut fastrand::Rng::with_seed(seed))));
        if let Err(problem) = played {
            eprintln!("with seed {seed}");
            std::panic::resume_unwind(problem);
        }
    }
}

fn any_bounds(rng: &mut fastrand::Rng) -> Bounds {
    let minute = [None, None, Some(rng.u32(1..=40)), Some(rng.u32(40..=600))][rng.usize(..4)];
    let concurrent = (minute.is_none() || rng.bool()).then(|| rng.u32(1..=4));
    Bounds { concurrent, per_minute: minute, tokens_per_minute: None }
}

/// Everything that can go wrong does: the bounds hold, those who stay go, and nothing stays behind.
#[test]
fn nothing_is_exceeded_nobody_starves_and_nothing_leaks() {
    each_seed(|rng| {
        let limits = (0..rng.usize(1..=3)).map(|_| any_bounds(rng)).collect();
        let cast = Cast { engines: rng.usize(1..=4), parties: rng.usize(1..=4), requests: 40, limits, trouble: true };
        let mut play = Play::new(cast, rng.fork());
        block_on(play.play_out(Duration::from_secs(3_600 * 2)));
        block_on(play.assert_nothing_is_left());
    });
}

/// Without trouble nobody is overtaken: while a workflow waits, no other one goes more often than it has to.
#[test]
fn who_waits_is_not_overtaken() {
    each_seed(|rng| {
        let most = rng.u32(1..=3);
        let cast = Cast {
            engines: rng.usize(1..=3),
            parties: rng.usize(2..=5),
            requests: 60,
            limits: vec![concurrent(most)],
            trouble: false,
        };
        let mut play = Play::new(cast, rng.fork());
        block_on(play.play_out(Duration::from_secs(600)));
        assert!(play.overtaken <= most as usize + 1, "overtaken {} times with {most} at once", play.overtaken);
        block_on(play.assert_nothing_is_left());
    });
}

/// A large question is not put off for ever by small ones that fit in.
#[test]
fn who_needs_many_tokens_has_its_turn() {
    each_seed(|rng| {
        let bounds = Bounds { tokens_per_minute: Some(1_000), concurrent: Some(3), per_minute: None };
        let cast = Cast { engines: 2, parties: 2, requests: 80, limits: vec![bounds], trouble: false };
        let mut play = Play::new(cast, rng.fork());
        // The first party asks for a few that need much, the other one for many that need little, without an end.
        play.wants_tokens(|party| if party == 0 { 600 } else { 25 });
        block_on(play.play_out(Duration::from_secs(3_600)));
        assert!(play.overtaken <= 8, "overtaken {} times", play.overtaken);
    });
}

/// One that waits and never asks again, with nobody to say so, does not keep a slot from the others for long, however
/// busy they are.
#[test]
fn an_absent_one_keeps_no_slot_empty() {
    each_seed(|rng| {
        let cast = Cast { engines: 2, parties: 3, requests: 90, limits: vec![concurrent(3)], trouble: false };
        let mut play = Play::new(cast, rng.fork());
        play.vanishes_at_once(0);
        block_on(play.play_out(Duration::from_secs(600)));
        // Two at a time instead of three for no more than a moment.
        let least = play.work / 3;
        assert!(play.took() < least + least / 4 + Duration::from_secs(4), "{:?} for {:?}", play.took(), play.work);
    });
}
