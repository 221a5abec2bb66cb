//! A store of limits with a fault does not pass the suite: each fault is caught by the case that is there for it.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    memory::MemoryStore,
    ports::{
        Acquire, Admission, Freed, LimitRequest, LimitStore, LimitView, LimitWait, RunStore, StoreError, WaitReason,
    },
};
use segue_testkit::conformance::{
    block_on,
    limit_store::{self as suite, Limited},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A slot that is given back stays held.
    LeakedSlot,
    /// What is held is a number, counted up and down.
    Counter,
    /// All keys of a limit are one.
    MissingKey,
    /// One more than may.
    OneTooMany,
    /// Of two limits the open one is taken although the other is not open.
    HalfASlot,
    /// Whoever comes first is served first, whatever its workflow.
    NoTurns,
    /// A pause is forgotten.
    NoPause,
}

#[derive(Clone)]
struct Faulty {
    fault: Fault,
    store: MemoryStore,
    counters: Arc<Mutex<BTreeMap<LimitKey, i64>>>,
}

impl Faulty {
    fn with(fault: Fault) -> Self {
        let store = MemoryStore::new(Arc::new(segue_testkit::conformance::now));
        Self { fault, store, counters: Arc::default() }
    }

    fn key(&self, key: &LimitKey) -> LimitKey {
        match (self.fault, key.as_str().split_once('=')) {
            (Fault::MissingKey, Some((limit, _))) => LimitKey::from(limit),
            _ => key.clone(),
        }
    }

    fn twisted(&self, mut request: LimitRequest) -> LimitRequest {
        if self.fault == Fault::NoTurns {
            request.party = "everybody".into();
        }
        for ask in &mut request.asks {
            ask.key = self.key(&ask.key);
            match self.fault {
                Fault::OneTooMany => ask.bounds.concurrent = ask.bounds.concurrent.map(|most| most + 1),
                // The counter is all that it looks at.
                Fault::Counter => ask.bounds.concurrent = None,
                _ => {}
            }
        }
        request
    }

    /// As somebody would who counts.
    fn count(&self, request: &LimitRequest) -> bool {
        let mut counters = self.counters.lock().unwrap();
        let is_open = request.asks.iter().all(|ask| {
            let taken = counters.get(&ask.key).copied().unwrap_or(0);
            ask.bounds.concurrent.is_none_or(|most| taken < i64::from(most))
        });
        if is_open {
            request.asks.iter().for_each(|ask| *counters.entry(ask.key.clone()).or_default() += 1);
        }
        is_open
    }
}

#[async_trait]
impl LimitStore for Faulty {
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError> {
        let mut answers = Vec::new();
        for request in acquire.requests {
            let one = |request| Acquire {
                engine: acquire.engine.clone(),
                dead: acquire.dead.clone(),
                requests: vec![request],
            };
            if self.fault == Fault::Counter && !self.count(&request) {
                let on = request.asks[0].key.clone();
                let wait = LimitWait { on, why: WaitReason::Full, again_in: None, holders: Vec::new() };
                answers.push(Admission::Wait(wait));
                continue;
            }
            let request = self.twisted(request);
            if self.fault == Fault::HalfASlot && request.asks.len() > 1 {
                let asks = request.asks.iter().map(|ask| LimitRequest { asks: vec![ask.clone()], ..request.clone() });
                let mut last = Vec::new();
                for ask in asks {
                    last = self.store.acquire(one(ask)).await?;
                }
                answers.extend(last);
                continue;
            }
            answers.extend(self.store.acquire(one(request)).await?);
        }
        Ok(answers)
    }

    async fn release(&self, engine: &EngineId, mut freed: Vec<Freed>) -> Result<(), StoreError> {
        for charge in freed.iter_mut().flat_map(|freed| &mut freed.charges) {
            *self.counters.lock().unwrap().entry(charge.key.clone()).or_default() -= 1;
            charge.key = self.key(&charge.key);
        }
        if self.fault == Fault::LeakedSlot { Ok(()) } else { LimitStore::release(&self.store, engine, freed).await }
    }

    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError> {
        self.store.leave(engine, requests.into_iter().map(|request| self.twisted(request)).collect()).await
    }

    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError> {
        if self.fault == Fault::NoPause { Ok(()) } else { self.store.pause(keys, span).await }
    }

    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError> {
        self.store.held(engine).await
    }

    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError> {
        self.store.look(keys).await
    }

    fn limit_signals(&self) -> BoxStream<'static, LimitKey> {
        self.store.limit_signals()
    }
}

impl Limited for Faulty {
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>) {
        (Arc::new(self.store.clone()), Arc::new(self.clone()))
    }
}

/// Does the case fail with this fault, and pass without one?
macro_rules! assert_caught {
    ($($fault:ident by $case:ident),* $(,)?) => {
        $(
            block_on(suite::$case(&Faulty::with(Fault::None)));
            let caught = catch_unwind(AssertUnwindSafe(|| block_on(suite::$case(&Faulty::with(Fault::$fault)))));
            assert!(caught.is_err(), "{:?} passes {}", Fault::$fault, stringify!($case));
        )*
    };
}

#[test]
fn every_fault_is_caught() {
    assert_caught!(
        LeakedSlot by a_slot_that_is_given_back_is_anothers,
        Counter by a_slot_is_granted_once,
        MissingKey by each_key_is_a_limit_of_its_own,
        OneTooMany by as_many_go_as_may_and_no_more,
        HalfASlot by a_slot_of_each_limit_or_of_none,
        NoTurns by workflows_take_turns,
        NoPause by a_pause_is_for_everybody_and_ends,
    );
}
