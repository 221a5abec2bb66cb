//! What the events of a run add up to, for the eye.

use std::{collections::HashMap, time::Duration};

use segue_core::{event::Envelope, spec::WorkflowSpec, status::Status, time::Timestamp};

use crate::{
    graph::{Graph, branches},
    render::event_line,
};

/// A run as it is shown while it goes on.
#[derive(Debug)]
pub(crate) struct RunView {
    pub(crate) title: String,
    pub(crate) tasks: Vec<TaskView>,
    index: HashMap<String, usize>,
    pub(crate) status: Status,
    pub(crate) cancelling: bool,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
}

/// One task of it.
#[derive(Debug)]
pub(crate) struct TaskView {
    pub(crate) id: String,
    /// Lines and corners of the tree.
    pub(crate) prefix: String,
    pub(crate) name: Option<String>,
    pub(crate) status: Status,
    pub(crate) attempt: u32,
    pub(crate) started_at: Option<Timestamp>,
    pub(crate) finished_at: Option<Timestamp>,
    /// Of the attempts that are over.
    tokens: u64,
    /// Of the one that runs, as far as it tells.
    tokens_of_attempt: u64,
    /// An error, the reason of a skip, or the last progress.
    pub(crate) note: String,
}

impl TaskView {
    fn new(id: String, prefix: String, name: Option<String>) -> Self {
        Self {
            id,
            prefix,
            name,
            status: Status::Pending,
            attempt: 0,
            started_at: None,
            finished_at: None,
            tokens: 0,
            tokens_of_attempt: 0,
            note: String::new(),
        }
    }

    /// What the task has consumed so far.
    pub(crate) const fn tokens(&self) -> u64 {
        self.tokens + self.tokens_of_attempt
    }

    /// How long the attempt runs, or ran.
    pub(crate) fn elapsed(&self, now: Timestamp) -> Option<Duration> {
        let end = if self.status == Status::Running { now } else { self.finished_at? };
        Some(end.since(self.started_at?))
    }
}

impl RunView {
    /// A run of which nothing has happened yet.
    pub(crate) fn new(spec: &WorkflowSpec) -> Self {
        let graph = Graph::of_spec(spec, "");
        let tasks: Vec<TaskView> = branches(&graph)
            .into_iter()
            .map(|line| {
                let node = &graph.nodes[line.node];
                TaskView::new(node.id.clone(), line.prefix, node.name.clone())
            })
            .collect();
        let index = tasks.iter().enumerate().map(|(at, task)| (task.id.clone(), at)).collect();
        Self {
            title: spec.name.clone().unwrap_or_else(|| spec.id.to_string()),
            tasks,
            index,
            status: Status::Pending,
            cancelling: false,
            started_at: None,
            finished_at: None,
        }
    }

    /// Takes one event in.
    pub(crate) fn apply(&mut self, event: &Envelope) {
        match &event.task_id {
            Some(task) => self.apply_to_task(task.as_str(), event),
            None => self.apply_to_run(event),
        }
    }

    fn apply_to_run(&mut self, event: &Envelope) {
        self.status = match event.name.as_str() {
            "run.started" => {
                self.started_at = Some(event.time);
                Status::Running
            }
            "run.waiting" => Status::Waiting,
            "run.cancelling" => {
                self.cancelling = true;
                return;
            }
            "run.succeeded" => Status::Succeeded,
            "run.failed" => Status::Failed,
            "run.cancelled" => Status::Cancelled,
            "run.reopened" => {
                self.reopen();
                Status::Running
            }
            _ => return,
        };
        self.finished_at = self.status.is_terminal().then_some(event.time);
    }

    /// What has not succeeded runs again.
    fn reopen(&mut self) {
        self.cancelling = false;
        for task in &mut self.tasks {
            if task.status != Status::Succeeded {
                task.status = Status::Pending;
                task.note.clear();
                task.finished_at = None;
            }
        }
    }

    fn apply_to_task(&mut self, id: &str, event: &Envelope) {
        let at = *self.index.entry(id.to_owned()).or_insert_with(|| {
            self.tasks.push(TaskView::new(id.to_owned(), String::new(), None));
            self.tasks.len() - 1
        });
        let task = &mut self.tasks[at];
        if event.transient {
            if task.status == Status::Running {
                task.note = event_line::remark(event);
                task.tokens_of_attempt += event_line::tokens(&event.data["usage"]);
            }
            return;
        }
        task.attempt = event.attempt.unwrap_or(task.attempt);
        task.tokens_of_attempt = 0;
        task.tokens += event_line::tokens(&event.data["usage"]);
        task.note = match event.name.as_str() {
            "task.succeeded" | "task.started" => String::new(),
            _ => event_line::remark(event),
        };
        task.finished_at = Some(event.time);
        task.status = match event.name.as_str() {
            "task.started" => {
                task.started_at = Some(event.time);
                Status::Running
            }
            "task.waiting" => Status::Waiting,
            "task.retrying" => Status::Pending,
            "task.succeeded" => Status::Succeeded,
            "task.failed" => Status::Failed,
            "task.skipped" => Status::Skipped,
            "task.cancelled" => Status::Cancelled,
            _ => task.status,
        };
        if let Some(first) = event.data["warnings"].as_array().and_then(|warnings| warnings.first()?.as_str()) {
            task.note = format!("warning: {first}");
        }
    }

    /// How many tasks stand where, in the order in which people ask: running first.
    pub(crate) fn counts(tasks: &[&TaskView]) -> Vec<(Status, usize)> {
        [
            Status::Running,
            Status::Failed,
            Status::Waiting,
            Status::Succeeded,
            Status::Skipped,
            Status::Cancelled,
            Status::Pending,
        ]
        .into_iter()
        .map(|status| (status, tasks.iter().filter(|task| task.status == status).count()))
        .filter(|(_, n)| *n > 0)
        .collect()
    }

    /// Tokens of all tasks.
    pub(crate) fn tokens(&self) -> u64 {
        self.tasks.iter().map(TaskView::tokens).sum()
    }
}
