//! What must be true of a store whatever has happened, and of two looks at it. Each broken promise is one text.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use segue_core::{
    event::{Event, EventKind},
    ids::EngineId,
    outcome::Loss,
    ports::EngineRecord,
    run::Run,
    status::Status,
};
use serde_json::{Value, json};

use crate::{
    snapshot::{Effects, RunLog, Snapshot},
    workload::Workload,
};

/// What a run of a workload is known to have promised so far, and what has been found to be broken.
pub struct Judge<'a> {
    workload: &'a Workload,
    /// The last look at which nothing ran.
    before: Option<(Snapshot, Effects)>,
    /// Documents that commands printed: starts and results that somebody relies on.
    acknowledged: Vec<Value>,
    /// How often each task was in flight when its engine died.
    shaken: BTreeMap<String, u32>,
    /// Engines that died, of whom it is not known what they had in flight.
    deaths: u32,
    /// Engines that may have died. Their slots are free, although they are there until somebody asks for one.
    gone: BTreeSet<EngineId>,
    /// Calls of the program fail: attempts may fail by that, and say so in the log.
    calls_fail: bool,
    may_fail: bool,
    /// An engine has said that it could not give its slots back in time: they are free when its lease ends.
    slots_kept: bool,
    problems: Vec<String>,
}

impl<'a> Judge<'a> {
    /// Of a run that has not begun.
    pub fn new(workload: &'a Workload) -> Self {
        Self {
            workload,
            before: None,
            acknowledged: Vec::new(),
            shaken: BTreeMap::new(),
            deaths: 0,
            gone: BTreeSet::new(),
            calls_fail: false,
            may_fail: false,
            slots_kept: false,
            problems: Vec::new(),
        }
    }

    /// Calls of the program fail.
    pub const fn expect_failing_calls(&mut self) {
        self.calls_fail = true;
    }

    /// A command has said this on stderr.
    pub fn hear(&mut self, said: &str) {
        self.slots_kept |= said.contains("some slots of limits could not be given back");
    }

    /// These engines were there before, and have gone.
    pub fn forget(&mut self, engines: &[EngineRecord]) {
        self.gone.extend(engines.iter().map(|engine| engine.engine_id.clone()));
    }

    /// The run may also have failed: that was said when it did.
    pub const fn allow_failure(&mut self) {
        self.may_fail = true;
    }

    /// May it have?
    pub const fn allows_failure(&self) -> bool {
        self.may_fail
    }

    /// What is broken.
    pub fn problems(self) -> Vec<String> {
        self.problems
    }

    /// Is nothing broken so far?
    pub fn is_content(&self) -> bool {
        self.problems.is_empty()
    }

    /// Something else is wrong.
    pub fn complain(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    fn demand(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.problems.push(problem());
        }
    }

    /// A command has printed these.
    pub fn acknowledge(&mut self, documents: Vec<Value>) {
        self.acknowledged.extend(documents.into_iter().filter(|document| document.get("run_id").is_some()));
    }

    /// The program died, and this is what it left. `effects` are looked at before the store.
    pub fn died(&mut self, effects: Effects, store: Result<Snapshot, String>) {
        let Some(snapshot) = self.look(&effects, store) else { return };
        for run in &snapshot.runs {
            for (task, _) in in_flight(&run.events) {
                *self.shaken.entry(task).or_default() += 1;
            }
            // The failing call may have met a task, and whoever waited could not be told.
            let names_call = run.row.error.as_ref().is_some_and(|error| error.message.contains("os error"));
            self.may_fail |= self.calls_fail && run.row.status == Status::Failed && names_call;
        }
        self.forget(&snapshot.engines);
        self.before = Some((snapshot, effects));
    }

    /// One engine died, and another (the process `heir`) goes on: `effects` were looked at before the store,
    /// `effects_after` after it.
    pub fn survived(
        &mut self,
        effects: &Effects,
        store: Result<Snapshot, String>,
        effects_after: Effects,
        heir: Option<u32>,
    ) {
        let Some(mut snapshot) = self.look(effects, store) else { return };
        snapshot.engines.retain(|engine| Some(engine.proof.pid) != heir);
        self.forget(&snapshot.engines);
        // What was in flight cannot be seen any more: the other engine may have begun it again.
        self.deaths += 1;
        // What had succeeded when the store was looked at, had done its effect by now.
        self.before = Some((snapshot, effects_after));
    }

    /// All is over.
    pub fn ended(&mut self, effects: &Effects, store: Result<Snapshot, String>) {
        let Some(snapshot) = self.look(effects, store) else { return };
        self.demand(snapshot.owners == 0, || format!("{} engines still own a run", snapshot.owners));
        let leaked = snapshot.slots.iter().filter(|(engine, _)| !self.slots_kept && !self.gone.contains(engine));
        let leaked: Vec<_> =
            leaked.map(|(engine, slot)| format!("a slot of a limit is still held by {engine}: {slot}")).collect();
        self.problems.extend(leaked);
        let [run] = &snapshot.runs[..] else {
            return self.complain(format!("one start with one key came to {} runs", snapshot.runs.len()));
        };
        let (expected, status) = (self.workload.ends, run.row.status);
        let has_failed = self.may_fail && status == Status::Failed;
        let wrong_end = || format!("the run ended {status}, not {expected}: {:?}", run.row.error);
        self.demand(status == expected || has_failed, wrong_end);
        let id = run.row.run_id;
        for task in self.workload.effects.iter().filter(|_| !has_failed) {
            let times = effects.of_key(&format!("{id}/{task}"));
            let missing = || format!("{task} never did its effect with the key {id}/{task}");
            self.problems.extend((times == 0).then(missing));
        }
        let known: BTreeSet<String> = self.workload.effects.iter().map(|task| format!("{id}/{task}")).collect();
        let strange = effects.0.keys().filter(|(key, _)| !known.contains(key));
        self.problems.extend(strange.map(|(key, _)| format!("an effect with another key: {key}")));
        self.attempts(run);
    }

    /// No attempt too many: a task starts again because its engine died under it, or because it failed by itself.
    fn attempts(&mut self, run: &RunLog) {
        let mut attempts: BTreeMap<&str, u32> = BTreeMap::new();
        for (task, _) in run.events.iter().filter_map(started) {
            *attempts.entry(task).or_default() += 1;
        }
        for (task, times) in attempts {
            let failures = if self.calls_fail { failures(run, task) } else { self.workload.own_failures(task) };
            let allowed = 1 + failures + self.deaths + self.shaken.get(task).copied().unwrap_or_default();
            self.demand(times <= allowed, || {
                format!("{task} was started {times} times, {allowed} at most are explained")
            });
        }
    }

    fn look(&mut self, effects: &Effects, store: Result<Snapshot, String>) -> Option<Snapshot> {
        let snapshot = match store {
            Ok(snapshot) => snapshot,
            Err(error) => {
                self.complain(format!("the store cannot be read: {error}"));
                return None;
            }
        };
        self.problems.extend(snapshot.findings.iter().map(|found| format!("verify finds {found}")));
        for run in &snapshot.runs {
            self.log(run);
            self.effects(run, effects);
        }
        for acknowledged in self.acknowledged.clone() {
            self.kept(&acknowledged, &snapshot);
        }
        if let Some((before, effects_before)) = self.before.take() {
            for run in &before.runs {
                self.goes_on(run, &snapshot, &effects_before, effects);
            }
            self.before = Some((before, effects_before));
        }
        Some(snapshot)
    }

    /// A log has no gaps, says each thing once, and is what the summaries say.
    fn log(&mut self, run: &RunLog) {
        let id = run.row.run_id;
        for (at, event) in run.events.iter().enumerate() {
            self.demand(event.seq == at as u64 + 1, || format!("a gap in the log of {id} before seq {}", event.seq));
        }
        let mut succeeded = BTreeSet::new();
        for event in &run.events {
            let task = event.task_id.as_ref().map(ToString::to_string).unwrap_or_default();
            match event.kind {
                EventKind::TaskStarted {} => {
                    self.demand(!succeeded.contains(&task), || format!("{task} started after its success"));
                }
                EventKind::TaskSucceeded { .. } => {
                    let is_first = succeeded.insert(task.clone());
                    self.demand(is_first, || format!("{task} succeeded twice"));
                }
                _ => {}
            }
        }
        let is_end = |event: &&Event| matches!(event.kind.name(), "run.succeeded" | "run.failed" | "run.cancelled");
        let ends = run.events.iter().filter(is_end).count();
        let is_over = run.row.status.is_terminal();
        self.demand(ends == usize::from(is_over), || format!("{} has {ends} ends in its log", run.row.status));
        let last_is_end = run.events.last().is_some_and(|event| is_end(&event));
        self.demand(last_is_end == is_over, || "something follows the end of the run".to_owned());
        match Run::fold(Arc::new(self.workload.plan()), id, &run.events) {
            Ok(folded) => {
                let (row, tasks) = (folded.run_row(), folded.all_task_rows());
                self.demand(row == run.row, || {
                    format!("the summary is not the fold of the log: {:?}, {row:?}", run.row)
                });
                let by_id = |rows: &[segue_core::ports::TaskRow]| -> BTreeMap<String, Value> {
                    rows.iter().map(|row| (row.task_id.to_string(), json!(row))).collect()
                };
                let (said, folded) = (by_id(&run.tasks), by_id(&tasks));
                let differ = |(task, row): &(&String, &Value)| folded.get(*task) != Some(*row);
                let wrong: Vec<_> = said.iter().filter(differ).map(|(task, _)| task.clone()).collect();
                self.demand(wrong.is_empty(), || format!("tasks are not the fold of the log: {wrong:?}"));
            }
            Err(error) => self.complain(format!("the log of {id} does not fold: {error}")),
        }
    }

    /// What tasks did, they did after their start was recorded, once an attempt.
    fn effects(&mut self, run: &RunLog, effects: &Effects) {
        let prefix = format!("{}/", run.row.run_id);
        let started: BTreeSet<(&str, u32)> = run.events.iter().filter_map(started).collect();
        for ((key, attempt), times) in &effects.0 {
            let Some(task) = key.strip_prefix(&prefix) else { continue };
            let has_started = started.contains(&(task, *attempt));
            self.demand(has_started, || {
                format!("attempt {attempt} of {task} had an effect before its start was recorded")
            });
            self.demand(*times == 1, || format!("attempt {attempt} of {task} ran {times} times"));
        }
    }

    /// What was acknowledged is there.
    fn kept(&mut self, acknowledged: &Value, snapshot: &Snapshot) {
        let id = acknowledged["run_id"].as_str().unwrap_or_default();
        let Some(run) = snapshot.runs.iter().find(|run| run.row.run_id.to_string() == id) else {
            return self.complain(format!("the start of {id} was acknowledged, and it is not there"));
        };
        let said = acknowledged["status"].as_str().unwrap_or_default();
        let is_result = [Status::Succeeded, Status::Failed, Status::Cancelled].iter().any(|end| end.as_str() == said);
        let status = run.row.status;
        self.demand(!is_result || status.as_str() == said, || {
            format!("{said} was acknowledged, and {status} is stored")
        });
    }

    /// Nothing that was recorded is lost, and nothing that had succeeded ran again.
    fn goes_on(&mut self, before: &RunLog, now: &Snapshot, effects_before: &Effects, effects: &Effects) {
        let id = before.row.run_id;
        let Some(run) = now.runs.iter().find(|run| run.row.run_id == id) else {
            return self.complain(format!("the run {id} was recorded, and it is gone"));
        };
        let is_kept = run.events.starts_with(&before.events);
        self.demand(is_kept, || {
            format!("{} events were recorded, and the log does not go on from there", before.events.len())
        });
        for event in before.events.iter().filter(|event| matches!(event.kind, EventKind::TaskSucceeded { .. })) {
            let Some(task) = &event.task_id else { continue };
            let key = format!("{id}/{task}");
            let (then, now) = (effects_before.of_key(&key), effects.of_key(&key));
            self.demand(then == now, || format!("{task} ran again although its success was recorded"));
        }
    }
}

fn started(event: &Event) -> Option<(&str, u32)> {
    match event.kind {
        EventKind::TaskStarted {} => Some((event.task_id.as_ref()?.as_str(), event.attempt?)),
        _ => None,
    }
}

/// How often a task's attempt failed, or lost its worker, and was tried again. The loss of an engine is not one of them.
fn failures(run: &RunLog, task: &str) -> u32 {
    let of_task = run.events.iter().filter(|event| event.task_id.as_ref().is_some_and(|id| id.as_str() == task));
    let is_own = |event: &&Event| matches!(&event.kind, EventKind::TaskRetrying { lost, .. } if !matches!(lost, Some(Loss::Engine | Loss::Drained)));
    u32::try_from(of_task.filter(is_own).count()).unwrap_or(u32::MAX)
}

/// The attempts that a log leaves open.
fn in_flight(events: &[Event]) -> BTreeMap<String, u32> {
    let mut open = BTreeMap::new();
    for event in events {
        match (started(event), &event.task_id, event.attempt) {
            (Some((task, attempt)), ..) => {
                open.insert(task.to_owned(), attempt);
            }
            (None, Some(task), Some(_)) => {
                open.remove(task.as_str());
            }
            _ => {}
        }
    }
    open
}
