//! Does the server find what it is asked for by an index, whatever the length of the history?

use segue_testkit::{conformance::block_on, services};
use serde_json::Value;
use tokio_postgres::Client;

use crate::{batch, garbage, leases, lists::Conditions, log, options::PostgresOptions, store::PostgresStore, waiting};

/// Statements with the indexes that they are to use. Every other way to the rows of these tables is a walk.
fn expected() -> Vec<(String, &'static [&'static str])> {
    let by = |label, parent, status, workflow| Conditions { label, parent, status, workflow };
    vec![
        (leases::CLAIM.to_owned(), &["runs_unowned", "runs_owned", "engines_pkey"]),
        (leases::OWNERS.to_owned(), &["runs_owned"]),
        (log::SQL.to_owned(), &["events_pkey", "runs_pkey"]),
        (garbage::ENDED.to_owned(), &["runs_ended"]),
        (waiting::OF_ALL.to_owned(), &["tasks_waiting"]),
        (waiting::OF_RUN.to_owned(), &["tasks_waiting_of_run"]),
        (batch::COMMIT.plain.to_owned(), &["runs_pkey"]),
        (batch::COMMIT.full.to_owned(), &["runs_pkey", "blobs_pkey", "requests_of_run"]),
        (batch::CREATE.plain.to_owned(), &[]),
        (batch::CREATE.full.to_owned(), &["blobs_pkey"]),
        (by(0, 0, 0, 0).sql(false), &["runs_pkey"]),
        (by(4, 5, 6, 7).sql(false), &["labels_pkey"]),
        (by(0, 4, 5, 6).sql(true), &["runs_by_parent"]),
        (by(0, 0, 4, 0).sql(false), &["runs_by_status"]),
        (by(0, 0, 4, 5).sql(true), &["runs_by_status"]),
        (by(0, 0, 4, 5).sql(false), &["runs_by_workflow"]),
        (by(0, 0, 0, 4).sql(false), &["runs_by_workflow"]),
    ]
}

/// All indexes of a plan, and the tables that it walks from end to end.
fn ways(plan: &Value, indexes: &mut Vec<String>, walks: &mut Vec<String>) {
    match plan {
        Value::Array(items) => items.iter().for_each(|item| ways(item, indexes, walks)),
        Value::Object(fields) => {
            indexes.extend(fields.get("Index Name").and_then(Value::as_str).map(str::to_owned));
            if fields.get("Node Type").and_then(Value::as_str) == Some("Seq Scan") {
                walks.extend(fields.get("Relation Name").and_then(Value::as_str).map(str::to_owned));
            }
            fields.values().for_each(|value| ways(value, indexes, walks));
        }
        _ => {}
    }
}

/// What is wrong with the plan of `sql`, if anything.
async fn problem(db: &Client, sql: &str, wanted: &[&str]) -> Option<String> {
    db.batch_execute(&format!("PREPARE asked AS {sql}")).await.expect("a statement");
    let parameters =
        (1..).take_while(|n| sql.contains(&format!("${n}"))).map(|_| "NULL").collect::<Vec<_>>().join(", ");
    let execute =
        if parameters.is_empty() { "EXECUTE asked".to_owned() } else { format!("EXECUTE asked ({parameters})") };
    let rows = db.simple_query(&format!("EXPLAIN (FORMAT JSON) {execute}")).await.expect("a plan");
    db.batch_execute("DEALLOCATE asked").await.expect("gone");
    let text: String = rows
        .iter()
        .filter_map(|row| match row {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0),
            _ => None,
        })
        .collect();
    let (mut indexes, mut walks) = (Vec::new(), Vec::new());
    ways(&serde_json::from_str(&text).expect("JSON"), &mut indexes, &mut walks);
    let missing = wanted.iter().find(|wanted| !indexes.iter().any(|index| index == *wanted));
    (missing.is_some() || !walks.is_empty())
        .then(|| format!("{sql}\nmisses {missing:?}, walks {walks:?}, uses {indexes:?}"))
}

/// With few rows the planner would rather walk; it is told that walking is dear, and walks only where it has to. The plans
/// are those for any values, as sessions of the store make them.
#[test]
fn everything_is_found_by_an_index_and_a_missing_one_is_noticed() {
    let database = block_on(services::postgres());
    block_on(async {
        PostgresStore::connect(&database.url(), PostgresOptions::default()).await.expect("a store");
        let db = database.client().await;
        db.batch_execute(
            "SET search_path TO segue; SET enable_seqscan = off; SET enable_bitmapscan = off; \
             SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan",
        )
        .await
        .expect("settings");
        for (sql, wanted) in expected() {
            assert_eq!(problem(&db, &sql, wanted).await, None);
        }
        for index in ["runs_unowned", "runs_owned", "runs_ended", "tasks_waiting", "runs_by_status"] {
            db.batch_execute(&format!("BEGIN; DROP INDEX {index}")).await.expect("dropped");
            let mut noticed = false;
            for (sql, wanted) in expected() {
                noticed |= wanted.contains(&index) && problem(&db, &sql, wanted).await.is_some();
            }
            db.batch_execute("ROLLBACK").await.expect("back again");
            assert!(noticed, "nobody misses {index}");
        }
    });
}
