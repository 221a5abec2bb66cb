//! The rows of tasks.

use rusqlite::{Connection, params};
use segue_core::{
    ids::{RunId, TaskId},
    ports::{StoreError, TaskRow},
};

use crate::{
    encode::{self, RowText},
    failure::Failure,
    log,
    runs::RunHead,
};

/// Task rows ready to be written.
#[derive(Debug)]
pub(crate) struct TaskTexts(Vec<(TaskId, RowText)>);

impl TaskTexts {
    pub(crate) fn of(run: RunId, rows: &[TaskRow]) -> Self {
        Self(rows.iter().map(|row| (row.task_id.clone(), RowText::of(run, row))).collect())
    }
}

/// Writes rows in a commit after `version`. A row that exists keeps its place in the order.
pub(crate) fn put(db: &Connection, run_no: i64, version: u64, tasks: &TaskTexts) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO tasks (place, run_no, task_id, row, row_sum) VALUES (?1, ?2, ?3, ?4, ?5) \
         ON CONFLICT (run_no, task_id) DO UPDATE SET row = excluded.row, row_sum = excluded.row_sum";
    let mut insert = db.prepare_cached(SQL)?;
    // Each task that a commit changes has an event in it, so the numbers of two commits never meet.
    for (order, (task, row)) in (version + 1..).zip(&tasks.0) {
        insert.execute(params![log::place(run_no, order), run_no, task.as_str(), row.text, row.sum])?;
    }
    Ok(())
}

/// All rows of a run, in the order in which they first changed.
pub(crate) fn list(db: &Connection, run: &RunHead) -> Result<Vec<TaskRow>, Failure> {
    const SQL: &str = "SELECT task_id, row, row_sum FROM tasks WHERE place BETWEEN ?1 AND ?2 ORDER BY place";
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query([log::place(run.run_no, 0), log::place(run.run_no + 1, 0) - 1])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let what = || format!("task {} of run {}", name(row), run.run_id);
        found.push(encode::read_row(run.run_id, row, 1, 2, &what)?);
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
        Some(row) => encode::read_row(run.run_id, row, 0, 1, &what),
        None => Err(StoreError::NotFound(what()).into()),
    }
}

fn name(row: &rusqlite::Row<'_>) -> String {
    row.get_ref(0).map(|value| String::from_utf8_lossy(encode::bytes(value)).into_owned()).unwrap_or_default()
}
