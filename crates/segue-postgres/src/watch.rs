//! Tells which runs to look at: those with a new request, and those that are left to be claimed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_channel::mpsc;
use segue_core::{ids::RunId, ports::StoreError};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{
    inbox,
    listener::{Heard, Listener},
    pool::{Pool, Tries, doing},
};

/// The channel on which runs are named.
const CHANNEL: &str = "segue_runs";
/// Signals kept for a listener that is behind. They are hints: the inbox is the truth.
const SIGNALS_MAX: usize = 1024;

/// The task that listens, started by the first who wants to hear.
#[derive(Debug)]
pub(crate) struct Watch {
    pool: Pool,
    runtime: Handle,
    hearers: Arc<Mutex<Vec<mpsc::Sender<RunId>>>>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Watch {
    /// To be called in a runtime, in which the task will be.
    pub(crate) fn new(pool: Pool) -> Self {
        Self { pool, runtime: Handle::current(), hearers: Arc::default(), task: Mutex::default() }
    }

    /// Where tasks of this store live.
    pub(crate) const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Runs that are named from now on, and at each new connection those that there is something to be done for already.
    pub(crate) fn listen(&self) -> mpsc::Receiver<RunId> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        lock(&self.hearers).push(sender);
        let mut task = lock(&self.task);
        if task.is_none() {
            let (pool, hearers) = (self.pool.clone(), Arc::clone(&self.hearers));
            *task = Some(self.runtime.spawn(watch(pool, hearers)));
        }
        receiver
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
        lock(&self.hearers).clear();
    }
}

async fn watch(pool: Pool, hearers: Arc<Mutex<Vec<mpsc::Sender<RunId>>>>) {
    let mut listener = Listener::start(pool.clone(), CHANNEL);
    while let Some(heard) = listener.next().await {
        let runs = match heard {
            Heard::Said(run) => run.parse().into_iter().collect(),
            Heard::Connected => match to_look_at(&pool).await {
                Ok(runs) => runs,
                Err(error) => {
                    // An engine reads the inbox when it renews its lease, so requests are late and not lost.
                    tracing::warn!(database = pool.shown(), %error, "the inbox cannot be read");
                    continue;
                }
            },
        };
        for run in runs {
            // A hearer whose queue is full loses the hint.
            lock(&hearers).retain_mut(|to| !to.try_send(run).is_err_and(|error| error.is_disconnected()));
        }
    }
}

async fn to_look_at(pool: &Pool) -> Result<Vec<RunId>, StoreError> {
    let most = i64::try_from(SIGNALS_MAX / 2).expect("it is a small number");
    doing!(*pool, Tries::of_reading(), db => inbox::to_look_at(&db, most))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
