//! Where the state is kept, and the engines on it.

use std::{fmt, path::Path, str::FromStr, sync::Arc};

use anyhow::{Context, Result, bail};
use segue_core::{
    memory::MemoryStore,
    ports::{LimitStore, RunStore},
};
use segue_engine::{Clock, Engine, Pass};
use segue_postgres::{PostgresOptions, PostgresStore};
use segue_sqlite::{SqliteOptions, SqliteStats, SqliteStore};
use segue_testkit::services::{Database, POSTGRES};
use tempfile::TempDir;

use crate::{disk::Limit, server::Server};

/// A backend, and how many engines work on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Sqlite,
    Memory,
    /// So many engines in this process, each with connections of its own.
    Postgres(usize),
}

impl Place {
    /// All that can be measured here.
    pub fn all() -> Vec<Self> {
        let mut all = vec![Self::Sqlite, Self::Memory];
        if std::env::var_os(POSTGRES).is_some() {
            all.extend([Self::Postgres(1), Self::Postgres(4)]);
        }
        all
    }

    pub const fn engines(self) -> usize {
        match self {
            Self::Sqlite | Self::Memory => 1,
            Self::Postgres(engines) => engines,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite => f.pad("sqlite"),
            Self::Memory => f.pad("memory"),
            Self::Postgres(engines) => f.pad(&format!("postgres-{engines}")),
        }
    }
}

impl FromStr for Place {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "sqlite" => Self::Sqlite,
            "memory" => Self::Memory,
            _ => match text.strip_prefix("postgres-").and_then(|engines| engines.parse().ok()) {
                Some(engines) if engines > 0 => Self::Postgres(engines),
                _ => bail!("no store `{text}`"),
            },
        })
    }
}

/// Only below it is a disk for sure: `/tmp` may be memory.
const FOLDER: &str = "target";

/// A folder on the disk.
pub fn folder() -> Result<TempDir> {
    std::fs::create_dir_all(FOLDER)?;
    Ok(tempfile::Builder::new().prefix("bench-").tempdir_in(FOLDER)?)
}

/// A new store, its own folder or database, gone when it is dropped.
pub struct Store {
    /// One for each engine: over PostgreSQL each has connections of its own.
    pub ports: Vec<Arc<dyn RunStore>>,
    sqlite: Option<Arc<SqliteStore>>,
    server: Option<Server>,
    _database: Option<Database>,
    folder: TempDir,
}

impl Store {
    pub async fn open(place: Place) -> Result<Self> {
        let folder = folder()?;
        let mut own = Self { ports: Vec::new(), sqlite: None, server: None, _database: None, folder };
        match place {
            Place::Sqlite => {
                let path = own.folder.path().join("segue.db");
                let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default())?);
                own.ports.push(store.clone());
                own.sqlite = Some(store);
            }
            Place::Memory => {
                let clock = Clock::start();
                own.ports.push(Arc::new(MemoryStore::new(Arc::new(move || clock.now()))));
            }
            Place::Postgres(engines) => {
                let admin = std::env::var(POSTGRES).context("SEGUE_TEST_POSTGRES names no server")?;
                let database = Database::on(&admin).await;
                for _ in 0..engines {
                    own.ports.push(postgres(&database.url()).await?);
                }
                own.server = Server::of(&database.url());
                own._database = Some(database);
            }
        }
        Ok(own)
    }

    /// The engines: `pass` and nothing else.
    pub async fn engines(&self) -> Result<Vec<Engine>> {
        let mut engines = Vec::new();
        for port in &self.ports {
            engines.push(Engine::builder(port.clone()).adapter(Arc::new(Pass)).start().await?);
        }
        Ok(engines)
    }

    pub fn stats(&self) -> SqliteStats {
        self.sqlite.as_ref().map(|store| store.stats()).unwrap_or_default()
    }

    pub fn limit(&self, commits: u64) -> Result<Option<Limit>> {
        self.sqlite.as_ref().map(|_| Limit::measure(self.folder.path(), commits)).transpose()
    }

    /// CPU seconds of the database's own processes so far.
    pub fn server_cpu(&self) -> Result<f64> {
        self.server.as_ref().map_or(Ok(0.0), Server::cpu_seconds)
    }
}

async fn postgres(url: &str) -> Result<Arc<PostgresStore>> {
    Ok(Arc::new(PostgresStore::connect(url, PostgresOptions::default()).await?))
}

/// A store that outlives processes: a path or a URL.
pub struct Lasting {
    pub place: Place,
    pub at: String,
    _database: Option<Database>,
    pub folder: TempDir,
}

impl Lasting {
    pub async fn make(place: Place) -> Result<Self> {
        let folder = folder()?;
        let path = folder.path().join("segue.db").to_str().context("a path in UTF-8")?.to_owned();
        Ok(match place {
            Place::Sqlite => Self { place, at: path, _database: None, folder },
            Place::Postgres(_) => {
                let database = Database::on(&std::env::var(POSTGRES).context("SEGUE_TEST_POSTGRES")?).await;
                Self { place, at: database.url(), _database: Some(database), folder }
            }
            Place::Memory => bail!("what is in memory does not outlive its process"),
        })
    }
}

/// Opens what [`Lasting`] has made, from whatever process.
pub async fn reopen(place: Place, at: &str) -> Result<(Arc<dyn RunStore>, Option<Arc<dyn LimitStore>>)> {
    Ok(match place {
        Place::Postgres(_) => (postgres(at).await?, None),
        _ => {
            let store = Arc::new(SqliteStore::open(Path::new(at), SqliteOptions::default())?);
            (store.clone(), Some(store))
        }
    })
}
