//! Questions of a task's own code: they end the attempt, and the next one goes on with the answers.

use segue_core::{event::Waiting, outcome::Usage, question::Question, status::Status};
use serde_json::{Map, Value, json};

use super::{Auditor, Rule, Violation, graph::Work, schema};

impl Auditor {
    /// `task.waiting` for answers: no clock of the task runs until they are there.
    pub(super) fn task_asks(&mut self, ix: usize, attempt: Option<u32>, usage: Usage) -> Result<(), Violation> {
        self.check_alive(ix, attempt)?;
        self.check_not_stopping("a question")?;
        let may_ask = matches!(self.node(ix).work, Work::Attempts);
        self.check(may_ask, Rule::Waiting, || format!("`{}` asks, and no adapter carries it out", self.tasks[ix].id))?;
        let task = &mut self.tasks[ix];
        (task.deadline_from, task.answer) = (None, None);
        task.usage += usage;
        Ok(())
    }

    /// Somebody has answered: the next attempt may start, unless they would rather have the task fail.
    pub(super) fn question_answered(&mut self, ix: usize, answer: &Value) {
        if answer.as_object().is_some_and(rejects) {
            return;
        }
        let task = &mut self.tasks[ix];
        (task.status, task.waiting, task.answer) = (Status::Pending, None, None);
    }

    pub(super) fn asks(&self, ix: usize) -> bool {
        matches!(self.tasks[ix].waiting, Some(Waiting::Question { .. }))
    }
}

fn rejects(said: &Map<String, Value>) -> bool {
    said.get("decision").is_some_and(|decision| decision == "reject")
}

/// An answer in the words of the log; none if it is no answer.
pub(super) fn answers(question: &Question, said: &Map<String, Value>) -> Option<Value> {
    if rejects(said) {
        let says_more = ["answers", "answer", "form"].iter().any(|name| said.contains_key(*name));
        return (!says_more).then(|| said.clone().into());
    }
    let mut said = said.clone();
    let given = match (said.remove("answers"), said.remove("answer"), said.remove("form")) {
        (Some(Value::Object(given)), None, None) | (None, None, Some(Value::Object(given))) => given,
        (None, Some(answer), None) if question.items.len() == 1 => {
            json!({ question.items[0].id.clone(): answer }).as_object()?.clone()
        }
        _ => return None,
    };
    let fits = question.items.iter().all(|item| {
        let schema = item.schema.as_ref().unwrap_or(&Value::Null);
        given.get(&item.id).is_some_and(|answer| schema::misfit(schema, answer).is_none())
    });
    if !fits || given.len() != question.items.len() {
        return None;
    }
    said.remove("decision");
    said.insert("answers".to_owned(), given.into());
    Some(said.into())
}
