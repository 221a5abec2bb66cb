//! Waiting: the question that a task asks, the answers that fit it, and what they make of it.

use segue_core::{
    event::Waiting,
    outcome::ErrorKind,
    spec::{ApprovalRejection, ApprovalTimeout, Seconds, WaitSpec},
    status::Status,
    time::Timestamp,
};
use serde_json::{Map, Value, json};

use super::{Auditor, Rule, Violation, graph::Work, parts::Outcome, question, step::Step};

impl Auditor {
    /// What a task asks for, if it asks now.
    pub(super) fn question(&self, ix: usize) -> Result<Waiting, String> {
        let due = self.node(ix).timeout.map(|span| self.time.plus(span));
        let text = |template: &str| {
            self.scope_of(ix).render(&template.into()).map(|value| match value {
                Value::String(text) => text,
                other => other.to_string(),
            })
        };
        match &self.node(ix).work {
            Work::Approval(asked) => Ok(Waiting::Approval {
                title: text(&asked.title)?,
                message: asked.message.as_deref().map(text).transpose()?,
                form: asked.form.clone(),
                approvers: asked.approvers.clone(),
                due,
            }),
            Work::Wait(WaitSpec { event: Some(event), .. }) => Ok(Waiting::Event { event: text(event)?, due }),
            Work::Wait(WaitSpec { until: Some(until), .. }) => {
                let due = text(until)?.parse().map_err(|_| "no time".to_owned())?;
                Ok(Waiting::Time { due })
            }
            Work::Wait(WaitSpec { seconds, .. }) => {
                Ok(Waiting::Time { due: self.time.plus(seconds.map(Seconds::as_duration).unwrap_or_default()) })
            }
            Work::Attempts | Work::Child(_) | Work::Group(_) => Err("it asks for nothing".into()),
        }
    }

    pub(super) fn task_waiting(&mut self, ix: usize, attempt: Option<u32>, waiting: &Waiting) -> Result<(), Violation> {
        let asks_itself = matches!(waiting, Waiting::Child { .. } | Waiting::Question { .. });
        self.check(asks_itself || attempt.is_none(), Rule::Waiting, || format!("attempt {attempt:?} waits"))?;
        match waiting {
            Waiting::Child { run_id, workflow_id, workflow_hash } => {
                self.child_waiting(ix, attempt, *run_id, (workflow_id, *workflow_hash))?;
            }
            Waiting::Question { usage, .. } => self.task_asks(ix, attempt, *usage)?,
            Waiting::Failure { error, lost, usage } => self.task_paused(ix, error, *lost, *usage)?,
            Waiting::Approval { .. } | Waiting::Time { .. } | Waiting::Event { .. } => self.node_waits(ix, waiting)?,
        }
        self.tasks[ix].status = Status::Waiting;
        self.tasks[ix].waiting = Some(waiting.clone());
        Ok(())
    }

    fn node_waits(&mut self, ix: usize, waiting: &Waiting) -> Result<(), Violation> {
        let step = self.step(ix);
        self.check(step == Step::Ask, Rule::Ready, || format!("`{}` waits: {step:?}", self.tasks[ix].id))?;
        let expected = self.question(ix);
        self.check(expected.as_ref() == Ok(waiting), Rule::Waiting, || {
            format!("`{}` waits for {waiting:?}, not for {expected:?}", self.tasks[ix].id)
        })?;
        self.begin(ix);
        Ok(())
    }

    pub(super) fn task_signaled(&mut self, ix: usize, data: &Value) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        self.check(task.status == Status::Waiting && task.answer.is_none(), Rule::Answer, || {
            format!("`{}` is answered while it is {} ({:?})", task.id, task.status, task.answer)
        })?;
        self.check(!self.stopping, Rule::Cancelling, || format!("`{}` is answered too late", task.id))?;
        let fits = self.complete(ix, data).is_some_and(|complete| complete == *data);
        self.check(fits, Rule::Answer, || format!("`{}` is answered with {data}", task.id))?;
        self.tasks[ix].answer = Some(data.clone());
        if self.asks(ix) {
            self.question_answered(ix, data);
        } else if self.tasks[ix].is_paused() {
            self.failure_answered(ix, data);
        }
        Ok(())
    }

    /// The answer to what a task waits for, with what the form fills in; none if it is no answer.
    pub(super) fn complete(&self, ix: usize, data: &Value) -> Option<Value> {
        match self.tasks[ix].waiting.as_ref()? {
            Waiting::Question { question, .. } => question::answers(question, data.as_object()?),
            Waiting::Failure { .. } => Self::decision_on_failure(data.as_object()?),
            Waiting::Event { .. } => self.matches(ix, data).then(|| data.clone()),
            Waiting::Approval { form, approvers, .. } => {
                let mut answer = data.as_object()?.clone();
                let decision = answer.get("decision")?.as_str()?.to_owned();
                let by = answer.get("by").and_then(Value::as_str).unwrap_or_default();
                if !matches!(&*decision, "approve" | "reject")
                    || !(approvers.is_empty() || approvers.contains(&by.into()))
                {
                    return None;
                }
                let given = match answer.get("form") {
                    None | Some(Value::Null) => Map::new(),
                    Some(given) => given.as_object()?.clone(),
                };
                let filled = if decision == "approve" { filled_in(form, given)? } else { given };
                answer.insert("form".into(), filled.into());
                Some(answer.into())
            }
            _ => None,
        }
    }

    fn matches(&self, ix: usize, data: &Value) -> bool {
        let Work::Wait(WaitSpec { matches: Some(condition), .. }) = &self.node(ix).work else { return true };
        let mut scope = self.scope_of(ix);
        scope.extra.push(("output", data.clone()));
        scope.is_true(condition) == Ok(true)
    }

    /// The tasks that an event of this name, with this data, is for.
    pub fn listeners(&self, event: &str, data: &Value) -> Vec<segue_core::ids::TaskId> {
        let waits = |ix: &usize| {
            matches!(&self.tasks[*ix].waiting, Some(Waiting::Event { event: name, .. }) if name == event)
                && self.is_answerable(*ix)
                && self.matches(*ix, data)
        };
        self.current().filter(waits).map(|ix| self.tasks[ix].id.clone()).collect()
    }

    /// What is recorded if this is said to the task; none if it does not wait for it.
    pub fn answer_to(&self, task: &segue_core::ids::TaskId, data: &Value) -> Option<Value> {
        let ix = self.index_of(Some(task)).ok().filter(|&ix| self.is_answerable(ix))?;
        self.complete(ix, data)
    }

    fn is_answerable(&self, ix: usize) -> bool {
        self.is_live() && self.tasks[ix].status == Status::Waiting && self.tasks[ix].answer.is_none()
    }

    /// The tasks that wait, and for what.
    pub fn waiting(&self) -> Vec<(segue_core::ids::TaskId, Waiting)> {
        let waits = |ix: usize| Some((self.tasks[ix].id.clone(), self.tasks[ix].waiting.clone()?));
        self.current().filter(|&ix| self.tasks[ix].status == Status::Waiting).filter_map(waits).collect()
    }

    /// When the waiting of a task ends by itself.
    pub(super) fn waits_until(&self, ix: usize) -> Option<Timestamp> {
        let task = &self.tasks[ix];
        task.waiting.as_ref().filter(|_| task.status == Status::Waiting)?.due()
    }

    pub(super) fn result_of_waiting(&self, ix: usize) -> Option<Outcome> {
        let work = &self.node(ix).work;
        if let Some(answer) = &self.tasks[ix].answer {
            return Some(match work {
                _ if self.asks(ix) => Err((ErrorKind::Rejected, None)),
                Work::Approval(asked) if answer["decision"] == "reject" => rejected(asked.on_reject, answer.clone()),
                _ => Ok(answer.clone()),
            });
        }
        let due = self.waits_until(ix).filter(|due| *due <= self.time)?;
        let silence = |decision: &str| json!({ "decision": decision, "form": {}, "by": null, "timed_out": true });
        Some(match (work, &self.tasks[ix].waiting) {
            (_, Some(Waiting::Time { .. })) => Ok(json!({ "due": due.to_string() })),
            (Work::Approval(asked), _) => match asked.on_timeout.unwrap_or_default() {
                ApprovalTimeout::Fail => Err((ErrorKind::Timeout, None)),
                ApprovalTimeout::Approve => Ok(silence("approve")),
                ApprovalTimeout::Reject => rejected(asked.on_reject, silence("reject")),
            },
            _ => Err((ErrorKind::Timeout, None)),
        })
    }
}

fn rejected(on_reject: Option<ApprovalRejection>, answer: Value) -> Outcome {
    match on_reject.unwrap_or_default() {
        ApprovalRejection::Continue => Ok(answer),
        ApprovalRejection::Fail => Err((ErrorKind::Rejected, None)),
    }
}

/// A form of texts and whole numbers, filled in: all that the simulator's workflows ask for.
fn filled_in(form: &Map<String, Value>, mut given: Map<String, Value>) -> Option<Map<String, Value>> {
    let mut filled = Map::new();
    for (name, field) in form {
        let value = match (given.remove(name).filter(|value| !value.is_null()), field.get("default")) {
            (Some(value), _) if field["type"] == "string" && !value.is_string() => return None,
            (Some(value), _) if field["type"] == "integer" && !value.is_i64() && !value.is_u64() => return None,
            (Some(value), _) => value,
            (None, Some(default)) => default.clone(),
            (None, None) => return None,
        };
        filled.insert(name.clone(), value);
    }
    given.is_empty().then_some(filled)
}
