//! The local scheduler: carries attempts to the adapters of this process and respects their limits.
//!
//! A place belongs to a live attempt. It is taken before the attempt is accepted, moves into the work, and comes back
//! only when the work is truly over, so that no path through an error, a panic or a cancel can leak it.

use std::{
    collections::HashMap,
    mem,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use futures_util::{FutureExt, future::BoxFuture};
use segue_core::{
    ids::{HandlerId, RunId, TaskId, TaskRunId},
    outcome::{Loss, TaskOutcome},
    ports::{Adapter, CancelSignal, Completion, Invocation, ScheduleError, Scheduler, Slot},
    status::Status,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::registry::Adapters;

type Wake = Box<dyn FnOnce() + Send>;

/// Runs attempts as tasks of the tokio runtime it is used in.
#[derive(Clone)]
pub struct LocalScheduler {
    inner: Arc<Inner>,
}

struct Inner {
    adapters: Arc<Adapters>,
    state: Mutex<State>,
    work: TaskTracker,
}

#[derive(Default)]
struct State {
    closed: bool,
    /// Everything was told to stop; what is still dispatched is told so, too.
    stopping: bool,
    /// By the adapter's number in the registry.
    places: Vec<Places>,
    /// Tasks of which an attempt is reserved or not over yet, with those who wait for its end.
    busy: HashMap<(RunId, TaskId), Vec<Wake>>,
    running: HashMap<TaskRunId, CancellationToken>,
}

#[derive(Default)]
struct Places {
    taken: u32,
    waiting: Vec<Wake>,
}

impl LocalScheduler {
    /// A scheduler for these adapters.
    pub fn new(adapters: Arc<Adapters>) -> Self {
        let state = State { places: adapters.iter().map(|_| Places::default()).collect(), ..State::default() };
        Self { inner: Arc::new(Inner { adapters, state: Mutex::new(state), work: TaskTracker::new() }) }
    }

    /// Refuses places from now on. What runs goes on.
    pub fn close(&self) {
        self.inner.lock().closed = true;
        self.inner.work.close();
    }

    /// Tells everything that runs to stop, and whatever is dispatched from now on: its start was committed meanwhile.
    pub fn cancel_all(&self) {
        let tokens: Vec<_> = {
            let mut state = self.inner.lock();
            state.stopping = true;
            state.running.values().cloned().collect()
        };
        tokens.iter().for_each(CancellationToken::cancel);
    }

    /// Waits until nothing runs any more. Call [`LocalScheduler::close`] before.
    pub async fn idle(&self) {
        self.inner.work.wait().await;
    }

    /// Places that are taken, reserved ones included, of all adapters together.
    pub fn places_taken(&self) -> u32 {
        self.inner.lock().places.iter().map(|places| places.taken).sum()
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the scheduler's lock panics")
    }

    fn release(&self, adapter: usize, key: &(RunId, TaskId)) {
        let mut state = self.lock();
        state.places[adapter].taken -= 1;
        let mut woken = mem::take(&mut state.places[adapter].waiting);
        woken.extend(state.busy.remove(key).unwrap_or_default());
        drop(state);
        woken.into_iter().for_each(|wake| wake());
    }
}

/// A place of an adapter, and the right to be the only attempt of a task.
struct LocalSlot {
    inner: Arc<Inner>,
    adapter: usize,
    key: (RunId, TaskId),
}

impl Slot for LocalSlot {}

impl Drop for LocalSlot {
    fn drop(&mut self) {
        self.inner.release(self.adapter, &self.key);
    }
}

#[async_trait]
impl Scheduler for LocalScheduler {
    /// A node's `concurrency` hint and the configured limit of its adapter bound the same number: the adapter's
    /// attempts that are alive in this process.
    fn reserve(
        &self,
        run_id: RunId,
        task_id: &TaskId,
        handler: &HandlerId,
        concurrency: Option<u32>,
        wake: &(dyn Fn() -> Wake + Sync),
    ) -> Result<Option<Box<dyn Slot>>, ScheduleError> {
        let adapter =
            self.inner.adapters.number_of(handler).ok_or_else(|| ScheduleError::UnknownHandler(handler.clone()))?;
        let limit = self.inner.adapters.limit(adapter).into_iter().chain(concurrency).min();
        let key = (run_id, task_id.clone());

        let mut state = self.inner.lock();
        if state.closed {
            return Err(ScheduleError::ShuttingDown);
        }
        if let Some(waiting) = state.busy.get_mut(&key) {
            waiting.push(wake());
            return Ok(None);
        }
        let places = &mut state.places[adapter];
        // A limit of 0 would never let anything run; it means 1.
        if limit.is_some_and(|limit| places.taken >= limit.max(1)) {
            places.waiting.push(wake());
            return Ok(None);
        }
        places.taken += 1;
        state.busy.insert(key.clone(), Vec::new());
        Ok(Some(Box::new(LocalSlot { inner: self.inner.clone(), adapter, key })))
    }

    async fn schedule_task(
        &self,
        slot: Box<dyn Slot>,
        mut invocation: Invocation,
        done: Completion,
    ) -> Result<TaskRunId, ScheduleError> {
        let number = self
            .inner
            .adapters
            .number_of(&invocation.handler)
            .ok_or_else(|| ScheduleError::UnknownHandler(invocation.handler.clone()))?;
        let adapter = self.inner.adapters.get(number).clone();
        let context = &invocation.context;
        let id = TaskRunId::new(format!("{}/{}@{}", context.run_id, context.task_id, context.attempt));
        if adapter.is_immediate() {
            let outcome = guarded(&*adapter, invocation).await;
            drop(slot);
            done(outcome);
            return Ok(id);
        }

        let token = CancellationToken::new();
        invocation.cancel = Arc::new(Cancelled(token.clone()));
        {
            let mut state = self.inner.lock();
            if state.stopping {
                token.cancel();
            }
            state.running.insert(id.clone(), token);
        }
        let (inner, own_id) = (self.inner.clone(), id.clone());
        self.inner.work.spawn(async move {
            let outcome = guarded(&*adapter, invocation).await;
            inner.lock().running.remove(&own_id);
            // The place is free before the answer is read, so that the next task can take it in the same commit.
            drop(slot);
            done(outcome);
        });
        Ok(id)
    }

    async fn cancel_task(&self, id: &TaskRunId) {
        let token = self.inner.lock().running.get(id).cloned();
        if let Some(token) = token {
            token.cancel();
        }
    }

    async fn get_task_status(&self, id: &TaskRunId) -> Option<Status> {
        self.inner.lock().running.contains_key(id).then_some(Status::Running)
    }
}

/// Executes, and turns a panic of the adapter into a lost attempt.
async fn guarded(adapter: &dyn Adapter, invocation: Invocation) -> TaskOutcome {
    match AssertUnwindSafe(adapter.execute(invocation)).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(panic) => {
            let said = panic.downcast_ref::<&str>().copied().or(panic.downcast_ref::<String>().map(String::as_str));
            let message = format!("the adapter `{}` panicked: {}", adapter.name(), said.unwrap_or("no message"));
            TaskOutcome::lost(Loss::Worker, message)
        }
    }
}

struct Cancelled(CancellationToken);

impl CancelSignal for Cancelled {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        Box::pin(self.0.clone().cancelled_owned())
    }
}

/// The signal of an attempt that has not been scheduled yet; the scheduler puts its own in this place.
pub(crate) struct NotScheduled;

impl CancelSignal for NotScheduled {
    fn is_cancelled(&self) -> bool {
        false
    }

    fn cancelled(&self) -> BoxFuture<'static, ()> {
        Box::pin(std::future::pending())
    }
}
