//! Looking after a file: how it is, whether it is whole, copies of it.
//!
//! All of this reads, on a connection of its own, so that whoever writes is not held up. Only a migration writes.

mod copy;
mod log;
mod orphans;
mod run;
mod status;
mod storage;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use rusqlite::Connection;
use segue_core::{
    ids::RunId,
    ports::{Copied, Finding, FindingKind, Findings, SchemaVersion, StoreError, StoreStatus, StoreUpkeep},
};

use crate::{SqliteOptions, encode, failure::Failure, open, readers::Readers, schema};

/// Looks after one SQLite file, whether or not a [`SqliteStore`](crate::SqliteStore) is open on it.
#[derive(Debug)]
pub struct SqliteUpkeep {
    path: PathBuf,
    options: SqliteOptions,
    reader: Readers,
}

impl SqliteUpkeep {
    /// For the file at this path. Opens nothing yet, and changes nothing: a file of an earlier schema stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if no thread can be started.
    pub fn at(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let options = SqliteOptions { readers: 1, ..options };
        Ok(Self { path: path.to_owned(), reader: Readers::start(path, &options)?, options })
    }

    /// Has `work` done on a file that is known to be ours.
    fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection, &Path) -> Result<T, Failure> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        let path = self.path.clone();
        self.reader.read(move |db| {
            schema::check(db, &path)?;
            work(db, &path)
        })
    }
}

#[async_trait]
impl StoreUpkeep for SqliteUpkeep {
    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read(status::of).await
    }

    async fn schema(&self) -> Result<SchemaVersion, StoreError> {
        self.read(schema::state).await
    }

    async fn migrate(&self) -> Result<SchemaVersion, StoreError> {
        let before = self.schema().await?;
        let (path, options) = (self.path.clone(), self.options.clone());
        // Opening migrates. On the reader's thread: it may take long.
        self.reader.read(move |_| open::writer(&path, &options).map_err(Failure::Refused).map(|_| ())).await?;
        Ok(before)
    }

    async fn run_ids(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError> {
        self.read(move |db, _| run_ids(db, after, limit)).await
    }

    async fn verify_run(&self, run: RunId) -> Result<Findings, StoreError> {
        self.read(move |db, _| run::verify(db, run)).await
    }

    async fn verify_storage(&self) -> Result<Findings, StoreError> {
        self.read(storage::verify).await
    }

    async fn backup(&self, to: &Path) -> Result<Copied, StoreError> {
        let to = to.to_owned();
        // A copy is one statement of its own, on a connection of its own.
        let options = self.options.clone();
        self.read(move |_, path| copy::make(path, &options, &to)).await
    }
}

fn run_ids(db: &Connection, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Failure> {
    const SQL: &str = "SELECT run_id FROM runs WHERE run_id > ?1 ORDER BY run_id LIMIT ?2";
    let after = after.map_or_else(Vec::new, |run| run.as_bytes().to_vec());
    let mut query = db.prepare_cached(SQL)?;
    let mut rows = query.query(rusqlite::params![after, encode::limit(limit)])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        // One that is no id at all is named with the storage.
        found.extend(encode::run_id(row.get_ref(0)?).ok());
    }
    Ok(found)
}

/// What `work` finds damaged becomes a finding; what SQLite cannot read goes on being an error.
fn told<T>(
    findings: &mut Findings,
    result: Result<T, Failure>,
    finding: impl FnOnce(String) -> Finding,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Refused(StoreError::Broken(why))) => {
            findings.push(finding(plainly(&why)));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}

/// The text of a damage without what frames it elsewhere.
fn plainly(why: &str) -> String {
    let why = why.strip_prefix("corruption: ").unwrap_or(why);
    why.strip_suffix("; restore a copy and check the disk").unwrap_or(why).to_owned()
}

fn storage(found: impl Into<String>) -> Finding {
    Finding::new(FindingKind::Storage, found)
}
