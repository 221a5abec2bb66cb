//! The parts that the second process plays. It says on its output what it has done.

use std::{io::Write, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use segue_core::{
    event::EventKind,
    ids::RunId,
    outcome::Usage,
    payload::Payload,
    ports::{ClaimRequest, Created, RunStore},
};
use segue_sqlite::{SqliteOptions, SqliteStore};
use segue_testkit::conformance::{
    block_on, now,
    run_store::{Live, engine, new_run, run_id},
};
use serde_json::json;

pub(crate) const PART: &str = "SEGUE_SQLITE_TEST_PART";
pub(crate) const PLACE: &str = "SEGUE_SQLITE_TEST_PLACE";

/// Runs of the part `commit`.
pub(crate) const RUNS: u32 = 6;

/// The run of the part `collect` that goes on.
pub(crate) const LIVE: u32 = 999;

const LONG: Duration = Duration::from_secs(3_600);

pub(crate) fn play() {
    let Ok(part) = std::env::var(PART) else { return };
    let path = PathBuf::from(std::env::var_os(PLACE).unwrap());
    let opened = SqliteStore::open(&path, SqliteOptions::default());
    if part == "open" {
        say(&format!("open: {}", opened.map_or_else(|error| error.to_string(), |_| "done".to_owned())));
        return;
    }
    let store: Arc<dyn RunStore> = Arc::new(opened.unwrap());
    match part.as_str() {
        "commit" => block_on(commit(&store)),
        "large" => block_on(large(&store)),
        "listen" => block_on(listen(&store)),
        "collect" => block_on(collect(&store)),
        "submit" => block_on(submit(&store)),
        other => panic!("no part {other}"),
    }
}

/// How often the part `submit` asks for a run, all at once.
pub(crate) const SUBMITS: u32 = 250;

/// Asks for a run with one key again and again, and says which one it got.
async fn submit(store: &Arc<dyn RunStore>) {
    let asks = (0..SUBMITS).map(|n| {
        let store = store.clone();
        tokio::spawn(async move {
            // Each with an id of its own, as any process draws it.
            let mut new = new_run(n, json!({"invoice": 17}));
            new.idempotency_key = Some("invoice-17".to_owned());
            new.run.run_id = RunId::from_bytes((u128::from(std::process::id()) << 32 | u128::from(n)).to_be_bytes());
            let id = new.run.run_id;
            match store.create_run(new).await {
                Ok(Created::New(_)) => say(&format!("got new {id}")),
                Ok(Created::Existing(id)) => say(&format!("got old {id}")),
                Err(error) => say(&format!("got error {error}")),
            }
        })
    });
    join_all(asks).await;
}

/// One line at once, whatever else writes.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("\n{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// Commits for all runs at once, each commit starting one task; goes on where an earlier process was killed.
async fn commit(store: &Arc<dyn RunStore>) {
    let me = engine(store, &format!("process {}", std::process::id()), LONG).await;
    let dead = store.engines().await.unwrap().into_iter().map(|other| other.engine_id).filter(|id| *id != me).collect();
    let claim = ClaimRequest { engine_id: me.clone(), limit: 100, runs: Vec::new(), dead };
    let claimed = store.claim(claim).await.unwrap();
    let runs = (1..=RUNS).map(|n| {
        let (store, me) = (store.clone(), me.clone());
        let lease = claimed.iter().find(|lease| lease.run_id == run_id(n)).copied();
        tokio::spawn(async move {
            let mut live = match lease {
                Some(lease) => {
                    let row = store.get_run(run_id(n)).await.unwrap();
                    let events = store.events(run_id(n), 0, 0).await.unwrap();
                    Live { lease, row, events, tasks: Vec::new() }
                }
                None => Live::create(&store, n, &me).await,
            };
            loop {
                let task = format!("task_{}", live.row.version);
                live.commit(&store, vec![(Some(&task), EventKind::TaskStarted {})]).await;
                say(&format!("ack {n} {}", live.row.version));
            }
        })
    });
    join_all(runs).await;
}

/// Commits large values until one is refused, and then a small one.
async fn large(store: &Arc<dyn RunStore>) {
    let me = engine(store, "large", LONG).await;
    let mut live = Live::create(store, 1, &me).await;
    let first = loop {
        let output = Payload::new(json!(format!("{}{}", live.row.version, "x".repeat(1_000_000))));
        let success =
            EventKind::TaskSucceeded { output, usage: Usage::default(), warnings: Vec::new(), reused_from: None };
        let commit = live.next(vec![(Some("t"), success)]);
        match store.commit(commit.clone()).await {
            Ok(()) => live.accepted(commit),
            Err(error) => break error,
        }
    };
    let second = store.commit(live.next(vec![(Some("t"), EventKind::TaskStarted {})])).await.unwrap_err();
    say(&format!("acknowledged {}", live.row.version));
    say(&format!("first {first}"));
    say(&format!("second {second}"));
}

/// Says which runs it hears of, until it is killed.
async fn listen(store: &Arc<dyn RunStore>) {
    let mut signals = store.request_signals();
    while let Some(run) = signals.next().await {
        say(&format!("heard {run}"));
    }
}

/// Collects whatever has ended, and commits for a live run meanwhile.
async fn collect(store: &Arc<dyn RunStore>) {
    let me = engine(store, &format!("process {}", std::process::id()), LONG).await;
    let dead = store.engines().await.unwrap().into_iter().map(|other| other.engine_id).filter(|id| *id != me).collect();
    let claim = ClaimRequest { engine_id: me, limit: 1, runs: vec![run_id(LIVE)], dead };
    let lease = store.claim(claim).await.unwrap()[0];
    let row = store.get_run(run_id(LIVE)).await.unwrap();
    let mut live = Live { lease, row, events: Vec::new(), tasks: Vec::new() };
    let collection = tokio::spawn({
        let store = store.clone();
        async move { store.collect_garbage(now().plus(LONG)).await }
    });
    while !collection.is_finished() {
        let task = format!("task_{}", live.row.version);
        live.commit(store, vec![(Some(&task), EventKind::TaskStarted {})]).await;
        say(&format!("ack {}", live.row.version));
    }
    say(&format!("collected {}", collection.await.unwrap().unwrap().runs));
}
