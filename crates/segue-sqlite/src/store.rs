//! The store itself: each method names the work and the thread that does it.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::Duration,
};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use segue_core::{
    event::Event,
    ids::{ContentHash, RunId, TaskId},
    outcome::TaskResult,
    payload::BlobRef,
    ports::{
        ClaimRequest, Commit, Created, EngineRecord, Lease, NewRun, Request, RequestId, RequestKind, RunFilter, RunRow,
        RunStore, StoreError, TaskRow, WorkflowVersion,
    },
};

use crate::{
    encode::damaged,
    failure::Failure,
    inbox, leases, log, open,
    options::{SqliteOptions, Synchronous},
    readers::{Reader, Readers},
    runs::{self, Creation, Step},
    stats::{Counters, SqliteStats},
    tasks,
    watch::Watch,
    workflows,
    writer::{Setup, Writer},
};

/// Keeps runs in one SQLite file.
///
/// Dropping it waits until everything queued is answered and the file is closed.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    options: SqliteOptions,
    counters: Arc<Counters>,
    // The order of closing: the writer's connection is the last, so that it leaves a file with an empty log.
    watch: Watch,
    readers: Readers,
    writer: Writer,
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
            watch: Watch::new(),
            readers: Readers::start(path, &options)?,
            writer: Writer::start(setup)?,
            options,
        })
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

    async fn create_run(&self, new: NewRun) -> Result<Created, StoreError> {
        let creation = Creation::of(new);
        let created = self.writer.write(creation.large_bytes(), move |db| creation.write(db)).await?;
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
        self.readers.read(move |db| log::blob(db, blob)).await
    }

    async fn renew_engine(&self, engine: &EngineRecord, ttl: Duration) -> Result<(), StoreError> {
        let engine = engine.clone();
        self.writer.write(0, move |db| leases::renew(db, &engine, ttl)).await
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

    async fn release(&self, leases: &[Lease]) -> Result<(), StoreError> {
        let leases = leases.to_vec();
        self.writer.write(0, move |db| leases::release(db, &leases)).await
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

    async fn get_run(&self, run: RunId) -> Result<RunRow, StoreError> {
        self.readers.read(move |db| runs::get(db, run)).await
    }

    async fn list_runs(&self, filter: RunFilter) -> Result<Vec<RunRow>, StoreError> {
        self.readers.read(move |db| runs::list(db, &filter)).await
    }

    async fn list_tasks(&self, run: RunId) -> Result<Vec<TaskRow>, StoreError> {
        self.readers.read(move |db| tasks::list(db, &runs::head(db, run)?)).await
    }

    async fn get_task_result(&self, run: RunId, task: &TaskId) -> Result<TaskResult, StoreError> {
        let task = task.clone();
        self.readers.read(move |db| task_result(db, run, &task)).await
    }
}

fn task_result(db: &rusqlite::Connection, run: RunId, task: &TaskId) -> Result<TaskResult, Failure> {
    let head = runs::head(db, run)?;
    let row = tasks::get(db, &head, task)?;
    let ending = row.result_seq.map(|seq| runs::event(db, &head, seq)).transpose()?;
    let mut result = row.result(ending.as_ref().map(|event| &event.kind));
    if let Some(output) = &mut result.output
        && let Some(blob) = output.blob()
    {
        let what = || format!("the output of task {task} of run {run}");
        let json = log::blob(db, blob).map_err(|failure| match failure {
            Failure::Refused(StoreError::NotFound(_)) => damaged(what(), "is missing"),
            other => other,
        })?;
        let value = serde_json::from_slice(&json).map_err(|error| damaged(what(), &format!("is not JSON: {error}")))?;
        output.supply(Arc::new(value));
    }
    Ok(result)
}
