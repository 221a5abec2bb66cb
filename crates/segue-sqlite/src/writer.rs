//! The one thread that writes, and group commit.

use std::{
    path::PathBuf,
    sync::{
        Arc, OnceLock,
        atomic::Ordering::Relaxed,
        mpsc::{Receiver, Sender, TryRecvError, channel},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use futures_channel::oneshot;
use rusqlite::Connection;
use segue_core::ports::StoreError;

use crate::{
    checkpoint::{self, Checkpoints},
    failure::{self, Failure},
    mutants::planted,
    stats::Counters,
};

/// Jobs of one transaction. More wait for the next one, so that no answer waits for long.
const BATCH_MAX: usize = 1_000;

/// A handle on the thread. Dropping it lets the thread finish what is queued, and waits for that.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: Option<Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. A new database's log is made large there, so that opening does not wait for it.
    pub(crate) fn start(setup: Setup) -> Result<Self, StoreError> {
        let (queue, jobs) = channel();
        let thread = thread::Builder::new()
            .name("segue-sqlite-w".to_owned())
            .spawn(move || setup.run(&jobs))
            .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Has `work` done in the next transaction, and answers when that is committed. `work` may run twice: if another job
    /// of its transaction fails, all of it is rolled back and each job gets a transaction of its own. It must refuse
    /// before it writes. `large_bytes`: about how much it writes beyond small rows.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        large_bytes: usize,
        work: impl FnMut(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Work { work, result: None, large_bytes, answer });
        let queued = self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok());
        async move {
            match answered.await {
                Ok(result) if queued => result,
                _ => Err(StoreError::Broken("the thread that writes is gone, after a bug in it".to_owned())),
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was answered as "broken" to those who waited for it.
            let _ = thread.join();
        }
    }
}

/// One piece of work for a transaction.
trait Job: Send {
    /// Does the work. An error means that the transaction cannot go on; a refusal is a result like any other.
    fn run(&mut self, db: &Connection) -> Result<(), rusqlite::Error>;
    /// Answers: the result of the work if its transaction is committed, else the transaction's own error.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
    fn large_bytes(&self) -> usize;
}

struct Work<T, F> {
    work: F,
    result: Option<Result<T, StoreError>>,
    large_bytes: usize,
    answer: oneshot::Sender<Result<T, StoreError>>,
}

impl<T, F> Job for Work<T, F>
where
    T: Send,
    F: FnMut(&Connection) -> Result<T, Failure> + Send,
{
    fn run(&mut self, db: &Connection) -> Result<(), rusqlite::Error> {
        let before = db.total_changes();
        self.result = Some(match (self.work)(db) {
            Ok(done) => Ok(done),
            Err(Failure::Refused(error)) => {
                assert_eq!(before, db.total_changes(), "a job refuses before it writes: {error}");
                Err(error)
            }
            Err(Failure::Sql(error)) => return Err(error),
        });
        Ok(())
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let Self { result, answer, .. } = *self;
        let result = committed.and_then(|()| result.expect("a job runs before its transaction is committed"));
        // Nobody waits any more: the work is done all the same.
        let _ = answer.send(result);
    }

    fn large_bytes(&self) -> usize {
        self.large_bytes
    }
}

/// The next job; none if there will be none. For a moment after a commit it is looked for rather than waited for: the run
/// that was answered sends its next step at once, and to be woken for it costs a tenth of a commit.
fn next(jobs: &Receiver<Box<dyn Job>>) -> Option<Box<dyn Job>> {
    const MOMENT: Duration = Duration::from_micros(60);
    let until = Instant::now() + MOMENT;
    loop {
        match jobs.try_recv() {
            Ok(job) => return Some(job),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) if Instant::now() < until => thread::yield_now(),
            Err(TryRecvError::Empty) => return jobs.recv().ok(),
        }
    }
}

/// What the thread works with.
pub(crate) struct Setup {
    pub(crate) db: Connection,
    pub(crate) path: PathBuf,
    pub(crate) patience: Duration,
    /// Is it a new database whose log shall get its usual size?
    pub(crate) grows_log: bool,
    pub(crate) counters: Arc<Counters>,
    /// Set once: why nothing is written any more.
    pub(crate) poison: Arc<OnceLock<String>>,
}

impl Setup {
    fn run(self, jobs: &Receiver<Box<dyn Job>>) {
        let mut checkpoints = Checkpoints::default();
        if self.grows_log {
            // Only speed is lost if there is no room for it.
            self.note(checkpoint::grow_log(&self.db));
        }
        while let Some(first) = next(jobs) {
            let mut batch = vec![first];
            batch.extend(jobs.try_iter().take(BATCH_MAX - 1));
            let large_bytes = batch.iter().map(|job| job.large_bytes()).sum();
            if self.commit(batch) {
                let moved = checkpoints.after_transaction(&self.db, large_bytes, self.patience);
                if self.note(moved).unwrap_or(false) {
                    self.counters.checkpoints.fetch_add(1, Relaxed);
                }
            }
        }
    }

    /// Commits all jobs in one transaction and answers them. Did it change anything?
    fn commit(&self, mut batch: Vec<Box<dyn Job>>) -> bool {
        if let Some(reason) = self.poison.get() {
            self.answer(batch, || Err(StoreError::Broken(reason.clone())));
            return false;
        }
        let before = self.db.total_changes();
        if planted!(AnswersBeforeCommit) {
            return self.answer_before_commit(batch);
        }
        match self.transact(&mut batch) {
            Ok(()) => {
                let changed = self.db.total_changes() != before;
                self.counters.transactions.fetch_add(u64::from(changed), Relaxed);
                self.answer(batch, || Ok(()));
                changed
            }
            Err(error) => self.recover(batch, error),
        }
    }

    fn transact(&self, batch: &mut [Box<dyn Job>]) -> Result<(), rusqlite::Error> {
        self.execute("BEGIN IMMEDIATE")?;
        for job in batch {
            job.run(&self.db)?;
        }
        match self.execute("COMMIT") {
            Err(_) if planted!(IgnoresFailedCommits) => Ok(()),
            done => done,
        }
    }

    /// What [`Setup::commit`] must never be.
    fn answer_before_commit(&self, mut batch: Vec<Box<dyn Job>>) -> bool {
        let done =
            self.execute("BEGIN IMMEDIATE").and_then(|()| batch.iter_mut().try_for_each(|job| job.run(&self.db)));
        self.answer(batch, || done.as_ref().map(|_| ()).map_err(|error| failure::explain(error, &self.path)));
        self.execute(if done.is_ok() { "COMMIT" } else { "ROLLBACK" }).is_ok()
    }

    /// After a failed transaction. One job's failure (too large for the room that is left) must not fail the others, so
    /// each gets a transaction of its own.
    fn recover(&self, batch: Vec<Box<dyn Job>>, error: rusqlite::Error) -> bool {
        let rolled_back = self.db.is_autocommit() || self.execute("ROLLBACK").is_ok();
        if failure::is_fatal(&error) || !rolled_back {
            self.poison(&error);
        } else if batch.len() > 1 && !matches!(error.sqlite_error_code(), Some(rusqlite::ErrorCode::DatabaseBusy)) {
            // Counted, where `any` would stop at the first one.
            return batch.into_iter().map(|job| self.commit(vec![job])).filter(|changed| *changed).count() > 0;
        }
        self.answer(batch, || Err(failure::explain(&error, &self.path)));
        false
    }

    fn answer(&self, batch: Vec<Box<dyn Job>>, committed: impl Fn() -> Result<(), StoreError>) {
        self.counters.jobs.fetch_add(batch.len() as u64, Relaxed);
        for job in batch {
            job.answer(committed());
        }
    }

    fn execute(&self, sql: &str) -> Result<(), rusqlite::Error> {
        self.db.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    /// Looks at the result of work that nobody waits for.
    fn note<T>(&self, result: Result<T, rusqlite::Error>) -> Option<T> {
        result
            .map_err(|error| {
                tracing::warn!(file = %self.path.display(), %error, "moving the write-ahead log failed");
                if failure::is_fatal(&error) {
                    self.poison(&error);
                }
            })
            .ok()
    }

    fn poison(&self, error: &rusqlite::Error) {
        let text = failure::explain(error, &self.path).to_string();
        tracing::error!(file = %self.path.display(), %error, "nothing more is written");
        // Another reason was there first.
        let _ = self.poison.set(format!("nothing more is written after this: {text}"));
    }
}
