//! Opening the file: rights, settings, checks.

use std::{
    fs::{DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::Path,
};

use rusqlite::{Connection, OpenFlags};
use segue_core::ports::StoreError;

use crate::{
    boot, checkpoint,
    failure::{self, Failure},
    options::{SqliteOptions, Synchronous},
    schema,
};

/// Older ones can corrupt a write-ahead log when it is reset (fixed in 3.51.3).
const SQLITE_VERSION_MIN: i32 = 3_051_003;

/// The connection that writes, and whether the file is new.
pub(crate) fn writer(path: &Path, options: &SqliteOptions) -> Result<(Connection, bool), StoreError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        return Err(StoreError::Broken(format!(
            "SQLite {} can corrupt its write-ahead log; 3.51.3 or newer is needed",
            rusqlite::version()
        )));
    }
    boot::find()?;
    create_file(path).map_err(|error| failure::explain_creation(&error, path))?;
    prepare_writer(path, options).map_err(|failure| failure.explain(path))
}

/// Made by hand, because SQLite would leave the rights to the umask. The `-wal` and `-shm` files get the same rights.
fn create_file(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if let Some(folder) = folder
        && !folder.exists()
    {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        // SQLite makes the file's own name durable, not that of its folder.
        if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
            File::open(above)?.sync_all()?;
        }
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn prepare_writer(path: &Path, options: &SqliteOptions) -> Result<(Connection, bool), Failure> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(options.busy_timeout)?;
    let is_new = schema::is_new(&db)?;
    schema::check(&db, path)?;
    if db.is_readonly("main")? {
        return Err(Failure::Refused(StoreError::Broken(format!(
            "{} is read-only; allow this user to write the file and its folder, or choose another with --store",
            path.display()
        ))));
    }
    let mode: String = db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Refused(StoreError::Broken(format!(
            "{} lies on a disk that cannot hold a write-ahead log; choose a local disk with --store",
            path.display()
        ))));
    }
    let synchronous = match options.synchronous {
        Synchronous::Full => "FULL",
        Synchronous::Normal => "NORMAL",
    };
    db.pragma_update(None, "synchronous", synchronous)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.pragma_update(None, "cache_size", -8_000)?;
    checkpoint::configure(&db)?;
    schema::migrate(&db, path)?;
    if let Some(pages) = options.pages_max {
        db.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    db.set_prepared_statement_cache_capacity(64);
    Ok((db, is_new))
}

/// A connection that reads.
pub(crate) fn reader(path: &Path, options: &SqliteOptions) -> Result<Connection, Failure> {
    boot::find()?;
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(options.busy_timeout)?;
    db.pragma_update(None, "trusted_schema", false)?;
    db.pragma_update(None, "cell_size_check", true)?;
    db.set_prepared_statement_cache_capacity(32);
    Ok(db)
}
