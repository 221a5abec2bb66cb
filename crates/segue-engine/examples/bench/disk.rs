//! The disk's own limit.

use std::{fs, path::Path, time::Instant};

use anyhow::Result;
use rusqlite::Connection;

/// One-row commits a second, each as durable as the store's.
#[derive(Debug, Clone, Copy)]
pub struct Limit {
    /// Into a new file, as a plain program does it: its log grows with each commit.
    pub fresh: f64,
    /// Over a log that has its size already, as the store's has from the start.
    pub grown: f64,
}

impl Limit {
    /// Commits `commits` rows one by one with plain rusqlite, and then as many again.
    pub fn measure(folder: &Path, commits: u64) -> Result<Self> {
        let folder = folder.join("limit");
        fs::create_dir_all(&folder)?;
        let db = Connection::open(folder.join("limit.db"))?;
        db.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)",
        )?;
        let fresh = rate(&db, commits)?;
        db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))?;
        let grown = rate(&db, commits)?;
        drop(db);
        fs::remove_dir_all(folder)?;
        Ok(Self { fresh, grown })
    }

    /// The better of two measurements.
    pub fn better(self, other: Self) -> Self {
        Self { fresh: self.fresh.max(other.fresh), grown: self.grown.max(other.grown) }
    }
}

fn rate(db: &Connection, commits: u64) -> Result<f64> {
    let mut insert = db.prepare_cached("INSERT INTO t (body) VALUES (?1)")?;
    let began = Instant::now();
    for _ in 0..commits {
        insert
            .execute(["one row of about a hundred bytes, as long as the record of a finished step that did nothing"])?;
    }
    Ok(commits as f64 / began.elapsed().as_secs_f64())
}
