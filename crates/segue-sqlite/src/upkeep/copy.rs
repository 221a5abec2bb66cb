//! A copy of a file that may be written to meanwhile.
//!
//! `VACUUM INTO` reads one state of the database, while others go on writing, and writes it without the free pages: a copy
//! holds nothing of what was deleted. It is written under another name, made durable, and only then given its own: there is
//! a whole copy or none.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use segue_core::ports::{Copied, StoreError};

use crate::{SqliteOptions, failure::Failure, open};

pub(super) fn make(from: &Path, options: &SqliteOptions, to: &Path) -> Result<Copied, Failure> {
    if fs::symlink_metadata(to).is_ok() {
        return Err(is_taken(to));
    }
    let partial = partial(to);
    create(&partial).map_err(|error| cannot(&partial, &error))?;
    let copied = write(from, options, &partial).and_then(|bytes| {
        place(&partial, to)?;
        Ok(Copied { bytes })
    });
    if copied.is_err() {
        // What is half written is of no use to anybody; that the error comes first matters more.
        let _ = fs::remove_file(&partial);
    }
    copied
}

/// Beside the copy, so that giving it its name moves nothing.
fn partial(to: &Path) -> PathBuf {
    let mut name = to.file_name().unwrap_or_default().to_owned();
    name.push(format!(".partial-{}", std::process::id()));
    to.with_file_name(name)
}

/// For this user only, like the store itself.
fn create(partial: &Path) -> io::Result<()> {
    match fs::remove_file(partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(partial).map(|_| ())
}

fn write(from: &Path, options: &SqliteOptions, partial: &Path) -> Result<u64, Failure> {
    let db = open::reader(from, options)?;
    let name = partial.to_str().ok_or_else(|| {
        Failure::Refused(StoreError::Refused(format!("{} is no name in UTF-8; choose another", partial.display())))
    })?;
    db.execute("VACUUM INTO ?1", [name])?;
    let durable = || -> io::Result<u64> {
        let file = File::open(partial)?;
        file.sync_all()?;
        Ok(file.metadata()?.len())
    };
    durable().map_err(|error| cannot(partial, &error))
}

/// Gives the copy its name, unless something has it by now.
fn place(partial: &Path, to: &Path) -> Result<(), Failure> {
    // A link is never made over what is there; renaming would replace it.
    match fs::hard_link(partial, to) {
        Ok(()) => fs::remove_file(partial).map_err(|error| cannot(partial, &error))?,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(is_taken(to)),
        // A file system without links.
        Err(_) if fs::symlink_metadata(to).is_ok() => return Err(is_taken(to)),
        Err(_) => fs::rename(partial, to).map_err(|error| cannot(to, &error))?,
    }
    let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| cannot(to, &error))
}

fn is_taken(to: &Path) -> Failure {
    Failure::Refused(StoreError::Refused(format!("{} is there already; choose another name", to.display())))
}

fn cannot(path: &Path, error: &io::Error) -> Failure {
    let what = format!("{} cannot be written: {error}", path.display());
    Failure::Refused(match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full(what),
        _ => StoreError::Refused(what),
    })
}
