//! Looking after a store: how it is, whether it is whole, copies of it.

use std::{collections::BTreeMap, path::Path};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::store::{EngineRecord, StoreError};
use crate::{
    ids::{RunId, TaskId},
    status::Status,
};

/// How a store is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// `sqlite`, `postgres` or `memory`.
    pub backend: String,
    /// The schema that is there, and the one that this program works with.
    pub schema: SchemaVersion,
    /// Bytes on disk, without those of the write-ahead log.
    pub bytes: u64,
    /// Bytes of the write-ahead log, where it is the store's own.
    pub log_bytes: Option<u64>,
    /// Bytes within `bytes` that nothing needs, and that are written again.
    pub free_bytes: Option<u64>,
    /// Runs by status.
    pub runs: BTreeMap<Status, u64>,
    /// The live run that was created first.
    pub oldest_live: Option<RunId>,
    /// Events of all logs.
    pub events: Count,
    /// Large values.
    pub blobs: Count,
    /// Deployed workflows.
    pub workflows: u64,
    /// Tasks that wait for something outside.
    pub waiting: u64,
    /// Requests that nobody has answered yet.
    pub requests: u64,
    /// Engines that own a run, or whose lease holds.
    pub engines: Vec<EngineStatus>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// So many.
    pub count: u64,
    /// Estimated, because counting a store of this size takes long.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub about: bool,
}

/// The number of a schema: what is there, and what this program works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaVersion {
    /// Found in the store; 0: nothing is there yet.
    pub found: u32,
    /// The newest that this program knows.
    pub known: u32,
}

impl SchemaVersion {
    /// Is there nothing to migrate?
    pub const fn is_current(self) -> bool {
        self.found == self.known
    }
}

/// An engine and its lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Who it is.
    #[serde(flatten)]
    pub engine: EngineRecord,
    /// Runs that it owns.
    pub runs: u64,
    /// For so long its lease still holds, in milliseconds; negative: it ended so long ago; none: in an earlier life of the
    /// machine.
    pub lease_left_ms: Option<i64>,
}

/// What is wrong, cut by what it is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The database itself: pages, indexes, a file that is too short.
    Storage,
    /// A table or an index that is missing or another, or a wrong version.
    Schema,
    /// An event, or the commit that holds it, is not what was written.
    Event,
    /// Events are missing.
    EventMissing,
    /// Events stand where others belong.
    EventMisplaced,
    /// A log that is whole but cannot be: an event that cannot follow what is before it.
    Log,
    /// A run's summary is damaged, or is not what its log says.
    Run,
    /// A task's summary is damaged, missing, or is not what the log says.
    Task,
    /// The list of what waits is not what the log says.
    Waiting,
    /// A large value is not what was written.
    Value,
    /// A large value is missing.
    ValueMissing,
    /// The list of who refers to a large value is wrong.
    ValueUse,
    /// A workflow's version is damaged or missing.
    Workflow,
    /// A row about a deployment or a cached result is damaged.
    Row,
    /// A recorded answer of a model is damaged.
    ModelCall,
    /// The state of a graph is damaged.
    Checkpoint,
    /// A request cannot be read.
    Request,
    /// A lease of an engine that nobody knows.
    Lease,
    /// What a named limit remembers is damaged.
    Limit,
    /// Rows of a run that is not there.
    Orphan,
}

impl FindingKind {
    /// What to do about it.
    pub const fn cure(self) -> &'static str {
        match self {
            Self::Storage => {
                "check the disk; restore the newest copy that `segue store verify` finds whole; what is still readable can be exported with `segue runs events`"
            }
            Self::Schema => "run `segue store migrate`; if it says that the schema is current, restore a copy",
            Self::Event | Self::EventMissing | Self::EventMisplaced | Self::Log => {
                "the run cannot be carried on: restore a copy, or remove it with `segue runs delete` and start it again"
            }
            Self::Run | Self::Task | Self::Waiting => {
                "the log is the truth and nothing was decided from this row; restore a copy, or remove the run with `segue runs delete` once it has ended"
            }
            Self::Value | Self::ValueMissing => {
                "what read this value fails: restore a copy, or start the run again with `segue rerun`"
            }
            Self::ValueUse => {
                "restore a copy before the next `segue store gc`, which may remove a value that is still read"
            }
            Self::Workflow => "deploy the same document again, which writes the version anew; or restore a copy",
            Self::Row => {
                "deploy the workflow again, or let the cached result be computed anew: `segue store gc` removes old ones"
            }
            Self::ModelCall => "the next attempt asks the model again; remove the run once it has ended",
            Self::Checkpoint => "the graph starts from its beginning after a crash; remove the run once it has ended",
            Self::Request => "ask again: cancel, answer or retry the run once more",
            Self::Lease => "nothing: the next engine that looks for work takes the run over",
            Self::Limit => "nothing: the limit starts anew, and after a minute it knows all that it has to know",
            Self::Orphan => {
                "nothing reads these rows; a copy made with `segue store backup` still has them: report it as a fault of Segue"
            }
        }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What it is about.
    pub kind: FindingKind,
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// The event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// What was found, in a sentence without a full stop.
    pub found: String,
}

impl Finding {
    /// Something about the store.
    pub fn new(kind: FindingKind, found: impl Into<String>) -> Self {
        Self { kind, run_id: None, seq: None, task_id: None, found: found.into() }
    }

    /// Something about a run.
    pub fn of(kind: FindingKind, run: RunId, found: impl Into<String>) -> Self {
        Self { run_id: Some(run), ..Self::new(kind, found) }
    }

    /// At this event.
    #[must_use]
    pub const fn at(mut self, seq: u64) -> Self {
        self.seq = Some(seq);
        self
    }

    /// At this task.
    #[must_use]
    pub fn task(mut self, task: TaskId) -> Self {
        self.task_id = Some(task);
        self
    }
}

/// What was found: the first ones, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// At most [`Findings::KEPT_MAX`] of them.
    pub items: Vec<Finding>,
    /// All of them.
    pub total: u64,
}

impl Findings {
    /// So many are kept; the others are counted.
    pub const KEPT_MAX: usize = 1_000;

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        self.total += 1;
        if self.items.len() < Self::KEPT_MAX {
            self.items.push(finding);
        }
    }

    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        let uncounted = others.total - others.items.len() as u64;
        others.items.into_iter().for_each(|finding| self.push(finding));
        self.total += uncounted;
    }

    /// Is nothing wrong?
    pub const fn is_clean(&self) -> bool {
        self.total == 0
    }
}

/// A copy that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Copied {
    /// Its size in bytes.
    pub bytes: u64,
}

/// Looks after a store. Nothing here takes part in carrying out runs; everything may be asked for while others work on the
/// store.
#[async_trait]
pub trait StoreUpkeep: Send + Sync {
    /// How the store is. What it costs does not grow with the logs: what takes long to count is estimated. Needs no
    /// migration first.
    async fn status(&self) -> Result<StoreStatus, StoreError>;

    /// The schema that is there. [`StoreError::Broken`] for one that is newer than this program, or another program's.
    async fn schema(&self) -> Result<SchemaVersion, StoreError>;

    /// Brings the store to this program's schema; says what it was before. Nothing happens where it is current.
    async fn migrate(&self) -> Result<SchemaVersion, StoreError>;

    /// Ids of runs in ascending order, after this one, at most `limit`: also of those whose summary is damaged.
    async fn run_ids(&self, after: Option<RunId>, limit: usize) -> Result<Vec<RunId>, StoreError>;

    /// What the backend's own bookkeeping says about a run: the hashes of its log, the checksums of its rows, what stands
    /// beside a row to find it by. Nothing is folded here. [`StoreError::NotFound`] for a run that is not there.
    async fn verify_run(&self, run: RunId) -> Result<Findings, StoreError>;

    /// The backend's own integrity, and everything that belongs to no run or to none that is there.
    async fn verify_storage(&self) -> Result<Findings, StoreError>;

    /// Makes a copy of the whole store at one moment, at a path where nothing is; durable when it returns, and there whole
    /// or not at all. [`StoreError::Refused`] if something is there, or if the backend has its own tool for it.
    async fn backup(&self, to: &Path) -> Result<Copied, StoreError>;
}
