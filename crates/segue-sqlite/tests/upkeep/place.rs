//! A file with simulated runs in it.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use rusqlite::Connection;
use segue_core::{
    event::EventKind,
    ids::RunId,
    ports::{FindingKind, RunStore},
    verify::{Report, Verifier},
};
use segue_sqlite::{SqliteOptions, SqliteStore, SqliteUpkeep};
pub(crate) use segue_testkit::conformance::upkeep::keep_run;
use segue_testkit::conformance::{block_on, upkeep::fill};
use tempfile::TempDir;

pub(crate) const SEEDS: u64 = 12;

/// A folder with a whole file, and room for copies that are damaged.
pub(crate) struct Place {
    folder: TempDir,
    /// The run of the plain log: its first commits hold `seq` 1 to 2, then one event each.
    pub(crate) plain: RunId,
}

impl Place {
    /// Fills a file: simulated runs, some of them live, and one of everything else that a store keeps.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segue.db");
        let store = Arc::new(SqliteStore::open(&path, SqliteOptions::default()).unwrap());
        let plain = block_on(fill(&store, SEEDS));
        drop(store);
        // One plain file, so that it can be copied and its bytes be found.
        Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = DELETE; VACUUM;").unwrap();
        Self { folder, plain }
    }

    pub(crate) fn whole(&self) -> PathBuf {
        self.folder.path().join("segue.db")
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy to damage.
    pub(crate) fn copy(&self) -> PathBuf {
        let copy = self.file("copy.db");
        for suffix in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{suffix}", copy.display()));
        }
        fs::copy(self.whole(), &copy).unwrap();
        copy
    }

    /// A copy after this SQL.
    pub(crate) fn changed(&self, sql: &str) -> PathBuf {
        let copy = self.copy();
        Connection::open(&copy).unwrap().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        copy
    }
}

pub(crate) fn upkeep(path: &Path) -> SqliteUpkeep {
    SqliteUpkeep::at(path, SqliteOptions::default()).unwrap()
}

/// The check of a file; what cannot even be opened is `Err`.
pub(crate) fn verify(path: &Path) -> Result<Report, String> {
    let store = SqliteStore::open(path, SqliteOptions::default()).map_err(|error| error.to_string())?;
    let upkeep = upkeep(path);
    let mut verifier = Verifier::new(&store, &upkeep);
    block_on(verifier.verify_all()).map_err(|error| error.to_string())?;
    Ok(verifier.report)
}

/// What was found: kind, and all the rest as one text.
pub(crate) fn found(report: &Report) -> Vec<(FindingKind, String)> {
    let findings = report.findings.items.iter();
    findings.map(|finding| (finding.kind, serde_json::to_string(finding).unwrap())).collect()
}

/// The `seq` of the event of this kind about this task.
pub(crate) fn seq_of(path: &Path, run: RunId, name: &str, task: &str) -> u64 {
    let store = SqliteStore::open(path, SqliteOptions::default()).unwrap();
    let events = block_on(store.events(run, 0, 0)).unwrap();
    let is_it = |kind: &EventKind| kind.name() == name;
    let found = events.iter().find(|event| is_it(&event.kind) && event.task_id == Some(task.into()));
    found.unwrap_or_else(|| panic!("{name} {task}: {events:#?}")).seq
}
