//! Lost connections, servers that go down in the middle, answers that never come.
#![allow(clippy::unwrap_used)]

#[path = "outage/failover.rs"]
mod failover;
mod support;

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt, future::join_all};
use segue_core::{
    event::EventKind,
    ports::{Commit, RequestKind, RunStore, StoreError},
};
use segue_postgres::{PostgresOptions, PostgresStore};
use segue_testkit::{
    conformance::{
        PATIENCE, block_on, eventually,
        run_store::{Live, engine, run_id},
    },
    services::{self, PostgresServer},
};
use support::{fresh, open, proxy::Proxy};
use tokio_postgres::Client;

const LONG: Duration = Duration::from_secs(3_600);

fn next(live: &Live, task: &str) -> Commit {
    live.next(vec![(Some(task), EventKind::TaskStarted {})])
}

/// Commits as an engine does: after "unavailable" it looks whether the commit happened, and repeats it only if not.
async fn persist(store: &Arc<dyn RunStore>, live: &mut Live, task: &str) {
    let commit = next(live, task);
    loop {
        match store.commit(commit.clone()).await {
            Ok(()) => break,
            Err(StoreError::Unavailable(_)) => {
                let run = commit.run.run_id;
                let row = eventually("the store comes back", async || store.get_run(run).await.ok()).await;
                if row.version == commit.run.version {
                    break;
                }
                assert_eq!(row.version, commit.expected_version, "what was acknowledged is lost");
            }
            Err(other) => panic!("{other}"),
        }
    }
    live.accepted(commit);
}

/// The server dies again and again without a word; nothing acknowledged is lost, nothing happens twice, and the store
/// comes back by itself.
#[test]
fn a_server_that_dies_in_the_middle_of_commits_loses_nothing() {
    const RUNS: u32 = 8;
    const CRASHES: usize = 3;
    let mut server = PostgresServer::start().unwrap();
    block_on(async {
        let database = services::Database::on(&server.url()).await;
        let store: Arc<dyn RunStore> = open(&database.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let runs = (1..=RUNS).map(|n| {
            let (store, owner, told, stop) = (store.clone(), owner.clone(), told.clone(), stop.clone());
            tokio::spawn(async move {
                let mut live = Live::create(&store, n, &owner).await;
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    let task = format!("t{}", live.row.version % 7);
                    persist(&store, &mut live, &task).await;
                    told.send(()).unwrap();
                }
                live
            })
        });
        let runs: Vec<_> = runs.collect();
        for _ in 0..CRASHES {
            for _ in 0..100 {
                heard.recv().await.unwrap();
            }
            server = tokio::task::spawn_blocking(move || {
                server.stop_immediate().unwrap();
                server.restart().unwrap();
                server
            })
            .await
            .unwrap();
        }
        for _ in 0..100 {
            heard.recv().await.unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        let another: Arc<dyn RunStore> = open(&database.url()).await;
        for live in join_all(runs).await {
            live.unwrap().assert_kept(&another).await;
        }
    });
}

/// A commit whose answer is lost on the way is "unavailable" although it happened, and is never done twice.
#[test]
fn a_commit_whose_answer_is_lost_is_unknown_and_happened() {
    let database = fresh();
    block_on(async {
        let (server, port) = split(&database.0.url());
        let proxy = Proxy::start(port).await;
        let store: Arc<dyn RunStore> = open(&server.replace("PORT", &proxy.port().to_string())).await;
        let direct: Arc<dyn RunStore> = open(&database.0.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        live.commit(&store, vec![(Some("one"), EventKind::TaskStarted {})]).await;
        let commit = next(&live, "two");
        proxy.lose_replies(true);
        let answer = store.commit(commit.clone()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        proxy.lose_replies(false);
        assert_eq!(direct.get_run(run_id(1)).await.unwrap().version, commit.run.version);
        let again = store.commit(commit.clone()).await;
        assert!(matches!(again, Err(StoreError::Conflict { .. })), "{again:?}");
        live.accepted(commit);
        live.assert_kept(&store).await;
        live.commit(&store, vec![(Some("three"), EventKind::TaskStarted {})]).await;
        live.assert_kept(&direct).await;
    });
}

fn split(url: &str) -> (String, u16) {
    let (before, after) = url.rsplit_once(':').unwrap();
    let (port, name) = after.split_once('/').unwrap();
    (format!("{before}:PORT/{name}"), port.parse().unwrap())
}

/// The processes of the server that wait for a lock in this database.
async fn waiting(admin: &Client) -> Option<i32> {
    let sql = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    admin.query(sql, &[]).await.unwrap().first().map(|row| row.get(0))
}

/// The connection of a commit is killed while the commit is under way: that commit is unknown, and the next one goes on.
#[test]
fn a_killed_connection_fails_what_was_under_way_and_nothing_else() {
    let database = fresh();
    block_on(async {
        let store: Arc<dyn RunStore> = open(&database.0.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let (blocker, admin) = (database.0.client().await, database.0.client().await);
        blocker.batch_execute("BEGIN; SELECT 1 FROM segue.runs FOR UPDATE").await.unwrap();
        let commit = next(&live, "one");
        let (under_way, sent) = (store.clone(), commit.clone());
        let under_way = tokio::spawn(async move { under_way.commit(sent).await });
        let pid = eventually("the commit waits", async || waiting(&admin).await).await;
        admin.query("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
        let answer = under_way.await.unwrap();
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        blocker.batch_execute("ROLLBACK").await.unwrap();
        assert_eq!(store.get_run(run_id(1)).await.unwrap().version, commit.expected_version);
        store.commit(commit.clone()).await.unwrap();
        live.accepted(commit);
        live.assert_kept(&store).await;
    });
}

/// All connections are killed while nothing is under way: nobody notices.
#[test]
fn connections_that_were_lost_are_made_again() {
    let database = fresh();
    block_on(async {
        let store: Arc<dyn RunStore> = open(&database.0.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let mut signals = store.request_signals();
        let admin = database.0.client().await;
        let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        for n in 0..3 {
            let request = store.post_request(run_id(1), RequestKind::Cancel { reason: n.to_string() }).await.unwrap();
            let named = tokio::time::timeout(PATIENCE, signals.next()).await.expect("a signal").unwrap();
            assert_eq!(named, run_id(1));
            assert!(!admin.query(kill, &[]).await.unwrap().is_empty());
            // Reading goes on as if nothing had been.
            live.assert_kept(&store).await;
            persist(&store, &mut live, "t").await;
            store.dismiss_requests(run_id(1), &[request]).await.unwrap();
        }
        live.assert_kept(&store).await;
    });
}

/// What the server undid because of others is done again; what else it refuses for one run fails that run alone.
#[test]
fn a_batch_that_was_undone_is_done_again_and_a_bad_step_fails_alone() {
    const FAILING: &str = "SET search_path TO segue; CREATE SEQUENCE failures; \
         CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('segue.failures') <= 4 THEN \
                 RAISE EXCEPTION 'others were faster' USING ERRCODE = \
                     CASE WHEN currval('segue.failures') % 2 = 0 THEN '40001' ELSE '40P01' END; \
             ELSIF new.run_id::text LIKE '%3' THEN RAISE EXCEPTION 'not this one'; END IF; \
             RETURN new; END $$; \
         CREATE TRIGGER failing BEFORE UPDATE ON runs FOR EACH ROW EXECUTE FUNCTION fail()";
    let database = fresh();
    block_on(async {
        let store: Arc<dyn RunStore> = open(&database.0.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let mut runs = Vec::new();
        for n in 1..=5 {
            runs.push(Live::create(&store, n, &owner).await);
        }
        database.0.client().await.batch_execute(FAILING).await.unwrap();
        let commits: Vec<Commit> = runs.iter().map(|live| next(live, "t")).collect();
        let answers = join_all(commits.iter().map(|commit| store.commit(commit.clone()))).await;
        for ((live, commit), answer) in runs.iter_mut().zip(commits).zip(answers) {
            if live.row.run_id == run_id(3) {
                assert!(
                    matches!(&answer, Err(StoreError::Broken(text)) if text.contains("not this one")),
                    "{answer:?}"
                );
            } else {
                answer.unwrap();
                live.accepted(commit);
            }
            live.assert_kept(&store).await;
        }
    });
}

/// A server of which nothing is heard, and that does not even close its connections, costs time and nothing else.
#[test]
fn a_server_that_says_nothing_is_unavailable_and_comes_back() {
    let database = fresh();
    block_on(async {
        let (server, port) = split(&database.0.url());
        let proxy = Proxy::start(port).await;
        let url = server.replace("PORT", &proxy.port().to_string());
        let timeout = Duration::from_secs(1);
        let options = PostgresOptions { timeout, connect_timeout: timeout, ..support::options() };
        let store: Arc<dyn RunStore> = Arc::new(PostgresStore::connect(&url, options).await.unwrap());
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        live.assert_kept(&store).await;
        proxy.be_silent(true);
        let commit = next(&live, "one");
        let answer = store.commit(commit.clone()).await;
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
        let read = store.get_run(run_id(1)).await;
        assert!(matches!(read, Err(StoreError::Unavailable(_))), "{read:?}");
        proxy.be_silent(false);
        // The server was asked, and did it: then the same commit conflicts.
        let row = eventually("the store comes back", async || store.get_run(run_id(1)).await.ok()).await;
        assert!([commit.expected_version, commit.run.version].contains(&row.version));
        let settled = async || match store.commit(commit.clone()).await {
            Ok(()) | Err(StoreError::Conflict { .. }) => Some(()),
            Err(StoreError::Unavailable(_)) => None,
            Err(other) => panic!("{other}"),
        };
        eventually("the commit is settled", settled).await;
        live.accepted(commit);
        live.assert_kept(&store).await;
        persist(&store, &mut live, "two").await;
        live.assert_kept(&store).await;
    });
}

/// Of several servers the one that takes writes is found.
#[test]
fn among_several_servers_the_primary_is_found() {
    let (standby, primary) = (PostgresServer::start().unwrap(), PostgresServer::start().unwrap());
    block_on(async {
        let database = services::Database::on(&primary.url()).await;
        let (admin, connection) = tokio_postgres::connect(&standby.url(), tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let same = format!("ALTER ROLE CURRENT_USER PASSWORD '{}'", primary.password());
        admin.batch_execute(&same).await.unwrap();
        admin.batch_execute(&format!("CREATE DATABASE {}", database.name())).await.unwrap();
        let read_only = format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name());
        admin.batch_execute(&read_only).await.unwrap();
        let both = database.url().replace('@', &format!("@127.0.0.1:{},", standby.port()));
        let (store, direct) = (open(&both).await, open(&database.url()).await);
        let runs: Arc<dyn RunStore> = store.clone();
        assert!(!store.shown().contains(primary.password()));
        let owner = engine(&runs, "a", LONG).await;
        let live = Live::create(&runs, 1, &owner).await;
        let direct: Arc<dyn RunStore> = direct;
        live.assert_kept(&direct).await;
    });
}

/// The server has no connection left for a store that has lost its own: that is told, and over as soon as there is room.
#[test]
fn a_server_without_room_for_one_more_connection_is_unavailable_and_comes_back() {
    let server = PostgresServer::start_with(&["max_connections=10", "superuser_reserved_connections=0"]).unwrap();
    block_on(async {
        let database = services::Database::on(&server.url()).await;
        let store: Arc<dyn RunStore> = open(&database.url()).await;
        let owner = engine(&store, "a", LONG).await;
        let mut live = Live::create(&store, 1, &owner).await;
        let admin = database.client().await;
        let kill = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE application_name = 'segue'";
        let (stop, url) = (Arc::new(std::sync::atomic::AtomicBool::new(false)), server.url());
        // Takes whatever is free, as soon as it is.
        let taking = tokio::spawn({
            let stop = stop.clone();
            async move {
                let mut held = Vec::new();
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    match tokio_postgres::connect(&url, tokio_postgres::NoTls).await {
                        Ok((client, connection)) => held.push((client, tokio::spawn(connection))),
                        Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
                    }
                }
            }
        });
        let refused = async || {
            admin.query(kill, &[]).await.unwrap();
            match store.get_run(run_id(1)).await {
                Err(StoreError::Unavailable(text)) if text.contains("max_connections") => Some(()),
                Ok(_) | Err(StoreError::Unavailable(_)) => None,
                Err(other) => panic!("{other}"),
            }
        };
        eventually("the store is refused", refused).await;
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        taking.await.unwrap();
        eventually("the store comes back", async || store.get_run(run_id(1)).await.ok()).await;
        persist(&store, &mut live, "one").await;
        live.assert_kept(&store).await;
    });
}
