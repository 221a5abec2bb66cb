//! A cancel against the completion that would end the run.

use std::time::Duration;

use fastrand::Rng;
use segue_core::{
    event::{Event, EventKind},
    ids::TaskId,
    outcome::{TaskOutcome, Usage},
    run::Input,
    status::Status,
};
use serde_json::json;

use super::{
    Winner,
    arena::{Arena, X, ended, success},
};

pub(super) fn play(seed: u64) -> Result<Winner, String> {
    let mut rng = Rng::with_seed(seed);
    let contested = json!({ "retry_policy": { "max_attempts": rng.u8(1..4) } });
    let mut arena = Arena::new(rng, &contested);
    let task = TaskId::new(X);
    arena.must(Input::TaskAccepted { task: task.clone() });
    arena.pass(Duration::from_secs(5));
    let cancel = Input::Cancel { reason: "enough".to_owned() };
    let completion = ended(&task, 1, success(42));
    if arena.rng.u8(..3) == 0 {
        return after_the_worker_stopped(arena, cancel, completion);
    }
    let accepted = arena.meet(&cancel, &completion)?;
    let status = arena.finish()?;
    let winner = agree(&arena, accepted, status)?;
    late(&mut arena, [cancel, completion])?;
    Ok(winner)
}

/// The cancel is in, and the worker has obeyed. Its success, found after all, comes too late.
fn after_the_worker_stopped(mut arena: Arena, cancel: Input, completion: Input) -> Result<Winner, String> {
    let obeyed = ended(&TaskId::new(X), 1, TaskOutcome::Cancelled { usage: Usage::default() });
    if arena.rng.bool() {
        arena.must(completion.clone());
        arena.feed(cancel.clone());
        arena.feed(obeyed);
    } else {
        arena.must(cancel.clone());
        arena.must(obeyed);
        if arena.feed(completion.clone()) {
            return Err(arena.told("a completion is accepted after its attempt was cancelled"));
        }
    }
    let is_first = arena.count(|event| matches!(event.kind, EventKind::RunCancelling { .. })) > 0;
    let accepted = if is_first { Winner::First } else { Winner::Second };
    let status = arena.finish()?;
    let winner = agree(&arena, accepted, status)?;
    late(&mut arena, [cancel, completion])?;
    Ok(winner)
}

fn agree(arena: &Arena, accepted: Winner, status: Status) -> Result<Winner, String> {
    let first = arena.count(|event| matches!(event.kind, EventKind::RunCancelled { .. }));
    let second = arena.count(|event| matches!(event.kind, EventKind::RunSucceeded { .. }));
    let winner = arena.agree(accepted, first, second)?;
    let expected = if winner == Winner::First { Status::Cancelled } else { Status::Succeeded };
    let is_end =
        |event: &Event| matches!(event.kind, EventKind::TaskSucceeded { .. } | EventKind::TaskCancelled { .. });
    let ends = arena.count(|event| event.task_id == Some(X.into()) && is_end(event));
    if status == expected && ends == 1 {
        Ok(winner)
    } else {
        Err(arena.told("the run and its task have ended otherwise"))
    }
}

/// Whatever still comes in changes nothing.
fn late(arena: &mut Arena, inputs: [Input; 2]) -> Result<(), String> {
    for input in inputs {
        if arena.feed(input) {
            return Err(arena.told("an ended run has accepted something"));
        }
    }
    Ok(())
}
