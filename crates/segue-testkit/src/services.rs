//! PostgreSQL and Redis for tests. `cargo xtask services -- COMMAND` starts them and tells the tests where they are; a test
//! that finds none fails: a missing service is never a passed test.

use std::{
    env, thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

pub use segue_testservers::{PostgresServer, RedisServer};
use tokio_postgres::{Client, NoTls};

/// The URL of a PostgreSQL superuser, set by `cargo xtask services`.
pub const POSTGRES: &str = "SEGUE_TEST_POSTGRES";
/// The URL of a Redis server, set by `cargo xtask services`.
pub const REDIS: &str = "SEGUE_TEST_REDIS";

/// A new empty database on the shared server, or on [another](Database::on). Dropped, it is gone, whoever is still connected.
#[derive(Debug)]
pub struct Database {
    admin: String,
    name: String,
}

/// A new empty database on the shared server.
pub async fn postgres() -> Database {
    Database::on(&wanted(POSTGRES)).await
}

/// The shared Redis server. All tests use it at once: names of keys and channels must be your own.
pub fn redis() -> String {
    wanted(REDIS)
}

/// Panics with the cure: what is missing here would otherwise be taken for tested.
fn wanted(variable: &str) -> String {
    env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set; {}", segue_testservers::programs::CURE))
}

impl Database {
    /// A new empty database on the server that `admin`, the URL of a superuser, leads to.
    pub async fn on(admin: &str) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let name = format!("segue_{}_{:016x}", now.as_secs(), fastrand::Rng::new().u64(..));
        let client = connect(admin).await;
        // Not a copy of files under a checkpoint: many tests make databases at once.
        let sql = format!("CREATE DATABASE {name} STRATEGY wal_log");
        client.batch_execute(&sql).await.unwrap_or_else(|error| panic!("cannot make a database: {error}"));
        Self { admin: admin.to_owned(), name }
    }

    /// `postgres://…` of a superuser, to this database.
    pub fn url(&self) -> String {
        let (server, _) = self.admin.rsplit_once('/').expect("the URL names a database");
        format!("{server}/{}", self.name)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The URL of the superuser, to the database `postgres` of the same server.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// A connection to this database, for looking at what is in it and for meddling with it.
    pub async fn client(&self) -> Client {
        connect(&self.url()).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (admin, sql) = (self.admin.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread of its own: this may be a thread of a runtime, which must not block on another.
        let dropped = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                // The server may be gone by now, and the database with it.
                if let Ok((client, connection)) = tokio_postgres::connect(&admin, NoTls).await {
                    tokio::spawn(connection);
                    let _ = client.batch_execute(&sql).await;
                }
            });
        });
        let _ = dropped.join();
    }
}

async fn connect(url: &str) -> Client {
    let connected = tokio_postgres::connect(url, NoTls).await;
    // The error of tokio-postgres holds no URL.
    let (client, connection) = connected.unwrap_or_else(|error| panic!("cannot connect to PostgreSQL: {error}"));
    tokio::spawn(connection);
    client
}
