//! A store that fails as it is told, and writes down what it was asked to commit.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use segue_core::{
    event::Event,
    ids::{ContentHash, RunId, TaskId, WorkflowId},
    outcome::TaskResult,
    payload::BlobRef,
    ports::{
        Cached, ClaimRequest, Collected, Commit, Created, Deployment, EngineRecord, Lease, NewRun, Request, RequestId,
        RequestKind, RunFilter, RunRow, RunStore, StoreError, TaskRow, WaitingTask, WorkflowVersion,
    },
    time::Timestamp,
};

/// What happened, in order.
#[derive(Default)]
pub struct Journal(Mutex<Vec<String>>);

impl Journal {
    pub fn note(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    pub fn clear(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// What becomes of a write.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It does not happen, and the client is told so, more or less.
    Before(fn() -> StoreError),
    /// It happens, and the client is told that it did not.
    After(fn() -> StoreError),
    /// It happens, and the client is told.
    None,
}

pub fn unavailable() -> StoreError {
    StoreError::Unavailable("injected".to_owned())
}

pub struct FaultStore {
    pub inner: Arc<dyn RunStore>,
    pub journal: Arc<Journal>,
    /// The faults of the next writes, creations included.
    pub faults: Mutex<VecDeque<Fault>>,
    /// Nothing gets through.
    pub is_away: AtomicBool,
    /// The lease cannot be renewed; everything else works.
    pub refuses_renewal: AtomicBool,
}

impl FaultStore {
    pub fn new(inner: Arc<dyn RunStore>, journal: Arc<Journal>) -> Self {
        Self {
            inner,
            journal,
            faults: Mutex::default(),
            is_away: AtomicBool::new(false),
            refuses_renewal: AtomicBool::new(false),
        }
    }

    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    fn reach(&self) -> Result<&dyn RunStore, StoreError> {
        if self.is_away.load(Ordering::Acquire) { Err(unavailable()) } else { Ok(&*self.inner) }
    }

    async fn write<T>(
        &self,
        events: &[Event],
        write: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.reach()?;
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        if let Fault::Before(error) = fault {
            return Err(error());
        }
        let result = write.await;
        if result.is_ok() {
            self.journal.note(format!("commit {}", names(events).join(" ")));
        }
        match fault {
            Fault::After(error) => result.and(Err(error())),
            _ => result,
        }
    }
}

/// `task.started b@1`, in short: `started:b@1`.
pub fn names(events: &[Event]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let name = event.kind.name();
            match (&event.task_id, event.attempt) {
                (Some(task), Some(attempt)) => format!("{}:{task}@{attempt}", name.trim_start_matches("task.")),
                (Some(task), None) => format!("{}:{task}", name.trim_start_matches("task.")),
                _ => name.to_owned(),
            }
        })
        .collect()
}

#[async_trait]
impl RunStore for FaultStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        self.reach()?.put_workflow(version).await
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        self.reach()?.get_workflow(hash).await
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        self.reach()?.deploy(deployment).await
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        self.reach()?.deployments(workflow, limit).await
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        let events = new.events.clone();
        self.write(&events, self.inner.create_run(new)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let events = commit.events.clone();
        self.write(&events, self.inner.commit(commit)).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.reach()?.events(run, after, limit).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        self.reach()?.blob(blob).await
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        if self.refuses_renewal.load(Ordering::Acquire) {
            return Err(unavailable());
        }
        self.reach()?.renew_engine(engine, ttl).await
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        self.reach()?.engines().await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        self.reach()?.claim(request).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        self.reach()?.release(leases).await
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        self.reach()?.post_request(run, kind).await
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        self.reach()?.pending_requests(run).await
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        self.reach()?.dismiss_requests(run, requests).await
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        self.inner.request_signals()
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        self.reach()?.delete_run(run).await
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        self.reach()?.collect_garbage(ended_before).await
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        self.reach()?.cache_get(key, now).await
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.reach()?.cache_put(key, entry, expires_at).await
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        self.reach()?.get_run(run).await
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.reach()?.list_runs(filter).await
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        self.reach()?.list_tasks(run).await
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        self.reach()?.list_waiting(run, limit).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        self.reach()?.get_task_result(run, task).await
    }
}
