//! Leases: which engine may commit for which run. All times are the database's.
//!
//! An engine has one lease for all its runs, so that renewing costs one row however many it has. A run knows its owner
//! and its fence; each claim raises the fence, and that makes every commit of the earlier owner a conflict.

use std::time::Duration;

use segue_core::{
    ids::{EngineId, RunId},
    ports::{ClaimRequest, EngineRecord, Lease, OwnerProof},
    time::Timestamp,
};
use uuid::Uuid;

use crate::{encode, failure::Failure, pool::Prepares};

/// Makes an engine known, or renews its lease. Each start of a program makes an engine: of those whose lease ended long
/// ago, the ones that own nothing are forgotten.
pub(crate) async fn renew(db: &impl Prepares, engine: &EngineRecord, ttl: Duration) -> Result<(), Failure> {
    const SQL: &str = "INSERT INTO engines (engine_id, boot_id, pid, started_ticks, lease_until) \
         VALUES ($1, $2, $3, $4, clock_timestamp() + $5::bigint * interval '1 millisecond') \
         ON CONFLICT (engine_id) DO UPDATE SET boot_id = excluded.boot_id, pid = excluded.pid, \
             started_ticks = excluded.started_ticks, lease_until = excluded.lease_until RETURNING xmax = 0";
    const FORGET: &str = "DELETE FROM engines WHERE lease_until < clock_timestamp() - interval '1 hour' \
         AND NOT EXISTS (SELECT 1 FROM runs WHERE owner = engine_id AND owner IS NOT NULL)";
    /// A hundred years.
    const TTL_MAX_MS: u128 = 3_155_760_000_000;
    let OwnerProof { boot_id, pid, started_ticks } = &engine.proof;
    let ttl_ms = i64::try_from(ttl.as_millis().min(TTL_MAX_MS)).expect("a hundred years fit");
    let (id, pid, ticks) = (engine.engine_id.as_str(), i64::from(*pid), started_ticks.cast_signed());
    let rows = db.rows(SQL, &[&id, boot_id, &pid, &ticks, &ttl_ms]).await?;
    if rows.first().is_some_and(|row| row.get(0)) {
        db.change(FORGET, &[]).await?;
    }
    Ok(())
}

/// The database's time.
pub(crate) async fn now(db: &impl Prepares) -> Result<Timestamp, Failure> {
    const SQL: &str = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint";
    let rows = db.rows(SQL, &[]).await?;
    Ok(Timestamp::from_micros(rows.first().expect("a time").try_get(0)?))
}

/// The owners of runs, each once, by leaps from one to the next: it costs as much as there are owners.
macro_rules! owners {
    () => {
        "WITH RECURSIVE owners (owner) AS ( \
             (SELECT owner FROM runs WHERE owner IS NOT NULL ORDER BY owner LIMIT 1) \
             UNION ALL \
             SELECT (SELECT runs.owner FROM runs WHERE runs.owner IS NOT NULL AND runs.owner > owners.owner \
                 ORDER BY runs.owner LIMIT 1) FROM owners WHERE owners.owner IS NOT NULL \
         )"
    };
}

pub(crate) const OWNERS: &str = concat!(
    owners!(),
    " SELECT engine_id, boot_id, pid, started_ticks FROM engines \
     WHERE engine_id IN (SELECT owner FROM owners WHERE owner IS NOT NULL) ORDER BY engine_id"
);

/// The engines that own a run.
pub(crate) async fn owners(db: &impl Prepares) -> Result<Vec<EngineRecord>, Failure> {
    let mut found = Vec::new();
    for row in db.rows(OWNERS, &[]).await? {
        let proof = OwnerProof {
            boot_id: row.try_get(1)?,
            pid: u32::try_from(row.try_get::<_, i64>(2)?).unwrap_or(0),
            started_ticks: row.try_get::<_, i64>(3)?.cast_unsigned(),
        };
        found.push(EngineRecord { engine_id: EngineId::new(row.try_get::<_, &str>(0)?), proof });
    }
    Ok(found)
}

/// The runs that an engine owns.
pub(crate) async fn owned_runs(db: &impl Prepares, engine: &EngineId) -> Result<Vec<RunId>, Failure> {
    const SQL: &str = "SELECT run_id FROM runs WHERE owner = $1 AND owner IS NOT NULL ORDER BY run_id";
    Ok(db.rows(SQL, &[&engine.as_str()]).await?.iter().map(|row| encode::run_id(row.get(0))).collect())
}

/// What is claimed: live runs without an owner, live runs of owners whose lease has ended or who are named dead, and ended
/// runs that somebody wants reopened. Each kind is found by its own index, oldest first; a run that another engine is
/// claiming at this moment is passed over.
pub(crate) const CLAIM: &str = concat!(
    owners!(),
    ", asking AS MATERIALIZED ( \
         SELECT 1 FROM engines WHERE engine_id = $1 AND lease_until > clock_timestamp() \
     ), gone AS MATERIALIZED ( \
         SELECT owner FROM owners WHERE owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM engines \
             WHERE engine_id = owner AND lease_until > clock_timestamp() AND engine_id <> ALL ($4::text[])) \
     ), unowned AS MATERIALIZED ( \
         SELECT run_id FROM runs WHERE live AND owner IS NULL AND ($3::uuid[] IS NULL OR run_id = ANY ($3)) \
         AND EXISTS (SELECT 1 FROM asking) ORDER BY run_id LIMIT $2 FOR UPDATE SKIP LOCKED \
     ), orphaned AS MATERIALIZED ( \
         SELECT run_id FROM runs WHERE live AND owner = ANY (ARRAY (SELECT owner FROM gone)) AND owner IS NOT NULL \
         AND ($3::uuid[] IS NULL OR run_id = ANY ($3)) AND EXISTS (SELECT 1 FROM asking) \
         ORDER BY run_id LIMIT $2 FOR UPDATE SKIP LOCKED \
     ), reopened AS MATERIALIZED ( \
         SELECT runs.run_id FROM requests JOIN runs USING (run_id) WHERE reopens AND NOT live \
         AND (owner IS NULL OR owner IN (SELECT owner FROM gone)) AND ($3::uuid[] IS NULL OR run_id = ANY ($3)) \
         AND EXISTS (SELECT 1 FROM asking) ORDER BY runs.run_id LIMIT $2 FOR UPDATE OF runs SKIP LOCKED \
     ), claimed AS MATERIALIZED ( \
         SELECT run_id FROM unowned UNION SELECT run_id FROM orphaned UNION SELECT run_id FROM reopened \
         ORDER BY run_id LIMIT $2 \
     ), taken AS ( \
         UPDATE runs SET owner = $1, fence = fence + 1 WHERE run_id = ANY (ARRAY (SELECT run_id FROM claimed)) \
         RETURNING run_id, fence \
     ) SELECT run_id, fence FROM taken ORDER BY run_id"
);

/// Gives what can be claimed to the engine that asks, if its own lease holds.
pub(crate) async fn claim(db: &impl Prepares, request: &ClaimRequest) -> Result<Vec<Lease>, Failure> {
    let most = i64::try_from(request.limit).unwrap_or(i64::MAX);
    let only: Option<Vec<Uuid>> = (!request.runs.is_empty()).then(|| encode::uuids(&request.runs));
    let dead: Vec<&str> = request.dead.iter().map(EngineId::as_str).collect();
    let rows = db.rows(CLAIM, &[&request.engine_id.as_str(), &most, &only, &dead]).await?;
    let lease = |row: &tokio_postgres::Row| {
        Ok(Lease { run_id: encode::run_id(row.try_get(0)?), fence: encode::count(row.try_get(1)?) })
    };
    rows.iter().map(lease).collect()
}

/// Gives runs back, and tells those who listen.
pub(crate) async fn release(db: &impl Prepares, leases: &[Lease]) -> Result<(), Failure> {
    const SQL: &str = "WITH freed AS ( \
             UPDATE runs SET owner = NULL FROM unnest($1::uuid[], $2::bigint[]) AS lease (run_id, fence) \
             WHERE runs.run_id = lease.run_id AND runs.fence = lease.fence RETURNING runs.run_id, live \
         ) SELECT pg_notify('segue_runs', run_id::text)::text FROM freed WHERE live";
    let runs: Vec<Uuid> = leases.iter().map(|lease| encode::uuid(lease.run_id)).collect();
    let fences: Vec<i64> = leases.iter().map(|lease| encode::number(lease.fence)).collect();
    db.rows(SQL, &[&runs, &fences]).await?;
    Ok(())
}
