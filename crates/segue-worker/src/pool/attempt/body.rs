//! What an attempt has of its own: a process with a folder and its output streams, or a place in its host.

use std::{fs, io, path::Path};

use tempfile::TempDir;

use super::super::{AttemptOrder, door::Door, streams::Streams};
use crate::{
    contain::{Family, InnerMark},
    protocol::Place,
};

/// What an attempt is made of.
pub(super) enum Body {
    /// Its own process.
    Process {
        /// Before the zygote has told the process's number.
        mark: Option<InnerMark>,
        family: Option<Family>,
    },
    /// A task in its host's loop. The host's supervisor watches over the loop.
    Guest,
}

/// What an attempt that is a process has of its own.
pub(super) struct Belongings {
    folder: TempDir,
    pub(super) streams: Streams,
}

impl Belongings {
    pub(super) fn make(door: &Door) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("attempt-").tempdir_in(door.folder())?;
        let streams = Streams::open(folder.path())?;
        Ok(Self { folder, streams })
    }

    pub(super) fn place(&self, order: &AttemptOrder) -> io::Result<Place> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut env = order.env.clone();
        // Frameworks leave lock files where temporary files go.
        let temporary = self.folder.path().join("tmp");
        fs::create_dir(&temporary)?;
        env.entry("TMPDIR".to_owned()).or_insert_with(|| Some(text(&temporary)));
        if let Some(variable) = order.storage_variable {
            let storage = self.folder.path().join("storage");
            fs::create_dir(&storage)?;
            env.insert(variable.to_owned(), Some(text(&storage)));
        }
        let (stdout, stderr) = self.streams.paths();
        Ok(Place { env, cwd: text(&order.cwd), stdout: text(stdout), stderr: text(stderr) })
    }
}
