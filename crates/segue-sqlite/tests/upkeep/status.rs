//! What a file says of itself, also one of an earlier schema.

use std::time::Duration;

use rusqlite::Connection;
use segue_core::{
    ports::{RunStore, SchemaVersion, StoreUpkeep},
    status::Status,
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::block_on;

use crate::place::{Place, SEEDS, upkeep, verify};

#[test]
fn what_is_there_is_counted() {
    let place = Place::new();
    let status = block_on(upkeep(&place.whole()).status()).unwrap();
    assert_eq!(status.backend, "sqlite");
    assert!(status.schema.is_current());
    assert_eq!(status.runs.values().sum::<u64>(), SEEDS + 1);
    assert_eq!(status.bytes, std::fs::metadata(place.whole()).unwrap().len());
    let report = verify(&place.copy()).unwrap();
    assert_eq!((status.events.count, status.events.about), (report.events, false));
    assert_eq!((status.workflows, status.requests), (1, 1));
    assert!(status.blobs.count >= 2 && status.waiting >= 1);
    let rows = block_on(async {
        let store = SqliteStore::open(&place.copy(), SqliteOptions::default()).unwrap();
        store.list_runs(Default::default()).await.unwrap()
    });
    let oldest = rows.iter().filter(|row| !row.status.is_terminal()).map(|row| row.run_id).min();
    assert!(oldest.is_some() && status.oldest_live == oldest);
    let [engine] = &*status.engines else { panic!("{:?}", status.engines) };
    let live = rows.iter().filter(|row| !row.status.is_terminal()).count() as u64;
    assert_eq!((engine.engine.engine_id.as_str(), engine.runs), ("engine", live));
    assert!(engine.lease_left_ms.is_some_and(|left| left > 0 && left <= 3_600_000));
    assert!(status.runs[&Status::Running] > 0);
}

/// A look changes nothing, not even the schema; a migration does.
#[test]
fn an_earlier_schema_stays_until_it_is_migrated() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let first = include_str!("../../migrations/0001_runs.sql");
    Connection::open(&path).unwrap().execute_batch(&format!("{first} PRAGMA user_version = 1;")).unwrap();
    let before = std::fs::read(&path).unwrap();
    let upkeep = upkeep(&path);
    block_on(async {
        let schema = upkeep.schema().await.unwrap();
        assert!(schema.found == 1 && schema.known > 1);
        let status = upkeep.status().await.unwrap();
        assert_eq!((status.schema, status.events.count), (schema, 0));
        let to = folder.path().join("copy.db");
        upkeep.backup(&to).await.unwrap();
        assert_eq!(super::place::upkeep(&to).schema().await.unwrap().found, 1, "a copy before an upgrade");
        assert!(std::fs::read(&path).unwrap() == before, "looking has changed the file");
        assert_eq!(upkeep.migrate().await.unwrap(), schema);
        let now = upkeep.schema().await.unwrap();
        assert_eq!(now, SchemaVersion { found: schema.known, known: schema.known });
        assert_eq!(upkeep.migrate().await.unwrap(), now);
    });
    assert!(verify(&path).unwrap().findings.is_clean());
}

/// A store of the third schema, filled by the program of then, has nothing wrong after its migration.
#[test]
fn what_an_earlier_program_kept_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let text = include_str!("fixture_schema_3.sql");
    Connection::open(&path).unwrap().execute_batch(text).unwrap();
    block_on(async {
        let upkeep = upkeep(&path);
        assert_eq!(upkeep.schema().await.unwrap().found, 3);
        let status = upkeep.status().await.unwrap();
        assert!(status.runs.values().sum::<u64>() >= 3 && status.events.count > 10, "{status:?}");
        // Leases of then were wall time, and count as ended.
        assert!(status.engines.iter().all(|engine| engine.lease_left_ms.is_none()));
    });
    let report = verify(&path).unwrap();
    assert!(report.findings.is_clean() && report.runs >= 3 && report.values > 0, "{report:#?}");
    assert!(block_on(upkeep(&path).schema()).unwrap().is_current());
}

/// More runs than are counted: the number of events is an estimate, and near.
#[test]
fn a_large_store_is_estimated() {
    const RUNS: i64 = 20_500;
    let place = Place::new();
    let path = place.changed(&format!(
        "INSERT INTO runs SELECT value + 100, randomblob(16), 'w', NULL, x'00', NULL, 0, 0, 'SUCCEEDED', 7, x'00', '', 0, NULL, 1 \
         FROM generate_series(1, {RUNS})"
    ).replace("generate_series(1, 20500)", "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 20500) SELECT value FROM n)"));
    let started = std::time::Instant::now();
    let status = block_on(upkeep(&path).status()).unwrap();
    assert!(started.elapsed() < Duration::from_secs(60));
    let expected = 7 * u64::try_from(RUNS).unwrap();
    assert!(status.events.about && status.events.count.abs_diff(expected) < expected / 10, "{:?}", status.events);
}
