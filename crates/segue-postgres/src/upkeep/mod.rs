//! Looking after a database: how it is, whether it is whole.
//!
//! All of this reads, each look one moment of the database, so that whoever writes is not held up. Only a migration writes.
//! Copies are PostgreSQL's own affair.

mod run;
mod status;
mod storage;

use std::{path::Path, time::Duration};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    ports::{Copied, Finding, Findings, SchemaVersion, StoreError, StoreStatus, StoreUpkeep},
};
use uuid::Uuid;

use crate::{
    address::Address,
    encode,
    failure::Failure,
    options::PostgresOptions,
    pool::{Pool, Prepares, Tries, doing},
    schema,
};

/// A look at a large database takes longer than a step of a run.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Looks after one database, whether or not a [`PostgresStore`](crate::PostgresStore) is open on it.
#[derive(Debug)]
pub struct PostgresUpkeep {
    pool: Pool,
    schema: String,
}

impl PostgresUpkeep {
    /// For the database of this URL. Connects nowhere yet, and changes nothing: an earlier schema stays as it is.
    ///
    /// # Errors
    /// [`StoreError::Broken`] if that is no address.
    pub fn at(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let options = PostgresOptions { connections: 1, timeout: PATIENCE, ..options };
        Ok(Self { pool: Pool::new(Address::parse(url, &options)?, &options)?, schema: options.schema })
    }
}

#[async_trait]
impl StoreUpkeep for PostgresUpkeep {
    async fn status(&self) -> Result<StoreStatus, StoreError> {
        let schema = self.schema().await?;
        doing!(self.pool, Tries::of_reading(), db => status::of(&db, schema, &self.schema))
    }

    async fn schema(&self) -> Result<SchemaVersion, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => schema::state(&db, self.pool.shown(), &self.schema))
    }

    async fn migrate(&self) -> Result<SchemaVersion, StoreError> {
        let before = self.schema().await?;
        schema::prepare(&self.pool, &self.schema).await?;
        Ok(before)
    }

    async fn run_ids(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => run_ids(&db, after, limit))
    }

    async fn verify_run(&self, run: RunId) -> Result<Findings, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => run::verify(&mut db, run))
    }

    async fn verify_storage(&self) -> Result<Findings, StoreError> {
        let schema = self.schema().await?;
        doing!(self.pool, Tries::of_reading(), db => storage::verify(&mut db, schema, &self.schema))
    }

    async fn backup(&self, to: &Path) -> Result<Copied, StoreError> {
        Err(StoreError::Refused(format!(
            "PostgreSQL copies its databases itself: pg_dump --format=custom --schema={} --file={} \"{}\" (with the password in \
             PGPASSWORD or ~/.pgpass), and pg_restore brings the copy back",
            self.schema,
            to.display(),
            self.pool.shown()
        )))
    }
}

async fn run_ids(db: &impl Prepares, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, Failure> {
    const SQL: &str = "SELECT run_id FROM runs WHERE ($1::uuid IS NULL OR run_id > $1) ORDER BY run_id LIMIT $2";
    let rows = db.rows(SQL, &[&after.map(encode::uuid), &encode::limit(limit)]).await?;
    rows.iter().map(|row| Ok(encode::run_id(row.try_get::<_, Uuid>(0)?))).collect()
}

/// What is found damaged becomes a finding; what the server cannot give goes on being an error.
fn told<T>(
    findings: &mut Findings,
    result: Result<T, Failure>,
    finding: impl FnOnce(String) -> Finding,
) -> Result<Option<T>, Failure> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Failure::Refused(StoreError::Broken(why))) => {
            let why = why.strip_prefix("corruption: ").unwrap_or(&why);
            let why = why.strip_suffix("; restore a copy and check the disk").unwrap_or(why);
            findings.push(finding(why.to_owned()));
            Ok(None)
        }
        Err(other) => Err(other),
    }
}
