//! The store itself: each method names the work and the connection that does it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use segue_core::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    outcome::{TaskResult, Usage},
    payload::BlobRef,
    ports::{
        Cached, CallKey, Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, ClaimRequest, Collected,
        Commit, Created, Deployment, EngineRecord, Lease, ModelJournal, NewRun, RecordedCall, Request, RequestId,
        RequestKind, RunFilter, RunRow, RunStore, StoreError, TaskRow, WaitingTask, WorkflowVersion,
    },
    time::Timestamp,
};

use crate::{
    address::Address,
    cache,
    committer::Committer,
    deployments,
    garbage::{self, Cursor},
    inbox,
    journal::{self, CallText},
    leases, lists, log,
    options::PostgresOptions,
    pool::{Pool, Tries, doing},
    runs::{self, Creation, Step},
    schema,
    stats::{Counters, PostgresStats},
    tasks, threads, values, waiting,
    watch::Watch,
    workflows,
};

/// Keeps runs in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    pub(crate) pool: Pool,
    counters: Arc<Counters>,
    committer: Committer,
    watch: Watch,
}

impl PostgresStore {
    pub(crate) const fn runtime(&self) -> &tokio::runtime::Handle {
        self.watch.runtime()
    }

    /// Connects, checks the server, and makes or renews its tables. Needs a tokio runtime, and keeps to it.
    ///
    /// # Errors
    /// [`StoreError::Broken`], saying what to do: not an address, no such database, a wrong password, too few rights, a
    /// newer schema, a certificate that is not trusted. [`StoreError::Unavailable`]: no server answers, it has no
    /// connection left, or it is a standby.
    pub async fn connect(url: &str, options: PostgresOptions) -> Result<Self, StoreError> {
        let pool = Pool::new(Address::parse(url, &options)?, &options)?;
        schema::prepare(&pool, &options.schema).await?;
        let counters = Arc::<Counters>::default();
        Ok(Self {
            committer: Committer::start(pool.clone(), Arc::clone(&counters)),
            watch: Watch::new(pool.clone()),
            counters,
            pool,
        })
    }

    /// The URL without its password.
    pub fn shown(&self) -> &str {
        self.pool.shown()
    }

    /// What this handle has done so far.
    pub fn stats(&self) -> PostgresStats {
        self.counters.read()
    }
}

#[async_trait]
impl RunStore for PostgresStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => workflows::put(&db, &version))
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => workflows::get(&db, hash))
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => deployments::deploy(&mut db, &deployment))
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => deployments::list(&db, workflow, limit))
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        self.committer.create(Creation::of(new)).await
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        self.committer.commit(Step::of(commit)).await
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => log::read(&db, run, after, limit))
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => values::read(&db, blob))
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => leases::renew(&db, engine, ttl))
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => leases::now(&db))
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => leases::owners(&db))
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        doing!(self.pool, Tries::of_writing(), db => leases::claim(&db, &request))
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => leases::owned_runs(&db, engine))
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => leases::release(&db, leases))
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        doing!(self.pool, Tries::of_writing(), db => inbox::post(&db, run, &kind))
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => inbox::pending(&db, run))
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => inbox::remove(&db, run, requests))
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        Box::pin(self.watch.listen())
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_writing(), db => garbage::delete(&mut db, run))
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        /// Results that one transaction removes.
        const ENTRIES_MAX: i64 = 50;
        let (mut all, mut cursor) = (Collected::default(), Cursor::START);
        loop {
            let ended: Vec<Cursor> =
                doing!(self.pool, Tries::of_reading(), db => garbage::ended(&db, ended_before, cursor))?;
            let Some(last) = ended.last() else { break };
            cursor = *last;
            for run in ended.into_iter().map(Cursor::run) {
                let removed: Option<Collected> = doing!(self.pool, Tries::of_writing(), db =>
                    garbage::delete_old(&mut db, run, ended_before))?;
                let removed = removed.unwrap_or_default();
                all.runs += removed.runs;
                all.blobs += removed.blobs;
                all.bytes += removed.bytes;
            }
        }
        loop {
            let removed: cache::Removed = doing!(self.pool, Tries::of_writing(), db =>
                cache::remove_stale(&mut db, ended_before, ENTRIES_MAX))?;
            all.cache_entries += removed.entries;
            all.blobs += removed.blobs;
            all.bytes += removed.bytes;
            if removed.entries == 0 {
                return Ok(all);
            }
        }
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => cache::get(&db, key, now))
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => cache::put(&mut db, key, &entry, expires_at))
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => runs::get(&db, run))
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => lists::list(&db, &filter))
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => tasks::list(&db, run))
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => waiting::list(&mut db, run, limit))
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => tasks::result(&mut db, run, task))
    }
}

#[async_trait]
impl ModelJournal for PostgresStore {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        let call = CallText::of(call);
        doing!(self.pool, Tries::of_repeating(), db => call.write(&db))
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => journal::find(&db, key))
    }

    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => journal::usage(&db, run_id, effect_key, attempt))
    }
}

#[async_trait]
impl CheckpointStore for PostgresStore {
    async fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => threads::put(&db, &checkpoint))
    }

    async fn put_writes(&self, writes: CheckpointWrites) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => threads::put_writes(&mut db, &writes))
    }

    async fn get_checkpoint(
        &self,
        thread: &str,
        namespace: &str,
        id: Option<&str>,
    ) -> Result<Option<Checkpoint>, StoreError> {
        let filter = CheckpointFilter {
            thread: Some(thread.to_owned()),
            namespace: Some(namespace.to_owned()),
            id: id.map(str::to_owned),
            limit: Some(1),
            ..CheckpointFilter::default()
        };
        Ok(self.list_checkpoints(&filter).await?.pop())
    }

    async fn list_checkpoints(&self, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, StoreError> {
        doing!(self.pool, Tries::of_reading(), db => threads::list(&mut db, filter))
    }

    async fn delete_thread(&self, thread: &str) -> Result<(), StoreError> {
        doing!(self.pool, Tries::of_repeating(), db => threads::delete(&db, thread))
    }
}
