//! Answers in the place of people: a workflow that asks is answered, every time alike.

use segue_core::{
    event::Waiting,
    ports::{RunStore, WaitingTask},
    run::Address,
};
use segue_engine::{AnswerError, answer};
use serde_json::{Map, Value, json};

use crate::{
    failure::{Failure, Outcome},
    render::waits,
};

/// Who answers, in the log.
const BY: &str = "segue chaos";

/// Answers everything that waits for somebody, as `given` says, else yes. Says how much that was.
pub(super) async fn answer_all(store: &dyn RunStore, given: &[(String, Value)]) -> Outcome<usize> {
    let mut waiting = store.list_waiting(None, 0).await?;
    waiting.retain(|task| waits::is_for_somebody(&task.waiting));
    for task in &waiting {
        let data = given_for(task, given).cloned().unwrap_or_else(|| yes(&task.waiting));
        let to = Address::Task(task.task_id.clone());
        match answer(store, task.run_id, to, data, Some(BY)).await {
            // It was answered before its engine was killed.
            Ok(_) | Err(AnswerError::Conflict(_)) => {}
            Err(error) => return Err(unanswered(task, &error)),
        }
    }
    Ok(waiting.len())
}

fn given_for<'a>(task: &WaitingTask, given: &'a [(String, Value)]) -> Option<&'a Value> {
    let names = |name: &str| match &task.waiting {
        Waiting::Event { event, .. } => name == event || name == task.task_id.as_str(),
        // All instances and iterations of a node are answered alike.
        _ => name == task.task_id.as_str() || task.task_id.as_str().split(['[', '#']).next() == Some(name),
    };
    given.iter().find(|(name, _)| names(name)).map(|(_, data)| data)
}

fn unanswered(task: &WaitingTask, error: &AnswerError) -> Failure {
    let id = &task.task_id;
    let failure =
        Failure::invalid(format!("{id} waits for {}, and yes is no answer: {error}", waits::what(&task.waiting)));
    let failure = match error {
        AnswerError::Invalid(problems) => problems
            .iter()
            .fold(failure, |failure, problem| failure.note(format!("{}: {}", problem.path, problem.message))),
        _ => failure,
    };
    failure.help(format!("say what is to be answered: --answer '{id}={}'", yes(&task.waiting)))
}

/// The plainest answer that goes on.
fn yes(waiting: &Waiting) -> Value {
    let decided = |form: Map<String, Value>| {
        let fields = form.iter().filter(|(_, schema)| schema.get("default").is_none());
        let form: Map<String, Value> = fields.map(|(name, schema)| (name.clone(), fitting(schema))).collect();
        json!({ "decision": "approve", "form": form })
    };
    match waiting {
        Waiting::Approval { form, .. } => decided(form.clone()),
        Waiting::Question { question, .. } => decided(waits::fields(question)),
        // What failed once fails again: an endless conversation.
        Waiting::Failure { .. } => json!({ "decision": "fail" }),
        Waiting::Event { .. } | Waiting::Time { .. } | Waiting::Child { .. } => Value::Null,
    }
}

/// A value that fits a simple schema.
fn fitting(schema: &Value) -> Value {
    if let Some(value) = schema.get("enum").and_then(|all| all.get(0)).or_else(|| schema.get("const")) {
        return value.clone();
    }
    match schema.get("type").and_then(Value::as_str) {
        Some("integer" | "number") => schema.get("minimum").cloned().unwrap_or_else(|| json!(1)),
        Some("boolean") => json!(true),
        Some("array") => json!([]),
        Some("object") => json!({}),
        _ => json!("yes"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plainest_answer_fits_the_form() {
        let form = json!({
            "to": {"type": "string"}, "copies": {"type": "integer", "minimum": 3}, "at_once": {"type": "boolean"},
            "kind": {"enum": ["letter", "card"]}, "note": {"type": "string", "default": "none"},
        });
        let form = form.as_object().cloned().unwrap_or_default();
        let waiting = Waiting::Approval { title: "?".into(), message: None, form, approvers: Vec::new(), due: None };
        let expected = json!({"to": "yes", "copies": 3, "at_once": true, "kind": "letter"});
        assert_eq!(yes(&waiting), json!({"decision": "approve", "form": expected}));
    }
}
