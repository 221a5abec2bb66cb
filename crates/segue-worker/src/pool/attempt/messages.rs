//! What an attempt says, and what each of it means.

use std::{collections::BTreeSet, time::Duration};

use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome},
    payload::Payload,
    ports::Progress,
    question::Question,
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{super::wire::WireError, Attempt, LAST_WORDS_MAX, LEAVE_WITHIN, Stage};
use crate::protocol::{AttemptError, FromAttempt, ToAttempt};

/// Pieces of progress that an attempt may send; the worker stops itself long before.
const PROGRESS_MAX: u32 = 20_000;
/// Pieces of models' answers that an attempt may send.
const CHUNKS_MAX: u32 = 200_000;

impl Attempt<'_> {
    pub(super) fn take(&mut self, message: Result<Option<FromAttempt>, WireError>) {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) | Err(WireError::Broken(_)) => {
                self.incoming = None;
                if matches!(self.stage, Stage::Working) {
                    // It leaves without an answer, or has closed its connection and stays.
                    self.enter(Stage::Leaving, LAST_WORDS_MAX);
                }
                return;
            }
            Err(error) => {
                self.incoming = None;
                return self.broken(error.to_string());
            }
        };
        if matches!(self.stage, Stage::Working) {
            self.alarm = Instant::now() + self.silence_max();
        }
        if self.answer.is_some() {
            // After its answer it has nothing to say.
            return;
        }
        match message {
            FromAttempt::Event { kind, mut data, .. } => {
                let name = if kind.starts_with("model_call_") { "model.call" } else { "task.progress" };
                data.insert("kind".to_owned(), Value::String(kind));
                self.emit(name, Value::Object(data));
            }
            FromAttempt::Log { level, line, stream } => {
                let stream = stream.as_deref().unwrap_or("worker");
                self.emit("task.log", json!({ "stream": stream, "level": level, "line": line }));
            }
            FromAttempt::Chunk(data) => self.chunk(data),
            FromAttempt::Rpc(rpc) => {
                if let Err(fault) = self.calls.take(rpc) {
                    self.broken(fault);
                }
            }
            FromAttempt::Heartbeat { usage, rss_bytes } => {
                self.usage = usage;
                if rss_bytes > self.options.attempt_bytes_max {
                    self.too_large(rss_bytes);
                }
            }
            FromAttempt::Result { output, usage, warnings } => {
                self.answer(TaskOutcome::Succeeded { output: Payload::new(output), usage, warnings });
            }
            FromAttempt::Waiting { question, .. } if !is_sound(&question) => {
                self.broken("its question has no items, or two with the same id".to_owned());
            }
            FromAttempt::Waiting { question, usage } => self.answer(TaskOutcome::Waiting { question, usage }),
            FromAttempt::Error(error) => self.answer(failed(error)),
            FromAttempt::Cancelled { usage } if self.is_cancelled => self.answer(TaskOutcome::Cancelled { usage }),
            FromAttempt::Cancelled { usage } => {
                let error = TaskError::new(ErrorKind::Cancelled, "it cancelled itself");
                self.answer(TaskOutcome::Failed { error, usage });
            }
            FromAttempt::Started | FromAttempt::Pong { .. } | FromAttempt::Unknown => {}
        }
    }

    fn answer(&mut self, outcome: TaskOutcome) {
        self.answer = Some(outcome);
        if let Some(outbox) = &self.outbox {
            let _ = outbox.send(&ToAttempt::Ack);
        }
        if matches!(self.stage, Stage::Connecting | Stage::Working | Stage::Leaving) {
            self.enter(Stage::Leaving, LEAVE_WITHIN);
        }
    }

    fn emit(&mut self, name: &'static str, data: Value) {
        self.progress += 1;
        if self.progress <= PROGRESS_MAX {
            self.invocation.progress.emit(Progress { name, data });
        } else if self.progress == PROGRESS_MAX + 1 {
            let line = "[it sends too much progress; no more of it is shown]";
            self.invocation
                .progress
                .emit(Progress { name: "task.log", data: json!({ "stream": "worker", "line": line }) });
        }
    }

    /// Tokens are worth something only while they are new: what is not wanted now is dropped.
    fn chunk(&mut self, data: serde_json::Map<String, Value>) {
        self.chunks += 1;
        if self.chunks <= CHUNKS_MAX {
            self.invocation.progress.emit(Progress { name: "task.token", data: Value::Object(data) });
        }
    }

    /// It goes before it takes its neighbours with it.
    fn too_large(&mut self, bytes: u64) {
        let [has, may] = [bytes, self.options.attempt_bytes_max].map(|bytes| bytes >> 20);
        self.fault.get_or_insert(format!("it had {has} MiB in memory, and an attempt may have {may} MiB"));
        if matches!(self.stage, Stage::Working) {
            self.enter(Stage::Leaving, Duration::ZERO);
        }
    }
}

fn is_sound(question: &Question) -> bool {
    let ids: BTreeSet<&str> = question.items.iter().map(|item| item.id.as_str()).collect();
    !ids.is_empty() && ids.len() == question.items.len()
}

fn failed(error: AttemptError) -> TaskOutcome {
    // A kind of a later version is at least an error.
    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == error.kind).unwrap_or(ErrorKind::User);
    let mut detail = json!({ "chain": error.chain });
    if let Some(trace) = error.trace {
        detail["trace"] = Value::String(trace);
    }
    if !error.warnings.is_empty() {
        detail["warnings"] = json!(error.warnings);
    }
    let mut failure = TaskError::new(kind, error.message).with_detail(detail);
    failure.retryable = error.retryable;
    if let Some(pause) = error.retry_after_ms {
        failure = failure.with_retry_after(Duration::from_millis(pause));
    }
    TaskOutcome::Failed { error: failure, usage: error.usage }
}
