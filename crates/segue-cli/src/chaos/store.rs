//! A run store, watched.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use segue_core::{
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
use tokio::sync::Mutex;

use super::{
    ledger::{About, Entry, Fact},
    moments::Moments,
    plan::Bug,
};

/// Writes down what the store has said is durable. Each write of events is a moment.
pub(super) struct ChaosStore {
    inner: Arc<dyn RunStore>,
    moments: Arc<Moments>,
    /// Of [`Bug::WritesBehind`]: what was said to be durable, and is not.
    behind: Mutex<Option<Commit>>,
}

impl ChaosStore {
    pub(super) fn new(inner: Arc<dyn RunStore>, moments: Arc<Moments>) -> Self {
        Self { inner, moments, behind: Mutex::new(None) }
    }

    fn acknowledged(&self, run: RunId, facts: Vec<Fact>) {
        self.moments.note(Entry::Acknowledged { run, facts });
    }

    /// Writes what a planted bug has left unwritten.
    async fn catch_up(&self) -> Result<(), StoreError> {
        match self.behind.lock().await.take() {
            Some(commit) => self.inner.commit(commit).await,
            None => Ok(()),
        }
    }

    async fn write(&self, commit: Commit) -> Result<(), StoreError> {
        if self.moments.has(Bug::WritesBehind) {
            self.catch_up().await?;
            *self.behind.lock().await = Some(commit);
            return Ok(());
        }
        self.inner.commit(commit).await
    }
}

/// What a write is about, in words: its most telling event, and how many more there are.
fn label(events: &[Event]) -> String {
    let telling = |event: &&Event| event.kind.ends_run() || event.kind.name() == "task.succeeded";
    let Some(event) = events.iter().find(telling).or_else(|| events.first()) else {
        return "answers".to_owned();
    };
    let task = event.task_id.as_ref().map_or(String::new(), |task| format!(" {task}"));
    let more = match events.len() {
        1 => String::new(),
        n => format!(" and {} more", n - 1),
    };
    format!("{}{task}{more}", event.kind.name())
}

#[async_trait]
impl RunStore for ChaosStore {
    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        let n = self.moments.come(About::Commit, label(&new.events));
        let (run, facts) = (new.run.run_id, new.events.iter().map(Fact::of).collect());
        let created = self.inner.create_run(new).await?;
        if matches!(created, Created::New(_)) {
            self.acknowledged(run, facts);
        }
        self.moments.over(n);
        Ok(created)
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let n = self.moments.come(About::Commit, label(&commit.events));
        let (run, facts) = (commit.lease.run_id, commit.events.iter().map(Fact::of).collect());
        self.write(commit).await?;
        self.acknowledged(run, facts);
        self.moments.over(n);
        Ok(())
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.catch_up().await?;
        self.inner.events(run, after, limit).await
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        self.catch_up().await?;
        self.inner.get_run(run).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.catch_up().await?;
        self.inner.release(leases).await
    }

    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        self.inner.put_workflow(version).await
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        self.inner.get_workflow(hash).await
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        self.inner.deploy(deployment).await
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        self.inner.deployments(workflow, limit).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        self.inner.blob(blob).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.inner.now().await
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        self.inner.owned_runs(engine).await
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        self.inner.renew_engine(engine, ttl).await
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        self.inner.engines().await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        self.inner.claim(request).await
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        self.inner.post_request(run, kind).await
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        self.inner.pending_requests(run).await
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        self.inner.dismiss_requests(run, requests).await
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        self.inner.request_signals()
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        self.inner.delete_run(run).await
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        self.inner.collect_garbage(ended_before).await
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        self.inner.cache_get(key, now).await
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.inner.cache_put(key, entry, expires_at).await
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.inner.list_runs(filter).await
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        self.inner.list_tasks(run).await
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        self.inner.list_waiting(run, limit).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        self.inner.get_task_result(run, task).await
    }
}
