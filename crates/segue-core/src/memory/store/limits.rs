//! Slots of limits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use async_trait::async_trait;
use futures_channel::mpsc;
use futures_core::stream::BoxStream;

use super::{MemoryStore, SIGNALS_MAX, state::State};
use crate::{
    ids::{EngineId, LimitKey, TaskRunId},
    limits::{Limit, LimitState, admit, leave, pause, settle},
    ports::{
        Acquire, Admission, EngineRecord, Freed, LimitRequest, LimitStore, LimitView, LimitWait, StoreError, WaitReason,
    },
    time::Timestamp,
};

/// The tables of limits.
#[derive(Debug, Default)]
pub(super) struct Limits {
    states: BTreeMap<LimitKey, LimitState>,
    slots: BTreeMap<LimitKey, BTreeSet<(EngineId, TaskRunId)>>,
    listeners: Vec<mpsc::Sender<LimitKey>>,
}

impl Limits {
    /// Those that a request asks. Slots of engines that are gone are given up.
    fn load(&mut self, keys: &[&LimitKey], is_alive: &dyn Fn(&EngineId) -> bool) -> Vec<Limit> {
        keys.iter()
            .map(|key| {
                let slots = self.slots.get_mut(*key);
                let held = slots.map_or(0, |slots| {
                    slots.retain(|(engine, _)| is_alive(engine));
                    slots.len()
                });
                let state = self.states.get(*key).cloned().unwrap_or_default();
                Limit { state, held: u32::try_from(held).unwrap_or(u32::MAX), wakes: false }
            })
            .collect()
    }

    fn keep(&mut self, key: &LimitKey, limit: Limit) {
        if limit.wakes {
            // A listener whose queue is full loses the hint.
            let is_gone =
                |to: &mut mpsc::Sender<_>| to.try_send(key.clone()).is_err_and(|error| error.is_disconnected());
            self.listeners.retain_mut(|to| !is_gone(to));
        }
        if limit.state == LimitState::default() {
            self.states.remove(key);
        } else {
            self.states.insert(key.clone(), limit.state);
        }
    }

    fn holds(&self, key: &LimitKey, slot: &(EngineId, TaskRunId)) -> bool {
        self.slots.get(key).is_some_and(|slots| slots.contains(slot))
    }
}

impl State {
    fn decide(&mut self, engine: &EngineId, dead: &[EngineId], request: &LimitRequest, now: Timestamp) -> Admission {
        let Self { limits, engines, .. } = self;
        let is_alive = |id: &EngineId| !dead.contains(id) && engines.get(id).is_some_and(|(_, until)| *until > now);
        if !is_alive(engine) {
            let on = request.asks[0].key.clone();
            let wait = LimitWait { on, why: WaitReason::NoLease, again_in: None, holders: Vec::new() };
            return Admission::Wait(wait);
        }
        let slot = (engine.clone(), request.slot.clone());
        let mut bound = request.asks.iter().filter(|ask| ask.bounds.concurrent.is_some()).peekable();
        if bound.peek().is_some() && bound.all(|ask| limits.holds(&ask.key, &slot)) {
            return Admission::Granted(vec![0; request.asks.len()]);
        }
        let keys: Vec<_> = request.asks.iter().map(|ask| &ask.key).collect();
        let mut loaded = limits.load(&keys, &is_alive);
        let mut admission = admit(&mut loaded, engine, request, now, &is_alive);
        for (ask, limit) in request.asks.iter().zip(loaded) {
            limits.keep(&ask.key, limit);
            if matches!(admission, Admission::Granted(_)) && ask.bounds.concurrent.is_some() {
                limits.slots.entry(ask.key.clone()).or_default().insert(slot.clone());
            }
        }
        if let Admission::Wait(wait) = &mut admission
            && wait.why == WaitReason::Full
        {
            let slots = limits.slots.get(&wait.on).into_iter().flatten();
            let others: BTreeSet<_> = slots.map(|(holder, _)| holder).filter(|holder| *holder != engine).collect();
            for id in others {
                let Some((proof, until)) = engines.get(id) else { continue };
                let left = until.since(now) + Duration::from_millis(1);
                wait.again_in = Some(wait.again_in.map_or(left, |known| known.min(left)));
                wait.holders.push(EngineRecord { engine_id: id.clone(), proof: proof.clone() });
            }
        }
        admission
    }

    fn change(&mut self, key: &LimitKey, change: impl FnOnce(&mut Limit)) {
        let mut limit = self.limits.load(&[key], &|_| true).pop().expect("one was asked for");
        change(&mut limit);
        self.limits.keep(key, limit);
    }
}

#[async_trait]
impl LimitStore for MemoryStore {
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError> {
        let now = (self.clock)();
        let mut state = self.state();
        let Acquire { engine, dead, requests } = acquire;
        Ok(requests.iter().map(|request| state.decide(&engine, &dead, request, now)).collect())
    }

    async fn release(&self, engine: &EngineId, freed: Vec<Freed>) -> Result<(), StoreError> {
        let now = (self.clock)();
        let mut state = self.state();
        for Freed { slot, charges, tokens } in freed {
            let slot = (engine.clone(), slot);
            for charge in charges {
                if let Some(slots) = state.limits.slots.get_mut(&charge.key) {
                    slots.remove(&slot);
                    if slots.is_empty() {
                        state.limits.slots.remove(&charge.key);
                    }
                }
                state.change(&charge.key, |limit| settle(limit, &charge, tokens, now));
            }
        }
        Ok(())
    }

    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError> {
        let mut state = self.state();
        for request in &requests {
            for ask in &request.asks {
                state.change(&ask.key, |limit| leave(limit, engine, request, ask));
            }
        }
        Ok(())
    }

    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError> {
        let now = (self.clock)();
        let mut state = self.state();
        keys.iter().for_each(|key| state.change(key, |limit| pause(&mut limit.state, span, now)));
        Ok(())
    }

    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError> {
        let state = self.state();
        let all = state.limits.slots.iter().flat_map(|(key, slots)| slots.iter().map(move |slot| (slot, key)));
        let own = all.filter(|((holder, _), _)| holder == engine);
        Ok(own.map(|((_, slot), key)| (slot.clone(), key.clone())).collect())
    }

    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError> {
        let now = (self.clock)();
        let mut state = self.state();
        let State { limits, engines, .. } = &mut *state;
        let is_alive = |id: &EngineId| engines.get(id).is_some_and(|(_, until)| *until > now);
        let views = keys.into_iter().map(|key| {
            let slots = limits.slots.get(&key).into_iter().flatten();
            let held = slots.filter(|(engine, _)| is_alive(engine)).count();
            let mut kept = limits.states.get(&key).cloned().unwrap_or_default();
            kept.tidy(now, &is_alive);
            LimitView::of(key, u32::try_from(held).unwrap_or(u32::MAX), &kept, now)
        });
        Ok(views.collect())
    }

    fn limit_signals(&self) -> BoxStream<'static, LimitKey> {
        let (sender, receiver) = mpsc::channel(SIGNALS_MAX);
        self.state().limits.listeners.push(sender);
        Box::pin(receiver)
    }
}
