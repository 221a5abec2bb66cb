//! The run store in memory: one mutex around plain tables.

mod blobs;
mod checkpoints;
mod journal;
mod lease;
mod limits;
mod removal;
mod state;
mod upkeep;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use futures_channel::mpsc;
use futures_core::stream::BoxStream;

use self::state::{RunState, State};
use crate::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    payload::BlobRef,
    ports::{
        Cached, ClaimRequest, Collected, Commit, Created, Deployment, EngineRecord, Lease, NewRun, Request, RequestId,
        RequestKind, RunFilter, RunRow, RunStore, StoreError, TaskRow, WaitingTask, WorkflowVersion,
    },
    time::Timestamp,
};

/// Signals kept for a listener that is behind. They are hints: the inbox is the truth.
const SIGNALS_MAX: usize = 1024;

/// Keeps runs as long as the process lives. Promises all that a [`RunStore`] promises but durability. Clones share one
/// content.
#[derive(Clone)]
pub struct MemoryStore {
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    state: Arc<Mutex<State>>,
}

/// What a store has done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryStats {
    /// Runs created and commits accepted.
    pub commits: u64,
    /// Events kept.
    pub events: u64,
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl MemoryStore {
    /// An empty store that measures leases by `clock`.
    pub fn new(clock: Arc<dyn Fn() -> Timestamp + Send + Sync>) -> Self {
        Self { clock, state: Arc::default() }
    }

    /// What it has done so far.
    pub fn stats(&self) -> MemoryStats {
        self.state().stats
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Everything is checked before anything is changed, so a panic (a caller's bug) leaves the content whole.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[async_trait]
impl RunStore for MemoryStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        self.state().workflows.entry(version.hash).or_insert(version);
        Ok(())
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        let state = self.state();
        state.workflows.get(&hash).cloned().ok_or_else(|| StoreError::NotFound(format!("workflow version {hash}")))
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        let mut state = self.state();
        let Deployment { workflow_id, hash, .. } = &deployment;
        if state.workflows.get(hash).is_none_or(|version| version.workflow_id != *workflow_id) {
            return Err(StoreError::NotFound(format!("version {hash} of workflow {workflow_id}")));
        }
        let all = state.deployments.entry(workflow_id.clone()).or_default();
        let is_current = |last: &Deployment| last.hash == deployment.hash && last.base_dir == deployment.base_dir;
        if !all.last().is_some_and(is_current) {
            all.push(deployment);
        }
        Ok(())
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        let state = self.state();
        let most = at_most(limit, usize::MAX);
        Ok(match workflow {
            Some(id) => state.deployments.get(id).into_iter().flatten().rev().take(most).cloned().collect(),
            None => state.deployments.values().filter_map(|all| all.last()).take(most).cloned().collect(),
        })
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        new.assert_consistent();
        let mut state = self.state();
        let run_id = new.run.run_id;
        if let Some(key) = &new.idempotency_key
            && let Some(&existing) = state.keys.get(&(new.run.workflow_id.clone(), key.clone()))
        {
            return if state.run(existing)?.request_hash == new.request_hash {
                Ok(Created::Existing(existing))
            } else {
                Err(StoreError::KeyReused { key: key.clone(), run_id: existing })
            };
        }
        if state.runs.contains_key(&run_id) {
            return Err(StoreError::Conflict { run_id });
        }
        state.blobs.check(&new.events)?;
        if let Some(key) = new.idempotency_key {
            state.keys.insert((new.run.workflow_id.clone(), key), run_id);
        }
        state.runs.insert(run_id, RunState::new(new.run.clone(), new.request_hash, new.owner.clone()));
        state.append(new.events, new.run, new.tasks);
        if new.owner.is_none() {
            state.signal(run_id);
        }
        Ok(Created::New(new.owner.map(|_| Lease { run_id, fence: 1 })))
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        commit.assert_consistent();
        let mut state = self.state();
        let run = state.run_mut(commit.lease.run_id)?;
        if run.fence != commit.lease.fence || run.owner.is_none() || run.row.version != commit.expected_version {
            return Err(StoreError::Conflict { run_id: commit.lease.run_id });
        }
        state.blobs.check(&commit.events)?;
        let run = state.run_mut(commit.lease.run_id)?;
        run.requests.retain(|request| !commit.answered.contains(&request.id));
        state.append(commit.events, commit.run, commit.tasks);
        Ok(())
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        let state = self.state();
        let events = &state.run(run)?.events;
        let start = events.len().min(usize::try_from(after).unwrap_or(usize::MAX));
        let rest = &events[start..];
        Ok(rest[..at_most(limit, rest.len())].to_vec())
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        self.state().blobs.get(blob).map(<[u8]>::to_vec)
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        let now = (self.clock)();
        self.state().renew_engine(engine, now, ttl);
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok((self.clock)())
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        Ok(self.state().owners())
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        let now = (self.clock)();
        Ok(self.state().claim(&request, now))
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        Ok(self.state().owned_by(engine))
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.release(leases);
        leases.iter().for_each(|lease| state.signal(lease.run_id));
        Ok(())
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        let mut state = self.state();
        let id = RequestId(state.last_request + 1);
        state.run_mut(run)?.requests.push(Request { id, kind });
        state.last_request = id.0;
        state.signal(run);
        Ok(id)
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        Ok(self.state().run(run)?.requests.clone())
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.run_mut(run)?.requests.retain(|request| !requests.contains(&request.id));
        Ok(())
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        self.state().signals.push(sender);
        Box::pin(receiver)
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        self.state().delete_run(run).map(|_| ())
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        let now = (self.clock)();
        self.state().collect(ended_before, now)
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        let state = self.state();
        let Some((entry, expires_at)) = state.cache.get(key) else { return Ok(None) };
        if expires_at.is_some_and(|time| time <= now) {
            return Ok(None);
        }
        let mut entry = entry.clone();
        state.load(&mut entry.output)?;
        Ok(Some(entry))
    }

    async fn cache_put(&self, key: &str, mut entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        let mut state = self.state();
        state.blobs.check_payload(&entry.output)?;
        let key: Arc<str> = key.into();
        // The new one first: both may refer to one value.
        let is_same = state.cache.get(&key).is_some_and(|(old, _)| old.output.blob() == entry.output.blob());
        if !is_same {
            state.blobs.leave_key(&key);
        }
        state.blobs.keep_for_key(&entry.output, &key);
        entry.output = entry.output.to_logged();
        state.cache.insert(key, (entry, expires_at));
        Ok(())
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        Ok(self.state().run(run)?.row.clone())
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        let state = self.state();
        let older = state.runs.iter().rev().filter(|(id, _)| filter.before.is_none_or(|before| **id < before));
        let chosen = older.map(|(_, run)| &run.row).filter(|row| {
            (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
                && filter.workflow_id.as_ref().is_none_or(|id| *id == row.workflow_id)
                && filter.label.as_ref().is_none_or(|(name, value)| row.labels.get(name) == Some(value))
                && filter.parent.is_none_or(|parent| row.parent == Some(parent))
                && filter.id_prefix.as_ref().is_none_or(|prefix| row.run_id.to_string().starts_with(prefix))
        });
        Ok(chosen.take(at_most(filter.limit, usize::MAX)).cloned().collect())
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        Ok(self.state().run(run)?.tasks.clone())
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        let state = self.state();
        if let Some(run) = run {
            state.run(run)?;
        }
        let of_run = state.waiting().filter(|task| run.is_none_or(|run| task.run_id == run));
        Ok(of_run.take(at_most(limit, usize::MAX)).collect())
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        let state = self.state();
        let of_run = state.run(run)?;
        let row = of_run.task(task).ok_or_else(|| StoreError::NotFound(format!("task {task} of run {run}")))?;
        let mut result = row.result(row.result_seq.and_then(|seq| of_run.event(seq)).map(|event| &event.kind));
        if let Some(output) = &mut result.output {
            state.load(output)?;
        }
        Ok(result)
    }
}

/// A limit of 0 means all.
const fn at_most(limit: usize, all: usize) -> usize {
    if limit == 0 || limit > all { all } else { limit }
}
