//! How a database is, without walking what grows with every step.

use std::collections::BTreeMap;

use segue_core::{
    ids::{EngineId, RunId},
    ports::{Count, EngineRecord, EngineStatus, OwnerProof, SchemaVersion, StoreStatus},
    status::Status,
};
use uuid::Uuid;

use crate::{encode, failure::Failure, pool::Prepares};

/// Runs up to which events are counted; of more, the server's sample of their rows is looked at.
const RUNS_COUNTED: u64 = 20_000;
/// Rows up to which large values are counted; beyond, the server's own estimate is taken.
const BLOBS_COUNTED: u64 = 1_000_000;

pub(super) async fn of(db: &impl Prepares, version: SchemaVersion, schema: &str) -> Result<StoreStatus, Failure> {
    if version.found == 0 {
        return Ok(empty(version));
    }
    let runs = by_status(db).await?;
    Ok(StoreStatus {
        bytes: bytes(db, schema).await?,
        oldest_live: oldest_live(db).await?,
        events: events(db, runs.values().sum()).await?,
        runs,
        blobs: blobs(db).await?,
        workflows: count(db, "SELECT count(DISTINCT workflow_id) FROM deployments").await?,
        waiting: count(db, "SELECT count(*) FROM tasks WHERE waiting_since IS NOT NULL").await?,
        requests: count(db, "SELECT count(*) FROM requests").await?,
        engines: engines(db).await?,
        ..empty(version)
    })
}

fn empty(schema: SchemaVersion) -> StoreStatus {
    let none = Count { count: 0, about: false };
    StoreStatus {
        backend: "postgres".to_owned(),
        schema,
        bytes: 0,
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

async fn count(db: &impl Prepares, sql: &str) -> Result<u64, Failure> {
    Ok(match db.rows(sql, &[]).await?.first() {
        Some(row) => encode::count(row.try_get(0)?),
        None => 0,
    })
}

async fn bytes(db: &impl Prepares, schema: &str) -> Result<u64, Failure> {
    const SQL: &str = "SELECT coalesce(sum(pg_total_relation_size(pg_class.oid)), 0)::bigint FROM pg_class \
         JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE nspname = $1 AND relkind = 'r'";
    Ok(match db.rows(SQL, &[&schema]).await?.first() {
        Some(row) => encode::count(row.try_get(0)?),
        None => 0,
    })
}

async fn by_status(db: &impl Prepares) -> Result<BTreeMap<Status, u64>, Failure> {
    let mut counts = BTreeMap::new();
    for row in db.rows("SELECT status, count(*) FROM runs GROUP BY status", &[]).await? {
        // A damaged one is named by the check, not here.
        if let Some(status) = Status::from_name(row.try_get(0)?) {
            counts.insert(status, encode::count(row.try_get(1)?));
        }
    }
    Ok(counts)
}

async fn oldest_live(db: &impl Prepares) -> Result<Option<RunId>, Failure> {
    // By an index each: what nobody owns, and what engines do.
    const SQL: &str = "(SELECT run_id FROM runs WHERE live AND owner IS NULL ORDER BY run_id LIMIT 1) UNION ALL \
         (SELECT run_id FROM runs WHERE live AND owner IS NOT NULL ORDER BY run_id LIMIT 1) ORDER BY run_id LIMIT 1";
    let rows = db.rows(SQL, &[]).await?;
    rows.first().map(|row| Ok(encode::run_id(row.try_get::<_, Uuid>(0)?))).transpose()
}

/// All of them where that is quick; else as many a run as some of the runs have.
async fn events(db: &impl Prepares, runs: u64) -> Result<Count, Failure> {
    if runs <= RUNS_COUNTED {
        let count = count(db, "SELECT coalesce(sum(version), 0)::bigint FROM runs").await?;
        return Ok(Count { count, about: false });
    }
    const SAMPLE: &str = "SELECT coalesce(avg(version), 0)::float8 FROM runs TABLESAMPLE SYSTEM (2)";
    let mean: f64 = match db.rows(SAMPLE, &[]).await?.first() {
        Some(row) => row.try_get(0)?,
        None => 0.0,
    };
    Ok(Count { count: (mean * runs as f64) as u64, about: true })
}

async fn blobs(db: &impl Prepares) -> Result<Count, Failure> {
    const ABOUT: &str = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = 'blobs'::regclass";
    let about = count(db, ABOUT).await?;
    if about > BLOBS_COUNTED {
        return Ok(Count { count: about, about: true });
    }
    Ok(Count { count: count(db, "SELECT count(*) FROM blobs").await?, about: false })
}

async fn engines(db: &impl Prepares) -> Result<Vec<EngineStatus>, Failure> {
    const SQL: &str = "SELECT engine_id, boot_id, pid, started_ticks, \
         (extract(epoch FROM lease_until - clock_timestamp()) * 1000)::bigint AS left, \
         (SELECT count(*) FROM runs WHERE owner = engine_id AND owner IS NOT NULL) AS runs FROM engines ORDER BY engine_id";
    let mut found = Vec::new();
    for row in db.rows(SQL, &[]).await? {
        let (left, runs): (i64, i64) = (row.try_get(4)?, row.try_get(5)?);
        if left <= 0 && runs == 0 {
            continue;
        }
        let proof = OwnerProof {
            boot_id: row.try_get(1)?,
            pid: u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            started_ticks: row.try_get::<_, i64>(3)?.cast_unsigned(),
        };
        let engine = EngineRecord { engine_id: EngineId::new(row.try_get::<_, &str>(0)?), proof };
        found.push(EngineStatus { engine, runs: encode::count(runs), lease_left_ms: Some(left) });
    }
    Ok(found)
}
