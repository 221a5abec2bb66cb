//! The numbered migrations, and what a server must be before it is used.

use deadpool_postgres::Object;
use segue_core::ports::{SchemaVersion, StoreError};
use tokio_postgres::{error::SqlState, types::ToSql};

use crate::{failure::Failure, pool::Pool};

/// Migration `n` leads from schema `n - 1` to schema `n`. Never changed once released; only added to, and so that engines
/// of the version before go on with it: new tables, new columns that may be absent.
pub(crate) const MIGRATIONS: [(&str, &str); 2] =
    [("runs", include_str!("../migrations/0001_runs.sql")), ("limits", include_str!("../migrations/0002_limits.sql"))];

/// The oldest server that is used.
const SERVER_VERSION_MIN: i32 = 130_000;
/// Two numbers make the name of an advisory lock: "SEGU", and what for.
const LOCK: (i32, i32) = (0x5345_4755, 1);

/// Refuses a server that would not keep its promises, and brings its schema to this program's.
pub(crate) async fn prepare(pool: &Pool, schema: &str) -> Result<(), StoreError> {
    let mut db = pool.get().await.map_err(|failure| failure.explain(pool.shown()))?;
    check_server(&db, pool.shown()).await.map_err(|failure| failure.explain(pool.shown()))?;
    pool.in_time(migrate(&mut db, pool.shown(), schema)).await.map_err(|failure| explain(failure, pool.shown()))
}

async fn check_server(db: &Object, shown: &str) -> Result<(), Failure> {
    const SQL: &str = "SELECT current_setting('server_version_num')::int, current_setting('server_version'), \
         current_setting('server_encoding'), current_setting('fsync')";
    let row = db.query_one(SQL, &[]).await?;
    let refuse = |text: String| Err(StoreError::Broken(text).into());
    let (number, name, encoding): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
    if number < SERVER_VERSION_MIN {
        return refuse(format!("{shown} is PostgreSQL {name}; 13 or newer is needed"));
    }
    if encoding != "UTF8" {
        return refuse(format!("{shown} keeps text as {encoding}; make a database with `createdb --encoding UTF8`"));
    }
    if row.get::<_, &str>(3) == "off" {
        tracing::warn!(
            database = shown,
            "the server runs with fsync = off: what it acknowledges may be lost with its power"
        );
    }
    Ok(())
}

/// Each migration in a transaction of its own, under a lock that keeps other engines from doing the same.
async fn migrate(db: &mut Object, shown: &str, schema: &str) -> Result<(), Failure> {
    while version(db, shown, schema).await? < MIGRATIONS.len() {
        migrate_once(db, shown, schema).await?;
    }
    Ok(())
}

/// Asks again under the lock: another engine may have migrated meanwhile.
async fn migrate_once(db: &mut Object, shown: &str, schema: &str) -> Result<(), Failure> {
    // Tables are changed only in a moment when nobody reads them; those who come later must not queue behind for long.
    const CAUTION: &str = "SET LOCAL lock_timeout = '5s'; SET LOCAL statement_timeout = 0";
    const VERSIONS: &str = "CREATE TABLE IF NOT EXISTS schema_versions \
         (version integer PRIMARY KEY, name text NOT NULL, applied_at timestamptz NOT NULL DEFAULT clock_timestamp())";
    let change = db.transaction().await?;
    change.execute("SELECT pg_advisory_xact_lock($1, $2)", &[&LOCK.0, &LOCK.1]).await?;
    change.batch_execute(CAUTION).await?;
    if !has_schema(&change, schema).await? {
        change.batch_execute(&format!("CREATE SCHEMA \"{}\"", schema.replace('"', "\"\""))).await?;
    }
    change.batch_execute(VERSIONS).await?;
    let from = version(&change, shown, schema).await?;
    if let Some((name, migration)) = MIGRATIONS.get(from) {
        change.batch_execute(migration).await?;
        let to = i32::try_from(from + 1).expect("there are few migrations");
        change.execute("INSERT INTO schema_versions (version, name) VALUES ($1, $2)", &[&to, name]).await?;
    }
    change.commit().await?;
    Ok(())
}

async fn has_schema(db: &impl deadpool_postgres::GenericClient, schema: &str) -> Result<bool, Failure> {
    const SQL: &str = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = $1)";
    Ok(db.query_one(SQL, &[&schema]).await?.get(0))
}

/// The number of the schema: 0 if there is none.
pub(crate) async fn version(
    db: &impl deadpool_postgres::GenericClient,
    shown: &str,
    schema: &str,
) -> Result<usize, Failure> {
    const KNOWN: &str =
        "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = $1 AND tablename = 'schema_versions')";
    const SQL: &str = "SELECT coalesce(max(version), 0) FROM schema_versions";
    let known: bool = db.query_one(KNOWN, &[&schema as &(dyn ToSql + Sync)]).await?.get(0);
    if !known {
        return Ok(0);
    }
    let version: i32 = db.query_one(SQL, &[]).await?.get(0);
    usize::try_from(version).ok().filter(|version| *version <= MIGRATIONS.len()).ok_or_else(|| {
        Failure::Refused(StoreError::Broken(format!(
            "{shown} has schema {version}, and this program knows only {}; use a newer Segue, or another database",
            MIGRATIONS.len()
        )))
    })
}

/// The schema that is there, and this program's.
pub(crate) async fn state(
    db: &impl deadpool_postgres::GenericClient,
    shown: &str,
    schema: &str,
) -> Result<SchemaVersion, Failure> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(SchemaVersion { found: number(version(db, shown, schema).await?), known: number(MIGRATIONS.len()) })
}

fn explain(failure: Failure, shown: &str) -> StoreError {
    match failure.state() {
        Some(state) if *state == SqlState::LOCK_NOT_AVAILABLE => StoreError::Unavailable(format!(
            "the tables on {shown} are in use and could not be changed in 5 s; end what reads them for long (a dump, an \
             open transaction), then start again"
        )),
        Some(state) if *state == SqlState::QUERY_CANCELED => StoreError::Unavailable(format!(
            "another engine is changing the schema on {shown}; start again when it is done"
        )),
        _ => failure.explain(shown),
    }
}
