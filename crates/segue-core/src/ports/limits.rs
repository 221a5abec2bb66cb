//! Named limits over all engines of a store: so many at once, so many a minute, fair between workflows.
//!
//! What a limit means is decided in [`crate::limits`]; a store loads rows, asks there, and writes rows. A held slot is a
//! row of its own that belongs to an attempt and to the lease of its engine ([`RunStore::renew_engine`]); a rate is one
//! timestamp. Nothing is counted up and down, so nothing can leak.
//!
//! [`RunStore::renew_engine`]: super::RunStore::renew_engine

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_core::stream::BoxStream;
use serde::{Deserialize, Serialize};

use super::store::{EngineRecord, StoreError};
use crate::{
    ids::{EngineId, LimitKey, TaskRunId},
    limits::LimitState,
    time::Timestamp,
};

/// What one limit allows. None: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// At once. 0 means 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent: Option<u32>,
    /// Begun in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_minute: Option<u32>,
    /// Tokens in any 60 seconds, read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_minute: Option<u64>,
}

/// What is asked of one limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitAsk {
    /// The limit.
    pub key: LimitKey,
    /// What it allows, as the one who asks knows it.
    pub bounds: Bounds,
    /// The tokens that are likely to be taken. None: as many as others took.
    pub tokens: Option<u64>,
    /// Do others of the same party wait for this limit in this engine? Then the party keeps its place in line.
    pub more: bool,
    /// The engine keeps the minutes of this limit itself, strictly: while no other engine uses it, they are not looked at
    /// here.
    pub keeps_minutes: bool,
}

/// A slot of each of some limits, or of none of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitRequest {
    /// For which attempt. Unique in its engine while it is held.
    pub slot: TaskRunId,
    /// Whose turn it is: a workflow. Parties are served in turn.
    pub party: Arc<str>,
    /// It was refused many times, each time by another of its limits: others hold back for it.
    pub insists: bool,
    /// The limits, in ascending order of their keys, each once. Not empty.
    pub asks: Vec<LimitAsk>,
}

/// What an engine asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquire {
    /// Who asks. It is registered and its lease has not ended.
    pub engine: EngineId,
    /// Engines that are known to be gone, whatever their lease says: their slots are free.
    pub dead: Vec<EngineId>,
    /// Decided one after the other.
    pub requests: Vec<LimitRequest>,
}

/// The answer to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// It holds a slot of each. Of each, in the order of the request: the tokens that are counted for it.
    Granted(Vec<u64>),
    /// It holds none.
    Wait(LimitWait),
}

/// What a request waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitWait {
    /// The first of its limits that is not open.
    pub on: LimitKey,
    /// Why it is not.
    pub why: WaitReason,
    /// When to ask again, if no signal comes before. None: only a signal says so.
    pub again_in: Option<Duration>,
    /// The other engines that hold slots of that limit: if one is known to be gone, asking again at once may succeed.
    pub holders: Vec<EngineRecord>,
}

/// Why a limit is not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// A provider has asked everybody to wait.
    Paused,
    /// All slots are held.
    Full,
    /// As many have begun as may in a minute.
    Rate,
    /// As many tokens were taken as may be in a minute.
    Tokens,
    /// It is the turn of another workflow.
    Turn,
    /// The engine's own lease has ended.
    NoLease,
}

/// One limit of a slot that is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The limit.
    pub key: LimitKey,
    /// What it allows.
    pub bounds: Bounds,
    /// The tokens that were counted.
    pub charged: u64,
}

/// A slot that is given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freed {
    /// Whose.
    pub slot: TaskRunId,
    /// All limits that it holds.
    pub charges: Vec<Charge>,
    /// The tokens that it took in truth.
    pub tokens: u64,
}

/// How a limit stands, to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitView {
    /// Which.
    pub key: LimitKey,
    /// Slots that are held.
    pub held: u32,
    /// How long it is paused for, if it is.
    pub paused_for: Option<Duration>,
    /// For how long the requests of a minute are used up.
    pub requests_for: Duration,
    /// For how long the tokens of a minute are used up.
    pub tokens_for: Duration,
    /// The workflows that wait, the next one first.
    pub waiting: Vec<Arc<str>>,
}

impl LimitView {
    /// From what a store has of it at this moment, tidied.
    pub fn of(key: LimitKey, held: u32, state: &LimitState, now: Timestamp) -> Self {
        let left = |until: Option<Timestamp>| until.map_or(Duration::ZERO, |until| until.since(now));
        let mut waiting: Vec<_> = state.line.iter().map(|waiter| waiter.party.clone()).collect();
        waiting.dedup();
        Self {
            key,
            held,
            paused_for: state.paused.map(|pause| pause.until.since(now)),
            requests_for: left(state.requests_until),
            tokens_for: left(state.tokens_until),
            waiting,
        }
    }
}

/// Keeps the slots of limits. Time is the store's own clock. Every method is safe to call from any task; none blocks the
/// async runtime.
#[async_trait]
pub trait LimitStore: Send + Sync {
    /// Decides requests, each as a whole, all in one transaction; the answers in their order. A slot that is held already
    /// is granted again, and costs nothing: repeatable. An engine without a lease gets nothing
    /// ([`WaitReason::NoLease`]). Who is refused stands in line until it is granted, leaves, has not asked for
    /// [`ABSENCE`](crate::limits::ABSENCE), or its engine is gone.
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError>;

    /// Gives slots back, and counts what they took. Repeatable as far as the slots go; those that are not held any more
    /// are only counted.
    async fn release(&self, engine: &EngineId, freed: Vec<Freed>) -> Result<(), StoreError>;

    /// These requests wait no more. Where an ask has no `more`, the party leaves the line of that limit.
    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError>;

    /// Nobody goes for this long, in no engine.
    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError>;

    /// The slots that this engine holds. After its lease had ended, those that are missing have gone to others.
    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError>;

    /// How these limits stand, in their order. One that was never used is free.
    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError>;

    /// Names limits for which asking again may succeed, within 250 ms, from whatever process. A hint that may be lost or
    /// doubled: who waits asks again after a while all the same.
    fn limit_signals(&self) -> BoxStream<'static, LimitKey>;
}
