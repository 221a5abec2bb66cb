//! Tasks that wait, with what they wait for.

use std::collections::HashMap;

use deadpool_postgres::Object;
use segue_core::{
    event::{Event, EventKind},
    ids::{RunId, WorkflowId},
    ports::{TaskRow, WaitingTask},
    seal::{self, LogReader},
    status::Status,
};
use tokio_postgres::{IsolationLevel, Row};
use uuid::Uuid;

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
    runs, tasks,
};

pub(crate) const OF_ALL: &str = "SELECT tasks.run_id, workflow_id, task_id, waiting_since, waiting_seq, tasks.summary, \
     tasks.sum FROM tasks JOIN runs USING (run_id) WHERE waiting_since IS NOT NULL \
     ORDER BY waiting_since, tasks.run_id, since, place LIMIT $1";
pub(crate) const OF_RUN: &str = "SELECT tasks.run_id, workflow_id, task_id, waiting_since, waiting_seq, tasks.summary, \
     tasks.sum FROM tasks JOIN runs USING (run_id) WHERE tasks.run_id = $2 AND waiting_since IS NOT NULL \
     ORDER BY waiting_since, since, place LIMIT $1";

/// Those of one run, or of all, the one that has waited longest first.
pub(crate) async fn list(db: &mut Object, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, Failure> {
    let moment = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    let limit = encode::limit(limit);
    let rows = match run {
        Some(run) => {
            runs::check(&moment, run).await?;
            moment.rows(OF_RUN, &[&limit, &encode::uuid(run)]).await?
        }
        None => moment.rows(OF_ALL, &[&limit]).await?,
    };
    let questions = Questions::of(&moment, &rows).await?;
    let found = rows.iter().map(|row| read(row, &questions)).collect::<Result<_, _>>()?;
    moment.commit().await?;
    Ok(found)
}

fn read(row: &Row, questions: &Questions) -> Result<WaitingTask, Failure> {
    let (run_id, task): (_, &str) = (encode::run_id(row.try_get(0)?), row.try_get(2)?);
    let (workflow, since): (&str, i64) = (row.try_get(1)?, row.try_get(3)?);
    let known: TaskRow = encode::summary(run_id.as_bytes(), row, || tasks::what(run_id, task))?;
    let seq = known.result_seq.filter(|_| known.status == Status::Waiting);
    match seq.and_then(|seq| questions.0.get(&(run_id, seq))) {
        Some(Event { time, kind: EventKind::TaskWaiting(waiting), .. }) if time.as_micros() == since => {
            Ok(WaitingTask {
                run_id,
                workflow_id: WorkflowId::new(workflow),
                task_id: known.task_id,
                since: *time,
                waiting: waiting.clone(),
            })
        }
        _ => Err(damaged(tasks::what(run_id, task), "does not wait, or for something that is not in the log")),
    }
}

/// The events that say what tasks wait for.
struct Questions(HashMap<(RunId, u64), Event>);

impl Questions {
    /// Many tasks began to wait in one commit: each commit is read once.
    async fn of(db: &impl Prepares, rows: &[Row]) -> Result<Self, Failure> {
        const SQL: &str = "SELECT DISTINCT ON (run_id, seq) asked.run_id, log.seq, log.body, log.chain, before.chain \
             FROM unnest($1::uuid[], $2::bigint[]) AS asked (run_id, waits) \
             CROSS JOIN LATERAL (SELECT seq FROM events WHERE events.run_id = asked.run_id AND events.seq <= waits \
                 ORDER BY events.seq DESC LIMIT 1) AS place \
             JOIN events AS log ON log.run_id = asked.run_id AND log.seq = place.seq \
             LEFT JOIN LATERAL (SELECT chain FROM events WHERE events.run_id = asked.run_id AND events.seq < place.seq \
                 ORDER BY events.seq DESC LIMIT 1) AS before ON TRUE";
        let (mut of, mut at): (Vec<Uuid>, Vec<i64>) = Default::default();
        for row in rows {
            of.push(row.try_get(0)?);
            at.push(row.try_get::<_, Option<i64>>(4)?.unwrap_or(0));
        }
        let mut events = HashMap::new();
        for row in db.rows(SQL, &[&of, &at]).await? {
            let (run, seq) = (encode::run_id(row.try_get(0)?), encode::count(row.try_get(1)?));
            let (text, chain, before): (&str, &[u8], Option<&[u8]>) =
                (row.try_get(2)?, row.try_get(3)?, row.try_get(4)?);
            let before = before.map_or_else(|| seal::chain_start(run), encode::hash);
            let commit = LogReader::new(run, seq, before).commit(seq, text.as_bytes(), encode::hash(chain));
            for event in commit? {
                events.insert((run, event.seq), event);
            }
        }
        Ok(Self(events))
    }
}
