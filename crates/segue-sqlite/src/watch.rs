//! Hears of new requests and of runs that nobody owns, whatever process they come from.
//!
//! One thread asks its own connection for `PRAGMA data_version` ten times a second: a look at shared memory that says
//! whether anything was committed at all, and no query. Only then the inbox is asked for numbers above the last one, one
//! step in an index. A request of this process wakes the thread at once. Other ways were no better: file notifications
//! miss what goes through shared memory, and a socket between processes is one more thing to clean up after a crash.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use futures_channel::mpsc;
use segue_core::{ids::RunId, ports::RequestId};

use crate::{failure::Failure, inbox, leases, readers::Reader};

/// Well below the 250 ms that are promised.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Signals kept for a listener that is behind. They are hints: the inbox is the truth.
const SIGNALS_MAX: usize = 1024;

/// The thread, started by the first listener.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    listeners: Mutex<Vec<mpsc::Sender<RunId>>>,
    stops: AtomicBool,
}

impl Watch {
    pub(crate) fn new() -> Self {
        Self { shared: Arc::default(), thread: Mutex::default() }
    }

    /// Runs with a request that is newer than now, and at the first call those that are pending already. Also, after each
    /// change of the file, a run that is left to be claimed, if there is any.
    pub(crate) fn listen(&self, reader: impl FnOnce() -> Reader) -> mpsc::Receiver<RunId> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        lock(&self.shared.listeners).push(sender);
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let (shared, reader) = (Arc::clone(&self.shared), reader());
            let started = thread::Builder::new().name("segue-sqlite-i".to_owned()).spawn(move || shared.watch(reader));
            match started {
                Ok(handle) => *thread = Some(handle),
                // The engine reads the inbox when it renews its lease, so requests are late and not lost.
                Err(error) => tracing::warn!(%error, "requests of other processes are noticed late: no thread"),
            }
        }
        receiver
    }

    /// This process posted a request, or left a run to be claimed.
    pub(crate) fn wake(&self) {
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.stops.store(true, Ordering::Release);
        self.wake();
        if let Some(thread) = lock(&self.thread).take() {
            // It holds nothing that a panic could lose.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn watch(&self, mut reader: Reader) {
        let (mut last, mut data_version) = (RequestId(0), None);
        while !self.stops.load(Ordering::Acquire) {
            match look(&mut reader, last, &mut data_version) {
                Ok((runs, newest)) => {
                    last = newest;
                    runs.into_iter().for_each(|run| self.signal(run));
                }
                Err(error) => tracing::warn!(%error, "the inbox cannot be read"),
            }
            thread::park_timeout(LOOK_EVERY);
        }
        lock(&self.listeners).clear();
    }

    fn signal(&self, run: RunId) {
        // A listener whose queue is full loses the hint.
        lock(&self.listeners).retain_mut(|to| !to.try_send(run).is_err_and(|error| error.is_disconnected()));
    }
}

fn look(
    reader: &mut Reader,
    last: RequestId,
    seen: &mut Option<i64>,
) -> Result<(Vec<RunId>, RequestId), segue_core::ports::StoreError> {
    reader.read(|db| {
        let version: i64 = db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?;
        if seen.replace(version) == Some(version) {
            return Ok::<_, Failure>((Vec::new(), last));
        }
        let (mut runs, newest) = inbox::newer_than(db, last)?;
        runs.extend(leases::left(db)?);
        Ok((runs, newest))
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
