//! The numbered migrations, and what a file must be before it is used.

use std::{collections::BTreeMap, path::Path};

use rusqlite::Connection;
use segue_core::ports::{SchemaVersion, StoreError};

use crate::failure::Failure;

/// "SEGU": says that a file is ours.
const APPLICATION_ID: i64 = 0x5345_4755;

/// Migration `n` leads from schema `n - 1` to schema `n`. Never changed once released; only added to.
pub(crate) const MIGRATIONS: [&str; 5] = [
    include_str!("../migrations/0001_runs.sql"),
    include_str!("../migrations/0002_keeping.sql"),
    include_str!("../migrations/0003_models.sql"),
    include_str!("../migrations/0004_lease_clock.sql"),
    include_str!("../migrations/0005_limits.sql"),
];

/// Is there nothing in the file yet?
pub(crate) fn is_new(db: &Connection) -> Result<bool, Failure> {
    Ok(db.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))?)
}

/// Refuses a file that is not ours, or that a newer program made, before anything in it is changed.
pub(crate) fn check(db: &Connection, path: &Path) -> Result<(), Failure> {
    version(db, path).map(|_| ())
}

/// The file's schema, and this program's.
pub(crate) fn state(db: &Connection, path: &Path) -> Result<SchemaVersion, Failure> {
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    Ok(SchemaVersion { found: number(version(db, path)?), known: number(MIGRATIONS.len()) })
}

/// Every table and index of this program's schema, with the text that makes it.
pub(crate) fn expected() -> Result<BTreeMap<String, Option<String>>, Failure> {
    let db = Connection::open_in_memory()?;
    for migration in MIGRATIONS {
        db.execute_batch(migration)?;
    }
    objects(&db)
}

/// Tables and indexes by kind and name, with the text that made them.
pub(crate) fn objects(db: &Connection) -> Result<BTreeMap<String, Option<String>>, Failure> {
    const SQL: &str = "SELECT type || ' ' || name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite_stat%'";
    let mut query = db.prepare(SQL)?;
    let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Brings the file to this program's schema: each migration in a transaction of its own.
pub(crate) fn migrate(db: &Connection, path: &Path) -> Result<(), Failure> {
    while version(db, path)? < MIGRATIONS.len() {
        db.execute_batch("BEGIN IMMEDIATE")?;
        let done = migrate_once(db, path);
        db.execute_batch(if done.is_ok() { "COMMIT" } else { "ROLLBACK" })?;
        done?;
    }
    Ok(())
}

/// Asks again under the write lock: another process may have migrated meanwhile.
fn migrate_once(db: &Connection, path: &Path) -> Result<(), Failure> {
    let from = version(db, path)?;
    if let Some(migration) = MIGRATIONS.get(from) {
        db.execute_batch(migration)?;
        db.pragma_update(None, "user_version", from + 1)?;
    }
    Ok(())
}

/// The file's schema number: 0 for an empty one.
fn version(db: &Connection, path: &Path) -> Result<usize, Failure> {
    let pragma = |name| db.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let file = path.display();
    if pragma("application_id")? != APPLICATION_ID && !is_new(db)? {
        return Err(Failure::Refused(StoreError::Broken(format!(
            "{file} belongs to another program; choose another file with --store"
        ))));
    }
    let version = pragma("user_version")?;
    usize::try_from(version).ok().filter(|&version| version <= MIGRATIONS.len()).ok_or_else(|| {
        Failure::Refused(StoreError::Broken(format!(
            "{file} has schema {version}, and this program knows only {}; use a newer Segue, or another file with --store",
            MIGRATIONS.len()
        )))
    })
}

/// How SQLite would go about a query on an empty database of this schema.
#[cfg(test)]
pub(crate) fn plan(sql: &str) -> Vec<String> {
    let db = Connection::open_in_memory().expect("a database");
    db.execute_batch(&MIGRATIONS.concat()).expect("the schema");
    let mut query = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a plan");
    let mut rows = query.raw_query();
    let mut steps = Vec::new();
    while let Some(row) = rows.next().expect("a step") {
        steps.push(row.get(3).expect("its text"));
    }
    steps
}
