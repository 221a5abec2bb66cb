//! Waiting: for a person, a time, a signal. A task that waits holds no worker and no place.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{
    Address, Rejected, Run, TaskIx, Timer,
    pause::check_decision,
    question::{check_answers, rejects},
};
use crate::{
    event::{Event, EventKind, Waiting},
    ids::TaskId,
    outcome::{ErrorKind, TaskError},
    payload::Payload,
    plan::{Approval, Wait, Work},
    spec::{ApprovalRejection, ApprovalTimeout, Diagnostic, resolve_form},
    status::Status,
    time::Timestamp,
};

impl Run {
    /// What a waiting task waits for.
    pub fn waits_for(&self, task: &TaskId) -> Option<&Waiting> {
        self.find(task).and_then(|ix| self.task(ix).waiting.as_ref())
    }

    /// The tasks that wait, and for what.
    pub fn waiting(&self) -> impl Iterator<Item = (&TaskId, &Waiting)> {
        self.state.waiting.iter().filter_map(|&ix| Some((self.task_id(ix), self.task(ix).waiting.as_ref()?)))
    }

    /// Checks an answer to an approval, a failure or a question, and gives it complete: defaults filled in. All problems at once, with JSON
    /// Pointers into the answer.
    pub fn check_answer(&self, task: &TaskId, data: &Value) -> Result<Value, Vec<Diagnostic>> {
        let problem = |path: &str, message: &str| Err(vec![Diagnostic::error("bad-answer", path, message)]);
        let question = match self.waits_for(task) {
            Some(question @ (Waiting::Approval { .. } | Waiting::Failure { .. } | Waiting::Question { .. })) => {
                question
            }
            _ => return Ok(data.clone()),
        };
        let Value::Object(answer) = data else { return problem("", "an answer is an object") };
        let mut answer = answer.clone();
        if let Waiting::Question { question, .. } = question {
            return check_answers(question, answer);
        }
        let Waiting::Approval { form, approvers, .. } = question else { return check_decision(answer) };
        let approves = match answer.get("decision").and_then(Value::as_str) {
            Some("approve") => true,
            Some("reject") => false,
            _ => return problem("/decision", "`decision` is `approve` or `reject`"),
        };
        if !approvers.is_empty() {
            let by = answer.get("by").and_then(Value::as_str).unwrap_or_default();
            if !approvers.iter().any(|approver| approver == by) {
                return problem("/by", &format!("only {} may answer", approvers.join(", ")));
            }
        }
        let given = match answer.remove("form") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(given)) => given,
            Some(_) => return problem("/form", "`form` is an object"),
        };
        let form = if approves { resolve_form(form, given)? } else { given };
        answer.insert("form".to_owned(), Value::Object(form));
        Ok(Value::Object(answer))
    }

    /// The question of a task, rendered, as it is asked at `now`.
    pub(super) fn question(&self, ix: TaskIx, now: Timestamp) -> Result<Waiting, TaskError> {
        let node = self.node_of(ix);
        let due = node.timeout.map(|span| now.plus(span));
        match &node.work {
            Work::Approval(approval) => Ok(Waiting::Approval {
                title: self.text(ix, "approval.title", &approval.title)?,
                message: approval
                    .message
                    .as_ref()
                    .map(|message| self.text(ix, "approval.message", message))
                    .transpose()?,
                form: approval.form.clone(),
                approvers: approval.approvers.clone(),
                due,
            }),
            Work::Wait(Wait::Seconds(span)) => Ok(Waiting::Time { due: now.plus(*span) }),
            Work::Wait(Wait::Until(until)) => {
                let text = self.text(ix, "wait.until", until)?;
                let due = text.parse().map_err(|_| {
                    let message =
                        format!("`wait.until` of `{}`: `{text}` is no time; write 2026-12-24T18:00:00Z", node.id);
                    TaskError::new(ErrorKind::InvalidInput, message)
                })?;
                Ok(Waiting::Time { due })
            }
            Work::Wait(Wait::Event { name, .. }) => {
                Ok(Waiting::Event { event: self.text(ix, "wait.event", name)?, due })
            }
            Work::Attempts | Work::Child(_) | Work::Group(_) => Ok(Waiting::Time { due: now }),
        }
    }

    pub(super) fn begin_waiting(&mut self, ix: TaskIx, waiting: &Waiting, now: Timestamp) {
        self.state.verdicts.remove(&ix);
        self.begin(ix, now);
        if let Waiting::Child { .. } = waiting {
            if !planted!(ChildrenHoldPlaces) {
                self.state.running.remove(&ix);
            }
            if let Some(time) = self.task(ix).timeout_at.filter(|_| planted!(ChildrenHaveNoTimeout)) {
                self.state.timers.remove(&(time, Timer::Attempt(ix)));
            }
            self.state.awaiting.insert(ix);
        }
        let task = self.task_mut(ix);
        task.status = Status::Waiting;
        task.waiting = Some(waiting.clone());
        let due = waiting.due().filter(|_| !planted!(WaitsForEver));
        self.state.timers.extend(due.map(|due| (due, Timer::Wait(ix))));
        self.state.waiting.insert(ix);
    }

    pub(super) fn signal(
        &mut self,
        events: &mut Vec<Event>,
        to: &Address,
        data: &Value,
        request: Option<i64>,
        now: Timestamp,
    ) -> Result<(), Rejected> {
        let addressed: Vec<TaskIx> = match to {
            Address::Task(task) => {
                let ix = self.find(task).ok_or(Rejected::UnknownTask)?;
                if self.is_asked_for(ix) && !self.is_wanted(ix, data) {
                    return Err(Rejected::BadAnswer);
                }
                Some(ix).filter(|&ix| self.is_asked_for(ix)).into_iter().collect()
            }
            Address::Event(name) => {
                self.state.waiting.iter().copied().filter(|&ix| self.listens(ix, name, data)).collect()
            }
        };
        if addressed.is_empty() || self.is_stopping() {
            return Err(Rejected::NobodyWaits);
        }
        let answers: Result<Vec<_>, _> =
            addressed.iter().map(|&ix| self.check_answer(&self.task(ix).id, data)).collect();
        for (ix, answer) in addressed.into_iter().zip(answers.map_err(|_| Rejected::BadAnswer)?) {
            self.answer(events, ix, answer, request, now);
        }
        Ok(())
    }

    /// Does it wait for something that can be said? A time comes by itself, and so does the end of another run.
    fn is_asked_for(&self, ix: TaskIx) -> bool {
        if planted!(TakesSecondAnswers) && self.has_been_answered(ix) {
            return true;
        }
        let by_itself = matches!(self.task(ix).waiting, None | Some(Waiting::Time { .. } | Waiting::Child { .. }));
        self.state.waiting.contains(&ix) && !by_itself && !self.is_stopping()
    }

    /// For a planted bug only.
    fn has_been_answered(&self, ix: TaskIx) -> bool {
        matches!(self.node_of(ix).work, Work::Approval(_)) && self.task(ix).status.is_terminal()
    }

    fn listens(&self, ix: TaskIx, name: &str, data: &Value) -> bool {
        let Some(Waiting::Event { event, .. }) = &self.task(ix).waiting else { return false };
        (event == name || planted!(HearsEveryEvent)) && self.is_wanted(ix, data)
    }

    /// Does the condition of a wait hold for this signal?
    fn is_wanted(&self, ix: TaskIx, data: &Value) -> bool {
        let asks =
            matches!(self.task(ix).waiting, Some(Waiting::Event { .. })) && !planted!(TakesSignalsThatDoNotMatch);
        let Work::Wait(Wait::Event { matches: Some(matches), .. }) = &self.node_of(ix).work else { return true };
        let mut scope = self.scope_for(ix, matches.references());
        scope.extra.push(("output", std::sync::Arc::new(data.clone())));
        // A signal that the condition cannot be asked about is not the one that is waited for.
        !asks || matches.is_true(&scope).unwrap_or(false)
    }

    fn answer(&mut self, events: &mut Vec<Event>, ix: TaskIx, data: Value, request: Option<i64>, now: Timestamp) {
        let data = Payload::new(data);
        let waiting = self.task(ix).waiting.clone();
        self.record_about(events, now, ix, None, EventKind::TaskSignaled { data: data.clone(), request });
        if let Some(Waiting::Failure { error, .. }) = waiting {
            let said = data.value().cloned().unwrap_or_default();
            self.decide_failure(events, ix, error, &said, now);
            return;
        }
        if let Some(Waiting::Question { .. }) = waiting {
            // The next attempt needs no fact but the answer itself.
            if let Some(said) = data.value().and_then(|data| data.as_object()).filter(|said| rejects(said)) {
                let error = said_no(&Value::Object(said.clone()));
                self.conclude(events, ix, Err(error), now);
            }
            return;
        }
        let rejects = data.value().and_then(|data| data.get("decision")).is_some_and(|decision| decision == "reject");
        match &self.plan.clone().node(self.task(ix).node).work {
            Work::Approval(approval) if rejects => self.reject(events, ix, approval, data, now),
            _ => self.conclude(events, ix, Ok(data), now),
        }
    }

    fn reject(&mut self, events: &mut Vec<Event>, ix: TaskIx, approval: &Approval, data: Payload, now: Timestamp) {
        let result = match approval.on_reject {
            ApprovalRejection::Continue => Ok(data),
            ApprovalRejection::Fail if planted!(TakesNoForYes) => Ok(data),
            ApprovalRejection::Fail => Err(said_no(data.value().map_or(&Value::Null, |data| data))),
        };
        self.conclude(events, ix, result, now);
    }

    /// The time that a task waits for has come, or the time for an answer is over.
    pub(super) fn stop_waiting(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        let plan = self.plan.clone();
        let node = plan.node(self.task(ix).node);
        let late = || {
            let limit = node.timeout.unwrap_or(Duration::ZERO).as_secs_f64();
            let mut error =
                TaskError::new(ErrorKind::Timeout, format!("nobody answered within timeout_seconds: {limit}"));
            error.retryable = false;
            Err(error)
        };
        let silence =
            |decision| Payload::new(json!({ "decision": decision, "form": {}, "by": null, "timed_out": true }));
        match (&self.task(ix).waiting, &node.work) {
            (Some(Waiting::Time { due }), _) => {
                let output = Payload::new(json!({ "due": due.to_string() }));
                self.conclude(events, ix, Ok(output), now);
            }
            (_, Work::Approval(approval)) => match approval.on_timeout {
                ApprovalTimeout::Fail if planted!(TakesSilenceForYes) => {
                    self.conclude(events, ix, Ok(silence("approve")), now);
                }
                ApprovalTimeout::Fail => self.conclude(events, ix, late(), now),
                ApprovalTimeout::Approve => self.conclude(events, ix, Ok(silence("approve")), now),
                ApprovalTimeout::Reject => self.reject(events, ix, approval, silence("reject"), now),
            },
            _ => self.conclude(events, ix, late(), now),
        }
    }
}

/// The failure that a person's no is.
fn said_no(answer: &Value) -> TaskError {
    let by = answer.get("by").and_then(Value::as_str).unwrap_or("somebody");
    TaskError::new(ErrorKind::Rejected, format!("{by} said no")).with_detail(answer.clone())
}
