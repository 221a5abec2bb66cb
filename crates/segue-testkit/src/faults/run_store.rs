//! The run store that fails.

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

use super::{
    fate::{Faults, Kind, unavailable},
    journal::{Journal, names},
    signals,
};

/// A [`RunStore`] to which things happen, and that writes down what was committed.
pub struct FaultStore {
    /// The store itself: what is asked here is answered truly.
    pub inner: Arc<dyn RunStore>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
    journal: Arc<Journal>,
}

impl FaultStore {
    /// Wraps `inner`. Each commit and creation is noted as `commit` and the [`names`] of its events, when it happens.
    pub fn new(inner: Arc<dyn RunStore>, faults: Arc<Faults>, journal: Arc<Journal>) -> Self {
        Self { inner, faults, journal }
    }
}

/// Calls a method of the inner store, with arguments that can be given again.
macro_rules! call {
    ($own:ident, $kind:ident, $method:ident($($argument:ident),*)) => {{
        let inner = &$own.inner;
        $own.faults.around(Kind::$kind, || {
            let inner = inner.clone();
            $(let $argument = $argument.clone();)*
            async move { inner.$method($($argument),*).await }
        })
        .await
    }};
    // As above; the arguments are borrowed by the method.
    ($own:ident, $kind:ident, $method:ident(&$($argument:ident),*)) => {{
        let inner = &$own.inner;
        $(let $argument = $argument.to_owned();)*
        $own.faults.around(Kind::$kind, || {
            let inner = inner.clone();
            $(let $argument = $argument.clone();)*
            async move { inner.$method($(&$argument),*).await }
        })
        .await
    }};
}

#[async_trait]
impl RunStore for FaultStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        call!(self, Upkeep, put_workflow(version))
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        call!(self, Read, get_workflow(hash))
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        call!(self, Upkeep, deploy(deployment))
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        let (inner, workflow) = (&self.inner, workflow.cloned());
        let call = || {
            let (inner, workflow) = (inner.clone(), workflow.clone());
            async move { inner.deployments(workflow.as_ref(), limit).await }
        };
        self.faults.around(Kind::Read, call).await
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        let call = || {
            let (inner, journal, new) = (self.inner.clone(), self.journal.clone(), new.clone());
            async move {
                let line = format!("commit {}", names(&new.events).join(" "));
                let created = inner.create_run(new).await?;
                journal.note(line);
                Ok(created)
            }
        };
        self.faults.around(Kind::Write, call).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let call = || {
            let (inner, journal, commit) = (self.inner.clone(), self.journal.clone(), commit.clone());
            async move {
                let line = format!("commit {}", names(&commit.events).join(" "));
                inner.commit(commit).await?;
                journal.note(line);
                Ok(())
            }
        };
        self.faults.around(Kind::Write, call).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        call!(self, Read, events(run, after, limit))
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        call!(self, Read, blob(blob))
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        if self.faults.refuses_renewal() {
            return Err(unavailable());
        }
        let inner = &self.inner;
        let call = || {
            let (inner, engine) = (inner.clone(), engine.clone());
            async move { inner.renew_engine(&engine, ttl).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        call!(self, Read, now())
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        call!(self, Read, engines())
    }

    /// Never twice: each claim makes the leases of the one before worthless.
    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        call!(self, Claim, claim(request))
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        call!(self, Read, owned_runs(&engine))
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        call!(self, Upkeep, release(&leases))
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        call!(self, Upkeep, post_request(run, kind))
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        call!(self, Read, pending_requests(run))
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        let (inner, requests) = (&self.inner, requests.to_vec());
        let call = || {
            let (inner, requests) = (inner.clone(), requests.clone());
            async move { inner.dismiss_requests(run, &requests).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        signals::heard(self.inner.request_signals(), self.faults.clone())
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        call!(self, Upkeep, delete_run(run))
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        call!(self, Upkeep, collect_garbage(ended_before))
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        let (inner, key) = (&self.inner, key.to_owned());
        let call = || {
            let (inner, key) = (inner.clone(), key.clone());
            async move { inner.cache_get(&key, now).await }
        };
        self.faults.around(Kind::Read, call).await
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        let (inner, key) = (&self.inner, key.to_owned());
        let call = || {
            let (inner, key, entry) = (inner.clone(), key.clone(), entry.clone());
            async move { inner.cache_put(&key, entry, expires_at).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        call!(self, Read, get_run(run))
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        call!(self, Read, list_runs(filter))
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        call!(self, Read, list_tasks(run))
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        call!(self, Read, list_waiting(run, limit))
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        let (inner, task) = (&self.inner, task.clone());
        let call = || {
            let (inner, task) = (inner.clone(), task.clone());
            async move { inner.get_task_result(run, &task).await }
        };
        self.faults.around(Kind::Read, call).await
    }
}
