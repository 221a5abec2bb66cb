//! The one task that commits, and group commit: [creations](creating) and [steps](stepping) of runs.
//!
//! While one batch is under way the next one gathers. The task knows the end of the chain of the runs that it moves on,
//! so that a step asks nothing before it writes; what it knows is a part of the condition, and never more than a guess.

mod creating;
mod known;
mod stepping;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use deadpool_postgres::Object;
use segue_core::{
    ids::RunId,
    ports::{Created, StoreError},
};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{error::SqlState, types::ToSql};

use self::known::Known;
use crate::{
    encode,
    failure::Failure,
    pool::{Pool, Prepares, Tries},
    runs::{Creation, Step},
    stats::Counters,
    texts::Texts,
};

/// Steps of one batch. More wait for the next one, so that no answer waits for long.
const STEPS_MAX: usize = 500;
/// Bytes after which a batch is full.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Runs whose chain is known at once.
const KNOWN_MAX: usize = 100_000;

/// Where steps are handed in. The task ends when the last one is dropped, after everything that is queued is answered.
#[derive(Debug)]
pub(crate) struct Committer {
    queue: mpsc::UnboundedSender<Job>,
}

impl Committer {
    pub(crate) fn start(pool: Pool, counters: Arc<Counters>) -> Self {
        let (queue, jobs) = mpsc::unbounded_channel();
        tokio::spawn(Task { pool, jobs, waiting: Vec::new(), known: HashMap::new(), counters }.run());
        Self { queue }
    }

    /// Creates a run in the next batch.
    pub(crate) async fn create(&self, creation: Creation) -> Result<Created, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Create(creation, answer), answered).await
    }

    /// Moves a run on in the next batch.
    pub(crate) async fn commit(&self, step: Step) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        self.send(Job::Commit(step, answer), answered).await
    }

    async fn send<T>(&self, job: Job, answered: oneshot::Receiver<Result<T, StoreError>>) -> Result<T, StoreError> {
        let gone = || StoreError::Broken("the task that commits is gone: its runtime ended, or it failed".to_owned());
        self.queue.send(job).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Job {
    Create(Creation, Answer<Created>),
    Commit(Step, Answer<()>),
}

impl Job {
    fn run(&self) -> RunId {
        match self {
            Self::Create(creation, _) => creation.texts.run_id,
            Self::Commit(step, _) => step.texts.run_id,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Create(creation, _) => creation.texts.bytes(),
            Self::Commit(step, _) => step.texts.bytes(),
        }
    }
}

/// What became of each element of a batch; `None`: it did not move, and why is still to be asked.
type Moved = Result<HashSet<RunId>, Failure>;

struct Task {
    pool: Pool,
    jobs: mpsc::UnboundedReceiver<Job>,
    /// A second step of a run that is in the batch already.
    waiting: Vec<Job>,
    known: HashMap<RunId, Known>,
    counters: Arc<Counters>,
}

impl Task {
    async fn run(mut self) {
        while let Some(batch) = self.next().await {
            let (mut creations, mut steps) = (Vec::new(), Vec::new());
            for job in batch {
                match job {
                    Job::Create(creation, answer) => creations.push((creation, answer)),
                    Job::Commit(step, answer) => steps.push((step, answer)),
                }
            }
            if self.known.len() > KNOWN_MAX {
                self.known.clear();
            }
            if !creations.is_empty() {
                self.create(creations).await;
            }
            if !steps.is_empty() {
                self.commit(steps).await;
            }
        }
    }

    /// The next batch: all that is queued, at most one job a run. None if there will be none.
    async fn next(&mut self) -> Option<Vec<Job>> {
        let mut batch: Vec<Job> = Vec::new();
        let (mut runs, mut bytes) = (HashSet::new(), 0);
        let mut later = Vec::new();
        let mut waiting = std::mem::take(&mut self.waiting).into_iter();
        loop {
            let job = match waiting.next() {
                Some(job) => job,
                None if batch.is_empty() => self.jobs.recv().await?,
                None => match self.jobs.try_recv() {
                    Ok(job) => job,
                    Err(_) => break,
                },
            };
            let is_full = batch.len() >= STEPS_MAX || bytes > BYTES_MAX;
            if is_full || !runs.insert(job.run()) {
                later.push(job);
                if is_full {
                    break;
                }
                continue;
            }
            bytes += job.bytes();
            batch.push(job);
        }
        later.extend(waiting);
        self.waiting = later;
        Some(batch)
    }

    /// The first value that these texts refer to and that is not there.
    async fn missing_value(&self, texts: &Texts) -> Result<Option<StoreError>, Failure> {
        const SQL: &str = "SELECT 1 FROM blobs WHERE hash = $1";
        for blob in texts.needs() {
            if self.ask(SQL, &[&blob.hash.as_bytes().as_slice()]).await?.is_empty() {
                return Ok(Some(StoreError::NotFound(format!("value {}", blob.hash))));
            }
        }
        Ok(None)
    }

    /// Runs a batch's statement, and gives the runs that moved. Begun again if the server undid all of it.
    async fn execute(&self, sql: &'static str, values: &[&(dyn ToSql + Sync)]) -> Moved {
        let mut tries = Tries::of_writing();
        loop {
            let db = self.pool.committer().await?;
            let done = self.pool.in_time(db.rows(sql, values)).await;
            match done {
                Ok(rows) => return Ok(rows.iter().map(|row| encode::run_id(row.get(0))).collect()),
                Err(failure) => {
                    if matches!(failure, Failure::Slow) {
                        drop(Object::take(db));
                    }
                    // A value that it refers to was removed, or a run was created by others, while it was under way.
                    let is_overtaken = failure.state().is_some_and(|state| {
                        *state == SqlState::FOREIGN_KEY_VIOLATION || *state == SqlState::UNIQUE_VIOLATION
                    });
                    if !tries.again_if(&failure, is_overtaken) {
                        return Err(failure);
                    }
                }
            }
        }
    }

    async fn ask(&self, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<tokio_postgres::Row>, Failure> {
        let mut tries = Tries::of_reading();
        loop {
            let db = self.pool.committer().await?;
            match self.pool.in_time(db.rows(sql, values)).await {
                Err(failure) if tries.again(&failure) => {}
                Err(Failure::Slow) => {
                    drop(Object::take(db));
                    return Err(Failure::Slow);
                }
                answer => return answer,
            }
        }
    }
}

/// Is it a failure that one element of a batch can cause, and that undid all of it for certain?
fn fails_alone(failure: &Failure) -> bool {
    failure.state().is_some() && !failure.is_cut()
}

fn refuse<J, T>(jobs: Vec<(J, Answer<T>)>, failure: Failure, pool: &Pool) {
    let told = failure.explain(pool.shown());
    for (_, answer) in jobs {
        let _ = answer.send(Err(again(&told)));
    }
}

/// The same error for another caller. Only those that come from the server or from the way there.
fn again(error: &StoreError) -> StoreError {
    match error {
        StoreError::Unavailable(text) => StoreError::Unavailable(text.clone()),
        StoreError::Full(text) => StoreError::Full(text.clone()),
        other => StoreError::Broken(other.to_string().trim_start_matches("the store cannot be used: ").to_owned()),
    }
}
