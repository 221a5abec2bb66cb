//! An answer against the end of a task's patience.

use std::time::Duration;

use fastrand::Rng;
use segue_core::{
    event::{Event, EventKind},
    ids::TaskId,
    run::{Address, Input},
    status::Status,
};
use serde_json::json;

use super::{
    Winner,
    arena::{Arena, X},
};

pub(super) fn play(seed: u64) -> Result<Winner, String> {
    let mut rng = Rng::with_seed(seed);
    let is_approval = rng.bool();
    let on_timeout = ["fail", "approve", "reject"][rng.usize(..3)];
    let contested = if is_approval {
        json!({ "approval": { "title": "Go?", "on_timeout": on_timeout }, "timeout_seconds": 60 })
    } else {
        json!({ "wait": { "event": "go" }, "timeout_seconds": 60 })
    };
    let mut arena = Arena::new(rng, &contested);
    arena.now = arena.now.plus(Duration::from_secs(60));
    let decision = if arena.rng.bool() { "approve" } else { "reject" };
    let to =
        if is_approval || arena.rng.bool() { Address::Task(TaskId::new(X)) } else { Address::Event("go".to_owned()) };
    let answer = Input::Signal { to, data: json!({ "decision": decision, "by": "ada" }), request: Some(7) };
    let accepted = arena.meet(&answer, &Input::Woke { jitter: 0.5 })?;
    let answered = arena.count(is_answer);
    let ends = arena.count(is_end);
    // An answer ends the task too: it is in the log, and the end follows from it.
    let winner = arena.agree(accepted, answered, ends.saturating_sub(answered))?;
    // A second answer comes too late, whatever it says.
    for decision in ["approve", "reject"] {
        let second = Input::Signal {
            to: Address::Task(TaskId::new(X)),
            data: json!({ "decision": decision, "by": "eve" }),
            request: None,
        };
        if arena.feed(second) {
            return Err(arena.told("a second answer is accepted"));
        }
    }
    let status = arena.finish()?;
    if arena.count(is_end) != 1 || !matches!(status, Status::Succeeded | Status::Failed) {
        return Err(arena.told("the task has not ended once"));
    }
    Ok(winner)
}

fn is_answer(event: &Event) -> bool {
    matches!(event.kind, EventKind::TaskSignaled { .. })
}

fn is_end(event: &Event) -> bool {
    event.task_id == Some(X.into())
        && matches!(event.kind, EventKind::TaskSucceeded { .. } | EventKind::TaskFailed { .. })
}
