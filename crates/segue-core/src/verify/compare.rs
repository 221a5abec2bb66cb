//! Rows against the fold of the log.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Rows, Verifier};
use crate::{
    event::Waiting,
    ids::{RunId, TaskId},
    ports::{Finding, FindingKind, TaskRow, WaitingTask},
    run::Run,
    status::Status,
};

impl Verifier<'_> {
    /// Everything that the rows say against what the log says.
    pub(super) fn compare(&mut self, folded: &Run, rows: Rows) {
        let run = folded.id();
        if let Some(differences) = differences(&rows.run, &folded.run_row()) {
            self.report.findings.push(Finding::of(FindingKind::Run, run, format!("its row: {differences}")));
        }
        if let Some((tasks, waiting)) = rows.rest {
            self.compare_tasks(folded, tasks);
            self.compare_waiting(folded, waiting);
        }
    }

    fn compare_tasks(&mut self, folded: &Run, tasks: Vec<TaskRow>) {
        let run = folded.id();
        let mut kept: BTreeMap<TaskId, TaskRow> = BTreeMap::new();
        for row in tasks {
            if let Some(twice) = kept.insert(row.task_id.clone(), row) {
                self.task(run, twice.task_id, "has two rows".to_owned());
            }
        }
        for row in folded.all_task_rows() {
            match kept.remove(&row.task_id) {
                Some(kept) => {
                    if let Some(differences) = differences(&kept, &row) {
                        self.task(run, row.task_id, differences);
                    }
                }
                // A task that never changed has no row.
                None if row.status == Status::Pending && row.attempts == 0 => {}
                None => {
                    let status = row.status;
                    self.task(run, row.task_id, format!("its row is missing; the log says {status}"));
                }
            }
        }
        for (task, row) in kept {
            self.task(run, task, format!("has a row ({}), and the log knows no such task", row.status));
        }
    }

    fn compare_waiting(&mut self, folded: &Run, listed: Vec<WaitingTask>) {
        let run = folded.id();
        let mut listed: BTreeMap<TaskId, Waiting> =
            listed.into_iter().map(|task| (task.task_id, task.waiting)).collect();
        for (task, waiting) in folded.waiting() {
            let wrong = match listed.remove(task) {
                Some(listed) if listed == *waiting => continue,
                Some(_) => "is listed as waiting for something else than the log says",
                None => "waits, and is not in the list of what waits",
            };
            self.report.findings.push(Finding::of(FindingKind::Waiting, run, wrong).task(task.clone()));
        }
        for task in listed.into_keys() {
            let wrong = "is in the list of what waits, and does not wait";
            self.report.findings.push(Finding::of(FindingKind::Waiting, run, wrong).task(task));
        }
    }

    fn task(&mut self, run: RunId, task: TaskId, wrong: String) {
        self.report.findings.push(Finding::of(FindingKind::Task, run, wrong).task(task));
    }
}

/// Which fields of a row are not what the log says; none if all are.
fn differences<T: Serialize>(row: &T, folded: &T) -> Option<String> {
    let (row, folded) = (fields(row), fields(folded));
    let names = row.keys().chain(folded.keys().filter(|name| !row.contains_key(*name)));
    let differ = names.filter(|name| row.get(*name) != folded.get(*name));
    let said = differ.map(|name| {
        let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), brief);
        format!("{name} is {}, the log says {}", text(row.get(name)), text(folded.get(name)))
    });
    let said: Vec<String> = said.collect();
    (!said.is_empty()).then(|| said.join("; "))
}

fn fields<T: Serialize>(row: &T) -> Map<String, Value> {
    match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

fn brief(value: &Value) -> String {
    const LONGEST: usize = 120;
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
