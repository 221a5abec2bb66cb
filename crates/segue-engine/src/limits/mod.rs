//! Named limits, as an engine respects them.
//!
//! A task whose node names limits asks here before it is accepted. Its *ticket* stands in a line; one keeper for the whole
//! engine asks the store for those whose turn it is, many at once, with a place of their adapter in hand: so a task that
//! waits for a limit holds nothing, and one that has its slots can begin. What has to wait is not asked for again before
//! there is a reason: a signal of the store, a slot that is given back here, or a time.
//!
//! A *slot* is held until the attempt's work is over and its answer was read, and is a row in the store that belongs to
//! the engine's lease: when the engine dies, the slot is free with no one's doing.

mod catalog;
mod keeper;
mod lines;
mod look;
mod slot;
mod ticket;

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use segue_core::{
    ids::{EngineId, TaskId},
    outcome::{ErrorKind, TaskError},
    plan::PlanNode,
    ports::{Acquire, Admission, LimitStore, StoreError},
    run::Run,
    spec::LimitSpec,
};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

pub use self::look::{LimitWaiting, limit_waits};
use self::{catalog::Catalog, lines::Lines};
pub(crate) use self::{
    catalog::Wanted,
    slot::{Held, LimitSlot},
    ticket::{Answer, Ticket, Want},
};
use crate::dispatch::LocalScheduler;

/// The limits of an engine.
#[derive(Clone)]
pub(crate) struct Limits(Arc<Inner>);

struct Inner {
    store: Option<Arc<dyn LimitStore>>,
    catalog: Catalog,
    engine: EngineId,
    scheduler: LocalScheduler,
    stopped: CancellationToken,
    lines: Mutex<Lines>,
    /// There is something for the keeper to do.
    work: Notify,
    /// The keeper has done something.
    done: Notify,
    is_kept: AtomicBool,
}

impl Limits {
    /// `store`: where slots are kept; none: tasks that name limits cannot run here. A key that is no expression limits
    /// everybody together.
    pub(crate) fn new(
        store: Option<Arc<dyn LimitStore>>,
        specs: &BTreeMap<String, LimitSpec>,
        engine: EngineId,
        scheduler: LocalScheduler,
        stopped: CancellationToken,
    ) -> Self {
        Self(Arc::new(Inner {
            store,
            catalog: Catalog::new(specs),
            engine,
            scheduler,
            stopped,
            lines: Mutex::default(),
            work: Notify::new(),
            done: Notify::new(),
            is_kept: AtomicBool::new(false),
        }))
    }

    /// The names that documents may use beside their own.
    pub(crate) fn names(&self) -> Vec<String> {
        self.0.catalog.names()
    }

    /// What an attempt of this task asks for, in the order of the keys. An error means that it can never run.
    pub(crate) fn wanted(&self, run: &Run, task: &TaskId, node: &PlanNode) -> Result<Arc<[Wanted]>, TaskError> {
        if self.0.store.is_none() {
            return Err(TaskError::new(ErrorKind::Load, "this engine has no store of limits"));
        }
        self.0.catalog.wanted(run, task, node).map(Into::into)
    }

    /// Gets in line. `wake` is called once when [`Ticket::take`] has an answer.
    pub(crate) fn ask(&self, want: Want) -> Ticket {
        let number = self.0.lines().join(want);
        self.0.is_wanted();
        Ticket { limits: self.clone(), number }
    }

    /// After the engine's lease had ended: slots that went to others are lost, and what runs in them is stopped. Those
    /// that nobody took are held on.
    pub(crate) async fn recheck(&self) -> Result<(), StoreError> {
        let Some(store) = &self.0.store else { return Ok(()) };
        let living = self.0.lines().living();
        if living.is_empty() {
            return Ok(());
        }
        let held = store.held(&self.0.engine).await?;
        for slot in living {
            if !slot.is_among(&held) && !self.has_again(&**store, &slot).await? {
                tracing::warn!(slot = %slot.name(), "a slot of a limit went to another engine while this one stood still");
                slot.lose().await;
            }
        }
        self.0.work.notify_one();
        Ok(())
    }

    /// A row that was removed may be had again, if there is room.
    async fn has_again(&self, store: &dyn LimitStore, slot: &LimitSlot) -> Result<bool, StoreError> {
        let (engine, request) = (self.0.engine.clone(), slot.request());
        let acquire = Acquire { engine: engine.clone(), dead: Vec::new(), requests: vec![request.clone()] };
        let answers = store.acquire(acquire).await?;
        if matches!(answers.as_slice(), [Admission::Granted(_)]) {
            return Ok(true);
        }
        store.leave(&engine, vec![request]).await?;
        Ok(false)
    }

    /// Waits until all slots that were given back are known to be free, or until `patience` is over.
    pub(crate) async fn flush(&self, patience: Duration) {
        let flushed = async {
            loop {
                let done = self.0.done.notified();
                if !self.0.is_kept.load(Ordering::Acquire) || self.0.lines().is_flushed() {
                    return;
                }
                self.0.work.notify_one();
                done.await;
            }
        };
        if tokio::time::timeout(patience, flushed).await.is_err() {
            tracing::warn!("some slots of limits could not be given back; they are free when this engine's lease ends");
        }
    }
}

impl Inner {
    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().expect("no holder of this lock panics")
    }

    /// Somebody waits: starts the keeper if this is the first time.
    fn is_wanted(self: &Arc<Self>) {
        if !self.is_kept.swap(true, Ordering::AcqRel) {
            tokio::spawn(keeper::keep(self.clone()));
        }
        self.work.notify_one();
    }
}
