//! Leases: which engine may commit for which run.
//!
//! An engine has one lease for all its runs, so that renewing costs one row however many it has. A run knows its owner
//! and its fence; each claim raises the fence, and that makes every commit of the earlier owner a conflict.
//!
//! Leases are measured by the clock of the machine's boot, which all its processes share and nobody can set: a wall clock
//! that jumps ends no lease and prolongs none. One of an earlier boot has ended.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, ToSql, named_params, params};
use segue_core::{
    ids::{EngineId, RunId},
    ports::{ClaimRequest, EngineRecord, Lease, OwnerProof},
};

use serde::Serialize;

use crate::{boot, encode, failure::Failure};

/// Makes an engine known, or renews its lease.
pub(crate) fn renew(db: &Connection, engine: &EngineRecord, ttl: Duration) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO engines (engine_id, boot_id, pid, started_ticks, lease_boot, lease_until_ms) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
         ON CONFLICT DO UPDATE SET boot_id = excluded.boot_id, pid = excluded.pid, started_ticks = excluded.started_ticks, \
         lease_boot = excluded.lease_boot, lease_until_ms = excluded.lease_until_ms";
    if !is_known(db, &engine.engine_id)? {
        forget_idle(db)?;
    }
    let OwnerProof { boot_id, pid, started_ticks } = &engine.proof;
    let until_ms = boot::now_ms().saturating_add(i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX));
    let id = engine.engine_id.as_str();
    db.prepare_cached(SQL)?.execute(params![id, boot_id, pid, started_ticks, boot::id(), until_ms])?;
    Ok(())
}

fn is_known(db: &Connection, engine: &EngineId) -> Result<bool, Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM engines WHERE engine_id = ?1)";
    Ok(db.prepare_cached(SQL)?.query_row([engine.as_str()], |row| row.get(0))?)
}

/// Each start of a program makes an engine; those whose lease ended and that own nothing are of no use to anybody.
fn forget_idle(db: &Connection) -> Result<(), Failure> {
    const SQL: &str = "DELETE FROM engines WHERE NOT (lease_boot = ?1 AND lease_until_ms > ?2) \
         AND NOT EXISTS (SELECT 1 FROM runs WHERE owner = engine_id AND owner IS NOT NULL)";
    db.prepare_cached(SQL)?.execute(params![boot::id(), boot::now_ms()])?;
    Ok(())
}

const OWNERS: &str = "SELECT engine_id, boot_id, pid, started_ticks FROM engines \
     WHERE EXISTS (SELECT 1 FROM runs WHERE owner = engine_id AND owner IS NOT NULL) ORDER BY engine_id";

/// The engines that own a run.
pub(crate) fn owners(db: &Connection) -> Result<Vec<EngineRecord>, Failure> {
    let mut query = db.prepare_cached(OWNERS)?;
    let rows = query.query_map([], |row| {
        Ok(EngineRecord {
            engine_id: EngineId::new(row.get::<_, String>(0)?),
            proof: OwnerProof { boot_id: row.get(1)?, pid: row.get(2)?, started_ticks: row.get(3)? },
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

const CLAIMABLE: &str = "WITH holding AS ( \
         SELECT engine_id FROM engines WHERE lease_boot = :boot AND lease_until_ms > :now_ms \
         AND engine_id NOT IN (SELECT value FROM json_each(:dead)) \
     ), open AS ( \
         SELECT run_no FROM runs WHERE live = 1 AND (owner IS NULL OR owner NOT IN holding) \
         UNION ALL \
         SELECT run_no FROM runs WHERE live = 0 AND (owner IS NULL OR owner NOT IN holding) \
         AND run_no IN (SELECT run_no FROM requests WHERE reopens = 1) \
     ) \
     SELECT run_no, run_id FROM runs WHERE run_no IN open \
     AND (:runs IS NULL OR run_id IN (SELECT unhex(value, '-') FROM json_each(:runs))) \
     ORDER BY run_id LIMIT :limit";

/// Runs that could be claimed now, oldest first: live ones, and ended ones that somebody wants reopened, without an owner
/// whose lease holds. Only reads, so that looking for work (the usual answer is "none") does not hold up the writer.
pub(crate) fn claimable(db: &Connection, request: &ClaimRequest) -> Result<Vec<(i64, RunId)>, Failure> {
    let mut query = db.prepare_cached(CLAIMABLE)?;
    let mut rows = query.query(named_params! {
        ":boot": boot::id(),
        ":now_ms": boot::now_ms(),
        ":dead": json(&request.dead),
        ":runs": (!request.runs.is_empty()).then(|| json(&request.runs)),
        ":limit": i64::try_from(request.limit).unwrap_or(i64::MAX),
    })?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push((row.get(0)?, encode::run_id(row.get_ref(1)?)?));
    }
    Ok(found)
}

fn json<T: Serialize>(list: &[T]) -> String {
    serde_json::to_string(list).expect("ids can be written as JSON")
}

/// Gives what is claimable to the engine that asks, if its own lease holds.
pub(crate) fn claim(db: &Connection, request: &ClaimRequest) -> Result<Vec<Lease>, Failure> {
    const SQL: &str = "UPDATE runs SET owner = ?2, fence = fence + 1 WHERE run_no = ?1 RETURNING fence";
    if !holds_lease(db, &request.engine_id)? {
        return Ok(Vec::new());
    }
    let mut update = db.prepare_cached(SQL)?;
    claimable(db, request)?
        .into_iter()
        .map(|(run_no, run_id)| {
            let fence = update.query_row(params![run_no, request.engine_id.as_str()], |row| row.get(0))?;
            Ok(Lease { run_id, fence })
        })
        .collect()
}

fn holds_lease(db: &Connection, engine: &EngineId) -> Result<bool, Failure> {
    const SQL: &str = "SELECT lease_boot = ?2 AND lease_until_ms > ?3 FROM engines WHERE engine_id = ?1";
    let of = params![engine.as_str(), boot::id(), boot::now_ms()];
    let holds = db.prepare_cached(SQL)?.query_row(of, |row| row.get(0)).optional()?;
    Ok(holds.unwrap_or(false))
}

const OWNED: &str = "SELECT run_id FROM runs WHERE owner = ?1 AND owner IS NOT NULL";

/// The runs that an engine owns.
pub(crate) fn owned(db: &Connection, engine: &EngineId) -> Result<Vec<RunId>, Failure> {
    run_ids(db, OWNED, params![engine.as_str()])
}

const LEFT: &str = "SELECT run_id FROM runs WHERE live = 1 AND owner IS NULL LIMIT 1";

/// A run that is left to be claimed, if there is one.
pub(crate) fn left(db: &Connection) -> Result<Option<RunId>, Failure> {
    Ok(run_ids(db, LEFT, params![])?.pop())
}

fn run_ids(db: &Connection, sql: &str, of: &[&dyn ToSql]) -> Result<Vec<RunId>, Failure> {
    let mut query = db.prepare_cached(sql)?;
    let mut rows = query.query(of)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(encode::run_id(row.get_ref(0)?)?);
    }
    Ok(found)
}

/// Gives runs back.
pub(crate) fn release(db: &Connection, leases: &[Lease]) -> Result<(), Failure> {
    const SQL: &str = "UPDATE runs SET owner = NULL WHERE run_id = ?1 AND fence = ?2";
    let mut update = db.prepare_cached(SQL)?;
    for lease in leases {
        update.execute(params![lease.run_id.as_bytes(), lease.fence])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What every engine asks again and again costs as much as there are open runs, whatever the length of the history.
    #[test]
    fn looking_for_work_walks_no_history() {
        for sql in [OWNERS, CLAIMABLE, OWNED, LEFT] {
            let plan = crate::schema::plan(sql);
            let walks = |step: &&String| step.starts_with("SCAN runs") && !step.contains("INDEX runs_open");
            assert_eq!(plan.iter().find(walks), None, "{plan:#?}");
        }
    }
}
