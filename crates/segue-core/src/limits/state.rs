//! What a store keeps of one limit, beside its slots.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{ABSENCE, TOO_FAR_AHEAD};
use crate::{
    ids::{EngineId, TaskRunId},
    time::Timestamp,
};

const MINUTE: Duration = Duration::from_secs(60);

/// One limit as far as it is no slot. Kept as JSON; the default says nothing and need not be kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LimitState {
    /// Up to when the requests of a minute are used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_until: Option<Timestamp>,
    /// Up to when the tokens of a minute are used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_until: Option<Timestamp>,
    /// What a task takes, about.
    pub tokens_likely: u64,
    /// A provider has asked everybody to wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Who waits: the first is the next.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub line: Vec<Waiter>,
    /// Who insists, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub insisting: Vec<Insisting>,
    /// The engines that keep the minutes themselves, and when each of them went last.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<EngineId, Timestamp>,
}

/// A pause. It has a beginning so that a clock that is set back ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Paused {
    /// From when.
    pub from: Timestamp,
    /// To when.
    pub until: Timestamp,
}

/// The tasks of one workflow in one engine that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiter {
    /// The workflow.
    pub party: Arc<str>,
    /// The engine. A waiter whose engine is gone is none.
    pub engine: EngineId,
    /// Its workflow's place: when that was served last, or came.
    pub turn: Timestamp,
    /// Its own place within its workflow.
    pub since: Timestamp,
    /// Does it wait for this limit? If not it waits for another one, and this one is not kept for it.
    pub here: bool,
    /// When it asked last, about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
    /// Since when there has been room for it that others would have taken; or from when on there is, if it was told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_since: Option<Timestamp>,
}

/// One task that has been refused many times, because its limits are never free at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Insisting {
    /// Since when: the same at each of its limits.
    pub since: Timestamp,
    /// Its engine. One whose engine is gone is none.
    pub engine: EngineId,
    /// Its slot.
    pub slot: TaskRunId,
    /// When it asked last, about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<Timestamp>,
}

impl LimitState {
    /// Forgets what is past and who is gone.
    pub fn tidy(&mut self, now: Timestamp, is_alive: &dyn Fn(&EngineId) -> bool) {
        let near = |until: &mut Option<Timestamp>| {
            *until = until.filter(|until| *until > now).map(|until| until.min(now.plus(TOO_FAR_AHEAD)));
        };
        near(&mut self.requests_until);
        near(&mut self.tokens_until);
        self.paused = self.paused.filter(|pause| pause.from <= now && now < pause.until);
        self.users.retain(|_, last| *last <= now && now < last.plus(MINUTE));
        // A clock that was set back makes nobody wait for what it calls the future.
        let is_there = |asked: &mut Option<Timestamp>| {
            let last = asked.map_or(now, |asked| asked.min(now));
            *asked = Some(last);
            now.since(last) < ABSENCE
        };
        self.line.retain_mut(|waiter| is_alive(&waiter.engine) && is_there(&mut waiter.asked));
        self.insisting.retain_mut(|one| is_alive(&one.engine) && is_there(&mut one.asked));
        let latest = now.plus(TOO_FAR_AHEAD);
        self.line.iter_mut().for_each(|waiter| waiter.kept_since = waiter.kept_since.map(|since| since.min(latest)));
    }

    /// From when on it says nothing, whoever is gone by then: nobody waits longer than this without asking again.
    pub fn idle_from(&self, now: Timestamp) -> Timestamp {
        let paused = self.paused.map(|pause| pause.until);
        let awaited = self.is_awaited().then(|| now.plus(super::PAUSE_MAX));
        let used = self.users.values().max().map(|last| last.plus(MINUTE));
        [self.requests_until, self.tokens_until, paused, awaited, used].into_iter().flatten().max().unwrap_or(now)
    }

    /// Does anybody wait?
    pub fn is_awaited(&self) -> bool {
        !self.line.is_empty() || !self.insisting.is_empty()
    }
}
