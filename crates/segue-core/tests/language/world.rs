//! A run in a world that does what the test says.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use segue_core::{
    event::{Event, EventKind},
    ids::{HandlerId, RunId, TaskId},
    outcome::{ErrorKind, TaskOutcome},
    plan::Plan,
    run::{Input, Rejected, Run},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

pub struct World {
    pub run: Run,
    pub log: Vec<Event>,
    pub now: Timestamp,
}

impl World {
    /// A run of a document, which is taken as it is.
    pub fn of(document: Value) -> Self {
        let spec: WorkflowSpec = serde_json::from_value(document).unwrap();
        Self::start(&spec, json!({}))
    }

    pub fn start(spec: &WorkflowSpec, inputs: Value) -> Self {
        let plan = Arc::new(Plan::compile(spec, &HandlerId::from("pass")).unwrap());
        let created = json!({ "workflow_hash": plan.hash(), "inputs": inputs });
        let now = Timestamp::from_micros(1_000_000);
        let id = RunId::from_bytes([7; 16]);
        let (run, log) = Run::create(plan, id, serde_json::from_value(created).unwrap(), now);
        Self { run, log, now }
    }

    pub fn input(&mut self, input: Input) -> Result<(), Rejected> {
        let events = self.run.handle(input, self.now)?;
        self.log.extend(events);
        Ok(())
    }

    pub fn begin(&mut self, task: &str) {
        self.input(Input::TaskAccepted { task: task.into() }).unwrap();
    }

    pub fn end(&mut self, task: &str, outcome: TaskOutcome) {
        let (_, attempt) = self.run.task_status(&task.into()).unwrap();
        self.input(Input::TaskEnded { task: task.into(), attempt, outcome, jitter: 0.5 }).unwrap();
    }

    pub fn succeed(&mut self, task: &str, output: Value) {
        self.begin(task);
        self.end(task, TaskOutcome::success(output));
    }

    /// Fails for good: an error of this kind is not retried.
    pub fn fail(&mut self, task: &str) {
        self.begin(task);
        self.end(task, failure());
    }

    pub fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.input(Input::Woke { jitter: 0.5 }).unwrap();
    }

    pub fn ready(&self) -> Vec<String> {
        self.run.ready(self.now).map(ToString::to_string).collect()
    }

    pub fn status(&self, task: &str) -> Status {
        self.run.task_status(&task.into()).unwrap().0
    }

    /// The kind of the error with which a task has failed.
    pub fn error(&self, task: &str) -> Option<String> {
        let about = self.log.iter().filter(|event| event.task_id.as_ref().is_some_and(|id| id.as_str() == task));
        about
            .filter_map(|event| match &event.kind {
                EventKind::TaskFailed { error, .. } => Some(error.kind.to_string()),
                _ => None,
            })
            .next_back()
    }

    /// Goes on until the run has ended, or only waits. What is ready starts at once; what runs ends in the order in which
    /// it started, as `ending` says.
    pub fn play(&mut self, mut ending: impl FnMut(&str, &Value) -> TaskOutcome) {
        let mut running: VecDeque<TaskId> = self.run.running().map(|(task, _)| task.clone()).collect();
        while !self.run.status().is_terminal() && self.run.status() != Status::Waiting {
            let ready: Vec<TaskId> = self.run.ready(self.now).take(self.run.room()).cloned().collect();
            if !ready.is_empty() {
                for task in ready {
                    self.begin(task.as_str());
                    running.push_back(task);
                }
                continue;
            }
            if let Some(task) = running.pop_front() {
                // A loop that goes round, or a deadline, may have stopped it.
                if self.status(task.as_str()) == Status::Running {
                    let outcome = match self.run.render(&task) {
                        Ok(rendered) => ending(task.as_str(), &rendered.inputs),
                        Err(error) => TaskOutcome::failure(error.kind, error.message),
                    };
                    self.end(task.as_str(), outcome);
                }
                continue;
            }
            self.now = self.run.wake_at(self.now).expect("something is to come");
            self.input(Input::Woke { jitter: 0.5 }).unwrap();
        }
    }

    /// As [`World::play`]; each task gives back its inputs.
    pub fn pass(&mut self) {
        self.play(|_, inputs| TaskOutcome::success(inputs.clone()));
    }

    /// The log after `run.started`, one word an event: `started:a@1`.
    pub fn story(&self) -> String {
        let words = self.log.iter().skip(2).map(|event| {
            let name = event.kind.name();
            let name = name.strip_prefix("task.").unwrap_or(name);
            let task = event.task_id.as_ref().map(|task| format!(":{task}")).unwrap_or_default();
            let attempt = event.attempt.map(|attempt| format!("@{attempt}")).unwrap_or_default();
            format!("{name}{task}{attempt}")
        });
        words.collect::<Vec<_>>().join(" ")
    }

    pub fn last(&self) -> &EventKind {
        &self.log.last().unwrap().kind
    }

    /// What the run gives back.
    pub fn outputs(&self) -> Value {
        match self.last() {
            EventKind::RunSucceeded { outputs } => Value::clone(outputs.value().unwrap()),
            _ => panic!("the run has not succeeded: {}", self.story()),
        }
    }
}

pub fn failure() -> TaskOutcome {
    TaskOutcome::failure(ErrorKind::InvalidInput, "no")
}
