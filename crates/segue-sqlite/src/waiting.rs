//! Tasks that wait, with what they wait for.

use std::collections::{BTreeMap, btree_map::Entry};

use rusqlite::{Connection, params};
use segue_core::{
    event::{Event, EventKind},
    ids::{RunId, WorkflowId},
    ports::{TaskRow, WaitingTask},
    status::Status,
};

use crate::{
    encode::{self, damaged},
    failure::Failure,
    log,
    runs::{self, RunHead},
};

pub(crate) const OF_ALL: &str = "SELECT run_no, waiting_since, task_id, row, row_sum FROM tasks \
     WHERE waiting_since IS NOT NULL ORDER BY waiting_since, place LIMIT ?1";
pub(crate) const OF_RUN: &str = "SELECT run_no, waiting_since, task_id, row, row_sum FROM tasks \
     WHERE run_no = ?2 AND waiting_since IS NOT NULL ORDER BY waiting_since, place LIMIT ?1";

/// Those of one run, or of all, the one that has waited longest first.
pub(crate) fn list(db: &Connection, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, Failure> {
    let mut questions = Questions::default();
    let mut query = db.prepare_cached(if run.is_some() { OF_RUN } else { OF_ALL })?;
    let limit = encode::limit(limit);
    let mut rows = match run {
        Some(run) => query.query(params![limit, runs::head(db, run)?.run_no])?,
        None => query.query([limit])?,
    };
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(of) = questions.run(db, row.get(0)?)? else { continue };
        let (run, workflow_id) = (of.0.run_id, of.1.clone());
        let what =
            || format!("task {} of run {run}", String::from_utf8_lossy(row.get_ref(2).map_or(&[], encode::bytes)));
        let since: i64 = row.get(1)?;
        let task: TaskRow = encode::read_row(run.as_bytes(), row, 3, 4, &what)?;
        let event = task.result_seq.filter(|_| task.status == Status::Waiting);
        let event = event.map(|seq| questions.event(db, row.get(0)?, seq)).transpose()?.flatten();
        match event {
            Some(Event { time, kind: EventKind::TaskWaiting(waiting), .. }) if time.as_micros() == since => {
                found.push(WaitingTask { run_id: run, workflow_id, task_id: task.task_id, since: time, waiting });
            }
            _ => return Err(damaged(what(), "does not wait, or for something that is not in the log")),
        }
    }
    Ok(found)
}

/// What the tasks have in common: their runs, and the commits in which many of them began to wait.
#[derive(Default)]
struct Questions {
    runs: BTreeMap<i64, Option<(RunHead, WorkflowId)>>,
    batch: Option<(i64, Vec<Event>)>,
}

impl Questions {
    fn run(&mut self, db: &Connection, run_no: i64) -> Result<Option<&(RunHead, WorkflowId)>, Failure> {
        let known = match self.runs.entry(run_no) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(match runs::numbered(db, run_no)? {
                Some(run) => Some((runs::head(db, run)?, runs::get(db, run)?.workflow_id)),
                // It is being deleted.
                None => None,
            }),
        };
        Ok(known.as_ref())
    }

    fn event(&mut self, db: &Connection, run_no: i64, seq: u64) -> Result<Option<Event>, Failure> {
        let is_in = |events: &[Event]| {
            events.first().is_some_and(|first| first.seq <= seq) && events.last().is_some_and(|last| last.seq >= seq)
        };
        if !self.batch.as_ref().is_some_and(|(of, events)| *of == run_no && is_in(events)) {
            let Some((head, _)) = self.run(db, run_no)? else { return Ok(None) };
            self.batch = Some((run_no, log::commit_with(db, head, seq)?));
        }
        let events = self.batch.iter().flat_map(|(_, events)| events);
        Ok(events.into_iter().find(|event| event.seq == seq).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    /// The tasks that do not wait are in neither index.
    #[test]
    fn waiting_tasks_are_found_without_walking_the_others() {
        assert_eq!(plan(OF_ALL), ["SEARCH tasks USING INDEX tasks_waiting (waiting_since>?)"]);
        assert_eq!(plan(OF_RUN), ["SEARCH tasks USING INDEX tasks_waiting_of_run (run_no=? AND waiting_since>?)"]);
    }
}
