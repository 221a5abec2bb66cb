//! `on_failure: pause`: a failure that a person decides about.

use segue_core::{
    event::Waiting,
    outcome::{ErrorKind, Loss, TaskError, Usage},
    payload::Payload,
    spec::FailureAction,
};
use serde_json::{Map, Value};

use super::{
    Auditor, Rule, Violation,
    join::Decision,
    tree::{Layer, Parts},
};

impl Auditor {
    /// Is the node's `on_failure` looked at when this task fails with this error? That of the outermost one, and of
    /// instances; not of a `foreach` that fails because an instance has.
    pub(super) fn decides_failure(&self, ix: usize, error: &TaskError) -> bool {
        let for_a_part = self.tasks[ix].layer == Layer::Map
            && matches!(self.result(ix), Some(Err((_, Some(message)))) if message == error.message);
        (self.is_member(ix) || self.is_instance(ix)) && !for_a_part
    }

    /// Is a person to say what this failure means?
    pub(super) fn asks_about(&self, ix: usize, error: &TaskError) -> bool {
        let node = self.node(ix);
        let is_exceeded = error.kind == ErrorKind::Budget && node.exceeded == FailureAction::Pause;
        (node.pauses || is_exceeded) && self.decides_failure(ix, error)
    }

    /// `task.waiting` for a decision: the attempt, if there is one, has ended.
    pub(super) fn task_paused(
        &mut self,
        ix: usize,
        error: &TaskError,
        lost: Option<Loss>,
        usage: Usage,
    ) -> Result<(), Violation> {
        self.check_not_stopping("a question")?;
        let pauses = self.asks_about(ix, error);
        self.check(pauses, Rule::Paused, || format!("`{}` asks what its failure means", self.tasks[ix].id))?;
        self.check_given_up(ix, error, lost)?;
        let task = &mut self.tasks[ix];
        (task.due, task.deadline_from, task.answer) = (None, None, None);
        task.error = Some(error.clone());
        task.usage += usage;
        Ok(())
    }

    /// An answer to a failure in the words of the log; none if it is no answer.
    pub(super) fn decision_on_failure(answer: &Map<String, Value>) -> Option<Value> {
        let decision = match answer.get("decision")?.as_str()? {
            "approve" => "retry",
            "reject" => "fail",
            known @ ("retry" | "continue" | "fail") => known,
            _ => return None,
        };
        let says_more = answer.contains_key("output");
        let mut answer = answer.clone();
        if decision == "continue" && !says_more {
            answer.insert("output".into(), Value::Null);
        } else if decision != "continue" && says_more {
            return None;
        }
        answer.insert("decision".into(), decision.into());
        Some(answer.into())
    }

    /// Somebody has decided: to try again needs no event of its own.
    pub(super) fn failure_answered(&mut self, ix: usize, answer: &Value) {
        if answer["decision"] != "retry" {
            return;
        }
        if self.tasks[ix].parts != Parts::None {
            self.revive(&[ix]);
            return;
        }
        let has_begun = self.tasks[ix].first_started.is_some();
        self.tasks[ix].reset();
        // What its join and its condition say was asked before it began, and is not asked again.
        if has_begun || !self.is_member(ix) {
            self.tasks[ix].decision = Decision::Run;
        }
    }

    /// A task that was paused fails: somebody has said so.
    pub(super) fn check_decided(
        &self,
        ix: usize,
        attempt: Option<u32>,
        (error, lost, usage): (&TaskError, Option<Loss>, Usage),
    ) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        let said = task.answer.as_ref().map(|answer| &answer["decision"]);
        let asked = matches!(&task.waiting, Some(Waiting::Failure { error: asked, .. }) if asked == error);
        let fits = asked && attempt.is_none() && lost.is_none() && usage.is_zero();
        self.check(fits && said.is_some_and(|said| said != "retry"), Rule::Paused, || {
            format!("`{}` fails with {error}, attempt {attempt:?}, after the answer {said:?}", task.id)
        })
    }

    /// What somebody has given in the place of the output.
    pub(super) fn given_instead(&self, ix: usize) -> Option<Value> {
        let answer = self.tasks[ix].answer.as_ref().filter(|answer| answer["decision"] == "continue")?;
        Some(answer["output"].clone())
    }

    pub(super) fn payload_value(payload: Option<&Payload>) -> Option<Value> {
        payload.map(|output| output.value().map_or(Value::Null, |value| (**value).clone()))
    }
}
