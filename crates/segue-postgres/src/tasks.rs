//! The rows of tasks, and what tasks have come to.

use deadpool_postgres::Object;
use segue_core::{
    ids::{RunId, TaskId},
    outcome::TaskResult,
    ports::{StoreError, TaskRow},
};
use tokio_postgres::IsolationLevel;

use crate::{
    encode,
    failure::{Failure, damaged},
    log,
    pool::Prepares,
    runs, values,
};

/// All rows of a run, in the order in which they first changed.
pub(crate) async fn list(db: &impl Prepares, run: RunId) -> Result<Vec<TaskRow>, Failure> {
    const SQL: &str = "SELECT task_id, tasks.summary, tasks.sum FROM runs LEFT JOIN tasks USING (run_id) \
         WHERE run_id = $1 ORDER BY since, place";
    let rows = db.rows(SQL, &[&encode::uuid(run)]).await?;
    if rows.is_empty() {
        return Err(runs::not_found(run));
    }
    let mut found = Vec::new();
    for row in &rows {
        if let Some(task) = row.try_get::<_, Option<&str>>(0)? {
            found.push(encode::summary(run.as_bytes(), row, || what(run, task))?);
        }
    }
    Ok(found)
}

/// What a task has come to, its output loaded: all of one moment.
pub(crate) async fn result(db: &mut Object, run: RunId, task: &TaskId) -> Result<TaskResult, Failure> {
    let moment = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let row = get(&moment, run, task).await?;
    let ending = match row.result_seq {
        Some(seq) => log::read(&moment, run, seq.saturating_sub(1), 1)
            .await?
            .pop()
            .map(Some)
            .ok_or_else(|| damaged(format!("the log of run {run} at seq {seq}"), "is missing"))?,
        None => None,
    };
    let mut result = row.result(ending.as_ref().map(|event| &event.kind));
    if let Some(output) = &mut result.output {
        values::load(&moment, output, &format!("the output of task {task} of run {run}")).await?;
    }
    moment.commit().await?;
    Ok(result)
}

async fn get(db: &impl Prepares, run: RunId, task: &TaskId) -> Result<TaskRow, Failure> {
    const SQL: &str = "SELECT summary, sum FROM tasks WHERE run_id = $1 AND task_id = $2";
    match db.rows(SQL, &[&encode::uuid(run), &task.as_str()]).await?.first() {
        Some(row) => encode::summary(run.as_bytes(), row, || what(run, task.as_str())),
        None => {
            runs::check(db, run).await?;
            Err(StoreError::NotFound(what(run, task.as_str())).into())
        }
    }
}

pub(crate) fn what(run: RunId, task: &str) -> String {
    format!("task {task} of run {run}")
}
