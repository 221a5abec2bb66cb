//! `on_failure: pause`: a failure waits for a person, who lets the task try again, go on with an output, or fail.

use serde_json::{Map, Value};

use super::{Run, TaskIx, Timer, task::Parts};
use crate::{
    event::{Event, EventKind, Waiting},
    outcome::{Loss, TaskError, Usage},
    payload::Payload,
    spec::Diagnostic,
    status::Status,
    time::Timestamp,
};

/// The answers, as they stand in the log.
const DECISIONS: [&str; 3] = ["retry", "continue", "fail"];

/// Gives an answer to a failure in the words of the log: `approve` is `retry`, `reject` is `fail`, and who says
/// `continue` gives an output.
pub(super) fn check_decision(mut answer: Map<String, Value>) -> Result<Value, Vec<Diagnostic>> {
    let problem = |path: &str, message: &str| Err(vec![Diagnostic::error("bad-answer", path, message)]);
    let decision = match answer.get("decision").and_then(Value::as_str) {
        Some("approve") => "retry",
        Some("reject") => "fail",
        Some(decision) => match DECISIONS.into_iter().find(|known| *known == decision) {
            Some(known) => known,
            None => return problem("/decision", "`decision` is `retry`, `continue` or `fail`"),
        },
        None => return problem("/decision", "`decision` is `retry`, `continue` or `fail`"),
    };
    if decision == "continue" {
        answer.entry("output").or_insert(Value::Null);
    } else if answer.contains_key("output") {
        return problem("/output", "an `output` belongs to the decision `continue`");
    }
    answer.insert("decision".to_owned(), decision.into());
    Ok(Value::Object(answer))
}

impl Run {
    /// `task.waiting` for a decision: what failed has ended, and does not end the task.
    pub(super) fn pause(&mut self, ix: TaskIx, event: &Event, error: &TaskError, lost: Option<Loss>, usage: Usage) {
        self.end_attempt(ix, event, if planted!(PausesCostNothing) { Usage::default() } else { usage });
        self.count_failure(ix, lost);
        self.weigh_answers(ix, error, lost);
        let deadline_at = self.task(ix).deadline_at.filter(|_| planted!(DeadlinesPassWhilePaused));
        self.unschedule(ix);
        self.state.timers.extend(deadline_at.map(|time| (time, Timer::Deadline(ix))));
        let task = self.task_mut(ix);
        task.status = Status::Waiting;
        task.error = Some(error.clone());
        let failure = Waiting::Failure { error: error.clone(), lost, usage };
        task.waiting = Some(failure);
        self.state.waiting.insert(ix);
    }

    /// Takes a task out of everything that would make it go on.
    pub(super) fn unschedule(&mut self, ix: TaskIx) {
        self.state.verdicts.remove(&ix);
        self.state.ready.remove(&ix);
        let task = self.task_mut(ix);
        let (due, deadline_at) = (task.due.take(), task.deadline_at.take());
        if let Some(due) = due {
            self.state.delayed.remove(&(due, ix));
        }
        if let Some(deadline_at) = deadline_at {
            self.state.timers.remove(&(deadline_at, Timer::Deadline(ix)));
        }
        if let Some(Parts::Iteration { current, .. }) = self.task(ix).parts {
            let ended = self.task(current).finished_at;
            let next = ended.map(|ended| ended.plus(self.pause_between(ix)));
            if let Some(next) = next {
                self.state.timers.remove(&(next, Timer::Iterate(ix)));
            }
        }
    }

    /// Records what somebody has decided about a failure. To try again needs no fact but the answer itself.
    pub(super) fn decide_failure(
        &mut self,
        events: &mut Vec<Event>,
        ix: TaskIx,
        error: TaskError,
        data: &Value,
        now: Timestamp,
    ) {
        let continue_with = match data.get("decision").and_then(Value::as_str) {
            Some("retry") => return,
            Some("continue") if planted!(ContinuesWithNothing) => Some(Payload::new(Value::Null)),
            Some("continue") => Some(Payload::new(data.get("output").cloned().unwrap_or_default())),
            _ => None,
        };
        let kind = EventKind::TaskFailed { error, lost: None, continue_with, usage: Usage::default() };
        self.record_about(events, now, ix, None, kind);
    }

    /// `task.signaled` of a failure: with `retry` the task starts over, or goes on with what is left of its parts.
    pub(super) fn resume(&mut self, ix: TaskIx, data: &Payload, now: Timestamp) {
        let again = data.value().is_some_and(|data| data.get("decision").is_some_and(|decision| decision == "retry"));
        if !again || !matches!(self.task(ix).waiting, Some(Waiting::Failure { .. })) {
            return;
        }
        self.state.waiting.remove(&ix);
        self.task_mut(ix).waiting = None;
        if self.task(ix).parts.is_some() {
            self.revive(vec![ix], now);
            return;
        }
        let has_begun = self.task(ix).started_at.is_some();
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        let failures = self.task(ix).failures;
        self.task_mut(ix).reset(node);
        self.task_mut(ix).failures = if planted!(RetriesAreTheLastOnes) { failures } else { 0 };
        self.note_restart(ix);
        if !self.is_member(ix) {
            self.enter(ix);
            return;
        }
        self.recount(ix);
        // `when` and the join are looked at once: for a task that has begun they have held.
        if has_begun { self.enter(ix) } else { self.decide(ix) }
    }
}
