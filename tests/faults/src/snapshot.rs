//! What a store says, and what tasks did outside of it.

use std::{collections::BTreeMap, fs, path::Path};

use segue_core::{
    event::Event,
    ids::{EngineId, WorkflowId},
    ports::{EngineRecord, Findings, LimitStore, RunFilter, RunRow, RunStore, StoreError, StoreUpkeep, TaskRow},
    verify::Verifier,
};
use segue_sqlite::{SqliteOptions, SqliteStore, SqliteUpkeep};

/// A store to be looked at: its ports.
#[derive(Clone, Copy)]
pub struct Store<'s> {
    /// Its runs.
    pub runs: &'s dyn RunStore,
    /// The slots of limits.
    pub limits: &'s dyn LimitStore,
    /// What it says about itself.
    pub upkeep: &'s dyn StoreUpkeep,
}

/// All runs of a store at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The oldest first.
    pub runs: Vec<RunLog>,
    /// Engines that own a run.
    pub owners: usize,
    /// Those, and the engines whose lease has not ended.
    pub engines: Vec<EngineRecord>,
    /// The slots of limits that these hold, in words.
    pub slots: Vec<(EngineId, String)>,
    /// What `segue store verify` finds, in words.
    pub findings: Vec<String>,
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
    pub async fn of(store: Store<'_>) -> Result<Self, StoreError> {
        Self::of_workflow(store, None).await
    }

    /// The runs of one workflow, or of all.
    pub async fn of_workflow(store: Store<'_>, workflow: Option<&str>) -> Result<Self, StoreError> {
        let mut runs = Vec::new();
        let filter = RunFilter { workflow_id: workflow.map(WorkflowId::from), ..RunFilter::default() };
        let mut rows = store.runs.list_runs(filter).await?;
        rows.reverse();
        let mut verifier = Verifier::new(store.runs, store.upkeep);
        for row in rows {
            verifier.verify_run(row.run_id).await?;
            runs.push(RunLog::of(store.runs, row).await?);
        }
        let mut findings = verifier.report.findings;
        findings.extend(store.upkeep.verify_storage().await?);
        let owners = store.runs.engines().await?.len();
        let mut slots = Vec::new();
        let engines: Vec<_> = store.upkeep.status().await?.engines.into_iter().map(|status| status.engine).collect();
        for engine in &engines {
            let held = store.limits.held(&engine.engine_id).await?;
            slots.extend(held.into_iter().map(|(slot, key)| (engine.engine_id.clone(), format!("{key} for {slot}"))));
        }
        Ok(Self { runs, owners, engines, slots, findings: in_words(&findings) })
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
        let in_words = |error: StoreError| error.to_string();
        let store = SqliteStore::open(&copy, SqliteOptions::default()).map_err(in_words)?;
        let upkeep = SqliteUpkeep::at(&copy, SqliteOptions::default()).map_err(in_words)?;
        block_on(Self::of(Store { runs: &store, limits: &store, upkeep: &upkeep })).map_err(in_words)
    }
}

fn in_words(findings: &Findings) -> Vec<String> {
    findings
        .items
        .iter()
        .map(|finding| format!("{:?} {:?}: {}", finding.kind, finding.task_id, finding.found))
        .collect()
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
