//! How fast are durable commits, alone and merged, beside the server's own limit (one-row commits over one connection)?
//!
//!     cargo run --release -p segue-postgres --example postgres_commit_rate -- postgres://…
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Instant};

use futures_util::future::join_all;
use segue_core::{event::EventKind, ids::EngineId, outcome::Usage, payload::Payload, ports::RunStore};
use segue_postgres::{PostgresOptions, PostgresStore};
use segue_testkit::{
    conformance::run_store::{Live, engine},
    services::Database,
};
use serde_json::json;
use tokio_postgres::NoTls;

const COMMITS: u32 = 1_000;

#[tokio::main]
async fn main() {
    let server = std::env::args().nth(1).expect("the URL of a superuser");
    for _ in 0..3 {
        let database = Database::on(&server).await;
        plain(&database.url()).await;
        chains(&database.url(), 1, COMMITS).await;
        chains(&database.url(), 16, 200).await;
        chains(&database.url(), 64, 200).await;
        chains(&database.url(), 256, 100).await;
    }
}

fn report(what: &str, begun: Instant, commits: u32) {
    let seconds = begun.elapsed().as_secs_f64();
    println!("{what}: {:.0}/s, {:.0} µs a commit", f64::from(commits) / seconds, seconds * 1e6 / f64::from(commits));
}

async fn plain(url: &str) {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute("CREATE TABLE plain (body text); SET synchronous_commit = on").await.unwrap();
    let insert = client.prepare("INSERT INTO plain VALUES ($1)").await.unwrap();
    let begun = Instant::now();
    for n in 0..COMMITS {
        client.execute(&insert, &[&format!("row {n}")]).await.unwrap();
    }
    report("plain one-row commits", begun, COMMITS);
}

/// The step of a chain: one task's end and the next one's start.
async fn step(store: &Arc<dyn RunStore>, live: &mut Live, n: u32) {
    let (this, next) = (format!("step_{n:04}"), format!("step_{:04}", n + 1));
    let output = Payload::new(json!({"n": n}));
    let success = EventKind::TaskSucceeded { output, usage: Usage::default(), warnings: Vec::new(), reused_from: None };
    let commit = live.next(vec![(Some(&this), success), (Some(&next), EventKind::TaskStarted {})]);
    store.commit(commit.clone()).await.unwrap();
    live.row = commit.run;
    // Of the rows only the newest are needed here: a kernel would not search either.
    live.tasks = commit.tasks;
}

async fn chains(url: &str, runs: u32, steps: u32) {
    let postgres = Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await.unwrap());
    let store: Arc<dyn RunStore> = postgres.clone();
    let owner: EngineId = engine(&store, "bench", std::time::Duration::from_secs(3_600)).await;
    let first = runs * 1_000;
    let begun = Instant::now();
    let chains = (first..first + runs).map(|n| {
        let (store, owner) = (store.clone(), owner.clone());
        tokio::spawn(async move {
            let mut live = Live::create(&store, n, &owner).await;
            for n in 0..steps {
                step(&store, &mut live, n).await;
            }
        })
    });
    join_all(chains).await.into_iter().for_each(Result::unwrap);
    report(&format!("{runs} chains"), begun, runs * (steps + 1));
    println!("  {:?}", postgres.stats());
}
