//! Databases for tests.
#![allow(clippy::unwrap_used, dead_code)]

pub(crate) mod cases;
pub(crate) mod proxy;

use std::sync::Arc;

use segue_postgres::{PostgresOptions, PostgresStore};
use segue_testkit::{conformance::block_on, services};
use tokio::{runtime::Handle, task::block_in_place};

/// A database of its own, empty at first.
pub(crate) struct Empty(pub(crate) services::Database);

/// To be called outside any runtime.
pub(crate) fn fresh() -> Empty {
    Empty(block_on(services::postgres()))
}

impl Empty {
    /// One more store on it. To be called in a runtime with several threads.
    pub(crate) fn store(&self) -> Arc<PostgresStore> {
        block_in_place(|| Handle::current().block_on(open(&self.0.url())))
    }
}

/// A store that uses few connections: many tests share one server.
pub(crate) async fn open(url: &str) -> Arc<PostgresStore> {
    Arc::new(PostgresStore::connect(url, options()).await.unwrap())
}

pub(crate) fn options() -> PostgresOptions {
    PostgresOptions { connections: 3, ..PostgresOptions::default() }
}
