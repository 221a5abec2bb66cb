//! The store itself: each method names the work and the thread that does it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use rusqlite::Connection;
use segue_core::{
    event::Event,
    ids::{ContentHash, EngineId, LimitKey, RunId, TaskId, WorkflowId},
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
    boot,
    cache::{self, Entry},
    deployments,
    failure::Failure,
    garbage::{self, Cursor},
    inbox,
    journal::{self, CallText},
    leases, lists, log, open,
    options::{SqliteOptions, Synchronous},
    readers::{Reader, Readers},
    runs::{self, Creation, Step},
    stats::{Counters, SqliteStats},
    tasks,
    threads::{self, StateText},
    values, waiting,
    watch::Watch,
    workflows,
    writer::{Setup, Writer},
};

/// What a step of a deletion changes in the file, about: enough for a look at the write-ahead log.
const SWEPT_BYTES: usize = 64 * 1024;

/// Keeps runs in one SQLite file.
///
/// Dropping it waits until everything queued is answered and the file is closed.
#[derive(Debug)]
pub struct SqliteStore {
    pub(crate) path: PathBuf,
    pub(crate) options: SqliteOptions,
    counters: Arc<Counters>,
    // The order of closing: the writer's connection is the last, so that it leaves a file with an empty log.
    watch: Watch<RunId>,
    pub(crate) limit_watch: Watch<LimitKey>,
    pub(crate) readers: Readers,
    pub(crate) writer: Writer,
}

impl SqliteStore {
    /// Opens the file, and makes it (for this user only) and its folder if there is none. Blocks for a few milliseconds;
    /// call it before the async runtime has work, or from a blocking thread.
    ///
    /// # Errors
    /// [`StoreError::Broken`], saying what to do: not a database, another program's, of a newer schema, read-only, corrupt.
    /// [`StoreError::Unavailable`]: another process holds it for longer than the busy timeout.
    pub fn open(path: &Path, options: SqliteOptions) -> Result<Self, StoreError> {
        let (db, is_new) = open::writer(path, &options)?;
        let counters = Arc::new(Counters::default());
        let setup = Setup {
            db,
            path: path.to_owned(),
            patience: options.busy_timeout,
            grows_log: is_new && options.pages_max.is_none(),
            counters: Arc::clone(&counters),
            poison: Arc::new(OnceLock::new()),
        };
        Ok(Self {
            path: path.to_owned(),
            counters,
            watch: Watch::requests(),
            limit_watch: Watch::limits(),
            readers: Readers::start(path, &options)?,
            writer: Writer::start(setup)?,
            options,
        })
    }

    /// Repeats `step`, each time in a transaction of its own, until there is nothing left to remove.
    async fn sweep(
        &self,
        step: impl Fn(&Connection) -> Result<Option<Collected>, Failure> + Clone + Send + 'static,
    ) -> Result<Collected, StoreError> {
        let mut all = Collected::default();
        while let Some(removed) = self.writer.write(SWEPT_BYTES, step.clone()).await? {
            all.blobs += removed.blobs;
            all.cache_entries += removed.cache_entries;
            all.bytes += removed.bytes;
        }
        Ok(all)
    }

    /// What this handle has done so far.
    pub fn stats(&self) -> SqliteStats {
        self.counters.read(self.options.synchronous == Synchronous::Full)
    }
}

#[async_trait]
impl RunStore for SqliteStore {
    async fn put_workflow(&self, version: WorkflowVersion) -> Result<(), StoreError> {
        self.writer.write(version.spec_json.len(), move |db| workflows::put(db, &version)).await
    }

    async fn get_workflow(&self, hash: ContentHash) -> Result<WorkflowVersion, StoreError> {
        self.readers.read(move |db| workflows::get(db, hash)).await
    }

    async fn deploy(&self, deployment: Deployment) -> Result<(), StoreError> {
        self.writer.write(0, move |db| deployments::deploy(db, &deployment)).await
    }

    async fn deployments(&self, workflow: Option<&WorkflowId>, limit: usize) -> Result<Vec<Deployment>, StoreError> {
        let workflow = workflow.cloned();
        self.readers.read(move |db| deployments::list(db, workflow.as_ref(), limit)).await
    }

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        let is_left = new.owner.is_none();
        let creation = Creation::of(new);
        let created = self.writer.write(creation.large_bytes(), move |db| creation.write(db)).await?;
        if is_left {
            self.watch.wake();
        }
        if let Created::New(_) = created {
            self.counters.commits.fetch_add(1, Relaxed);
        }
        Ok(created)
    }

    async fn commit(&self, commit: Commit) -> Result<(), StoreError> {
        let step = Step::of(commit);
        self.writer.write(step.large_bytes(), move |db| step.write(db)).await?;
        self.counters.commits.fetch_add(1, Relaxed);
        Ok(())
    }

    async fn events(&self, run: RunId, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.readers.read(move |db| log::read(db, &runs::head(db, run)?, after, limit)).await
    }

    async fn blob(&self, blob: BlobRef) -> Result<Vec<u8>, StoreError> {
        self.readers.read(move |db| values::read(db, blob)).await
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        let engine = engine.clone();
        self.writer.write(0, move |db| leases::renew(db, &engine, ttl)).await
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(boot::wall())
    }

    async fn engines(&self) -> Result<Vec<EngineRecord>, StoreError> {
        self.readers.read(leases::owners).await
    }

    async fn claim(&self, request: ClaimRequest) -> Result<Vec<Lease>, StoreError> {
        let look = request.clone();
        if self.readers.read(move |db| leases::claimable(db, &look)).await?.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.write(0, move |db| leases::claim(db, &request)).await
    }

    async fn owned_runs(&self, engine: &EngineId) -> Result<Vec<RunId>, StoreError> {
        let engine = engine.clone();
        self.readers.read(move |db| leases::owned(db, &engine)).await
    }

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let leases = leases.to_vec();
        self.writer.write(0, move |db| leases::release(db, &leases)).await?;
        self.watch.wake();
        Ok(())
    }

    async fn post_request(&self, run: RunId, kind: RequestKind) -> Result<RequestId, StoreError> {
        let posted = self.writer.write(0, move |db| inbox::post(db, run, &kind)).await;
        self.watch.wake();
        posted
    }

    async fn pending_requests(&self, run: RunId) -> Result<Vec<Request>, StoreError> {
        self.readers.read(move |db| inbox::pending(db, run)).await
    }

    async fn dismiss_requests(&self, run: RunId, requests: &[RequestId]) -> Result<(), StoreError> {
        let requests = requests.to_vec();
        self.writer.write(0, move |db| inbox::remove(db, runs::head(db, run)?.run_no, &requests)).await
    }

    fn request_signals(&self) -> BoxStream<'static, RunId> {
        Box::pin(self.watch.listen(|| Reader::new(&self.path, &self.options)))
    }

    async fn delete_run(&self, run: RunId) -> Result<(), StoreError> {
        self.writer.write(0, move |db| garbage::bury(db, run)).await?;
        self.sweep(garbage::sweep).await.map(|_| ())
    }

    async fn collect_garbage(&self, ended_before: Timestamp) -> Result<Collected, StoreError> {
        let (mut runs, mut cursor) = (0, Cursor::START);
        while let Some((ended, last)) = self.readers.read(move |db| garbage::ended(db, ended_before, cursor)).await? {
            cursor = last;
            runs += self.writer.write(0, move |db| garbage::bury_old(db, &ended, ended_before)).await?;
        }
        let swept = self.sweep(garbage::sweep).await?;
        let cached = self.sweep(move |db| garbage::sweep_cache(db, ended_before)).await?;
        Ok(Collected {
            runs,
            blobs: swept.blobs + cached.blobs,
            cache_entries: cached.cache_entries,
            bytes: swept.bytes + cached.bytes,
        })
    }

    async fn cache_get(&self, key: &str, now: Timestamp) -> Result<Option<Cached>, StoreError> {
        let key = key.to_owned();
        self.readers.read(move |db| cache::get(db, &key, now)).await
    }

    async fn cache_put(&self, key: &str, entry: Cached, expires_at: Option<Timestamp>) -> Result<(), StoreError> {
        let entry = Entry::of(key, entry, expires_at);
        self.writer.write(entry.large_bytes(), move |db| entry.write(db)).await
    }

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        self.readers.read(move |db| runs::get(db, run)).await
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.readers.read(move |db| lists::list(db, &filter)).await
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        self.readers.read(move |db| tasks::list(db, &runs::head(db, run)?)).await
    }

    async fn list_waiting(&self, run: Option<RunId>, limit: usize) -> Result<Vec<WaitingTask>, StoreError> {
        self.readers.read(move |db| waiting::list(db, run, limit)).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        let task = task.clone();
        self.readers.read(move |db| task_result(db, run, &task)).await
    }
}

#[async_trait]
impl ModelJournal for SqliteStore {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        let call = CallText::of(call);
        self.writer.write(call.large_bytes(), move |db| call.write(db)).await
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        let key = key.clone();
        self.readers.read(move |db| journal::find(db, &key)).await
    }

    async fn usage(&self, run_id: RunId, effect_key: &str, attempt: u32) -> Result<Usage, StoreError> {
        let effect_key = effect_key.to_owned();
        self.readers.read(move |db| journal::usage(db, run_id, &effect_key, attempt)).await
    }
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError> {
        let state = StateText::of(checkpoint);
        self.writer.write(state.large_bytes(), move |db| state.write(db)).await
    }

    async fn put_writes(&self, writes: CheckpointWrites) -> Result<(), StoreError> {
        self.writer.write(threads::large_bytes(&writes), move |db| threads::put_writes(db, &writes)).await
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
        let filter = filter.clone();
        self.readers.read(move |db| threads::list(db, &filter)).await
    }

    async fn delete_thread(&self, thread: &str) -> Result<(), StoreError> {
        let thread = thread.to_owned();
        self.writer.write(SWEPT_BYTES, move |db| threads::delete(db, &thread)).await
    }
}

fn task_result(db: &Connection, run: RunId, task: &TaskId) -> Result<TaskResult, Failure> {
    let head = runs::head(db, run)?;
    let row = tasks::get(db, &head, task)?;
    let ending = row.result_seq.map(|seq| runs::event(db, &head, seq)).transpose()?;
    let mut result = row.result(ending.as_ref().map(|event| &event.kind));
    if let Some(output) = &mut result.output {
        values::load(db, output, &|| format!("the output of task {task} of run {run}"))?;
    }
    Ok(result)
}
