//! The rows of tasks.

use rusqlite::{Connection, params};
use segue_core::{
    event::Event,
    ids::{RunId, TaskId},
    ports::{StoreError, TaskRow},
    status::Status,
};

use crate::{
    encode::{self, RowText, damaged},
    failure::Failure,
    log,
    runs::RunHead,
};

/// Task rows ready to be written.
#[derive(Debug)]
pub(crate) struct TaskTexts(Vec<TaskText>);

#[derive(Debug)]
struct TaskText {
    task_id: TaskId,
    row: RowText,
    waits: bool,
    /// When the waiting began, if it did in this commit: in microseconds since 1970.
    waits_since: Option<i64>,
}

impl TaskTexts {
    pub(crate) fn of(run: RunId, rows: &[TaskRow], events: &[Event]) -> Self {
        let first = events.first().map_or(0, |event| event.seq);
        let event = |seq: u64| events.get(usize::try_from(seq.checked_sub(first)?).ok()?);
        let text = |row: &TaskRow| {
            let waits = row.status == Status::Waiting;
            let began = row.result_seq.filter(|_| waits).and_then(event);
            TaskText {
                task_id: row.task_id.clone(),
                row: RowText::of(run.as_bytes(), row),
                waits,
                waits_since: began.map(|event| event.time.as_micros()),
            }
        };
        Self(rows.iter().map(text).collect())
    }
}

/// Writes rows of a run. A row that exists keeps its place in the order.
pub(crate) fn put(db: &Connection, run_no: i64, tasks: &TaskTexts) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO tasks (place, run_no, task_id, row, row_sum, waiting_since) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (run_no, task_id) DO UPDATE SET row = excluded.row, \
         row_sum = excluded.row_sum, waiting_since = CASE WHEN ?7 THEN coalesce(?6, waiting_since) END";
    if tasks.0.is_empty() {
        return Ok(());
    }
    let next = next_place(db, run_no)?;
    let mut insert = db.prepare_cached(SQL)?;
    for (place, task) in (next..).zip(&tasks.0) {
        let TaskText { task_id, row, waits, waits_since } = task;
        insert.execute(params![place, run_no, task_id.as_str(), row.text, row.sum, waits_since, waits])?;
    }
    Ok(())
}

/// The place behind all of the run's tasks.
fn next_place(db: &Connection, run_no: i64) -> Result<i64, Failure> {
    const SQL: &str = "SELECT max(place) FROM tasks WHERE place >= ?1 AND place < ?2";
    let (first, end) = (log::place(run_no, 1), log::place(run_no + 1, 0));
    let last: Option<i64> = db.prepare_cached(SQL)?.query_row([first, end], |row| row.get(0))?;
    Ok(last.map_or(first, |last| last + 1))
}

/// All rows of a run, in the order in which they first changed. Damage can hide rows of a table without making any of them
/// wrong; the index, which lies elsewhere, knows how many there are.
pub(crate) fn list(db: &Connection, run: &RunHead) -> Result<Vec<TaskRow>, Failure> {
    const SQL: &str = "SELECT task_id, row, row_sum FROM tasks WHERE place BETWEEN ?1 AND ?2 ORDER BY place";
    const COUNT: &str = "SELECT count(*) FROM tasks INDEXED BY tasks_by_id WHERE run_no = ?1";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run.run_no, 0), log::place(run.run_no + 1, 0) - 1])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let what = || format!("task {} of run {}", name(row), run.run_id);
        found.push(encode::read_row(run.run_id.as_bytes(), row, 1, 2, &what)?);
    }
    let count: i64 = db.prepare_cached(COUNT)?.query_row([run.run_no], |row| row.get(0))?;
    if usize::try_from(count) != Ok(found.len()) {
        let what = format!("the tasks of run {}", run.run_id);
        return Err(damaged(what, &format!("are {} in one place and {count} in another", found.len())));
    }
    Ok(found)
}

/// One row.
pub(crate) fn get(db: &Connection, run: &RunHead, task: &TaskId) -> Result<TaskRow, Failure> {
    const SQL: &str = "SELECT row, row_sum FROM tasks WHERE run_no = ?1 AND task_id = ?2";
    let what = || format!("task {task} of run {}", run.run_id);
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(params![run.run_no, task.as_str()])?;
    match rows.next()? {
        Some(row) => encode::read_row(run.run_id.as_bytes(), row, 0, 1, &what),
        None => Err(StoreError::NotFound(what()).into()),
    }
}

fn name(row: &rusqlite::Row<'_>) -> String {
    row.get_ref(0).map(|value| String::from_utf8_lossy(encode::bytes(value)).into_owned()).unwrap_or_default()
}
