//! A lane over all engines of a store.
//!
//! The lane of this process comes first: who has a turn there gets in line here. One keeper asks the store for all of
//! them and alone talks to it, one question after the other: what is given up overtakes no question, and who stops
//! waiting breaks off no question. It is there as long as there is something to ask, to tell or to wait for. While no
//! other engine uses the lane, its minutes are kept by the lane of this process alone.

mod keeper;
mod line;
#[cfg(test)]
mod tests;

use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    ports::{Bounds, Charge, Freed, LimitStore},
};
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::Instant,
};

use self::line::Line;
use super::lock;
use crate::options::SharedLimits;

/// After an answer of the store that says nothing, and while the engine has no lease.
const PAUSE: Duration = Duration::from_millis(250);
/// A question whose answer was lost may still be under way. After this long it is not: what it was granted so late is
/// given back then.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);

/// Where the slots of a lane are kept.
#[derive(Clone)]
pub(super) struct SharedLane(Arc<Inner>);

struct Inner {
    store: Arc<dyn LimitStore>,
    engine: EngineId,
    key: LimitKey,
    bounds: Bounds,
    runtime: Handle,
    line: Mutex<Line>,
    /// There is something for the keeper to look at.
    work: Notify,
    /// The store knows all that it is to be told.
    told: Notify,
    waiting: AtomicUsize,
}

impl SharedLane {
    /// To be called in a runtime.
    pub(super) fn new(limits: SharedLimits, pattern: &str, bounds: Bounds) -> Self {
        Self(Arc::new(Inner {
            store: limits.store,
            engine: limits.engine,
            // No limit of a configuration begins with a slash.
            key: LimitKey::new(format!("//{pattern}")),
            bounds,
            runtime: Handle::current(),
            line: Mutex::default(),
            work: Notify::new(),
            told: Notify::new(),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// How many wait for a slot.
    pub(super) fn waiting(&self) -> usize {
        self.0.waiting.load(Ordering::Relaxed)
    }

    /// Waits for a slot in the store. Dropping the future leaves the line.
    pub(super) async fn enter(&self, tokens: u64) -> SharedSlot {
        let mut place = Place::take(&self.0, tokens);
        loop {
            if let Ok(mut slot) = (&mut place.answer).await {
                slot.tokens = tokens;
                return slot;
            }
            // The keeper is gone: only a store that panics does that.
            tokio::time::sleep(PAUSE).await;
            place = Place::take(&self.0, tokens);
        }
    }

    /// Nobody goes for this long, in no engine.
    pub(super) fn pause(&self, span: Duration) {
        self.0.change(|line| line.pause(Instant::now() + span));
    }

    /// Waits until the store knows all that it is to be told.
    pub(super) async fn flushed(&self) {
        loop {
            let told = self.0.told.notified();
            if !self.0.line().has_news {
                return;
            }
            told.await;
        }
    }
}

impl Inner {
    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }

    /// Changes what waits, and sees to it that somebody looks at it.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = self.line();
        let changed = change(&mut line);
        line.has_news = true;
        if std::mem::replace(&mut line.is_kept, true) {
            self.work.notify_one();
        } else {
            self.runtime.spawn(keeper::keep(self.clone()));
        }
        changed
    }

    /// What is to be given back of a slot that counted these tokens and took those. Without `charged` nobody knows whether
    /// it was had at all: then only the slot is given back.
    fn freed(&self, slot: TaskRunId, charged: Option<u64>, tokens: u64) -> Freed {
        let bounds = Bounds { tokens_per_minute: charged.and(self.bounds.tokens_per_minute), ..self.bounds };
        let charge = Charge { key: self.key.clone(), bounds, charged: charged.unwrap_or_default() };
        Freed { slot, charges: vec![charge], tokens }
    }
}

/// A place in line. Dropping it leaves the line.
struct Place {
    lane: Arc<Inner>,
    answer: oneshot::Receiver<SharedSlot>,
}

impl Place {
    fn take(lane: &Arc<Inner>, tokens: u64) -> Self {
        let (sender, answer) = oneshot::channel();
        lane.waiting.fetch_add(1, Ordering::Relaxed);
        lane.change(|line| line.join(tokens, sender));
        Self { lane: lane.clone(), answer }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.lane.waiting.fetch_sub(1, Ordering::Relaxed);
        if !self.answer.is_terminated() {
            // First closed, then told: the keeper sees that nobody is here.
            self.answer.close();
            self.lane.work.notify_one();
        }
    }
}

/// A slot in the store. Dropping it gives it back.
pub(super) struct SharedSlot {
    lane: Arc<Inner>,
    name: TaskRunId,
    charged: u64,
    /// What the call takes: as thought before, then as it was. Nothing, as long as nobody has it.
    tokens: u64,
    /// It was asked for more than once.
    is_doubtful: bool,
}

impl SharedSlot {
    /// What the call has taken in truth.
    pub(super) const fn settle(&mut self, tokens: u64) {
        self.tokens = tokens;
    }
}

impl Drop for SharedSlot {
    fn drop(&mut self) {
        let freed = self.lane.freed(self.name.clone(), Some(self.charged), self.tokens);
        self.lane.change(|line| line.free(freed, self.is_doubtful));
    }
}
