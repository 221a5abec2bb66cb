//! The threads that read, each with a read-only connection.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, Sender, channel},
    },
    thread::{self, JoinHandle},
};

use futures_channel::oneshot;
use rusqlite::Connection;
use segue_core::ports::StoreError;

use crate::{failure::Failure, open, options::SqliteOptions};

type Job = Box<dyn FnOnce(&mut Reader) + Send>;

/// A handle on the threads. Dropping it lets them finish what is queued, and waits for that.
#[derive(Debug)]
pub(crate) struct Readers {
    queue: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

/// What a thread works with: its connection is opened when it is first needed.
pub(crate) struct Reader {
    path: PathBuf,
    options: SqliteOptions,
    db: Option<Connection>,
}

impl Readers {
    pub(crate) fn start(path: &std::path::Path, options: &SqliteOptions) -> Result<Self, StoreError> {
        let (queue, jobs) = channel::<Job>();
        let jobs = Arc::new(Mutex::new(jobs));
        let threads = (0..options.readers.max(1)).map(|_| {
            let mut reader = Reader::new(path, options);
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name("segue-sqlite-r".to_owned()).spawn(move || {
                while let Some(job) = next(&jobs) {
                    job(&mut reader);
                }
            })
        });
        let threads = threads
            .collect::<Result<_, _>>()
            .map_err(|error| StoreError::Unavailable(format!("no thread can be started: {error}")))?;
        Ok(Self { queue: Some(queue), threads })
    }

    /// Has `work` done on one state of the database: what is committed meanwhile is not seen by it.
    pub(crate) fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    ) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let job: Job = Box::new(move |reader| {
            // Nobody waits any more: fine.
            let _ = answer.send(reader.read(work));
        });
        let queued = self.queue.as_ref().is_some_and(|queue| queue.send(job).is_ok());
        async move {
            match answered.await {
                Ok(result) if queued => result,
                _ => Err(StoreError::Broken("the threads that read are gone, after a bug in them".to_owned())),
            }
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.queue = None;
        for thread in self.threads.drain(..) {
            // A panic of the thread was answered as "broken" to the one who waited for it.
            let _ = thread.join();
        }
    }
}

fn next(jobs: &Mutex<Receiver<Job>>) -> Option<Job> {
    // One thread waits for the next job, the others for that one: the queue is taken under the lock, work is done outside.
    jobs.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
}

impl Reader {
    pub(crate) fn new(path: &std::path::Path, options: &SqliteOptions) -> Self {
        Self { path: path.to_owned(), options: options.clone(), db: None }
    }

    /// Does `work` in one read transaction.
    pub(crate) fn read<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, StoreError> {
        self.try_read(work).map_err(|failure| failure.explain(&self.path))
    }

    fn try_read<T>(&mut self, work: impl FnOnce(&Connection) -> Result<T, Failure>) -> Result<T, Failure> {
        let db = match self.db.take() {
            Some(db) => self.db.insert(db),
            None => self.db.insert(open::reader(&self.path, &self.options)?),
        };
        db.prepare_cached("BEGIN")?.execute([])?;
        let result = work(db);
        // Ends the transaction whatever happened; nothing was written that could be lost.
        let ended = db.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
        if ended.is_err() {
            self.db = None;
        }
        result
    }
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("path", &self.path).finish_non_exhaustive()
    }
}
