//! Lanes: the calls of one model, of all runs, under its limits. A lane that a provider has asked to wait waits for all.

mod shared;
mod state;
#[cfg(test)]
mod tests;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use segue_core::ids::RunId;
use tokio::sync::{Notify, oneshot};

pub(crate) use self::state::Limits;
use self::{
    shared::{SharedLane, SharedSlot},
    state::State,
};
use crate::{clock::Clock, options::SharedLimits};

/// What an answer is thought to be long before the first one is known.
const OUTPUT_TOKENS: u64 = 400;

/// The calls of one model.
pub(crate) struct Lane {
    clock: Clock,
    state: Mutex<State<oneshot::Sender<()>>>,
    /// Something has changed that those who wait for a point in time should know.
    changed: Notify,
    /// How long answers have been of late.
    output_tokens: Mutex<u64>,
    /// The lane over all engines, where it has limits.
    shared: Option<SharedLane>,
}

impl Lane {
    pub(crate) fn new(limits: Limits, clock: Clock) -> Self {
        Self {
            clock,
            state: Mutex::new(State::new(limits)),
            changed: Notify::new(),
            output_tokens: Mutex::new(OUTPUT_TOKENS),
            shared: None,
        }
    }

    /// The same lane for all engines of a store. Without limits, or without a store, it is one of this process.
    pub(crate) fn shared(mut self, pattern: &str, limits: Limits, shared: Option<SharedLimits>) -> Self {
        let has_limits = limits != Limits::default();
        self.shared = shared.filter(|_| has_limits).map(|shared| SharedLane::new(shared, pattern, limits.into()));
        self
    }

    /// Waits for a turn. Dropping the future leaves the line.
    pub(crate) async fn enter(self: &Arc<Self>, turn: Turn) -> Slot {
        let (wake, mut woken) = oneshot::channel();
        let id = {
            let mut state = self.state();
            if turn.again {
                state.join_first(turn.run, turn.tokens, wake)
            } else {
                state.join(turn.run, turn.tokens, wake)
            }
        };
        let mut waiting = Waiting { lane: self, id, tokens: turn.tokens, is_waiting: true };
        loop {
            let changed = self.changed.notified();
            let look_again = self.let_go();
            tokio::select! {
                biased;
                _ = &mut woken => break,
                () = changed => {}
                () = self.clock.sleep_until(look_again) => {}
            }
        }
        waiting.is_waiting = false;
        let (estimated, tokens) = (turn.tokens, turn.tokens);
        let mut slot = Slot { lane: self.clone(), estimated, tokens, has_answer: false, is_begun: false, shared: None };
        if let Some(shared) = &self.shared {
            slot.shared = Some(shared.enter(turn.tokens).await);
        }
        slot.is_begun = true;
        slot
    }

    /// Nobody goes for this long.
    pub(crate) fn pause(&self, pause: Duration) {
        self.state().pause(self.clock.now() + pause);
        self.changed.notify_waiters();
        if let Some(shared) = &self.shared {
            shared.pause(pause);
        }
    }

    /// How many wait for their turn, here or in the store.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting() + self.shared.as_ref().map_or(0, SharedLane::waiting)
    }

    /// Waits until the store knows of all calls that are over.
    pub(crate) async fn flushed(&self) {
        if let Some(shared) = &self.shared {
            shared.flushed().await;
        }
    }

    /// How long an answer is likely to be.
    pub(crate) fn likely_output_tokens(&self) -> u64 {
        *lock(&self.output_tokens)
    }

    /// Remembers how long an answer was.
    pub(crate) fn learn(&self, output_tokens: u64) {
        let mut likely = lock(&self.output_tokens);
        *likely = (*likely * 7 + output_tokens).div_ceil(8);
    }

    /// Wakes those whose turn has come. Says when the others should look again.
    fn let_go(&self) -> Option<std::time::Instant> {
        let now = self.clock.now();
        let mut state = self.state();
        while let Some(wake) = state.grant(now) {
            // One who left in this very moment gives its place back by itself.
            let _ = wake.send(());
        }
        state.look_again(now)
    }

    fn state(&self) -> MutexGuard<'_, State<oneshot::Sender<()>>> {
        lock(&self.state)
    }
}

/// Who wants to go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Turn {
    pub(crate) run: RunId,
    /// About what the call will take.
    pub(crate) tokens: u64,
    /// It went before and was sent back.
    pub(crate) again: bool,
}

/// A place in line; given up when it is dropped.
struct Waiting<'l> {
    lane: &'l Arc<Lane>,
    id: u64,
    tokens: u64,
    is_waiting: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.is_waiting {
            return;
        }
        let has_left = self.lane.state().leave(self.id);
        if !has_left {
            let (lane, estimated) = (self.lane.clone(), self.tokens);
            drop(Slot { lane, estimated, tokens: 0, has_answer: false, is_begun: false, shared: None });
        }
    }
}

/// A call under way. Dropping it makes room for the next.
pub(crate) struct Slot {
    lane: Arc<Lane>,
    estimated: u64,
    tokens: u64,
    has_answer: bool,
    /// It has all that it needs. Given up before, it has taken nothing.
    is_begun: bool,
    shared: Option<SharedSlot>,
}

impl Slot {
    /// The answer begins: the provider has seen the call.
    pub(crate) fn answer_begins(&mut self) {
        if !self.has_answer {
            self.has_answer = true;
            self.lane.state().answer_begins(self.lane.clock.now());
        }
    }

    /// What the call has taken in truth.
    pub(crate) fn settle(&mut self, tokens: u64) {
        self.tokens = tokens;
        if let Some(shared) = &mut self.shared {
            shared.settle(tokens);
        }
    }

    pub(crate) fn lane(&self) -> &Lane {
        &self.lane
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.answer_begins();
        let tokens = if self.is_begun { self.tokens } else { 0 };
        self.lane.state().is_over(self.lane.clock.now(), self.estimated, tokens);
        self.lane.let_go();
        self.lane.changed.notify_waiters();
    }
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
