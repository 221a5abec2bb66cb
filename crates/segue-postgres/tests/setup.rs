//! What a store says when its database is not as it should be, and how its schema comes to be.
#![allow(clippy::unwrap_used)]

mod support;
#[path = "setup/tls.rs"]
mod tls;

use std::{sync::Arc, time::Duration};

use segue_core::ports::{RunStore, StoreError};
use segue_postgres::{PostgresOptions, PostgresStore};
use segue_testkit::{
    conformance::{
        block_on, eventually,
        run_store::{Live, engine},
    },
    services::{self, PostgresServer},
};
use support::{fresh, open, options};

/// The answer to an attempt to connect; never with the password in it.
async fn refusal(url: &str) -> StoreError {
    let password = url.split('@').next().and_then(|user| user.rsplit(':').next()).unwrap().to_owned();
    let error = PostgresStore::connect(url, options()).await.expect_err("no store");
    assert!(!format!("{error} {error:?}").contains(&password), "{error}");
    error
}

fn assert_broken(error: StoreError, cure: &str) {
    assert!(matches!(&error, StoreError::Broken(text) if text.contains(cure)), "{error}");
}

fn assert_unavailable(error: StoreError, cure: &str) {
    assert!(matches!(&error, StoreError::Unavailable(text) if text.contains(cure)), "{error}");
}

/// The URL with another user and password, and perhaps another database.
fn as_user(url: &str, user: &str, password: &str) -> String {
    format!("postgres://{user}:{password}@{}", url.split_once('@').unwrap().1)
}

#[test]
fn what_is_wrong_is_told_with_its_cure() {
    let database = fresh();
    block_on(async {
        let url = database.0.url();
        let name = database.0.name().to_owned();
        assert_broken(refusal(&url.replace(&name, "not_there_at_all")).await, "createdb");
        assert_broken(refusal(&as_user(&url, "segue", "a-wrong-password")).await, "check the user and the password");
        assert_broken(refusal(&format!("{url}?sslmode=require")).await, "sslmode=disable");
        assert_broken(refusal(&format!("{url}?sslrootcert=/not/there.pem")).await, "/not/there.pem");
        // A port that nobody listens on any more.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let nobody = format!("postgres://me:a-password@127.0.0.1:{port}/segue");
        assert_unavailable(refusal(&nobody).await, "no connection");
    });
}

#[test]
fn a_user_with_few_rights_is_told_what_is_missing_and_needs_no_more_than_a_schema() {
    let database = fresh();
    block_on(async {
        let admin = database.0.client().await;
        let (url, user) = (database.0.url(), format!("clerk_{}", database.0.name()));
        admin.batch_execute(&format!("CREATE ROLE {user} LOGIN PASSWORD 'a-secret'")).await.unwrap();
        let clerk = as_user(&url, &user, "a-secret");
        assert_broken(refusal(&clerk).await, "CREATE SCHEMA");
        admin.batch_execute(&format!("CREATE SCHEMA segue AUTHORIZATION {user}")).await.unwrap();
        let store = open(&clerk).await;
        assert_eq!(store.engines().await.unwrap(), []);
        // The password need not stand in the URL.
        let bare = clerk.replace(":a-secret", "");
        let with_password = PostgresOptions { password: Some("a-secret".to_owned()), ..options() };
        PostgresStore::connect(&bare, with_password).await.unwrap();
        drop(store);
        let drop_role = format!("DROP OWNED BY {user} CASCADE; DROP ROLE {user}");
        admin.batch_execute(&drop_role).await.unwrap();
    });
}

#[test]
fn another_programs_tables_are_left_alone() {
    let database = fresh();
    block_on(async {
        let admin = database.0.client().await;
        admin.batch_execute("CREATE SCHEMA segue; CREATE TABLE segue.runs (theirs int)").await.unwrap();
        assert_broken(refusal(&database.0.url()).await, "another program");
        let tables = "SELECT count(*) FROM pg_tables WHERE schemaname = 'segue'";
        assert_eq!(admin.query_one(tables, &[]).await.unwrap().get::<_, i64>(0), 1);
        let elsewhere = PostgresOptions { schema: "segue \"two\"".to_owned(), ..options() };
        PostgresStore::connect(&database.0.url(), elsewhere).await.unwrap();
    });
}

#[test]
fn a_newer_schema_is_refused_and_an_engine_on_it_goes_on() {
    let database = fresh();
    block_on(async {
        let before = open(&database.0.url()).await;
        let newer = "INSERT INTO segue.schema_versions (version, name) VALUES (1000, 'of a newer program')";
        database.0.client().await.batch_execute(newer).await.unwrap();
        assert_broken(refusal(&database.0.url()).await, "use a newer Segue");
        assert_eq!(before.engines().await.unwrap(), []);
    });
}

/// Many engines start at once on an empty database: one makes the tables, the others wait for it.
#[test]
fn many_engines_make_one_schema() {
    let database = fresh();
    block_on(async {
        let url = database.0.url();
        let opened = (0..8).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { PostgresStore::connect(&url, options()).await.map(drop) })
        });
        for opened in futures_util::future::join_all(opened).await {
            opened.unwrap().unwrap();
        }
        let versions = "SELECT count(*) = max(version) FROM segue.schema_versions";
        assert!(database.0.client().await.query_one(versions, &[]).await.unwrap().get::<_, bool>(0));
    });
}

/// While another one migrates nobody does the same; whoever waited goes on when the lock is free.
#[test]
fn a_migration_waits_for_the_one_that_is_under_way() {
    let database = fresh();
    block_on(async {
        let other = database.0.client().await;
        other.batch_execute("BEGIN; SELECT pg_advisory_xact_lock(1397049173, 1)").await.unwrap();
        let url = database.0.url();
        let opening = tokio::spawn(async move { open(&url).await });
        let watcher = database.0.client().await;
        let waits = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually("it waits", async || (!watcher.query(waits, &[]).await.unwrap().is_empty()).then_some(())).await;
        assert!(!opening.is_finished());
        other.batch_execute("COMMIT").await.unwrap();
        assert_eq!(opening.await.unwrap().engines().await.unwrap(), []);
    });
}

#[test]
fn a_server_without_a_free_connection_is_unavailable_and_a_standby_too() {
    let server = PostgresServer::start_with(&["max_connections=5", "superuser_reserved_connections=0"]).unwrap();
    block_on(async {
        let database = services::Database::on(&server.url()).await;
        let mut held = Vec::new();
        while let Ok((client, connection)) = tokio_postgres::connect(&server.url(), tokio_postgres::NoTls).await {
            tokio::spawn(connection);
            held.push(client);
        }
        assert_unavailable(refusal(&database.url()).await, "max_connections");
        let read_only = "ALTER SYSTEM SET default_transaction_read_only = on";
        held[0].batch_execute(read_only).await.unwrap();
        held[0].batch_execute("SELECT pg_reload_conf()").await.unwrap();
        held.truncate(1);
        let is_on = async || {
            let row = held[0].query_one("SELECT current_setting('default_transaction_read_only')", &[]).await.unwrap();
            (row.get::<_, &str>(0) == "on").then_some(())
        };
        eventually("it takes no writes", is_on).await;
        let told = async || match PostgresStore::connect(&database.url(), options()).await {
            Err(StoreError::Unavailable(text)) if text.contains("takes no writes") => Some(()),
            _ => None,
        };
        eventually("a standby is told", told).await;
    });
}

/// What an earlier version of this program left is brought to this one's schema; what it holds stays, and an engine that
/// was at work on it goes on.
#[test]
fn an_earlier_schema_is_brought_to_this_one_with_runs_in_it() {
    let database = fresh();
    block_on(async {
        let admin = database.0.client().await;
        let earlier = concat!(
            "CREATE SCHEMA segue; SET search_path TO segue; CREATE TABLE schema_versions (version integer PRIMARY KEY, \
             name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp()); \
             INSERT INTO schema_versions (version, name) VALUES (1, 'runs');",
            include_str!("../migrations/0001_runs.sql")
        );
        admin.batch_execute(earlier).await.unwrap();
        let before: Arc<dyn RunStore> = open(&database.0.url()).await;
        let owner = engine(&before, "a", Duration::from_secs(3_600)).await;
        let mut live = Live::create(&before, 1, &owner).await;
        let after: Arc<dyn RunStore> = open(&database.0.url()).await;
        live.assert_kept(&after).await;
        live.end(&before).await;
        live.assert_kept(&after).await;
    });
}
