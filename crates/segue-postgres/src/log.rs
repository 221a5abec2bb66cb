//! The log of a run.

use segue_core::{event::Event, ids::RunId, seal::LogReader};

use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
    runs,
};

/// The run's head beside the commits that hold what is asked for, and the one before them for its link of the chain: one
/// statement, so that all of it is of one moment.
pub(crate) const SQL: &str = "SELECT runs.version, runs.chain AS end_chain, log.seq, log.body, log.chain \
     FROM runs LEFT JOIN LATERAL ( \
         SELECT seq, body, chain FROM events WHERE events.run_id = runs.run_id AND seq >= coalesce( \
             (SELECT min(seq) FROM (SELECT seq FROM events AS earlier WHERE earlier.run_id = runs.run_id \
                 AND earlier.seq <= $2::bigint + 1 ORDER BY earlier.seq DESC LIMIT 2) AS two), 0) \
         ORDER BY seq LIMIT $3::bigint \
     ) AS log ON runs.version > $2::bigint WHERE runs.run_id = $1 ORDER BY log.seq";

/// The events after `after`, at most `limit` (0: all). The chain is checked over all commits that are read, and against
/// the run's row if they reach the end.
pub(crate) async fn read(db: &impl Prepares, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, Failure> {
    // Two more than events: the commit before, and the one that holds the first event asked for.
    let commits_max = encode::limit(limit).map(|limit| limit.saturating_add(2));
    let from = i64::try_from(after).unwrap_or(i64::MAX - 1);
    let rows = db.rows(SQL, &[&encode::uuid(run), &from, &commits_max]).await?;
    let Some(head) = rows.first() else { return Err(runs::not_found(run)) };
    let version = encode::count(head.try_get(0)?);
    if after >= version {
        return Ok(Vec::new());
    }
    let missing = || damaged(format!("the log of run {run} at seq {}", after + 1), "is missing");
    let mut events = Vec::new();
    let mut log = None;
    for row in &rows {
        let seq = encode::count(row.try_get::<_, Option<i64>>(2)?.ok_or_else(missing)?);
        let (text, chain): (&str, &[u8]) = (row.try_get(3)?, row.try_get(4)?);
        let reader = match &mut log {
            Some(log) => log,
            None if seq == 1 => log.insert(LogReader::from_start(run)),
            // The commit before what is asked for: where it ends, the next row says.
            None => {
                let next = rows.get(1).ok_or_else(missing)?.try_get::<_, i64>(2)?;
                log = Some(LogReader::new(run, encode::count(next), encode::hash(chain)));
                continue;
            }
        };
        for event in reader.commit(seq, text.as_bytes(), encode::hash(chain))? {
            if event.seq > after {
                events.push(event);
                if events.len() == limit {
                    return Ok(events);
                }
            }
        }
    }
    let end = encode::hash(head.try_get::<_, &[u8]>(1)?);
    log.ok_or_else(missing)?.end(version, end)?;
    Ok(events)
}
