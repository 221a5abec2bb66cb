//! `test.task`: an adapter whose attempts the test answers.

use std::sync::Arc;

use async_trait::async_trait;
use segue_core::{
    ids::EngineId,
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation, Progress},
    spec::TaskNode,
};
use segue_testkit::faults::Journal;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

/// One attempt that waits for the test's answer. Dropped unanswered, it panics in the adapter.
pub struct Call {
    pub invocation: Invocation,
    /// The engine that asks.
    pub engine: EngineId,
    reply: oneshot::Sender<TaskOutcome>,
}

impl Call {
    /// `b@1`
    pub fn name(&self) -> String {
        format!("{}@{}", self.invocation.context.task_id, self.invocation.context.attempt)
    }

    pub fn succeed(self, output: Value) {
        self.answer(TaskOutcome::success(output));
    }

    pub fn answer(self, outcome: TaskOutcome) {
        self.reply.send(outcome).ok().unwrap();
    }

    /// Waits until the attempt is told to stop.
    pub async fn cancelled(&self) {
        let told = tokio::time::timeout(std::time::Duration::from_secs(30), self.invocation.cancel.cancelled());
        told.await.expect("the attempt is told to stop");
        assert!(self.invocation.cancel.is_cancelled());
    }

    pub fn emit(&self, progress: Progress) {
        self.invocation.progress.emit(progress);
    }
}

pub struct Scripted {
    pub engine: EngineId,
    pub calls: mpsc::UnboundedSender<Call>,
    pub journal: Arc<Journal>,
}

#[async_trait]
impl Adapter for Scripted {
    fn name(&self) -> &'static str {
        "test"
    }

    fn handlers(&self) -> &[&'static str] {
        &["test.task"]
    }

    fn translate_task(&self, _: &TaskNode) -> Result<Value, TaskError> {
        Ok(json!(null))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        let (reply, answer) = oneshot::channel();
        let call = Call { invocation, engine: self.engine.clone(), reply };
        let name = call.name();
        self.journal.note(format!("execute {name}"));
        self.calls.send(call).ok().unwrap();
        let outcome = answer.await.expect("the test answers every call");
        self.journal.note(format!("answer {name}"));
        outcome
    }

    async fn shutdown(&self) {
        self.journal.note("shutdown".to_owned());
    }
}
