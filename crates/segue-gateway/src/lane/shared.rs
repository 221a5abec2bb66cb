//! A lane over all engines of a store.
//!
//! The lane of this process comes first: who has a turn there asks the store for a slot, one after the other, so that
//! however many wait here, the store is asked for one. While no other engine uses the lane, its minutes are kept by the
//! lane of this process alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt, stream::BoxStream};
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    ports::{Acquire, Admission, Bounds, Charge, Freed, LimitAsk, LimitRequest, LimitStore, WaitReason},
};
use tokio::{runtime::Handle, sync::Mutex};

use crate::options::SharedLimits;

/// Whoever waits asks again after this long, whatever was lost meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// After an answer of the store that says nothing, and while the engine has no lease.
const PAUSE: Duration = Duration::from_millis(250);

/// Where the slots of a lane are kept.
pub(super) struct SharedLane {
    store: Arc<dyn LimitStore>,
    engine: EngineId,
    key: LimitKey,
    bounds: Bounds,
    runtime: Handle,
    /// Who asks the store now, and hears its signals.
    turn: Mutex<Option<BoxStream<'static, LimitKey>>>,
    waiting: AtomicU64,
    slots: AtomicU64,
}

/// A slot in the store, or the wish for one. Dropping it gives it back.
pub(super) struct SharedSlot {
    lane: Arc<SharedLane>,
    request: LimitRequest,
    charged: u64,
    tokens: u64,
    /// The store was asked: whatever it answered, it is told that nobody wants it any more.
    was_asked: bool,
}

impl SharedLane {
    /// To be called in a runtime.
    pub(super) fn new(limits: SharedLimits, pattern: &str, bounds: Bounds) -> Self {
        Self {
            store: limits.store,
            engine: limits.engine,
            // No limit of a configuration begins with a slash.
            key: LimitKey::new(format!("//{pattern}")),
            bounds,
            runtime: Handle::current(),
            turn: Mutex::default(),
            waiting: AtomicU64::new(0),
            slots: AtomicU64::new(0),
        }
    }

    /// Waits for a slot in the store. Dropping the future leaves the line.
    pub(super) async fn enter(self: &Arc<Self>, tokens: u64) -> SharedSlot {
        let mut slot = self.slot(tokens);
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _waits = Waits(&self.waiting);
        let mut turn = self.turn.lock().await;
        loop {
            slot.request.asks[0].more = self.waiting.load(Ordering::Relaxed) > 1;
            slot.was_asked = true;
            let acquire =
                Acquire { engine: self.engine.clone(), dead: Vec::new(), requests: vec![slot.request.clone()] };
            let pause = match self.store.acquire(acquire).await.map(|mut answers| answers.pop()) {
                Ok(Some(Admission::Granted(charged))) => {
                    slot.charged = charged.first().copied().unwrap_or_default();
                    slot.tokens = tokens;
                    return slot;
                }
                Ok(Some(Admission::Wait(wait))) if wait.why != WaitReason::NoLease => {
                    wait.again_in.unwrap_or(ASK_AGAIN).min(ASK_AGAIN)
                }
                Ok(_) => PAUSE,
                Err(error) => {
                    tracing::warn!(lane = %self.key, %error, "the limits of a model cannot be asked");
                    PAUSE
                }
            };
            let signals = turn.get_or_insert_with(|| self.store.limit_signals());
            let signalled = async { while signals.next().await.is_some_and(|key| key != self.key) {} };
            // A stream that has ended says nothing: then only time helps.
            let _ = tokio::time::timeout(pause.max(Duration::from_millis(1)), signalled).await;
        }
    }

    fn slot(self: &Arc<Self>, tokens: u64) -> SharedSlot {
        let number = self.slots.fetch_add(1, Ordering::Relaxed);
        let ask = LimitAsk {
            key: self.key.clone(),
            bounds: self.bounds,
            tokens: Some(tokens),
            more: false,
            keeps_minutes: true,
        };
        let request = LimitRequest {
            slot: TaskRunId::new(format!("call {number}")),
            party: self.engine.as_str().into(),
            insists: false,
            asks: vec![ask],
        };
        SharedSlot { lane: self.clone(), request, charged: 0, tokens: 0, was_asked: false }
    }

    /// Nobody goes for this long, in no engine.
    pub(super) fn pause(self: &Arc<Self>, span: Duration) {
        let lane = self.clone();
        self.runtime.spawn(async move {
            if let Err(error) = lane.store.pause(vec![lane.key.clone()], span).await {
                tracing::warn!(lane = %lane.key, %error, "a pause is kept by this engine alone");
            }
        });
    }
}

impl SharedSlot {
    /// What the call has taken in truth.
    pub(super) const fn settle(&mut self, tokens: u64) {
        self.tokens = tokens;
    }
}

impl Drop for SharedSlot {
    fn drop(&mut self) {
        if !self.was_asked {
            return;
        }
        let (lane, request) = (self.lane.clone(), self.request.clone());
        let charge = Charge { key: lane.key.clone(), bounds: lane.bounds, charged: self.charged };
        let freed = Freed { slot: request.slot.clone(), charges: vec![charge], tokens: self.tokens };
        self.lane.runtime.spawn(async move {
            let released = lane.store.release(&lane.engine, vec![freed]).await;
            let left = if request.asks[0].more { Ok(()) } else { lane.store.leave(&lane.engine, vec![request]).await };
            if let Err(error) = released.and(left) {
                tracing::warn!(lane = %lane.key, %error, "a slot is free when this engine's lease ends");
            }
        });
    }
}

struct Waits<'l>(&'l AtomicU64);

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
