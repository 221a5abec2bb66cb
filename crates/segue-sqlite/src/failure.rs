//! What SQLite's errors mean to the caller: come back later, make room, or stop.

use std::path::Path;

use rusqlite::{Error, ErrorCode, ffi};
use segue_core::{ports::StoreError, seal::Damage};

/// Why a job was not done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Decided before anything was written: the other jobs of the transaction go on.
    Refused(StoreError),
    /// SQLite failed: the transaction cannot go on.
    Sql(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Refused(error)
    }
}

impl From<Damage> for Failure {
    fn from(damage: Damage) -> Self {
        Self::Refused(damage.into())
    }
}

impl Failure {
    pub(crate) fn explain(self, path: &Path) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sql(error) => explain(&error, path),
        }
    }
}

/// The answer to a caller whose work failed with `error`.
pub(crate) fn explain(error: &Error, path: &Path) -> StoreError {
    let file = path.display();
    let Error::SqliteFailure(detail, _) = error else {
        return StoreError::Broken(format!("{file} holds something unexpected: {error}"));
    };
    match detail.code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            StoreError::Unavailable(format!("{file} is being written by another process; try again"))
        }
        ErrorCode::OutOfMemory => StoreError::Unavailable(format!("no memory left to work on {file}")),
        ErrorCode::DiskFull => StoreError::Full(format!("{file} cannot grow; make room on its disk")),
        // The one I/O error that SQLite reports in the place of "disk full": no room for the `-shm` file.
        _ if detail.extended_code == ffi::SQLITE_IOERR_SHMSIZE => {
            StoreError::Full(format!("{file}-shm cannot grow; make room on its disk"))
        }
        ErrorCode::ReadOnly => StoreError::Broken(format!(
            "{file} is read-only; allow this user to write the file and its folder, or choose another with --store"
        )),
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied => StoreError::Broken(format!(
            "{file} cannot be opened; allow this user to read and write the file and its folder, or choose another with --store"
        )),
        ErrorCode::NotADatabase => StoreError::Broken(format!(
            "{file} is not a database, or its head is damaged; choose another file with --store, or restore a copy"
        )),
        ErrorCode::DatabaseCorrupt => {
            StoreError::Broken(format!("{file} is corrupt ({error}); restore a copy and check the disk"))
        }
        ErrorCode::SystemIoFailure => StoreError::Broken(format!(
            "reading or writing {file} failed ({error}, code {}); check the disk, then start again: what was committed is kept",
            detail.extended_code
        )),
        _ => StoreError::Broken(format!("SQLite failed on {file}: {error}, code {}", detail.extended_code)),
    }
}

/// After which errors must nothing more be written? After those that leave open what is on disk: `fsync` is not tried
/// again, because a second one can succeed although the first one lost the data.
pub(crate) fn is_fatal(error: &Error) -> bool {
    let Error::SqliteFailure(detail, _) = error else { return false };
    detail.extended_code != ffi::SQLITE_IOERR_SHMSIZE
        && matches!(detail.code, ErrorCode::SystemIoFailure | ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: std::ffi::c_int) -> Error {
        Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn each_error_says_what_to_do_next() {
        let path = Path::new("x.db");
        let busy = failure(ffi::SQLITE_BUSY);
        assert!(matches!(explain(&busy, path), StoreError::Unavailable(_)) && !is_fatal(&busy));
        for full in [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_SHMSIZE] {
            let full = failure(full);
            assert!(matches!(explain(&full, path), StoreError::Full(_)) && !is_fatal(&full));
        }
        for fatal in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_CORRUPT, ffi::SQLITE_NOTADB] {
            let fatal = failure(fatal);
            assert!(matches!(explain(&fatal, path), StoreError::Broken(_)) && is_fatal(&fatal));
        }
        for broken in [ffi::SQLITE_READONLY, ffi::SQLITE_CANTOPEN] {
            assert!(matches!(explain(&failure(broken), path), StoreError::Broken(text) if text.contains("x.db")));
        }
    }
}
