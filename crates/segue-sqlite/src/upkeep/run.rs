//! One run: its rows against their checksums, and against what stands beside them.

use std::collections::BTreeMap;

use rusqlite::{Connection, types::ValueRef};
use segue_core::{
    ids::{RunId, TaskId},
    ports::{Finding, FindingKind, Findings, RunRow, TaskRow},
    status::Status,
    time::Timestamp,
};

use super::{log as logs, told};
use crate::{
    encode,
    failure::Failure,
    inbox, journal, log,
    runs::{self, RunHead},
    threads,
};

pub(super) fn verify(db: &Connection, run: RunId) -> Result<Findings, Failure> {
    let head = runs::head(db, run)?;
    let mut findings = Findings::default();
    let row = runs::get(db, run);
    if let Some(row) = told(&mut findings, row, |why| Finding::of(FindingKind::Run, run, why))? {
        beside(db, &head, &row, &mut findings)?;
        labels(db, &row, &mut findings)?;
    }
    logs::verify(db, &head, &mut findings)?;
    tasks(db, &head, &mut findings)?;
    told(&mut findings, inbox::pending(db, run), |why| Finding::of(FindingKind::Request, run, why))?;
    for effect_key in journal::damaged_in(db, head.run_no)? {
        let what = format!("a recorded answer of a model to {effect_key} does not match its checksum");
        findings.push(Finding::of(FindingKind::ModelCall, run, what));
    }
    for thread in threads::damaged_in(db, run)? {
        let what = format!("a state of the graph {thread} does not match its checksum");
        findings.push(Finding::of(FindingKind::Checkpoint, run, what));
    }
    Ok(findings)
}

/// The columns beside a run's row have no checksum: what they say must be what the row says.
fn beside(db: &Connection, head: &RunHead, row: &RunRow, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT status, version, live, workflow_id, parent, ended_at FROM runs WHERE run_no = ?1";
    let mut wrong = Vec::new();
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([head.run_no])?;
    while let Some(columns) = rows.next()? {
        let mut compare = |name: &str, found: String, said: String| {
            if found != said {
                wrong.push(format!("its column {name} is {found}, its row says {said}"));
            }
        };
        let text = |at: usize| -> Result<String, Failure> { Ok(plain(columns.get_ref(at)?)) };
        let ended_at = row.finished_at.filter(|_| row.status.is_terminal()).map(Timestamp::as_micros);
        compare("status", text(0)?, row.status.to_string());
        compare("version", text(1)?, row.version.to_string());
        compare("live", text(2)?, i64::from(!row.status.is_terminal()).to_string());
        compare("workflow_id", text(3)?, row.workflow_id.to_string());
        let parent = match columns.get_ref(4)? {
            ValueRef::Null => "nothing".to_owned(),
            value => encode::run_id(value).map_or_else(|_| "no id".to_owned(), |id| id.to_string()),
        };
        compare("parent", parent, row.parent.map_or_else(|| "nothing".to_owned(), |id| id.to_string()));
        compare("ended_at", text(5)?, ended_at.map_or_else(|| "nothing".to_owned(), |time| time.to_string()));
    }
    wrong.into_iter().for_each(|what| findings.push(Finding::of(FindingKind::Run, head.run_id, what)));
    Ok(())
}

fn plain(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Null => "nothing".to_owned(),
        ValueRef::Integer(n) => n.to_string(),
        ValueRef::Real(n) => n.to_string(),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn labels(db: &Connection, row: &RunRow, findings: &mut Findings) -> Result<(), Failure> {
    let mut query = db.prepare_cached("SELECT name, value FROM labels WHERE run_id = ?1")?;
    let listed = query.query_map([row.run_id.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let listed: BTreeMap<String, String> = listed.collect::<Result<_, _>>()?;
    if listed != row.labels {
        let what = "its labels in the list are not those of its row";
        findings.push(Finding::of(FindingKind::Run, row.run_id, what));
    }
    Ok(())
}

fn tasks(db: &Connection, run: &RunHead, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT task_id, row, row_sum, waiting_since, run_no FROM tasks WHERE place >= ?1 AND place < ?2";
    const COUNT: &str = "SELECT count(*) FROM tasks INDEXED BY tasks_by_id WHERE run_no = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run.run_no, 0), log::place(run.run_no + 1, 0)])?;
    let mut found = 0_u64;
    while let Some(row) = rows.next()? {
        found += 1;
        let task = TaskId::new(plain(row.get_ref(0)?));
        let about = |kind, what: String| Finding::of(kind, run.run_id, what).task(task.clone());
        if row.get::<_, i64>(4)? != run.run_no {
            findings.push(about(FindingKind::Task, "its row lies among those of another run".to_owned()));
        }
        let read = encode::read_row::<TaskRow>(run.run_id.as_bytes(), row, 1, 2, &|| format!("the row of task {task}"));
        let Some(kept) = told(findings, read, |why| about(FindingKind::Task, why))? else { continue };
        if kept.task_id != task {
            findings.push(about(FindingKind::Task, format!("its row is that of task {}", kept.task_id)));
        }
        let is_listed = row.get_ref(3)? != ValueRef::Null;
        if is_listed != (kept.status == Status::Waiting) {
            let is = if is_listed { "is" } else { "is not" };
            let what = format!("{is} in the list of what waits, and its row says {}", kept.status);
            findings.push(about(FindingKind::Waiting, what));
        }
    }
    let count: u64 = db.prepare_cached(COUNT)?.query_row([run.run_no], |row| row.get(0))?;
    if count != found {
        let what = format!("its tasks have {found} rows, and the index of tasks knows {count}");
        findings.push(Finding::of(FindingKind::Task, run.run_id, what));
    }
    Ok(())
}
