//! How a file is, without walking what grows with every step.

use std::{collections::BTreeMap, path::Path};

use rusqlite::{Connection, OptionalExtension};
use segue_core::{
    ids::EngineId,
    ports::{Count, EngineRecord, EngineStatus, OwnerProof, StoreStatus},
    status::Status,
};

use crate::{boot, encode, failure::Failure, schema};

/// Runs up to which events are counted; of more, that many are looked at.
const RUNS_COUNTED: u64 = 20_000;
const RUNS_SAMPLED: i64 = 2_000;

pub(super) fn of(db: &Connection, path: &Path) -> Result<StoreStatus, Failure> {
    let schema = schema::state(db, path)?;
    let runs = by_status(db)?;
    let count = |sql: &str| -> Result<u64, Failure> { Ok(db.query_row(sql, [], |row| row.get(0))?) };
    let since = |version: u32, sql: &str| if schema.found >= version { count(sql) } else { Ok(0) };
    let size = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        std::fs::metadata(name).map_or(0, |file| file.len())
    };
    let pragma = |name: &str| db.pragma_query_value(None, name, |row| row.get::<_, u64>(0));
    if schema.found == 0 {
        return Ok(empty(schema, size("")));
    }
    Ok(StoreStatus {
        backend: "sqlite".to_owned(),
        schema,
        bytes: size(""),
        log_bytes: Some(size("-wal")),
        free_bytes: Some(pragma("freelist_count")? * pragma("page_size")?),
        oldest_live: oldest_live(db)?,
        events: events(db, runs.values().sum())?,
        runs,
        blobs: Count { count: count("SELECT count(*) FROM blobs")?, about: false },
        workflows: since(2, "SELECT count(DISTINCT workflow_id) FROM deployments")?,
        waiting: since(2, "SELECT count(*) FROM tasks WHERE waiting_since IS NOT NULL")?,
        requests: count("SELECT count(*) FROM requests")?,
        engines: engines(db, schema.found)?,
    })
}

fn empty(schema: segue_core::ports::SchemaVersion, bytes: u64) -> StoreStatus {
    let none = Count { count: 0, about: false };
    StoreStatus {
        backend: "sqlite".to_owned(),
        schema,
        bytes,
        log_bytes: None,
        free_bytes: None,
        runs: BTreeMap::new(),
        oldest_live: None,
        events: none,
        blobs: none,
        workflows: 0,
        waiting: 0,
        requests: 0,
        engines: Vec::new(),
    }
}

const BY_STATUS: &str = "SELECT status, count(*) FROM runs GROUP BY status";

fn by_status(db: &Connection) -> Result<BTreeMap<Status, u64>, Failure> {
    if schema::is_new(db)? {
        return Ok(BTreeMap::new());
    }
    let mut query = db.prepare_cached(BY_STATUS)?;
    let mut rows = query.query([])?;
    let mut counts = BTreeMap::new();
    while let Some(row) = rows.next()? {
        // A damaged one is named by the check, not here.
        if let Some(status) = row.get_ref(0)?.as_str().ok().and_then(Status::from_name) {
            counts.insert(status, row.get(1)?);
        }
    }
    Ok(counts)
}

const OLDEST_LIVE: &str = "SELECT min(run_id) FROM runs WHERE live = 1";

fn oldest_live(db: &Connection) -> Result<Option<segue_core::ids::RunId>, Failure> {
    let mut query = db.prepare_cached(OLDEST_LIVE)?;
    Ok(query.query_row([], |row| Ok(encode::run_id(row.get_ref(0)?).ok()))?)
}

/// All of them where that is quick; else as many a run as some of the runs have.
fn events(db: &Connection, runs: u64) -> Result<Count, Failure> {
    const NEXT: &str = "SELECT version FROM runs WHERE run_no >= ?1 ORDER BY run_no LIMIT 1";
    if runs <= RUNS_COUNTED {
        let count = db.query_row("SELECT coalesce(sum(version), 0) FROM runs", [], |row| row.get(0))?;
        return Ok(Count { count, about: false });
    }
    let last: i64 = db.query_row("SELECT max(run_no) FROM runs", [], |row| row.get(0))?;
    let (mut seen, mut sum) = (0_u64, 0_u64);
    let mut query = db.prepare_cached(NEXT)?;
    for at in 0..RUNS_SAMPLED {
        let version: Option<u64> = query.query_row([at * last / RUNS_SAMPLED], |row| row.get(0)).optional()?;
        seen += u64::from(version.is_some());
        sum += version.unwrap_or(0);
    }
    Ok(Count { count: (u128::from(sum) * u128::from(runs) / u128::from(seen.max(1))) as u64, about: true })
}

fn engines(db: &Connection, schema: u32) -> Result<Vec<EngineStatus>, Failure> {
    // Before schema 4 leases were wall time, which counts as ended.
    let boot = if schema >= 4 { "lease_boot" } else { "''" };
    let sql = format!(
        "SELECT engine_id, boot_id, pid, started_ticks, {boot}, lease_until_ms, \
         (SELECT count(*) FROM runs WHERE owner = engine_id AND owner IS NOT NULL) FROM engines ORDER BY engine_id"
    );
    let mut query = db.prepare(&sql)?;
    let rows = query.query_map([], |row| {
        let is_of_this_boot = row.get::<_, String>(4)? == boot::id();
        let until: i64 = row.get(5)?;
        Ok(EngineStatus {
            engine: EngineRecord {
                engine_id: EngineId::new(row.get::<_, String>(0)?),
                proof: OwnerProof { boot_id: row.get(1)?, pid: row.get(2)?, started_ticks: row.get(3)? },
            },
            runs: row.get(6)?,
            lease_left_ms: is_of_this_boot.then(|| until.saturating_sub(boot::now_ms())),
        })
    })?;
    let engines = rows.collect::<Result<Vec<_>, _>>()?;
    let counts = |engine: &EngineStatus| engine.runs > 0 || engine.lease_left_ms.is_some_and(|left| left > 0);
    Ok(engines.into_iter().filter(counts).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::plan;

    /// What a look costs does not grow with logs, tasks and rows.
    #[test]
    fn a_look_walks_only_indexes() {
        for sql in [BY_STATUS, OLDEST_LIVE, "SELECT count(*) FROM blobs"] {
            let steps = plan(sql);
            assert!(steps.iter().all(|step| step.contains("INDEX")), "{sql}: {steps:?}");
        }
    }
}
