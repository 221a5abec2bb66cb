//! The disk's own limit.

use std::{path::Path, time::Instant};

use anyhow::Result;
use rusqlite::Connection;

/// Commits `commits` rows one by one, as durably as the store does, and returns commits a second.
pub fn limit(folder: &Path, commits: u64) -> Result<f64> {
    let path = folder.join("limit.db");
    let db = Connection::open(&path)?;
    db.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, body TEXT)",
    )?;
    let mut insert = db.prepare("INSERT INTO t (body) VALUES (?1)")?;
    // The first commits make the files grow.
    for _ in 0..20 {
        insert.execute(["warm"])?;
    }
    let began = Instant::now();
    for _ in 0..commits {
        insert
            .execute(["one row of about a hundred bytes, as long as the record of a finished step that did nothing"])?;
    }
    Ok(commits as f64 / began.elapsed().as_secs_f64())
}
