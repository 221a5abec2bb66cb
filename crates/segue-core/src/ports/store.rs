//! The run store keeps the log of every run, and rows that summarise it.
//!
//! A store decides nothing: what a commit contains was decided by the kernel. The store promises that a commit happens
//! whole or not at all, only for the owner of the run, and only if nothing else was committed since.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};

use serde_json::Value;

use super::rows::{Cached, Collected, Deployment, RunFilter, RunRow, TaskRow, WaitingTask, WorkflowVersion};
use crate::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    payload::BlobRef,
    run::Address,
    time::Timestamp,
};

/// A run to create, with its first events.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its version's hash; the version has been put before.
    pub workflow_hash: ContentHash,
    /// Two creations with one `(workflow_id, key)` are one run.
    pub idempotency_key: Option<String>,
    /// Hash of what was asked for: the same key with another hash is an error, not another run.
    pub request_hash: ContentHash,
    /// The engine that owns it from the start; `None` leaves it to be claimed.
    pub owner: Option<EngineId>,
    /// Its first events, from `seq` 1.
    pub events: Vec<Event>,
    /// Its summary after them.
    pub run: RunRow,
    /// The rows of the tasks that those events changed.
    pub tasks: Vec<TaskRow>,
}

/// The answer to a creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It is new. If it has an owner, this is the owner's lease.
    New(Option<Lease>),
    /// The key was used before, for this run.
    Existing(RunId),
}

/// The right to commit for a run. A later claim has a higher fencing token and makes this one worthless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The run.
    pub run_id: RunId,
    /// Its fencing token.
    pub fence: u64,
}

/// One atomic write: new events, the rows they change, the requests they answer.
#[derive(Debug, Clone)]
pub struct Commit {
    /// The committer's right.
    pub lease: Lease,
    /// `seq` of the last event that the committer has seen.
    pub expected_version: u64,
    /// The new events, from `expected_version + 1`. Never empty, unless only requests are answered.
    pub events: Vec<Event>,
    /// The run's row after them. When its status is terminal the run is owned by nobody any more.
    pub run: RunRow,
    /// The rows of the tasks that they changed; each task at most once.
    pub tasks: Vec<TaskRow>,
    /// Requests that this commit answers, and that are pending no longer.
    pub answered: Vec<RequestId>,
}

impl NewRun {
    /// Stops on what only a bug in the caller can cause: events that do not count from 1, another run's row.
    ///
    /// # Panics
    /// Then.
    pub fn assert_consistent(&self) {
        assert!(!self.events.is_empty(), "run {} would have no events", self.run.run_id);
        assert_follows(&self.events, 0, &self.run);
        assert_eq!(self.workflow_hash, self.run.workflow_hash, "run {} has two workflow versions", self.run.run_id);
    }
}

impl Commit {
    /// Stops on what only a bug in the caller can cause: a gap in `seq`, another run's row, another version.
    ///
    /// # Panics
    /// Then.
    pub fn assert_consistent(&self) {
        assert_eq!(self.lease.run_id, self.run.run_id, "a commit writes the row of its own run");
        assert_follows(&self.events, self.expected_version, &self.run);
    }
}

fn assert_follows(events: &[Event], version: u64, run: &RunRow) {
    let gapless = events.iter().zip(version + 1..).all(|(event, seq)| event.seq == seq);
    assert!(gapless, "the events of run {} leave a gap after {version}", run.run_id);
    assert_eq!(run.version, version + events.len() as u64, "the row of run {} is of another version", run.run_id);
}

/// Names a request in a store's inbox. Ascends in the order of posting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RequestId(pub i64);

/// What somebody asks of a run, from whatever process.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its place in the inbox.
    pub id: RequestId,
    /// What is asked.
    pub kind: RequestKind,
}

/// The kinds of request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum RequestKind {
    /// Stop.
    Cancel {
        /// Why, for the log.
        reason: String,
    },
    /// Go on after the end: run what has not succeeded.
    Reopen,
    /// An answer to what a task waits for.
    Signal {
        /// To whom.
        to: Address,
        /// What is said.
        data: Value,
    },
}

/// An engine as the store knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineRecord {
    /// The engine.
    pub engine_id: EngineId,
    /// Proof of life for others on the same machine.
    pub proof: OwnerProof,
}

/// How others on the same machine can see that a process is gone: no such pid, or another start time, or another boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnerProof {
    /// The kernel's boot id.
    pub boot_id: String,
    /// The process.
    pub pid: u32,
    /// Its start time in clock ticks since boot: pids are used again.
    pub started_ticks: u64,
}

/// Which runs to claim.
#[derive(Debug, Clone)]
pub struct ClaimRequest {
    /// For whom. It is registered and its lease has not ended.
    pub engine_id: EngineId,
    /// At most this many.
    pub limit: usize,
    /// Only these; empty: any.
    pub runs: Vec<RunId>,
    /// Owners that are known to be gone, whatever their lease says.
    pub dead: Vec<EngineId>,
}

/// What can go wrong, cut by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No such thing. Say so.
    #[error("{0} not found")]
    NotFound(String),
    /// Something else was committed since `expected_version`, or the run belongs to another engine now. Drop the run's
    /// state; load it again if it is still owned.
    #[error("run {run_id} was changed by another engine")]
    Conflict {
        /// The run.
        run_id: RunId,
    },
    /// The start key was used for another request.
    #[error(
        "the idempotency key `{key}` was used before for run {run_id}, with another workflow version or other inputs"
    )]
    KeyReused {
        /// The key.
        key: String,
        /// The run it was used for.
        run_id: RunId,
    },
    /// Not as things stand, and why: a run that has not ended is not deleted. Nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// Not now (busy, no connection). The write may or may not have happened: reload and compare, never repeat blindly.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// The disk is full. Nothing was written; goes on when there is room.
    #[error("no room left for the store: {0}")]
    Full(String),
    /// The store cannot be used: it is corrupt, of a newer version, not writable. Stop.
    #[error("the store cannot be used: {0}")]
    Broken(String),
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Keeps runs. Every method is safe to call from any task; none blocks the async runtime. A method that names a run, a
/// workflow or a blob answers [`StoreError::NotFound`] where there is none, unless it says otherwise.
#[async_trait]
pub trait RunStore: Send + Sync {
    /// Keeps a workflow's version. Repeatable: the same hash changes nothing.
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError>;

    /// The version with this hash.
    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError>;

    /// Puts a version of a workflow into service; durable when it returns. It is the workflow's current one until another
    /// one is deployed, whatever their times say. Repeatable: what is current already (this version, this folder) stays
    /// as it is. [`StoreError::NotFound`] unless the version has been put, as one of this workflow.
    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError>;

    /// Of a workflow: all its deployments, newest first, the current one at the head. Without one: the current deployment
    /// of each workflow, by id. At most `limit` (0: all).
    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError>;

    /// Creates a run with its first events, atomically; durable when it returns. Repeating it with the same key
    /// answers with the first run; [`StoreError::KeyReused`] if something else was asked for then. Large values that the
    /// events only refer to have been kept before: else [`StoreError::NotFound`], as in a commit.
    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError>;

    /// The one write of a live run: all of it or nothing, and durable when it returns. [`StoreError::Conflict`] unless
    /// the lease's fence is the run's and `expected_version` its version.
    async fn commit(&self, commit: Commit) -> Result<(), StoreError>;

    /// The run's events with `seq > after`, at most `limit` (0: all), in order. Large values are references.
    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError>;

    /// The JSON text of a large value. Its hash has been checked: [`StoreError::Broken`] if it does not match.
    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError>;

    /// Makes an engine known and gives it a lease of `ttl`, measured by the store's clock; renews it if it is known.
    /// [`StoreError::Conflict`] never; a lease that ended and was not used by others is simply renewed.
    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError>;

    /// What time it is for this store: what engines on several machines can agree on.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// All engines that own a run, with their proof, whether or not their lease has ended.
    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError>;

    /// Takes over live runs that nobody owns, or whose owner's lease has ended or is named dead. Each gets a higher fence.
    /// Also takes runs that have ended and have a pending [`RequestKind::Reopen`]. Oldest first. An engine that is not
    /// registered, or whose own lease has ended, gets none.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError>;

    /// The runs that this engine owns, in no order. An engine asks after a call that may have given it runs and whose answer
    /// was lost.
    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError>;

    /// Gives runs back to be claimed by others. A lease that is no longer valid is ignored.
    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError>;

    /// Puts a request into a run's inbox; durable when it returns. [`StoreError::NotFound`] if there is no such run.
    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError>;

    /// The run's pending requests in order. They stay pending until a commit answers them.
    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError>;

    /// Removes requests without an event: those that change nothing (a cancel of a run that has ended). Unknown ones are
    /// ignored.
    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError>;

    /// Names runs with a new request, and runs that are left to be claimed (created without an owner, or released), within
    /// 250 ms, from whatever process. A hint that may be lost or doubled, and where many are left, names any of them: the
    /// inbox is the truth, and is read again when a lease is renewed.
    fn request_signals(&self) -> BoxStream<'static, RunId>;

    /// Removes a run that has ended: its log, its rows, its requests, and the large values that nothing else refers to. Gone
    /// at once and for all when it returns; its key may be used again. Runs that it started as children stay.
    /// [`StoreError::Refused`] if it has not ended, or may go on: it is owned, somebody asked for it to be reopened, or a
    /// run above it (its parent, that one's parent) has not ended.
    async fn delete_run(&self, run: RunId) -> Result<(), StoreError>;

    /// Removes as [`RunStore::delete_run`] does what ended before this time, unless it, or a run above it that is still
    /// there, ended later or may go on. Also cached results that have expired by the store's clock, or never expire and
    /// were kept before this time. In small steps, each of them whole, so that commits go on in between; an interrupted
    /// collection is finished by the next one.
    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError>;

    /// The result kept under this key, its output loaded; none if there is none or it has expired by `now`.
    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError>;

    /// Keeps a result until `expires_at` (none: always), in the place of an earlier one. It outlives its run, with its large
    /// value. [`StoreError::NotFound`] if that value is only referred to and not there.
    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError>;

    /// One run's row.
    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError>;

    /// Rows by filter, newest first.
    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError>;

    /// The rows of a run's tasks, in the order in which they first changed. A task that never changed has no row.
    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError>;

    /// The `WAITING` tasks of this run, or of all runs, with what they wait for; those that have waited longest first, in
    /// the order of [`RunStore::list_tasks`] where a run's began at one time. At most `limit` (0: all).
    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError>;

    /// What a task has come to, its output loaded. [`StoreError::NotFound`] for a task that never changed.
    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError>;
}
