//! The rules, played in a time that the test makes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use segue_core::ids::RunId;

use super::state::{Limits, State};

const MINUTE: Duration = Duration::from_secs(60);

fn run(number: u8) -> RunId {
    RunId::from_bytes([number; 16])
}

fn granted(state: &mut State<u32>, now: Instant) -> Vec<u32> {
    std::iter::from_fn(|| state.grant(now)).collect()
}

#[test]
fn runs_take_turns() {
    let mut state = State::new(Limits { concurrent: Some(1), ..Limits::default() });
    let now = Instant::now();
    for name in 0..4 {
        state.join(run(1), 0, name);
    }
    state.join(run(2), 0, 10);
    state.join(run(3), 0, 20);
    state.join(run(2), 0, 11);
    let mut order = Vec::new();
    while let Some(name) = state.grant(now) {
        order.push(name);
        state.answer_begins(now);
        state.is_over(now, 0, 0);
    }
    assert_eq!(order, [0, 10, 20, 1, 11, 2, 3], "a run with many calls does not hold up the others");
}

#[test]
fn one_that_was_sent_back_is_the_next() {
    let mut state = State::new(Limits { concurrent: Some(1), ..Limits::default() });
    let now = Instant::now();
    for name in 0..3 {
        state.join(run(name as u8), 0, name);
    }
    assert_eq!(granted(&mut state, now), [0]);
    state.pause(now + Duration::from_secs(2));
    state.is_over(now, 0, 0);
    state.join_first(run(0), 0, 100);
    assert_eq!(granted(&mut state, now), [0; 0]);
    assert_eq!(state.look_again(now), Some(now + Duration::from_secs(2)));
    assert_eq!(granted(&mut state, now + Duration::from_secs(2)), [100]);
}

#[test]
fn who_leaves_holds_up_nobody() {
    let mut state = State::new(Limits { concurrent: Some(1), ..Limits::default() });
    let now = Instant::now();
    let first = state.join(run(1), 0, 1);
    state.join(run(1), 0, 2);
    assert!(state.leave(first));
    assert!(!state.leave(first));
    assert_eq!((granted(&mut state, now), state.waiting()), (vec![2], 0));
    assert_eq!(state.look_again(now), None);
}

#[test]
fn tokens_are_estimated_and_then_settled() {
    let mut state = State::new(Limits { tokens_per_minute: Some(100), ..Limits::default() });
    let now = Instant::now();
    for (name, tokens) in [(0, 60), (1, 30), (2, 30), (3, 500)] {
        state.join(run(1), tokens, name);
    }
    assert_eq!(granted(&mut state, now), [0, 1]);
    state.is_over(now, 60, 20);
    assert_eq!(granted(&mut state, now), [2], "20 + 30 + 30");
    state.is_over(now, 30, 30);
    state.is_over(now, 30, 30);
    assert_eq!(granted(&mut state, now + MINUTE / 2), [0; 0]);
    assert_eq!(state.look_again(now), Some(now + MINUTE));
    assert_eq!(granted(&mut state, now + MINUTE), [3], "more than a minute's worth goes alone");
}

/// Whatever happens when: in no 60 seconds does a provider see more requests than the limit, nor more at once.
#[test]
fn a_provider_never_sees_more() {
    for seed in 0..50_u64 {
        let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut draw = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut state = State::new(Limits { concurrent: Some(3), requests_per_minute: Some(8), ..Limits::default() });
        let start = Instant::now();
        let at = |second: u64| start + Duration::from_secs(second);
        // Calls under way: when they reach the provider, when their answer begins, when it is over.
        let mut under_way: Vec<(u64, u64, u64)> = Vec::new();
        let mut seen: VecDeque<u64> = VecDeque::new();
        let mut done = 0;
        for name in 0..40 {
            state.join(run(name % 5), 1, 0);
        }
        for second in 0..2_000 {
            under_way.retain_mut(|(arrives, begins, over)| {
                if *arrives == second {
                    seen.push_back(second);
                }
                if *begins == second {
                    state.answer_begins(at(second));
                }
                if *over == second {
                    state.is_over(at(second), 1, 1);
                    done += 1;
                }
                *over > second
            });
            for _ in granted(&mut state, at(second)) {
                let arrives = second + 1 + draw(5);
                let begins = arrives + draw(10);
                under_way.push((arrives, begins, begins + draw(20)));
            }
            assert!(under_way.len() <= 3, "seed {seed}");
            while seen.front().is_some_and(|then| then + 60 <= second) {
                seen.pop_front();
            }
            assert!(seen.len() <= 8, "seed {seed}: {} in a minute", seen.len());
        }
        assert_eq!((done, state.waiting()), (40, 0), "seed {seed}: everybody had a turn");
    }
}
