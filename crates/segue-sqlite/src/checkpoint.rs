//! The write-ahead log: made large once, kept, and moved into the file before it outgrows that size.
//!
//! Overwriting a file that has its size costs about half of making it grow: growth changes the file's own record, which
//! `fdatasync` must then write too. So a new database gets a log of its usual size at once, the log is kept when the
//! database is closed, and it is begun again from its start after each checkpoint.

use std::time::Duration;

use rusqlite::{Connection, FileControl, Result};

/// Pages of 4 KiB in the log after which it is moved into the file: 4 MiB.
const PAGES_USUAL: i64 = 1_000;
/// Somebody reads one old state for long, so that the log cannot be begun again: from this size on the writer waits for
/// the reader a moment.
const PAGES_TOO_MANY: i64 = 16 * PAGES_USUAL;
const READER_WAIT: Duration = Duration::from_millis(250);
/// Transactions between two looks at the log's size.
const LOOK_EVERY: u32 = 16;
/// A log that grew beyond this is cut back when it is begun again.
const LOG_BYTES_KEPT: i64 = 16 * 1024 * 1024;

/// Settings of the connection that writes. It alone moves the log, between two transactions and after their answers.
pub(crate) fn configure(db: &Connection) -> Result<()> {
    db.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    db.pragma_update_and_check(None, "journal_size_limit", LOG_BYTES_KEPT, |_| Ok(()))?;
    db.file_control(Some("main"), FileControl::PersistWal(&mut 1))
}

/// Gives the log of a new database its usual size.
pub(crate) fn grow_log(db: &Connection) -> Result<()> {
    // A value that comes and goes: SQLite itself writes the pages, so there is nothing to know about its format.
    db.execute_batch("INSERT INTO blobs VALUES (x'', zeroblob(4000000)); DELETE FROM blobs WHERE hash = x'';")?;
    checkpoint(db, "PASSIVE")?;
    // The pages of that value are of no more use.
    db.release_memory()
}

/// When to move the log.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    since_look: u32,
}

impl Checkpoints {
    /// After a transaction that wrote about `bytes` of large values. Says whether the log was moved.
    pub(crate) fn after_transaction(
        &mut self,
        db: &Connection,
        large_bytes: usize,
        patience: Duration,
    ) -> Result<bool> {
        self.since_look += 1;
        if self.since_look < LOOK_EVERY && large_bytes < 64 * 1024 {
            return Ok(false);
        }
        self.since_look = 0;
        let pages = checkpoint(db, "NOOP")?;
        if pages < PAGES_USUAL {
            return Ok(false);
        }
        if pages < PAGES_TOO_MANY {
            checkpoint(db, "PASSIVE")?;
        } else {
            db.busy_timeout(READER_WAIT.min(patience))?;
            let done = checkpoint(db, "RESTART");
            db.busy_timeout(patience)?;
            done?;
        }
        Ok(true)
    }
}

/// Pages in the log.
fn checkpoint(db: &Connection, mode: &str) -> Result<i64> {
    db.prepare_cached(&format!("PRAGMA wal_checkpoint({mode})"))?.query_row([], |row| row.get(1))
}
