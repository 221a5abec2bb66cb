//! What a store says, and what tasks did outside of it.

use std::{collections::BTreeMap, fs, path::Path};

use segue_core::{
    event::Event,
    ids::WorkflowId,
    ports::{RunFilter, RunRow, RunStore, StoreError, TaskRow},
};
use segue_sqlite::{SqliteOptions, SqliteStore};

/// All runs of a store at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The oldest first.
    pub runs: Vec<RunLog>,
    /// Engines that own a run.
    pub owners: usize,
}

/// What a store says about a run.
#[derive(Debug, Clone)]
pub struct RunLog {
    /// Its summary.
    pub row: RunRow,
    /// Its tasks.
    pub tasks: Vec<TaskRow>,
    /// Its log.
    pub events: Vec<Event>,
}

/// What tasks noted outside: how often each attempt of each key did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects(pub BTreeMap<(String, u32), u32>);

impl Snapshot {
    /// Of a store that answers.
    pub async fn of(store: &dyn RunStore) -> Result<Self, StoreError> {
        Self::of_workflow(store, None).await
    }

    /// The runs of one workflow, or of all.
    pub async fn of_workflow(store: &dyn RunStore, workflow: Option<&str>) -> Result<Self, StoreError> {
        let mut runs = Vec::new();
        let filter = RunFilter { workflow_id: workflow.map(WorkflowId::from), ..RunFilter::default() };
        let mut rows = store.list_runs(filter).await?;
        rows.reverse();
        for row in rows {
            runs.push(RunLog::of(store, row).await?);
        }
        Ok(Self { runs, owners: store.engines().await?.len() })
    }

    /// Of an SQLite file that nobody has open. A copy is read: opening the file itself would mend what the program under
    /// test is to mend.
    pub fn of_file(file: &Path) -> Result<Self, String> {
        if !file.exists() {
            return Ok(Self::default());
        }
        let scratch = tempfile::tempdir().unwrap();
        let copy = scratch.path().join("segue.db");
        for suffix in ["", "-wal"] {
            let beside = |path: &Path| {
                let mut name = path.as_os_str().to_owned();
                name.push(suffix);
                name
            };
            if Path::new(&beside(file)).exists() {
                fs::copy(beside(file), beside(&copy)).unwrap();
            }
        }
        let store = SqliteStore::open(&copy, SqliteOptions::default()).map_err(|error| error.to_string())?;
        block_on(Self::of(&store)).map_err(|error| error.to_string())
    }
}

impl RunLog {
    /// Summary, tasks and log of one moment, also while an engine goes on with the run.
    async fn of(store: &dyn RunStore, mut row: RunRow) -> Result<Self, StoreError> {
        loop {
            let events = store.events(row.run_id, 0, 0).await?;
            let tasks = store.list_tasks(row.run_id).await?;
            let now = store.get_run(row.run_id).await?;
            if now == row {
                return Ok(Self { row, tasks, events });
            }
            row = now;
        }
    }
}

/// Waits for something on this thread.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

impl Effects {
    /// Reads the file that tasks append to: `KEY ATTEMPT` a line. A line that was cut off is none.
    pub fn read(text: &str) -> Self {
        let mut effects = BTreeMap::new();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        for line in whole.lines() {
            if let Some((key, attempt)) = line.split_once(' ').and_then(|(key, n)| Some((key, n.parse().ok()?))) {
                *effects.entry((key.to_owned(), attempt)).or_default() += 1;
            }
        }
        Self(effects)
    }

    /// How often a key was used, over all attempts.
    pub fn of_key(&self, key: &str) -> u32 {
        self.0.iter().filter(|((known, _), _)| known == key).map(|(_, times)| times).sum()
    }

    /// How often a task of any run did its effect.
    pub fn of_task(&self, task: &str) -> u32 {
        let is_its = |key: &str| key.split_once('/').is_some_and(|(_, name)| name == task);
        self.0.iter().filter(|((key, _), _)| is_its(key)).map(|(_, times)| times).sum()
    }
}
