//! The one task that commits, and group commit.
//!
//! While one batch is under way the next one gathers. The task knows the end of the chain of the runs that it moves on,
//! so that a step asks nothing before it writes; what it knows is a part of the condition, and never more than a guess.

use std::collections::{HashMap, HashSet};

use deadpool_postgres::Object;
use segue_core::{
    ids::{ContentHash, RunId},
    ports::{Created, StoreError},
    seal,
};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{error::SqlState, types::ToSql};

use crate::{
    batch::{self, Columns, Hashes},
    encode,
    failure::Failure,
    pool::{Pool, Prepares, Tries},
    runs::{Creation, Step},
    stats::Counters,
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
    pub(crate) fn start(pool: Pool, counters: std::sync::Arc<Counters>) -> Self {
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
    /// Version and chain of runs after their last step here.
    known: HashMap<RunId, (u64, ContentHash)>,
    counters: std::sync::Arc<Counters>,
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

    async fn create(&mut self, mut jobs: Vec<(Creation, Answer<Created>)>) {
        loop {
            let moved = self.write_creations(&jobs).await;
            let moved = match moved {
                Err(failure) if jobs.len() > 1 && fails_alone(&failure) => {
                    for job in jobs {
                        Box::pin(self.create(vec![job])).await;
                    }
                    return;
                }
                Err(failure) => return refuse(jobs, failure, &self.pool),
                Ok(moved) => moved,
            };
            self.counters.batch(moved.len());
            let mut left = Vec::new();
            for (creation, answer) in jobs {
                let texts = &creation.texts;
                if moved.contains(&texts.run_id) {
                    let chain = texts.chain_after(seal::chain_start(texts.run_id));
                    self.known.insert(texts.run_id, (texts.version, chain));
                    // Nobody waits any more: it is done all the same.
                    let _ = answer.send(Ok(creation.created()));
                } else {
                    left.push((creation, answer));
                }
            }
            jobs = match self.explain_creations(left).await {
                left if left.is_empty() => return,
                left => left,
            };
        }
    }

    async fn write_creations(&self, jobs: &[(Creation, Answer<Created>)]) -> Moved {
        let mut columns = Columns::default();
        let mut new = New::default();
        for (creation, _) in jobs {
            columns.push(&creation.texts, creation.texts.chain_after(seal::chain_start(creation.texts.run_id)));
            new.push(creation);
        }
        let mut values = columns.values();
        values.extend(new.values());
        self.execute(batch::CREATE, &values).await
    }

    /// Answers those that did not move. Gives back those whose reason is gone meanwhile: they are tried again.
    async fn explain_creations(&self, jobs: Vec<(Creation, Answer<Created>)>) -> Vec<(Creation, Answer<Created>)> {
        const SQL: &str =
            "SELECT run_id, start_key, request_hash FROM runs WHERE run_id = ANY($1) OR start_key = ANY($2)";
        if jobs.is_empty() {
            return jobs;
        }
        let ids: Vec<_> = jobs.iter().map(|(creation, _)| encode::uuid(creation.texts.run_id)).collect();
        let keys: Vec<Vec<u8>> = jobs
            .iter()
            .filter_map(|(creation, _)| creation.key.as_ref())
            .map(|(name, _)| name.as_bytes().to_vec())
            .collect();
        let rows = match self.ask(SQL, &[&ids, &keys]).await {
            Ok(rows) => rows,
            Err(failure) => {
                refuse(jobs, failure, &self.pool);
                return Vec::new();
            }
        };
        let mut by_key = HashMap::new();
        let mut there = HashSet::new();
        for row in &rows {
            let (run, key, request): (_, Option<&[u8]>, &[u8]) = (encode::run_id(row.get(0)), row.get(1), row.get(2));
            there.insert(run);
            if let Some(key) = key {
                by_key.insert(encode::hash(key), (run, encode::hash(request)));
            }
        }
        let mut left = Vec::new();
        for (creation, answer) in jobs {
            let run_id = creation.texts.run_id;
            let same = creation.key.as_ref().and_then(|(name, _)| by_key.get(name));
            let result = match same {
                Some((run, request)) => creation.existing(*run, *request),
                None if there.contains(&run_id) => Err(StoreError::Conflict { run_id }),
                None => match self.missing_value(&creation.texts).await {
                    Ok(Some(missing)) => Err(missing),
                    Ok(None) => {
                        left.push((creation, answer));
                        continue;
                    }
                    Err(failure) => Err(failure.explain(self.pool.shown())),
                },
            };
            let _ = answer.send(result);
        }
        left
    }

    async fn commit(&mut self, jobs: Vec<(Step, Answer<()>)>) {
        let moved = match self.write_steps(&jobs).await {
            Err(failure) => {
                for (step, _) in &jobs {
                    self.known.remove(&step.texts.run_id);
                }
                if jobs.len() > 1 && fails_alone(&failure) {
                    for job in jobs {
                        Box::pin(self.commit(vec![job])).await;
                    }
                    return;
                }
                return refuse(jobs, failure, &self.pool);
            }
            Ok(moved) => moved,
        };
        self.counters.batch(moved.len());
        for (step, answer) in jobs {
            let texts = &step.texts;
            let result = if moved.contains(&texts.run_id) {
                self.note(texts);
                Ok(())
            } else {
                self.known.remove(&texts.run_id);
                self.explain_step(&step).await
            };
            // Nobody waits any more: it is done all the same.
            let _ = answer.send(result);
        }
    }

    /// After a step that was written.
    fn note(&mut self, texts: &crate::texts::Texts) {
        match self.known.remove(&texts.run_id) {
            Some((_, chain)) if !texts.status.is_terminal() => {
                self.known.insert(texts.run_id, (texts.version, texts.chain_after(chain)));
            }
            _ => {}
        }
    }

    async fn write_steps(&mut self, jobs: &[(Step, Answer<()>)]) -> Moved {
        self.learn(jobs).await?;
        let mut columns = Columns::default();
        let (mut fences, mut before) = (Vec::new(), Vec::new());
        let (mut answered_of, mut answered) = (Vec::new(), Vec::new());
        for (step, _) in jobs {
            let run = step.texts.run_id;
            // Of a run that is not there, or at another version, nothing is written.
            let Some((version, chain)) = self.known.get(&run) else { continue };
            if *version != step.texts.since {
                continue;
            }
            columns.push(&step.texts, step.texts.chain_after(*chain));
            fences.push(encode::number(step.fence));
            before.push(chain.as_bytes().to_vec());
            for request in &step.answered {
                answered_of.push(encode::uuid(run));
                answered.push(request.0);
            }
        }
        if fences.is_empty() {
            return Ok(HashSet::new());
        }
        let mut values = columns.values();
        values.extend::<[&(dyn ToSql + Sync); 4]>([&fences, &before, &answered_of, &answered]);
        self.execute(batch::COMMIT, &values).await
    }

    /// Asks for the ends of those chains that are not known, or known for another version.
    async fn learn(&mut self, jobs: &[(Step, Answer<()>)]) -> Result<(), Failure> {
        const SQL: &str = "SELECT run_id, version, chain FROM runs WHERE run_id = ANY($1)";
        let texts = jobs.iter().map(|(step, _)| &step.texts);
        let is_known = |run: RunId, version: u64| self.known.get(&run).is_some_and(|(at, _)| *at == version);
        let unknown: Vec<_> =
            texts.filter(|texts| !is_known(texts.run_id, texts.since)).map(|texts| texts.run_id).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for row in self.ask(SQL, &[&encode::uuids(&unknown)]).await? {
            let chain = encode::hash(row.get::<_, &[u8]>(2));
            self.known.insert(encode::run_id(row.get(0)), (encode::count(row.get(1)), chain));
        }
        Ok(())
    }

    /// Why a step was not written.
    async fn explain_step(&self, step: &Step) -> Result<(), StoreError> {
        const SQL: &str = "SELECT version, fence, owner IS NOT NULL FROM runs WHERE run_id = $1";
        let texts = &step.texts;
        let run_id = texts.run_id;
        let explain = |failure: Failure| failure.explain(self.pool.shown());
        let rows = self.ask(SQL, &[&encode::uuid(run_id)]).await.map_err(explain)?;
        let Some(row) = rows.first() else { return Err(StoreError::NotFound(format!("run {run_id}"))) };
        let may = encode::count(row.get(0)) == texts.since && encode::count(row.get(1)) == step.fence && row.get(2);
        let missing = if may { self.missing_value(texts).await.map_err(explain)? } else { None };
        Err(missing.unwrap_or(StoreError::Conflict { run_id }))
    }

    /// The first value that these texts refer to and that is not there.
    async fn missing_value(&self, texts: &crate::texts::Texts) -> Result<Option<StoreError>, Failure> {
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

/// The columns that only new runs have.
#[derive(Default)]
struct New<'t> {
    workflow_id: Vec<&'t str>,
    start_key: Vec<Option<Vec<u8>>>,
    request_hash: Vec<Vec<u8>>,
    owner: Vec<Option<&'t str>>,
    fence: Vec<i64>,
    parent: Vec<Option<uuid::Uuid>>,
    labels: Hashes,
}

impl<'t> New<'t> {
    fn push(&mut self, creation: &'t Creation) {
        self.workflow_id.push(&creation.workflow_id);
        self.start_key.push(creation.key.as_ref().map(|(name, _)| name.as_bytes().to_vec()));
        self.request_hash.push(creation.request_hash.as_bytes().to_vec());
        self.owner.push(creation.owner.as_ref().map(segue_core::ids::EngineId::as_str));
        self.fence.push(encode::number(creation.fence()));
        self.parent.push(creation.parent.map(encode::uuid));
        creation.labels.iter().for_each(|label| self.labels.push(creation.texts.run_id, *label));
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let mut values: Vec<&(dyn ToSql + Sync)> =
            vec![&self.workflow_id, &self.start_key, &self.request_hash, &self.owner, &self.fence, &self.parent];
        values.extend(self.labels.values());
        values
    }
}
