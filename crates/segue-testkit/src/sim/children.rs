//! Child runs, as far as the world of their parent goes: they live on when engines die.

use std::{collections::BTreeMap, time::Duration};

use fastrand::Rng;
use segue_core::{
    event::Waiting,
    ids::{ContentHash, RunId, TaskId},
    outcome::{ErrorKind, TaskError, TaskOutcome},
    time::Timestamp,
};
use serde_json::json;

use super::{
    Coverage,
    generate::{CHILD, KINDS},
    workers::{self, Mail, Mood},
};

/// The runs that tasks have started, by the key of the task's effects.
#[derive(Debug, Default)]
pub(super) struct Children(BTreeMap<String, Child>);

#[derive(Debug, Clone)]
struct Child {
    id: RunId,
    ends_at: Timestamp,
    outcome: TaskOutcome,
}

/// The version of the child workflow to which every run is pinned.
pub(super) fn version() -> ContentHash {
    ContentHash::of(CHILD.as_bytes())
}

/// What an attempt says that waits for this run.
pub(super) fn waiting(child: RunId) -> Waiting {
    Waiting::Child { run_id: child, workflow_id: CHILD.into(), workflow_hash: version() }
}

impl Children {
    /// An attempt begins: starts the run of its task, or finds it. One that has ended badly, or is about to, goes on.
    pub(super) fn begin(
        &mut self,
        rng: &mut Rng,
        mood: Mood,
        now: Timestamp,
        key: String,
        coverage: &mut Coverage,
    ) -> RunId {
        let number = self.0.len() as u128 + 1;
        let is_new = !self.0.contains_key(&key);
        let id = RunId::from_bytes((number << 64).to_be_bytes());
        let child = self.0.entry(key).or_insert_with(|| Child { id, ends_at: now, outcome: outcome(rng, mood) });
        let is_well = matches!(child.outcome, TaskOutcome::Succeeded { .. });
        if is_new || !is_well {
            child.ends_at = child.ends_at.max(now).plus(Duration::from_millis(rng.u64(..9_000)));
            child.outcome = outcome(rng, mood);
            coverage.saw(if is_new { "child started" } else { "child reopened" });
        } else {
            coverage.saw("child found again");
        }
        child.id
    }

    /// The run that was started under this key.
    pub(super) fn of(&self, key: &str) -> Option<RunId> {
        self.0.get(key).map(|child| child.id)
    }

    /// The end of a run, as it comes to the attempt that waits for it.
    pub(super) fn end(&self, child: RunId, task: &TaskId, attempt: u32) -> Option<Mail> {
        let child = self.0.values().find(|known| known.id == child)?;
        Some(workers::mail(child.ends_at, task, attempt, child.outcome.clone()))
    }

    /// Nobody waits for it any more: it ends soon, unless it does so anyway.
    pub(super) fn cancel(&mut self, rng: &mut Rng, now: Timestamp, child: RunId) -> bool {
        let Some(child) = self.0.values_mut().find(|known| known.id == child) else { return false };
        let at = now.plus(Duration::from_millis(rng.u64(..3_000)));
        let is_cancelled = child.ends_at > at;
        if is_cancelled {
            let usage = workers::usage(rng);
            (child.ends_at, child.outcome) = (at, TaskOutcome::Cancelled { usage });
        }
        is_cancelled
    }
}

fn outcome(rng: &mut Rng, mood: Mood) -> TaskOutcome {
    if rng.u8(..100) >= mood.failing {
        return workers::success(rng);
    }
    let kind = if rng.u8(..4) == 0 { ErrorKind::Cancelled } else { KINDS[rng.usize(..KINDS.len())] };
    let mut error = TaskError::new(kind, format!("run 1 of {CHILD}: it did not work")).with_detail(json!({ "n": 1 }));
    error.retryable = false;
    TaskOutcome::Failed { error, usage: workers::usage(rng) }
}
