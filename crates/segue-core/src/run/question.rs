//! Questions of a task's own code: the attempt that asks ends, and the next one goes on with the answers.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value};

use super::{Run, TaskIx, Timer};
use crate::{
    event::{Event, Waiting},
    ids::TaskId,
    outcome::{Loss, TaskError, Usage},
    payload::Payload,
    question::{ANSWER, Question, Resume},
    spec::{Diagnostic, OutputSchema},
    status::Status,
};

/// Gives an answer in the words of the log, `{"answers": {id: value}, …}`, if it says all that is asked. One that is asked
/// for a single thing may say `{"answer": value}` instead, or fill in a form. With `{"decision": "reject"}`
/// the task fails.
pub(super) fn check_answers(question: &Question, mut said: Map<String, Value>) -> Result<Value, Vec<Diagnostic>> {
    if rejects(&said) {
        let answers = ["answers", ANSWER, "form"].into_iter().find(|name| said.contains_key(*name));
        return match answers {
            Some(name) => {
                Err(vec![Diagnostic::error("bad-answer", format!("/{name}"), "who rejects gives no answers")])
            }
            None => Ok(Value::Object(said)),
        };
    }
    let problem = |path: String, message: String| Diagnostic::error("bad-answer", &path, message);
    let given = match (said.remove("answers"), said.remove(ANSWER), said.remove("form")) {
        (Some(Value::Object(given)), None, None) | (None, None, Some(Value::Object(given))) => given,
        (None, Some(answer), None) => match question.items.as_slice() {
            [item] => Map::from_iter([(item.id.clone(), answer)]),
            items => {
                let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
                let message =
                    format!("{} things are asked; give `answers` by their ids: {}", ids.len(), ids.join(", "));
                return Err(vec![problem("/answer".to_owned(), message)]);
            }
        },
        (None, None, None) => Map::new(),
        _ => {
            return Err(vec![problem(
                "/answers".to_owned(),
                "`answers` is one object, by the ids of what is asked".to_owned(),
            )]);
        }
    };
    let given = by_id(question, given);
    let mut wrong = Vec::new();
    for id in given.keys().filter(|id| question.items.iter().all(|item| item.id != **id)) {
        wrong.push(problem(format!("/answers/{}", escaped(id)), "nothing of this id is asked".to_owned()));
    }
    for item in &question.items {
        let at = format!("/answers/{}", escaped(&item.id));
        let Some(answer) = given.get(&item.id) else {
            wrong.push(problem(at, "an answer is missing".to_owned()));
            continue;
        };
        // A schema that cannot be compiled is the framework's affair: it looks at the answer itself.
        let Some(Ok(schema)) = item.schema.as_ref().map(OutputSchema::compile) else { continue };
        wrong.extend(
            schema.misfits(answer).into_iter().map(|misfit| problem(at.clone() + &misfit.pointer, misfit.message)),
        );
    }
    if !wrong.is_empty() {
        return Err(wrong);
    }
    said.remove("decision");
    said.insert("answers".to_owned(), Value::Object(given));
    Ok(Value::Object(said))
}

/// Who fills in a form for a single thing may call it `answer`, and need not know its id.
fn by_id(question: &Question, mut given: Map<String, Value>) -> Map<String, Value> {
    match question.items.as_slice() {
        [item] if given.len() == 1 => match given.remove(ANSWER) {
            Some(answer) => Map::from_iter([(item.id.clone(), answer)]),
            None => given,
        },
        _ => given,
    }
}

/// Somebody would rather have the task fail than answer it.
pub(super) fn rejects(said: &Map<String, Value>) -> bool {
    said.get("decision").is_some_and(|decision| decision == "reject" && !planted!(TakesNoForAnAnswer))
}

fn escaped(id: &str) -> String {
    id.replace('~', "~0").replace('/', "~1")
}

impl Run {
    /// With what the task's next attempt, or the one that runs, takes up the work of one that had asked.
    pub fn resume_of(&self, task: &TaskId) -> Option<&Resume> {
        self.task(self.find(task)?).resume.as_ref()
    }

    /// Model answers of the task's attempts from this one on may be given again.
    pub fn answers_since(&self, task: &TaskId) -> u32 {
        self.find(task).map_or(1, |ix| self.task(ix).answers_since)
    }

    /// What the run's attempts have consumed, those that run now left out.
    pub const fn usage(&self) -> Usage {
        self.state.usage
    }

    /// `task.waiting` for answers: the attempt has ended, and the task has not. While a person thinks no clock of the task
    /// runs; its deadline begins anew with the answer.
    pub(super) fn ask(&mut self, ix: TaskIx, event: &Event, question: &Question, usage: Usage) {
        self.end_attempt(ix, event, if planted!(QuestionsCostNothing) { Usage::default() } else { usage });
        let deadline_at = self.task(ix).deadline_at.filter(|_| planted!(DeadlinesPassWhileAsked));
        self.unschedule(ix);
        self.state.timers.extend(deadline_at.map(|time| (time, Timer::Deadline(ix))));
        let task = self.task_mut(ix);
        task.status = Status::Waiting;
        task.resume = None;
        task.waiting = Some(Waiting::Question { question: question.clone(), usage });
        self.state.waiting.insert(ix);
    }

    /// `task.signaled` to a question: the next attempt may start.
    pub(super) fn take_answers(&mut self, ix: TaskIx, data: &Payload) {
        if data.value().and_then(|data| data.as_object()).is_some_and(rejects) {
            return;
        }
        let Some(Waiting::Question { question, .. }) = self.task_mut(ix).waiting.take() else { return };
        let answers = data.value().and_then(|data| data.get("answers")?.as_object().cloned()).unwrap_or_default();
        let answers: BTreeMap<String, Value> = answers.into_iter().collect();
        self.state.waiting.remove(&ix);
        let task = self.task_mut(ix);
        task.resume = Some(Resume { token: question.resume, answers: Arc::new(answers) });
        task.status = Status::Pending;
        self.state.ready.insert(ix);
    }

    /// What models have answered is good for the next attempt too, unless the failure may lie in the answers.
    pub(super) fn weigh_answers(&mut self, ix: TaskIx, error: &TaskError, lost: Option<Loss>) {
        let task = self.task_mut(ix);
        if lost.is_none() && !error.kind.keeps_answers() {
            task.answers_since = task.attempt + 1;
        }
    }
}
