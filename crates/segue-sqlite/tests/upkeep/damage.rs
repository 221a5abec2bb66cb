//! Each kind of damage is named: what, where, and what to do.

use std::{fs, sync::Arc};

use rusqlite::Connection;
use segue_core::{
    event::EventKind,
    ids::TaskId,
    ports::{FindingKind, Findings, RunStore},
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine, new_run},
};
use serde_json::json;

use crate::place::{Place, SEEDS, found, keep_run, seq_of, upkeep, verify};

#[test]
fn a_whole_file_has_nothing_wrong() {
    let place = Place::new();
    let report = verify(&place.whole()).unwrap();
    assert_eq!(report.findings, Findings::default(), "{:#?}", report.findings);
    assert_eq!(report.runs, SEEDS + 1);
    assert!(report.events > 200 && report.tasks > 50 && report.values > 0, "{report:?}");
}

/// Somebody with an SQL shell: the run, the event or the task, and what is wrong are named, and nothing else is.
#[test]
fn every_planted_damage_is_named() {
    use FindingKind as Kind;
    let place = Place::new();
    let (whole, run) = (place.whole(), place.plain);
    let (started, succeeded) = (seq_of(&whole, run, "task.started", "a"), seq_of(&whole, run, "task.succeeded", "a"));
    let number = format!("(SELECT run_no FROM runs WHERE run_id = unhex('{run}', '-'))");
    let event = |seq: u64| format!("place = ({number} << 32) + {seq}");
    let at = |seq: u64| format!("\"seq\":{seq}");
    let task = |task: &str| format!("\"task_id\":\"{task}\"");
    let mut cases: Vec<(Kind, String, Vec<String>)> = vec![
        (
            Kind::Event,
            format!("UPDATE events SET body = replace(body, 'task.started', 'task.stbrted') WHERE {}", event(started)),
            vec![at(started), run.to_string(), "hash".into()],
        ),
        (
            Kind::Event,
            format!(
                "UPDATE events SET body = replace(body, '\"attempt\":1', '\"attempt\":2') WHERE {}",
                event(started)
            ),
            vec![at(started), "not what was written".into()],
        ),
        (
            Kind::EventMissing,
            format!("DELETE FROM events WHERE {}", event(started)),
            vec![at(started), "missing".into()],
        ),
        (
            Kind::EventMissing,
            format!("DELETE FROM events WHERE place > ({number} << 32) + {succeeded} AND place < ({number} + 1) << 32"),
            vec![at(succeeded + 1), "too early".into()],
        ),
        (
            Kind::EventMisplaced,
            format!(
                "CREATE TEMP TABLE both AS SELECT place, body FROM events WHERE {a} OR {b};
                 UPDATE events SET body = (SELECT body FROM both WHERE both.{b}) WHERE {a};
                 UPDATE events SET body = (SELECT body FROM both WHERE both.{a}) WHERE {b};",
                a = event(started),
                b = event(succeeded)
            ),
            vec![at(started), at(succeeded), format!("event {succeeded} stands")],
        ),
        (
            Kind::Run,
            format!("UPDATE runs SET row = replace(row, 'RUNNING', 'SUCCEEDED') WHERE run_no = {number}"),
            vec![run.to_string(), "checksum".into()],
        ),
        (
            Kind::Task,
            format!("DELETE FROM tasks WHERE run_no = {number} AND task_id = 'a'"),
            vec![run.to_string(), task("a"), "missing".into()],
        ),
        (
            Kind::Task,
            format!(
                "UPDATE tasks SET row = replace(row, 'SUCCEEDED', 'FAILED') WHERE run_no = {number} AND task_id = 'a'"
            ),
            vec![task("a"), "checksum".into()],
        ),
        (
            Kind::Waiting,
            format!("UPDATE tasks SET waiting_since = NULL WHERE run_no = {number} AND task_id = 'c'"),
            vec![task("c"), "list".into()],
        ),
        (
            Kind::ValueMissing,
            format!("DELETE FROM blobs WHERE hash IN (SELECT hash FROM blob_uses WHERE run_no = {number})"),
            vec![at(succeeded), task("a"), "missing".into()],
        ),
        (
            Kind::Value,
            format!("UPDATE blobs SET body = x'00' WHERE hash IN (SELECT hash FROM blob_uses WHERE run_no = {number})"),
            vec![at(succeeded), task("a"), "not what was written".into()],
        ),
        (Kind::ValueUse, format!("DELETE FROM blob_uses WHERE run_no = {number}"), vec![at(succeeded)]),
        (
            Kind::Workflow,
            "UPDATE workflows SET spec_json = '{}' WHERE workflow_id = 'plain'".into(),
            vec!["plain".into()],
        ),
        (Kind::Workflow, "DELETE FROM workflows WHERE workflow_id = 'plain'".into(), vec![run.to_string()]),
        (
            Kind::Row,
            "UPDATE deployments SET row = replace(row, 'deployed', 'dep')".into(),
            vec!["deployment of plain".into()],
        ),
        (Kind::Row, "UPDATE cache SET row = replace(row, 'run_id', 'run')".into(), vec!["cached result key".into()]),
        (Kind::ModelCall, "UPDATE model_calls SET body = x'00'".into(), vec![run.to_string(), "/a".into()]),
        (Kind::Checkpoint, "UPDATE checkpoints SET state = x'00'".into(), vec![run.to_string(), "/a".into()]),
        (Kind::Request, "UPDATE requests SET kind = '{'".into(), vec![run.to_string()]),
        (Kind::Lease, "DELETE FROM engines".into(), vec!["engine".into(), run.to_string()]),
        (Kind::Limit, "INSERT INTO limits VALUES ('model', 'boot', 1, '{}', 7)".into(), vec!["the limit model".into()]),
        (Kind::Orphan, "INSERT INTO blobs VALUES (unhex('ab'), x'00')".into(), vec!["nothing reads it".into()]),
        (Kind::Orphan, "INSERT INTO labels VALUES (unhex('ab'), 'a', 'b')".into(), vec!["labels".into()]),
        (
            Kind::Orphan,
            format!("DELETE FROM runs WHERE run_no = {number}"),
            vec![
                "events".into(),
                "tasks".into(),
                "requests".into(),
                "blob_uses".into(),
                "model_calls".into(),
                "checkpoints".into(),
                "labels".into(),
            ],
        ),
        (Kind::Schema, "DROP INDEX runs_open".into(), vec!["index runs_open is missing".into()]),
        (Kind::Schema, "CREATE TABLE notes (text)".into(), vec!["table notes".into()]),
        (
            Kind::Schema,
            "DROP INDEX runs_ended; CREATE INDEX runs_ended ON runs (ended_at);".into(),
            vec!["index runs_ended is not what was made".into()],
        ),
    ];
    for column in [
        "status = 'FAILED'",
        "live = 0",
        "workflow_id = 'other'",
        "parent = x'00112233445566778899aabbccddeeff'",
        "ended_at = 5",
    ] {
        let name = column.split(' ').next().unwrap().to_owned();
        let sql = format!("UPDATE runs SET {column} WHERE run_no = {number}");
        cases.push((Kind::Run, sql, vec![run.to_string(), format!("column {name} is")]));
    }
    cases.push((Kind::Run, "UPDATE labels SET value = 'red'".into(), vec![run.to_string(), "labels".into()]));
    for (kind, sql, named) in cases {
        let damaged = place.changed(&sql);
        let report = verify(&damaged).unwrap_or_else(|why| panic!("{sql}: {why}"));
        let found = found(&report);
        let all = found.iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n");
        assert!(found.iter().any(|(own, _)| *own == kind), "{kind:?} by {sql}: {found:#?}");
        for text in &named {
            assert!(all.contains(text.as_str()), "`{text}` is not named after {sql}: {all}");
        }
        assert!(found.len() <= 16 && report.findings.items.iter().all(|finding| !finding.kind.cure().is_empty()));
    }
}

/// A bug of Segue, not of the disk: all hashes are right, and a row says what its log does not.
#[test]
fn a_summary_that_says_what_its_log_does_not_is_named() {
    let place = Place::new();
    let path = place.copy();
    let lying = block_on(async {
        let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        keep_run(&store, &json!({"id": "lie", "nodes": [{"id": "a"}, {"id": "b", "depends_on": ["a"]}]}), false).await
    });
    let report = verify(&path).unwrap();
    let [finding] = &*report.findings.items else { panic!("{report:#?}") };
    assert_eq!((finding.kind, finding.run_id), (FindingKind::Run, Some(lying)));
    assert!(finding.found.contains("status is SUCCEEDED, the log says RUNNING"), "{finding:?}");
}

/// All hashes are right, and the log cannot be: an answer of a task that has not begun.
#[test]
fn a_log_that_cannot_be_is_named() {
    let place = Place::new();
    let path = place.copy();
    let (run, seq) = block_on(async {
        let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        let me = engine(&store, "engine", std::time::Duration::from_secs(3_600)).await;
        let row = store.get_run(place.plain).await.unwrap();
        let events = store.events(place.plain, 0, 2).await.unwrap();
        let mut new = new_run(950, json!({}));
        (new.workflow_hash, new.run.workflow_hash, new.run.workflow_id) =
            (row.workflow_hash, row.workflow_hash, row.workflow_id);
        new.events[0].kind = events[0].kind.clone();
        let mut live = Live::of(&store, new, &me).await;
        live.commit(&store, vec![(Some("b"), EventKind::TaskStarted {})]).await;
        live.commit(&store, vec![(Some("b"), EventKind::TaskStarted {})]).await;
        (live.row.run_id, live.row.version)
    });
    let report = verify(&path).unwrap();
    let finding = report.findings.items.iter().find(|finding| finding.kind == FindingKind::Log);
    let finding = finding.unwrap_or_else(|| panic!("{report:#?}"));
    assert_eq!((finding.run_id, finding.seq), (Some(run), Some(seq)));
    assert!(finding.found.contains("runs already"), "{finding:?}");
}

/// One bit of the text of an event, in the bytes of the file.
#[test]
fn a_flipped_bit_is_named() {
    let place = Place::new();
    let path = place.copy();
    let seq = seq_of(&place.whole(), place.plain, "task.started", "b");
    let mut bytes = fs::read(&path).unwrap();
    let text = format!("{{\"seq\":{seq},\"time\":");
    let about_b = |at: usize| String::from_utf8_lossy(&bytes[at..at + 160]).contains("\"task_id\":\"b\"");
    let mut places = bytes.windows(text.len()).enumerate().filter(|(_, window)| *window == text.as_bytes());
    let at = places.find_map(|(at, _)| about_b(at).then_some(at)).unwrap();
    bytes[at + text.len() - 3] ^= 1;
    fs::write(&path, bytes).unwrap();
    let report = verify(&path).unwrap();
    let events: Vec<_> = report.findings.items.iter().filter(|finding| finding.kind == FindingKind::Event).collect();
    assert!(!events.is_empty() && events.iter().all(|finding| finding.seq == Some(seq)), "{report:#?}");
}

#[test]
fn a_file_that_is_too_short_or_another_is_named() {
    let place = Place::new();
    let path = place.copy();
    let bytes = fs::read(&path).unwrap();
    for part in [2, 3, 10] {
        fs::write(&path, &bytes[..bytes.len() / part]).unwrap();
        let is_named = match verify(&path) {
            Err(why) => why.contains("corrupt") || why.contains("not a database"),
            Ok(report) => found(&report).iter().any(|(kind, _)| *kind == FindingKind::Storage),
        };
        assert!(is_named, "a {part}th of the file: {:?}", verify(&path));
    }
    let newer = place.changed("PRAGMA user_version = 99");
    assert!(verify(&newer).unwrap_err().contains("schema 99"));
    let older = place.changed("PRAGMA user_version = 2");
    assert!(verify(&older).unwrap_err().contains("already exists"));
    let other = place.changed("PRAGMA application_id = 7");
    assert!(verify(&other).unwrap_err().contains("another program"));
    let why = block_on(segue_core::ports::StoreUpkeep::schema(&upkeep(&other))).unwrap_err();
    assert!(why.to_string().contains("another program"));
}

/// An index that does not say what its table says: SQLite's own check.
#[test]
fn an_index_that_lies_is_named() {
    let place = Place::new();
    let path = place.copy();
    let db = Connection::open(&path).unwrap();
    // The index forgets its rows: its root page is that of another, which is empty.
    db.execute_batch(
        "CREATE TABLE empty (run_no INTEGER); CREATE INDEX idle ON empty (run_no);
         PRAGMA writable_schema = ON;
         UPDATE sqlite_schema SET rootpage = (SELECT rootpage FROM sqlite_schema WHERE name = 'idle')
             WHERE name = 'requests_of_run';
         DELETE FROM sqlite_schema WHERE name IN ('idle', 'empty');",
    )
    .unwrap();
    drop(db);
    let report = verify(&path).unwrap();
    let text = format!("{:?}", found(&report));
    assert!(text.contains("requests_of_run"), "{text}");
    assert!(report.findings.items.iter().all(|finding| finding.task_id != Some(TaskId::new("a"))), "{text}");
}
