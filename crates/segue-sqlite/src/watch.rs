//! Hears of what other processes write: new requests and runs that nobody owns, limits that have room again.
//!
//! One thread asks its own connection for `PRAGMA data_version` ten times a second: a look at shared memory that says
//! whether anything was committed at all, and no query. Only then the inbox (the signals) is asked for numbers above the
//! last one, one step in an index. What this process writes wakes the thread at once. Other ways were no better: file
//! notifications miss what goes through shared memory, and a socket between processes is one more thing to clean up after
//! a crash.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_channel::mpsc;
use rusqlite::Connection;
use segue_core::{
    ids::{LimitKey, RunId},
    ports::{RequestId, StoreError},
};

use crate::{failure::Failure, inbox, leases, limits, readers::Reader};

/// Well below the 250 ms that are promised.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Signals kept for a listener that is behind. They are hints: the inbox is the truth.
const SIGNALS_MAX: usize = 1024;

/// What is newer than a number, and the newest number.
type Look<T> = fn(&Connection, i64) -> Result<(Vec<T>, i64), Failure>;

/// The thread, started by the first listener.
#[derive(Debug)]
pub(crate) struct Watch<T> {
    shared: Arc<Shared<T>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared<T> {
    look: Look<T>,
    listeners: Mutex<Vec<mpsc::Sender<T>>>,
    stops: AtomicBool,
}

impl Watch<RunId> {
    /// Hears of runs with a request, at first those that are pending already. Also, after each change of the file, of a run
    /// that is left to be claimed, if there is any.
    pub(crate) fn requests() -> Self {
        Self::new(|db, last| {
            let (mut runs, newest) = inbox::newer_than(db, RequestId(last))?;
            runs.extend(leases::left(db)?);
            Ok((runs, newest.0))
        })
    }
}

impl Watch<LimitKey> {
    /// Hears of limits that may have room again, at first of those that had lately.
    pub(crate) fn limits() -> Self {
        Self::new(limits::signalled_since)
    }
}

impl<T: Clone + Send + 'static> Watch<T> {
    fn new(look: Look<T>) -> Self {
        let shared = Shared { look, listeners: Mutex::default(), stops: AtomicBool::default() };
        Self { shared: Arc::new(shared), thread: Mutex::default() }
    }

    /// Begins to listen.
    pub(crate) fn listen(&self, reader: impl FnOnce() -> Reader) -> mpsc::Receiver<T> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        lock(&self.shared.listeners).push(sender);
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (shared, reader) = (Arc::clone(&self.shared), reader());
            let started = thread::Builder::new().name("segue-sqlite-i".to_owned()).spawn(move || shared.watch(reader));
            match started {
                Ok(handle) => *thread = Some(handle),
                // Engines ask again by themselves, so what is signalled is late and not lost.
                Err(error) => tracing::warn!(%error, "what other processes write is noticed late: no thread"),
            }
        }
        receiver
    }
}

impl<T> Watch<T> {
    /// This process wrote something that is listened for.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = lock(&self.thread).take() {
            // It holds nothing that a panic could lose.
            let _ = thread.join();
        }
    }
}

impl<T: Clone> Shared<T> {
    fn watch(&self, mut reader: Reader) {
        let (mut last, mut data_version) = (0, None);
        while !self.stops.load(Ordering::Acquire) {
            match self.look(&mut reader, last, &mut data_version) {
                Ok((found, newest)) => {
                    last = newest;
                    found.into_iter().for_each(|one| self.signal(&one));
                }
                Err(error) => tracing::warn!(%error, "what other processes write cannot be read"),
            }
            thread::park_timeout(LOOK_EVERY);
        }
        lock(&self.listeners).clear();
    }

    fn signal(&self, one: &T) {
        // A listener whose queue is full loses the hint.
        lock(&self.listeners).retain_mut(|to| !to.try_send(one.clone()).is_err_and(|error| error.is_disconnected()));
    }

    fn look(&self, reader: &mut Reader, last: i64, seen: &mut Option<i64>) -> Result<(Vec<T>, i64), StoreError> {
        reader.read(|db| {
            let version: i64 = db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
            if seen.replace(version) == Some(version) {
                return Ok((Vec::new(), last));
            }
            (self.look)(db, last)
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
