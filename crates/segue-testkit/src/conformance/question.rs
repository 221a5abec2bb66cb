//! What an [`Adapter`] must keep whose tasks ask.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, TaskOutcome},
    ports::Adapter,
    question::{Question, Resume},
};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::adapter::Case;

/// No single attempt may take longer, on a loaded machine too.
const PATIENCE: Duration = Duration::from_secs(240);
/// The longest token: it goes into the log.
const TOKEN_BYTES_MAX: usize = 1 << 20;

/// What the tests of an adapter supply.
pub struct QuestionCases {
    /// The adapter.
    pub adapter: Arc<dyn Adapter>,
    /// Asks once.
    pub asks: Case,
    /// The answer to every item of the question.
    pub answer: Value,
    /// What comes of it,
    pub then: Value,
    /// at this JSON Pointer of the output; empty: all of it.
    pub at: &'static str,
}

/// Runs the suite. Panics with the first promise that is not kept.
pub async fn check_questions(cases: QuestionCases) {
    let question = asks(&cases).await;
    is_sound(&question);
    // The attempt that asked is over: what follows knows the token and the answers only, as after a restart.
    let token: Value = serde_json::from_str(&question.resume.to_string()).expect("a token survives the log");
    let resume = |answers: BTreeMap<String, Value>| Resume { token: token.clone(), answers: Arc::new(answers) };
    let answers: BTreeMap<String, Value> =
        question.items.iter().map(|item| (item.id.clone(), cases.answer.clone())).collect();
    // An attempt that goes on may be lost, and the next one is given the same.
    for attempt in [2, 3] {
        match attempt_with(&cases, attempt, Some(resume(answers.clone()))).await {
            TaskOutcome::Succeeded { output, .. } => {
                let output = output.value().expect("a fresh output has its value");
                assert_eq!(output.pointer(cases.at), Some(&cases.then), "attempt {attempt} gives {output}");
            }
            other => panic!("attempt {attempt} should go on and succeed: {other:?}"),
        }
    }
    let strange = Resume { token: json!("no token of anybody"), answers: Arc::new(answers) };
    match attempt_with(&cases, 4, Some(strange)).await {
        TaskOutcome::Failed { error, .. } => {
            assert_eq!((error.kind, error.retryable), (ErrorKind::InvalidInput, false), "{error:?}");
        }
        other => panic!("a strange token should be refused: {other:?}"),
    }
    assert_eq!(asks(&cases).await.items, question.items, "without an answer it asks as before");
    timeout(PATIENCE, cases.adapter.shutdown()).await.expect("a shutdown ends");
}

async fn asks(cases: &QuestionCases) -> Question {
    match attempt_with(cases, 1, None).await {
        TaskOutcome::Waiting { question, .. } => question,
        other => panic!("it should ask: {other:?}"),
    }
}

fn is_sound(question: &Question) {
    assert!(!question.prompt.trim().is_empty(), "a question has words");
    assert!(!question.items.is_empty(), "a question asks something");
    let mut ids: Vec<&str> = question.items.iter().map(|item| item.id.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), question.items.len(), "items are told apart by their ids");
    assert!(question.resume.to_string().len() <= TOKEN_BYTES_MAX, "a token is small");
}

async fn attempt_with(cases: &QuestionCases, attempt: u32, resume: Option<Resume>) -> TaskOutcome {
    let (mut invocation, _controls) = cases.asks.invocation("asks", attempt);
    invocation.resume = resume;
    timeout(PATIENCE, cases.adapter.execute(invocation)).await.expect("an attempt ends")
}
