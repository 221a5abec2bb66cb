//! One task of a run, as it is shown while it goes on.

use std::time::Duration;

use segue_core::{event::Envelope, status::Status, time::Timestamp};

use crate::render::event_line;

/// A task: a node, an instance of one, or a node inside an instance. Iterations of a loop are one task, one after the
/// other.
#[derive(Debug)]
pub(crate) struct TaskView {
    /// The node's place in the graph.
    pub(super) node: usize,
    /// It is this instance of its node.
    pub(super) index: Option<u32>,
    pub(crate) status: Status,
    pub(crate) attempt: u32,
    /// The iteration of its own loop.
    pub(crate) iteration: Option<u32>,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// Of the attempts that are over.
    tokens: u64,
    /// Of the one that runs, as far as it tells.
    tokens_of_attempt: u64,
    /// An error, the reason of a skip, what it waits for, or the last progress.
    pub(crate) note: String,
    pub(crate) reused: bool,
}

impl TaskView {
    pub(super) const fn new(node: usize, index: Option<u32>) -> Self {
        Self {
            node,
            index,
            status: Status::Pending,
            attempt: 0,
            iteration: None,
            started_at: None,
            finished_at: None,
            tokens: 0,
            tokens_of_attempt: 0,
            note: String::new(),
            reused: false,
        }
    }

    /// What the task has consumed so far.
    pub(crate) const fn tokens(&self) -> u64 {
        self.tokens + self.tokens_of_attempt
    }

    /// How long it runs, waits, or ran.
    pub(crate) fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let goes_on = matches!(self.status, Status::Running | Status::Waiting);
        let end = if goes_on { now } else { self.finished_at? };
        Some(end.since(self.started_at?))
    }

    /// It is to run again: what it had come to counts no longer.
    pub(super) fn start_over(&mut self) {
        self.status = Status::Pending;
        self.note.clear();
        self.finished_at = None;
        self.iteration = None;
    }

    /// Takes in an event that is about it, or about an iteration of it. Until an attempt has ended its tokens are those of
    /// the calls that were seen; then they are what it says, which may be less.
    pub(super) fn apply(&mut self, event: &Envelope, is_iteration: bool) {
        if event.transient {
            if self.status == Status::Running {
                self.note = event_line::remark(event);
                self.tokens_of_attempt += tokens_of_call(event);
            }
            return;
        }
        self.attempt = event.attempt.unwrap_or(self.attempt);
        self.tokens += event_line::tokens(&event.data["usage"]);
        self.tokens_of_attempt = 0;
        self.note = match event.name.as_str() {
            "task.succeeded" | "task.started" | "task.mapped" | "loop.iterated" => String::new(),
            _ => event_line::remark(event),
        };
        let goes_on = self.status;
        self.status = match event.name.as_str() {
            "task.started" | "task.mapped" | "loop.iterated" => Status::Running,
            "task.waiting" => Status::Waiting,
            "task.retrying" => Status::Pending,
            // One iteration is over, and whether another follows the container says.
            "task.succeeded" | "task.failed" | "task.skipped" | "task.cancelled" if is_iteration => Status::Running,
            "task.succeeded" => Status::Succeeded,
            "task.failed" => Status::Failed,
            "task.skipped" => Status::Skipped,
            "task.cancelled" => Status::Cancelled,
            _ => goes_on,
        };
        match event.name.as_str() {
            // Of a loop the time counts from its first iteration.
            "task.started" if !is_iteration => self.started_at = Some(event.time),
            "task.started" => self.started_at = self.started_at.or(Some(event.time)),
            "task.waiting" | "task.mapped" | "loop.iterated" => self.started_at = self.started_at.or(Some(event.time)),
            _ => {}
        }
        self.finished_at = self.status.is_terminal().then_some(event.time);
        self.reused = event.data.get("reused_from").is_some_and(|run| !run.is_null());
        if let Some(first) = event.data["warnings"].as_array().and_then(|warnings| warnings.first()?.as_str()) {
            self.note = format!("warning: {first}");
        }
    }
}

/// What a call of a model has consumed: the gateway says it, or, of a model that is asked past it, the worker.
fn tokens_of_call(event: &Envelope) -> u64 {
    let is_paid = event.name.as_str() == "model.call" && event.data["replayed"] != true;
    if is_paid { event_line::tokens(&event.data) + event_line::tokens(&event.data["usage"]) } else { 0 }
}
