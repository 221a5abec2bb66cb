//! A store, measured.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use segue_core::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    payload::BlobRef,
    ports::{
        Cached, ClaimRequest, Collected, Commit, Created, Deployment, EngineRecord, Lease, MetricsCollector, NewRun,
        Request, RequestId, RequestKind, RunFilter, RunRow, RunStore, StoreError, TaskRow, WaitingTask,
        WorkflowVersion,
    },
    time::Timestamp,
};
use tokio::time::Instant;

/// Times the commits of a store, and logs what it refuses.
pub struct ObservedStore {
    inner: Arc<dyn RunStore>,
    metrics: Arc<dyn MetricsCollector>,
}

impl ObservedStore {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn RunStore>, metrics: Arc<dyn MetricsCollector>) -> Self {
        Self { inner, metrics }
    }

    /// A write of events: timed, and counted by their number.
    async fn written<T>(
        &self,
        events: usize,
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = seen("commit", write).await;
        self.metrics.observe("segue_store_commit_seconds", &[], began.elapsed());
        if result.is_ok() {
            self.metrics.add("segue_store_commit_events", &[], events as u64);
        }
        result
    }
}

async fn seen<T>(what: &'static str, call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let result = call.await;
    if let Err(error) = &result {
        tracing::debug!(what, %error, "the store refused");
    }
    result
}

#[async_trait]
impl RunStore for ObservedStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        seen("put_workflow", self.inner.put_workflow(version)).await
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        seen("get_workflow", self.inner.get_workflow(hash)).await
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        seen("deploy", self.inner.deploy(deployment)).await
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        seen("deployments", self.inner.deployments(workflow, limit)).await
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        self.written(new.events.len(), self.inner.create_run(new)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.written(commit.events.len(), self.inner.commit(commit)).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        seen("events", self.inner.events(run, after, limit)).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        seen("blob", self.inner.blob(blob)).await
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        seen("renew_engine", self.inner.renew_engine(engine, ttl)).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        seen("now", self.inner.now()).await
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        seen("engines", self.inner.engines()).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        seen("claim", self.inner.claim(request)).await
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        seen("owned_runs", self.inner.owned_runs(engine)).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        seen("release", self.inner.release(leases)).await
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        seen("post_request", self.inner.post_request(run, kind)).await
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        seen("pending_requests", self.inner.pending_requests(run)).await
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        seen("dismiss_requests", self.inner.dismiss_requests(run, requests)).await
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        self.inner.request_signals()
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        seen("delete_run", self.inner.delete_run(run)).await
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        seen("collect_garbage", self.inner.collect_garbage(ended_before)).await
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        let found = seen("cache_get", self.inner.cache_get(key, now)).await;
        if let Ok(found) = &found {
            let result = if found.is_some() { "hit" } else { "miss" };
            self.metrics.add("segue_cache_lookups_total", &[("result", result)], 1);
        }
        found
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        seen("cache_put", self.inner.cache_put(key, entry, expires_at)).await
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        seen("get_run", self.inner.get_run(run)).await
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        seen("list_runs", self.inner.list_runs(filter)).await
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        seen("list_tasks", self.inner.list_tasks(run)).await
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        seen("list_waiting", self.inner.list_waiting(run, limit)).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        seen("get_task_result", self.inner.get_task_result(run, task)).await
    }
}
