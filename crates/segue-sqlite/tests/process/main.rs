//! What only a second process can show: death by SIGKILL, failing disks, missing rights, requests from elsewhere.
//!
//! The second process is this test binary again, told by an environment variable which part to play.
#![allow(clippy::unwrap_used)]

mod child;

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    },
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use child::{PART, PLACE};
use segue_core::{
    ids::ContentHash,
    payload::Payload,
    ports::{RequestKind, RunStore, StoreError},
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    block_on,
    run_store::{Live, engine, new_run, run_id, workflow},
};
use serde_json::json;

fn open(path: &Path) -> Arc<dyn RunStore> {
    Arc::new(SqliteStore::open(path, SqliteOptions::default()).unwrap())
}

/// A process that plays `part` on the database at `path`.
fn command(part: &str, path: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "plays_its_part", "--nocapture", "--quiet"]).env(PART, part).env(PLACE, path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    command
}

fn start(mut command: Command) -> (Child, BufReader<ChildStdout>) {
    let mut child = command.spawn().unwrap();
    let said = BufReader::new(child.stdout.take().unwrap());
    (child, said)
}

/// What the process says, from the first line with this beginning on.
fn said(lines: &mut BufReader<ChildStdout>, what: &str) -> Option<String> {
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some(rest) = line.trim_end().strip_prefix(what) {
            return Some(rest.to_owned());
        }
        line.clear();
    }
    None
}

/// Not a test by itself: what the second process runs.
#[test]
fn plays_its_part() {
    child::play();
}

/// Killed while it commits for several runs at once, again and again: what was acknowledged is there, the log is whole,
/// and the rows are those of the last event.
#[test]
fn nothing_acknowledged_is_lost_by_sigkill() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let mut total = 0;
    for acks in [1, 2, 3, 17, 40, 90, 150, 260, 400] {
        let (mut child, mut lines) = start(command("commit", &path));
        let mut last = [0_u64; child::RUNS as usize + 1];
        for _ in 0..acks {
            let ack = said(&mut lines, "ack ").expect("the process commits until it is killed");
            let (run, version) = ack.split_once(' ').unwrap();
            last[run.parse::<usize>().unwrap()] = version.parse().unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died counts too.
        while let Some(ack) = said(&mut lines, "ack ") {
            let Some((run, version)) = ack.split_once(' ') else { break };
            let Ok(version) = version.parse() else { break };
            last[run.parse::<usize>().unwrap()] = version;
            total += 1;
        }
        total += acks;
        block_on(check_after_death(&path, &last));
    }
    assert!(total > 900);
}

async fn check_after_death(path: &Path, acknowledged: &[u64]) {
    let store = open(path);
    for (run, version) in (1..).zip(&acknowledged[1..]) {
        let Ok(row) = store.get_run(run_id(run)).await else {
            assert_eq!(*version, 0, "run {run} was acknowledged");
            continue;
        };
        assert!(row.version >= *version, "run {run} is at {} and was acknowledged at {version}", row.version);
        let events = store.events(run_id(run), 0, 0).await.unwrap();
        assert_eq!(events.len() as u64, row.version, "run {run}");
        let tasks = store.list_tasks(run_id(run)).await.unwrap();
        assert_eq!(tasks.len() as u64, row.version - 2, "run {run}: each commit of the child starts one task");
    }
}

/// Killed in the middle of a collection, again and again: each run is there as a whole or not at all, commits go on between
/// the steps and nothing acknowledged is lost, and in the end only what is live is left in the file.
#[test]
fn a_collection_can_be_killed_at_any_moment() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let mut acknowledged = block_on(fill(&path));
    let mut interrupted = 0;
    for acks in [1, 2, 3, 5, 9, 14] {
        let (mut child, mut lines) = start(command("collect", &path));
        let mut last = String::new();
        for _ in 0..acks {
            match said(&mut lines, "") {
                Some(line) if line.starts_with("ack ") => last = line,
                Some(line) if line.starts_with("collected") => break,
                Some(_) => {}
                None => break,
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        if let Some(version) = last.strip_prefix("ack ") {
            acknowledged = version.parse().unwrap();
        }
        interrupted += usize::from(rows(&path, "buried") > 0);
        block_on(check_whole(&path, acknowledged));
    }
    assert!(interrupted > 0, "none of the collections was killed in the middle");
    let (mut child, mut lines) = start(command("collect", &path));
    let done = said(&mut lines, "collected ").expect("it ends by itself");
    child.wait().unwrap();
    assert!(done.parse::<u32>().unwrap() <= ENDED);
    block_on(check_whole(&path, acknowledged));
    let left = ["runs", "buried", "blobs", "blob_uses"].map(|table| rows(&path, table));
    assert_eq!(left, [1, 0, 1, 1]);
    let db = rusqlite::Connection::open(&path).unwrap();
    let others: i64 = db
        .query_row("SELECT count(*) FROM events WHERE place >> 32 != (SELECT run_no FROM runs)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(others, 0);
    let verdict: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

/// Ended runs before a collection.
const ENDED: u32 = 300;

fn large(n: u32) -> segue_core::event::EventKind {
    segue_core::event::EventKind::TaskSucceeded {
        output: Payload::new(json!(format!("{n} {}", "x".repeat(80_000)))),
        usage: Default::default(),
        warnings: Vec::new(),
        reused_from: None,
    }
}

/// Ended runs with values, each shared with the next one, and a live run that shares one. Gives the version of that one.
async fn fill(path: &Path) -> u64 {
    let options = SqliteOptions { synchronous: segue_sqlite::Synchronous::Normal, ..Default::default() };
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(path, options).unwrap());
    let owner = engine(&store, "filler", Duration::from_secs(3_600)).await;
    for n in 1..=ENDED {
        let mut live = Live::create(&store, n, &owner).await;
        live.commit(&store, vec![(Some("own"), large(n)), (Some("shared"), large(n + 1))]).await;
        live.end(&store).await;
    }
    let mut live = Live::create(&store, child::LIVE, &owner).await;
    live.commit(&store, vec![(Some("shared"), large(7))]).await;
    live.row.version
}

fn rows(path: &Path, table: &str) -> i64 {
    let db = rusqlite::Connection::open(path).unwrap();
    db.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
}

async fn check_whole(path: &Path, acknowledged: u64) {
    let store = open(path);
    let runs = store.list_runs(Default::default()).await.unwrap();
    let live = runs.iter().find(|row| row.run_id == run_id(child::LIVE)).expect("the live run");
    assert!(live.version >= acknowledged, "{} and {acknowledged} was acknowledged", live.version);
    for row in &runs {
        let events = store.events(row.run_id, 0, 0).await.unwrap();
        assert_eq!(events.len() as u64, row.version);
        let tasks = store.list_tasks(row.run_id).await.unwrap();
        assert!(tasks.len() >= if row.run_id == live.run_id { 1 } else { 2 });
        for blob in events.iter().filter_map(|event| event.kind.payload()?.blob()) {
            store.blob(blob).await.unwrap();
        }
    }
}

/// Writing fails in the middle (here: no file may grow beyond some size): the commit is refused, everything after it too,
/// and a new start finds all that was acknowledged.
#[test]
fn after_a_failed_write_nothing_more_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let inner = command("large", &path);
    let mut limited = Command::new("sh");
    // A file larger than 12 MiB cannot be written. Without the trap the process would be killed instead.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 24576; exec \"$0\" \"$@\""]).arg(inner.get_program());
    limited.args(inner.get_args()).env(PART, "large").env(PLACE, &path);
    limited.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let (mut child, mut lines) = start(limited);
    let acknowledged: u64 = said(&mut lines, "acknowledged ").expect("it ends by itself").parse().unwrap();
    let first = said(&mut lines, "first ").unwrap();
    let second = said(&mut lines, "second ").unwrap();
    child.wait().unwrap();
    assert!(acknowledged > 2, "some commits fit: {acknowledged}");
    assert!(first.contains("failed") && first.contains("check the disk"), "{first}");
    assert!(second.contains("nothing more is written after this"), "{second}");
    block_on(async {
        let store = open(&path);
        let row = store.get_run(run_id(1)).await.unwrap();
        assert!(row.version >= acknowledged);
        assert_eq!(store.events(run_id(1), 0, 0).await.unwrap().len() as u64, row.version);
    });
}

/// A file or a folder that this user may not write: said so, with what to do, and nothing is changed.
#[test]
fn missing_rights_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let path = inside.join("segue.db");
    drop(open(&path));
    for name in ["segue.db", "segue.db-wal"] {
        assert_eq!(fs::metadata(inside.join(name)).unwrap().mode() & 0o777, 0o600, "{name} is for its owner only");
    }
    let refuse = |folder_mode, file_mode, target: &Path| {
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for file in fs::read_dir(&inside).unwrap() {
            fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(file_mode)).unwrap();
        }
        fs::set_permissions(&inside, fs::Permissions::from_mode(folder_mode)).unwrap();
        let said = open_without_privileges(folder.path(), target);
        fs::set_permissions(&inside, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(said.contains("the store cannot be used") && said.contains("--store"), "{said}");
        assert!(said.contains(&*target.to_string_lossy()), "{said}");
    };
    refuse(0o555, 0o444, &path);
    refuse(0o555, 0o000, &path);
    refuse(0o555, 0o444, &inside.join("new.db"));
    refuse(0o555, 0o444, &inside.join("new/new.db"));
    for file in fs::read_dir(&inside).unwrap() {
        fs::set_permissions(file.unwrap().path(), fs::Permissions::from_mode(0o600)).unwrap();
    }
    drop(open(&path));
}

/// Opens in a process that is not root's: rights mean nothing to root.
fn open_without_privileges(folder: &Path, path: &Path) -> String {
    let mut opening = command("open", path);
    if fs::metadata(folder).unwrap().uid() == 0 {
        // Where this binary lies, others may not look.
        let copy = folder.join("binary");
        // Copied by another process: a program that is open for writing in this one, if only in the children that other
        // tests are forking, cannot be executed.
        let own = std::env::current_exe().unwrap();
        assert!(Command::new("cp").arg(own).arg(&copy).status().unwrap().success());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        let mut copied = Command::new(&copy);
        copied.args(opening.get_args()).env(PART, "open").env(PLACE, path).uid(65_534).gid(65_534);
        copied.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).current_dir(folder);
        opening = copied;
    }
    let (mut child, mut lines) = start(opening);
    let answer = said(&mut lines, "open: ").expect("it answers");
    child.wait().unwrap();
    answer
}

/// A thousand starts with one key, from four processes at once: one run, and everybody is told which. Something else under
/// the same key is refused.
#[test]
fn a_thousand_starts_with_one_key_are_one_run() {
    const PROCESSES: usize = 4;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    block_on(open(&path).put_workflow(workflow("flow"))).unwrap();
    let mut started: Vec<_> = (0..PROCESSES).map(|_| start(command("submit", &path))).collect();
    let mut answers = Vec::new();
    for (child, lines) in &mut started {
        answers.extend(std::iter::from_fn(|| said(lines, "got ")));
        assert!(child.wait().unwrap().success());
    }
    assert_eq!(answers.len(), PROCESSES * child::SUBMITS as usize);
    let new: Vec<&str> = answers.iter().filter_map(|answer| answer.strip_prefix("new ")).collect();
    let [run] = new[..] else { panic!("{} runs were made: {new:?}", new.len()) };
    let old = format!("old {run}");
    assert_eq!(answers.iter().filter(|answer| **answer == old).count(), answers.len() - 1);
    block_on(async {
        let store = open(&path);
        assert_eq!(store.list_runs(Default::default()).await.unwrap().len(), 1);
        let mut other = new_run(7, json!({"invoice": 18}));
        (other.idempotency_key, other.request_hash) = (Some("invoice-17".to_owned()), ContentHash::of(b"another"));
        let refused = store.create_run(other).await.unwrap_err();
        assert!(matches!(&refused, StoreError::KeyReused { run_id, .. } if run_id.to_string() == run), "{refused}");
    });
}

/// A request that this process posts is heard of in another within 250 ms (the best of ten, on a loaded machine), and one
/// that was posted before it listened too.
#[test]
fn another_process_hears_of_requests() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    block_on(async {
        let store = open(&path);
        for n in 1..=10 {
            store.create_run(new_run(n, json!({}))).await.unwrap();
        }
        store.post_request(run_id(10), RequestKind::Reopen).await.unwrap();
        let (mut child, mut lines) = start(command("listen", &path));
        assert_eq!(said(&mut lines, "heard ").unwrap(), run_id(10).to_string());
        let mut best = Duration::MAX;
        for n in 1..=9 {
            let posted = Instant::now();
            store.post_request(run_id(n), RequestKind::Cancel { reason: String::new() }).await.unwrap();
            while said(&mut lines, "heard ").unwrap() != run_id(n).to_string() {}
            best = best.min(posted.elapsed());
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(best <= Duration::from_millis(250), "{best:?}");
    });
}

/// Another process holds the write lock: the answer is "unavailable" after the busy timeout, and nothing is lost.
#[test]
fn a_locked_file_is_unavailable_for_a_while() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("segue.db");
    let options = SqliteOptions { busy_timeout: Duration::from_millis(20), ..Default::default() };
    let store: Arc<dyn RunStore> = Arc::new(SqliteStore::open(&path, options).unwrap());
    block_on(async {
        let owner = engine(&store, "a", Duration::from_secs(3_600)).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let lock = rusqlite::Connection::open(&path).unwrap();
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        let commit = live.next(vec![(None, segue_core::event::EventKind::RunWaiting {})]);
        let answer = store.commit(commit.clone()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        live.assert_kept(&store).await;
        lock.execute_batch("ROLLBACK").unwrap();
        store.commit(commit.clone()).await.unwrap();
        live.accepted(commit);
        live.assert_kept(&store).await;
    });
}
