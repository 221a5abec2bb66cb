//! The timeout of an attempt against its completion.

use std::time::Duration;

use fastrand::Rng;
use segue_core::{
    event::{Event, EventKind},
    ids::TaskId,
    outcome::ErrorKind,
    run::Input,
    status::Status,
};
use serde_json::json;

use super::{
    Winner,
    arena::{Arena, X, ended, failure, success},
};

pub(super) fn play(seed: u64) -> Result<Winner, String> {
    let mut rng = Rng::with_seed(seed);
    let attempts = rng.u8(1..4);
    let contested = json!({ "timeout_seconds": 5, "retry_policy": { "max_attempts": attempts } });
    let behind = rng.usize(..3);
    let mut arena = Arena::with(rng, &contested, behind);
    let task = TaskId::new(X);
    arena.must(Input::TaskAccepted { task: task.clone() });
    let begun = arena.now;
    arena.now = begun.plus(Duration::from_secs(5));
    let completion = ended(&task, 1, if arena.rng.u8(..4) == 0 { failure(&mut arena.rng) } else { success(42) });
    let timeout = Input::Woke { jitter: 0.5 };
    let accepted = if arena.rng.u8(..3) == 0 {
        // The completion is there just before the timer, which must not go off over it.
        let due = arena.now;
        arena.now = begun.plus(Duration::from_micros(4_999_999));
        arena.must(completion.clone());
        arena.now = due.plus(Duration::from_micros(arena.rng.u64(..1_000)));
        arena.feed(timeout.clone());
        Winner::Second
    } else {
        arena.meet(&timeout, &completion)?
    };
    let by_timeout = arena.count(|event| ends(event) && is_timeout(event));
    let by_completion = arena.count(|event| ends(event) && !is_timeout(event));
    let winner = arena.agree(accepted, by_timeout, by_completion)?;
    if arena.feed(completion) {
        return Err(arena.told("the same answer has counted twice"));
    }
    let status = arena.finish()?;
    let again = arena.count(ends);
    if again != 1
        || (status == Status::Failed) != arena.count(|event| matches!(event.kind, EventKind::RunFailed { .. })).eq(&1)
    {
        return Err(arena.told("the first attempt has ended more than once"));
    }
    Ok(winner)
}

/// Does it end the first attempt of the contested task?
fn ends(event: &Event) -> bool {
    event.task_id == Some(X.into())
        && event.attempt == Some(1)
        && matches!(
            event.kind,
            EventKind::TaskSucceeded { .. } | EventKind::TaskFailed { .. } | EventKind::TaskRetrying { .. }
        )
}

fn is_timeout(event: &Event) -> bool {
    match &event.kind {
        EventKind::TaskFailed { error, .. } | EventKind::TaskRetrying { error, .. } => error.kind == ErrorKind::Timeout,
        _ => false,
    }
}
