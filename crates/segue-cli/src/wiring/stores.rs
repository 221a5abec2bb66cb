//! Where runs are kept, by the setting `store`.

use std::{path::Path, sync::Arc};

use segue_core::{
    memory::MemoryStore,
    ports::{CheckpointStore, LimitStore, ModelJournal, RunStore, StoreError, StoreUpkeep},
};
use segue_engine::Clock;
use segue_postgres::{PostgresOptions, PostgresStore, PostgresUpkeep};
use segue_sqlite::{SqliteOptions, SqliteStore, SqliteUpkeep, Synchronous};

use crate::{
    config::{Settings, StoreUrl},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// One store, as those see it who keep something in it.
#[derive(Clone)]
pub(crate) struct Stores {
    pub(crate) runs: Arc<dyn RunStore>,
    pub(crate) journal: Arc<dyn ModelJournal>,
    pub(crate) checkpoints: Arc<dyn CheckpointStore>,
    pub(crate) limits: Arc<dyn LimitStore>,
    /// The database behind it, if it is one that can tell events too.
    pub(crate) postgres: Option<Arc<PostgresStore>>,
}

impl Stores {
    fn of<S: RunStore + ModelJournal + CheckpointStore + LimitStore + 'static>(store: S) -> Self {
        Self::shared(Arc::new(store))
    }

    fn shared<S: RunStore + ModelJournal + CheckpointStore + LimitStore + 'static>(store: Arc<S>) -> Self {
        Self { runs: store.clone(), journal: store.clone(), checkpoints: store.clone(), limits: store, postgres: None }
    }
}

/// The store, made if it is not there.
pub(crate) async fn open_or_create_store(settings: &Settings) -> Outcome<Arc<dyn RunStore>> {
    open_stores(settings).await.map(|stores| stores.runs)
}

/// The store, to be read: one that is not there is not made.
pub(crate) async fn open_store(settings: &Settings) -> Outcome<Arc<dyn RunStore>> {
    must_exist(settings)?;
    open_or_create_store(settings).await
}

/// As [`open_store`], with the limits that it keeps.
pub(crate) async fn open_store_and_limits(settings: &Settings) -> Outcome<(Arc<dyn RunStore>, Arc<dyn LimitStore>)> {
    must_exist(settings)?;
    let stores = open_stores(settings).await?;
    Ok((stores.runs, stores.limits))
}

/// As [`open_or_create_store`], with all that it keeps.
pub(super) async fn open_stores(settings: &Settings) -> Outcome<Stores> {
    Ok(match &settings.store {
        StoreUrl::Memory => Stores::of(memory_store()),
        StoreUrl::Sqlite(path) => Stores::of(open_sqlite(path, settings)?),
        StoreUrl::Postgres(url) => {
            let store =
                Arc::new(PostgresStore::connect(url.secret(), postgres_options(settings)).await.map_err(unreachable)?);
            Stores { postgres: Some(store.clone()), ..Stores::shared(store) }
        }
    })
}

/// Refuses where there is no store to read, before one would be made. Of a database only its server can tell.
pub(crate) fn must_exist(settings: &Settings) -> Outcome<()> {
    match &settings.store {
        StoreUrl::Memory => Err(Failure::usage("runs of `memory:` are gone with their process")
            .help("name the store with --store sqlite:PATH, or leave it out for the default")),
        StoreUrl::Sqlite(path) if !path.exists() => {
            Err(Failure::new(Exit::NotFound, format!("there is no store at {}", path.display())).help(
                "the first `segue run` makes it; --store names another, `segue config show --origin` says why this one",
            ))
        }
        StoreUrl::Sqlite(_) | StoreUrl::Postgres(_) => Ok(()),
    }
}

/// Who looks after the store. Opens and changes nothing yet: a store of an earlier schema stays as it is.
pub(crate) async fn upkeep(settings: &Settings) -> Outcome<Arc<dyn StoreUpkeep>> {
    Ok(match &settings.store {
        StoreUrl::Memory => Arc::new(memory_store()),
        StoreUrl::Sqlite(path) => Arc::new(SqliteUpkeep::at(path, SqliteOptions::default())?),
        StoreUrl::Postgres(url) => Arc::new(PostgresUpkeep::at(url.secret(), postgres_options(settings))?),
    })
}

fn postgres_options(settings: &Settings) -> PostgresOptions {
    let password = settings.store_password.as_ref().map(|password| password.secret().to_owned());
    PostgresOptions { password, ..PostgresOptions::default() }
}

/// Keeps nothing: for a look.
pub(super) fn nowhere() -> Arc<dyn ModelJournal> {
    Arc::new(memory_store())
}

fn memory_store() -> MemoryStore {
    let clock = Clock::start();
    MemoryStore::new(Arc::new(move || clock.now()))
}

fn open_sqlite(path: &Path, settings: &Settings) -> Outcome<SqliteStore> {
    let synchronous = if settings.synchronous_full { Synchronous::Full } else { Synchronous::Normal };
    let options = SqliteOptions { synchronous, ..SqliteOptions::default() };
    Ok(SqliteStore::open(path, options)?)
}

/// The database does not answer, or not to us: the cure is at its server, or in the address.
fn unreachable(error: StoreError) -> Failure {
    match error {
        StoreError::Unavailable(_) | StoreError::Broken(_) => Failure::new(Exit::Unreachable, error.to_string())
            .help("`segue doctor` looks again; `segue config show --origin` says where the address comes from"),
        other => other.into(),
    }
}
