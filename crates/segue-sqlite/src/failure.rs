//! What SQLite's errors mean to the caller: come back later, make room, or stop.

use std::{io, path::Path};

use nix::{
    errno::Errno,
    unistd::{AccessFlags, access},
};
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
        ErrorCode::CannotOpen | ErrorCode::PermissionDenied if may_be_opened(path) => StoreError::Unavailable(format!(
            "{file} could not be opened a moment ago, for want of file descriptors perhaps; try again"
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

/// Is nothing in the way of this user? SQLite does not say why it could not open a file. It is not opened here: closing it
/// would give up the locks that this process holds on it.
fn may_be_opened(path: &Path) -> bool {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    let beside = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        access(name.as_os_str(), AccessFlags::R_OK | AccessFlags::W_OK)
    };
    path.is_file()
        && beside("").is_ok()
        && access(folder, AccessFlags::W_OK | AccessFlags::X_OK).is_ok()
        && ["-wal", "-shm"].iter().all(|suffix| matches!(beside(suffix), Ok(()) | Err(Errno::ENOENT)))
}

/// Why the file or its folder could not be made.
pub(crate) fn explain_creation(error: &io::Error, path: &Path) -> StoreError {
    let file = path.display();
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM) => {
            StoreError::Unavailable(format!("{file} cannot be created now: {error}; try again"))
        }
        Some(Errno::ENOSPC | Errno::EDQUOT) => {
            StoreError::Full(format!("{file} cannot be created: {error}; make room on its disk"))
        }
        Some(Errno::EIO) => StoreError::Broken(format!("{file} cannot be created: {error}; check the disk")),
        _ => StoreError::Broken(format!(
            "{file} cannot be created: {error}; allow this user to write there, or choose another place with --store"
        )),
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

    #[test]
    fn what_nobody_forbids_can_be_opened_later() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("y.db");
        let cannot = failure(ffi::SQLITE_CANTOPEN);
        assert!(matches!(explain(&cannot, &path), StoreError::Broken(_)), "it is not there");
        std::fs::write(&path, "").expect("a file");
        assert!(matches!(explain(&cannot, &path), StoreError::Unavailable(_)));
        let why = |errno: Errno| explain_creation(&errno.into(), &path);
        assert!(matches!(why(Errno::EMFILE), StoreError::Unavailable(_)));
        assert!(matches!(why(Errno::ENOSPC), StoreError::Full(_)));
        assert!(matches!(why(Errno::EACCES), StoreError::Broken(text) if text.contains("allow this user")));
    }
}
