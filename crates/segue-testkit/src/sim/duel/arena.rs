//! A run that has come to the moment of a duel.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fastrand::Rng;
use segue_core::{
    event::{Event, RunCreated},
    ids::{HandlerId, RunId, TaskId},
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    payload::Payload,
    plan::Plan,
    ports::TaskRow,
    run::{Input, Run},
    spec::WorkflowSpec,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::Winner;
use crate::{auditor::audit, sim::generate::BEGIN};

/// What the contested node is called.
pub(super) const X: &str = "x";

pub(super) struct Arena {
    pub(super) rng: Rng,
    pub(super) spec: WorkflowSpec,
    pub(super) plan: Arc<Plan>,
    pub(super) run: Run,
    pub(super) log: Vec<Event>,
    pub(super) now: Timestamp,
    rows: BTreeMap<TaskId, TaskRow>,
}

impl Arena {
    /// A workflow in which the contested node comes last, behind some others.
    pub(super) fn new(rng: Rng, contested: &Value) -> Self {
        Self::with(rng, contested, 0)
    }

    /// As [`Arena::new`], with so many nodes behind the contested one.
    pub(super) fn with(mut rng: Rng, contested: &Value, behind: usize) -> Self {
        let before = rng.usize(..4);
        let is_chain = rng.bool();
        let mut nodes: Vec<Value> = Vec::new();
        for n in 0..before {
            let mut node = json!({ "id": format!("n{n}") });
            if is_chain && n > 0 {
                node["depends_on"] = json!([format!("n{}", n - 1)]);
            }
            nodes.push(node);
        }
        let mut last = contested.clone();
        last["id"] = X.into();
        last["depends_on"] = (0..before).map(|n| format!("n{n}")).collect::<Vec<_>>().into();
        nodes.push(last);
        nodes.extend((0..behind).map(|n| json!({ "id": format!("after{n}"), "depends_on": [X] })));
        let spec: WorkflowSpec = serde_json::from_value(json!({ "id": "duel", "nodes": nodes })).expect("a workflow");
        let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a good workflow"));
        let created = RunCreated::new(plan.hash(), Payload::new(json!({})));
        let id = RunId::from_bytes(rng.u128(1..).to_be_bytes());
        let (run, log) = Run::create(plan.clone(), id, created, BEGIN);
        let mut arena = Self { rng, spec, plan, run, log: Vec::new(), now: BEGIN, rows: BTreeMap::new() };
        arena.keep(log);
        for n in 0..before {
            let task = TaskId::new(format!("n{n}"));
            arena.must(Input::TaskAccepted { task: task.clone() });
            arena.pass(Duration::from_millis(700));
            arena.must(ended(&task, 1, success(n)));
        }
        arena
    }

    /// Lets some time pass, less than this.
    pub(super) fn pass(&mut self, most: Duration) {
        self.now = self.now.plus(Duration::from_micros(self.rng.u64(..most.as_micros() as u64)));
    }

    /// An input that nothing can be wrong with.
    pub(super) fn must(&mut self, input: Input) {
        let said = format!("{input:?}");
        assert!(self.feed(input), "{said} is due");
    }

    /// Was it accepted? One that is refused has changed nothing.
    pub(super) fn feed(&mut self, input: Input) -> bool {
        let before = self.run.run_row();
        match self.run.handle(input, self.now) {
            Ok(events) => {
                self.keep(events);
                true
            }
            Err(_) => {
                assert_eq!(self.run.run_row(), before, "what is refused changes nothing");
                false
            }
        }
    }

    fn keep(&mut self, events: Vec<Event>) {
        for row in self.run.task_rows(&events) {
            self.rows.insert(row.task_id.clone(), row);
        }
        self.log.extend(events);
    }

    /// The contestants, in some order, each of them up to three times; perhaps the engine dies in between. Says which of
    /// the two was accepted first.
    pub(super) fn meet(&mut self, first: &Input, second: &Input) -> Result<Winner, String> {
        let mut both = vec![(Winner::First, first), (Winner::Second, second)];
        if self.rng.bool() {
            both.swap(0, 1);
        }
        for _ in 0..self.rng.usize(..5) {
            let again = both[self.rng.usize(..2)];
            both.push(again);
        }
        let mut winner = None;
        for (who, input) in both {
            if self.rng.u8(..4) == 0 {
                self.reload()?;
            }
            let before = self.log.len();
            if self.feed(input.clone()) && self.log.len() > before {
                winner.get_or_insert(who);
            }
            if self.rng.u8(..4) == 0 {
                self.pass(Duration::from_millis(3));
            }
        }
        winner.ok_or_else(|| self.told("nobody won"))
    }

    /// The engine dies; the next one folds the log.
    fn reload(&mut self) -> Result<(), String> {
        let folded = Run::fold(self.plan.clone(), self.run.id(), &self.log);
        self.run = folded.map_err(|error| self.told(&format!("the log cannot be folded: {error}")))?;
        Ok(())
    }

    /// The run goes on to its end if it has not come to it: everybody else does as is wished.
    pub(super) fn finish(&mut self) -> Result<Status, String> {
        for _ in 0..50 {
            if self.run.status().is_terminal() {
                return self.judge();
            }
            let running: Vec<(TaskId, u32)> = self.run.running().map(|(task, n)| (task.clone(), n)).collect();
            let ready: Vec<TaskId> = self.run.ready(self.now).cloned().collect();
            for (task, attempt) in running {
                let is_stopping = self.run.is_stopping();
                let outcome = if is_stopping { TaskOutcome::Cancelled { usage: Usage::default() } } else { success(7) };
                self.must(ended(&task, attempt, outcome));
            }
            for task in ready {
                self.must(Input::TaskAccepted { task });
            }
            if let Some(at) = self.run.wake_at(self.now) {
                self.now = self.now.max(at);
                self.must(Input::Woke { jitter: 0.5 });
            }
        }
        Err(self.told("the run does not end"))
    }

    /// The log is one that could have been, and memory and rows are its fold.
    fn judge(&mut self) -> Result<Status, String> {
        let audited = audit(&self.spec, &self.log).and_then(|auditor| auditor.finished());
        audited.map_err(|violation| self.told(&violation.to_string()))?;
        let (memory, rows) = (self.run.run_row(), self.run.all_task_rows());
        self.reload()?;
        if self.run.run_row() != memory || self.run.all_task_rows() != rows {
            return Err(self.told("the memory is not the fold of the log"));
        }
        if rows.iter().any(|row| self.rows.get(&row.task_id) != Some(row)) {
            return Err(self.told("the rows are not those of the log"));
        }
        Ok(memory.status)
    }

    /// The run as the log tells it now, to its end.
    pub(super) fn take_over(&mut self) -> Result<(), String> {
        self.reload()?;
        self.rows = self.run.all_task_rows().into_iter().map(|row| (row.task_id.clone(), row)).collect();
        self.finish().map(|_| ())
    }

    /// How many events there are of this kind about the contested task.
    pub(super) fn count(&self, is_it: impl Fn(&Event) -> bool) -> usize {
        self.log.iter().filter(|event| is_it(event)).count()
    }

    /// What is wrong, with the log.
    pub(super) fn told(&self, why: &str) -> String {
        let lines = self.log.iter().map(|event| serde_json::to_string(event).expect("an event can be written as JSON"));
        format!("{why}\n{}", lines.collect::<Vec<_>>().join("\n"))
    }

    /// The log and what was accepted name the same winner, and the log exactly one.
    pub(super) fn agree(&self, accepted: Winner, first: usize, second: usize) -> Result<Winner, String> {
        let logged = match (first, second) {
            (1, 0) => Winner::First,
            (0, 1) => Winner::Second,
            both => return Err(self.told(&format!("the log names {both:?} winners"))),
        };
        if logged == accepted {
            Ok(logged)
        } else {
            Err(self.told(&format!("{accepted:?} came first, and the log says {logged:?}")))
        }
    }
}

pub(super) fn success(n: usize) -> TaskOutcome {
    TaskOutcome::Succeeded { output: Payload::new(json!({ "n": n })), usage: Usage::default(), warnings: Vec::new() }
}

/// How a worker may end, when it is not by success.
pub(super) fn failure(rng: &mut Rng) -> TaskOutcome {
    let kind = [ErrorKind::User, ErrorKind::Auth, ErrorKind::Provider][rng.usize(..3)];
    TaskOutcome::Failed { error: TaskError::new(kind, "it did not work"), usage: Usage::default() }
}

pub(super) fn ended(task: &TaskId, attempt: u32, outcome: TaskOutcome) -> Input {
    Input::TaskEnded { task: task.clone(), attempt, outcome, jitter: 0.5 }
}
