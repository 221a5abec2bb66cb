//! Looking after a database: its state, its damage, its schema.
#![allow(clippy::unwrap_used)]

mod support;

use std::path::Path;

use segue_core::{
    ids::RunId,
    ports::{FindingKind, SchemaVersion, StoreError, StoreUpkeep},
    status::Status,
    verify::{Report, Verifier},
};
use segue_postgres::PostgresUpkeep;
use segue_testkit::{
    conformance::{
        block_on,
        upkeep::{fill, keep_run},
    },
    services,
};
use serde_json::json;

const SEEDS: u64 = 3;

struct Place {
    database: services::Database,
    plain: RunId,
}

impl Place {
    async fn new() -> Self {
        let database = services::postgres().await;
        let store = support::open(&database.url()).await;
        let plain = fill(&store, SEEDS).await;
        Self { database, plain }
    }

    fn upkeep(&self) -> PostgresUpkeep {
        PostgresUpkeep::at(&self.database.url(), support::options()).unwrap()
    }

    async fn sql(&self, sql: &str) {
        let client = self.database.client().await;
        client
            .batch_execute(&format!("SET search_path TO segue; {sql}"))
            .await
            .unwrap_or_else(|why| panic!("{sql}: {why:?}"));
    }

    async fn verify(&self) -> Report {
        let (store, upkeep) = (support::open(&self.database.url()).await, self.upkeep());
        let mut verifier = Verifier::new(&*store, &upkeep);
        verifier.verify_all().await.unwrap();
        verifier.report
    }
}

#[test]
fn a_whole_database_has_nothing_wrong() {
    block_on(async {
        let place = Place::new().await;
        let report = place.verify().await;
        assert!(report.findings.is_clean(), "{report:#?}");
        assert!(report.runs == SEEDS + 1 && report.events > 30 && report.values > 0, "{report:#?}");
        let status = place.upkeep().status().await.unwrap();
        assert_eq!((status.backend.as_str(), status.schema.is_current()), ("postgres", true));
        assert_eq!(status.runs.values().sum::<u64>(), SEEDS + 1);
        assert_eq!((status.events.count, status.events.about), (report.events, false));
        assert!(status.bytes > 0 && status.blobs.count >= 2 && status.waiting >= 1 && status.oldest_live.is_some());
        assert_eq!((status.workflows, status.requests), (1, 1));
        let [engine] = &*status.engines else { panic!("{:?}", status.engines) };
        assert!(engine.runs >= 1 && engine.lease_left_ms.is_some_and(|left| left > 0));
        assert!(status.runs[&Status::Running] > 0);
        let refused = place.upkeep().backup(Path::new("copy.db")).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Refused(why) if why.contains("pg_dump")), "{refused}");
    });
}

/// Somebody with an SQL shell: the run, the event or the task, and what is wrong are named.
#[test]
fn every_planted_damage_of_a_database_is_named() {
    use FindingKind as Kind;
    let at = |seq: u64| format!("\"seq\":{seq}");
    let of = |run: RunId| format!("run_id = '{run}'");
    type Case = (Kind, Box<dyn Fn(RunId) -> String>, Vec<String>);
    let case = |kind, sql: fn(&str) -> String, named: &[&str]| -> Case {
        (kind, Box::new(move |run| sql(&of(run))), named.iter().map(|text| (*text).to_owned()).collect())
    };
    let cases = [
        case(
            Kind::Event,
            |of| {
                format!("UPDATE events SET body = replace(body, 'task.started', 'task.stbrted') WHERE {of} AND seq = 4")
            },
            &[&at(4), "hash"],
        ),
        case(Kind::EventMissing, |of| format!("DELETE FROM events WHERE {of} AND seq = 4"), &[&at(4), "missing"]),
        case(Kind::EventMissing, |of| format!("DELETE FROM events WHERE {of} AND seq > 5"), &[&at(6), "too early"]),
        case(
            Kind::EventMisplaced,
            |of| {
                format!(
                    "UPDATE events SET body = (SELECT body FROM events AS other WHERE other.{of} AND other.seq = 4) WHERE {of} AND seq = 5"
                )
            },
            &[&at(5), "event 4 stands"],
        ),
        case(
            Kind::Run,
            |of| format!("UPDATE runs SET summary = replace(summary, 'RUNNING', 'SUCCEEDED') WHERE {of}"),
            &["checksum"],
        ),
        case(Kind::Run, |of| format!("UPDATE runs SET status = 'FAILED' WHERE {of}"), &["column status is FAILED"]),
        case(
            Kind::Run,
            |of| format!("UPDATE runs SET parent = '00112233-4455-6677-8899-aabbccddeeff' WHERE {of}"),
            &["column parent"],
        ),
        case(Kind::Run, |of| format!("DELETE FROM labels WHERE {of}"), &["labels"]),
        case(
            Kind::Task,
            |of| format!("DELETE FROM tasks WHERE {of} AND task_id = 'a'"),
            &["\"task_id\":\"a\"", "missing"],
        ),
        case(
            Kind::Task,
            |of| {
                format!(
                    "UPDATE tasks SET summary = replace(summary, 'SUCCEEDED', 'FAILED') WHERE {of} AND task_id = 'a'"
                )
            },
            &["\"task_id\":\"a\"", "checksum"],
        ),
        case(
            Kind::Waiting,
            |of| format!("UPDATE tasks SET waiting_since = NULL WHERE {of} AND task_id = 'c'"),
            &["\"task_id\":\"c\"", "list"],
        ),
        case(
            Kind::Value,
            |of| format!("UPDATE blobs SET body = '\\x00' WHERE hash IN (SELECT hash FROM blob_uses WHERE {of})"),
            &["not what was written", "\"task_id\":\"a\""],
        ),
        case(
            Kind::ValueMissing,
            |of| {
                format!(
                    "ALTER TABLE blob_uses DROP CONSTRAINT blob_uses_hash_fkey; DELETE FROM blobs WHERE hash IN (SELECT hash FROM blob_uses WHERE {of})"
                )
            },
            &["is missing", "\"task_id\":\"a\""],
        ),
        case(Kind::ValueUse, |of| format!("DELETE FROM blob_uses WHERE {of}"), &["not noted"]),
        case(
            Kind::Workflow,
            |_| "UPDATE workflows SET spec_json = '{}' WHERE workflow_id = 'plain'".into(),
            &["plain"],
        ),
        case(
            Kind::Row,
            |_| "UPDATE deployments SET summary = replace(summary, 'deployed', 'dep')".into(),
            &["deployment of plain"],
        ),
        case(Kind::ModelCall, |_| "UPDATE model_calls SET body = '\\x00'".into(), &["recorded answer"]),
        case(Kind::Checkpoint, |_| "UPDATE checkpoints SET state = '\\x00'".into(), &["state of the graph"]),
        case(Kind::Request, |_| "UPDATE requests SET kind = '{'".into(), &["request"]),
        case(Kind::Lease, |_| "DELETE FROM engines".into(), &["engine"]),
        case(Kind::Orphan, |_| "INSERT INTO blobs VALUES ('\\xab', '\\x00')".into(), &["nothing reads it"]),
        case(
            Kind::Orphan,
            |of| format!("DELETE FROM runs WHERE {of}"),
            &["events", "tasks", "blob_uses", "checkpoints"],
        ),
        case(Kind::Schema, |_| "DROP INDEX runs_unowned".into(), &["runs_unowned is missing"]),
        case(Kind::Schema, |_| "DROP TABLE cache".into(), &["cache is missing"]),
    ];
    block_on(async {
        for (kind, sql, named) in cases {
            let place = Place::new().await;
            let sql = sql(place.plain);
            place.sql(&sql).await;
            let report = place.verify().await;
            let all = serde_json::to_string(&report.findings).unwrap();
            assert!(report.findings.items.iter().any(|finding| finding.kind == kind), "{kind:?} by {sql}: {all}");
            for text in named {
                assert!(all.contains(&text), "`{text}` is not named after {sql}: {all}");
            }
        }
    });
}

/// All checksums are right, and a row says what its log does not.
#[test]
fn a_summary_in_a_database_that_says_what_its_log_does_not_is_named() {
    block_on(async {
        let place = Place::new().await;
        let store: std::sync::Arc<dyn segue_core::ports::RunStore> = support::open(&place.database.url()).await;
        let spec = json!({"id": "lie", "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]});
        let lying = keep_run(&store, &spec, false).await;
        let report = place.verify().await;
        let [finding] = &*report.findings.items else { panic!("{report:#?}") };
        assert_eq!((finding.kind, finding.run_id), (FindingKind::Run, Some(lying)));
        assert!(finding.found.contains("status is SUCCEEDED, the log says RUNNING"), "{finding:?}");
    });
}

/// A look at an empty database changes nothing; a migration makes the tables.
#[test]
fn an_empty_database_stays_empty_until_it_is_migrated() {
    block_on(async {
        let database = services::postgres().await;
        let upkeep = PostgresUpkeep::at(&database.url(), support::options()).unwrap();
        let schema = upkeep.schema().await.unwrap();
        assert!(schema.found == 0 && schema.known >= 1);
        assert_eq!(upkeep.status().await.unwrap().schema, schema);
        let client = database.client().await;
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'segue'";
        assert_eq!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 0, "looking has changed it");
        assert_eq!(upkeep.migrate().await.unwrap(), schema);
        assert_eq!(upkeep.schema().await.unwrap(), SchemaVersion { found: schema.known, known: schema.known });
        assert!(client.query_one(tables, &[]).await.unwrap().get::<_, i64>(0) > 5);
        assert!(upkeep.verify_storage().await.unwrap().is_clean());
    });
}
