//! The decisions: who goes, who waits, and what follows for the others.

use std::{sync::Arc, time::Duration};

use super::{
    ABSENCE, PATIENCE, PAUSE_MAX, Rate,
    state::{Insisting, LimitState, Paused, Waiter},
};
use crate::{
    ids::{EngineId, TaskRunId},
    ports::{Admission, Bounds, Charge, LimitAsk, LimitRequest, LimitWait, WaitReason},
    time::Timestamp,
};

/// One limit as a store has it at this moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// What is kept of it.
    pub state: LimitState,
    /// Slots that are held, by engines whose lease holds.
    pub held: u32,
    /// Set when somebody who waits should ask again.
    pub wakes: bool,
}

/// What keeps a request from one of its limits.
struct Obstacle {
    why: WaitReason,
    again_in: Option<Duration>,
}

/// How somebody who is refused waits at one of its limits.
struct Here {
    /// For this limit, and not only for another one.
    waits: bool,
    /// Up to then for its minute, and not for room or a turn.
    from: Option<Timestamp>,
}

impl Here {
    fn of(obstacle: Option<&Obstacle>, now: Timestamp) -> Self {
        let of_minute = obstacle.filter(|one| matches!(one.why, WaitReason::Rate | WaitReason::Tokens));
        let from = of_minute.and_then(|one| one.again_in).map(|left| now.plus(left));
        Self { waits: obstacle.is_some(), from }
    }
}

/// Somebody has asked. Nothing is written for a moment's difference.
fn note(asked: &mut Option<Timestamp>, now: Timestamp) {
    if asked.is_none_or(|last| now.since(last) >= ABSENCE / 8) {
        *asked = Some(now);
    }
}

/// May the request of this engine go? `limits` are those that it asks, in its order; they are changed to what is to be
/// written. The answer names the first limit that is not open; `holders` is left to the store.
///
/// # Panics
/// If `limits` are not as many as the request asks.
pub fn admit(
    limits: &mut [Limit],
    engine: &EngineId,
    request: &LimitRequest,
    now: Timestamp,
    is_alive: &dyn Fn(&EngineId) -> bool,
) -> Admission {
    assert_eq!(limits.len(), request.asks.len(), "each ask has its limit");
    let mut first: Option<LimitWait> = None;
    let mut here = Vec::with_capacity(limits.len());
    for (limit, ask) in limits.iter_mut().zip(&request.asks) {
        limit.state.tidy(now, is_alive);
        let obstacle = match limit.obstacle(engine, ask, now) {
            None => limit.turn_of_others(engine, request, ask, now),
            obstacle => {
                limit.has_no_room(now);
                obstacle
            }
        };
        here.push(Here::of(obstacle.as_ref(), now));
        let Some(Obstacle { why, again_in }) = obstacle else { continue };
        let latest = first.as_ref().and_then(|wait| wait.again_in).max(again_in);
        let wait = LimitWait { on: ask.key.clone(), why, again_in, holders: Vec::new() };
        first.get_or_insert(wait).again_in = latest;
    }
    match first {
        None => {
            let charged =
                limits.iter_mut().zip(&request.asks).map(|(limit, ask)| limit.grant(engine, request, ask, now));
            Admission::Granted(charged.collect())
        }
        Some(wait) => {
            let insists_since =
                limits.iter_mut().filter_map(|limit| Some(limit.insisting(engine, &request.slot)?.since)).min();
            for (limit, here) in limits.iter_mut().zip(here) {
                limit.enlist(engine, request, here, now);
                if request.insists {
                    limit.insist(engine, request, insists_since.unwrap_or(now), now);
                }
            }
            Admission::Wait(wait)
        }
    }
}

/// A slot was given back: what it took in truth is counted. The store has taken the slot away already.
pub fn settle(limit: &mut Limit, charge: &Charge, tokens: u64, now: Timestamp) {
    let state = &mut limit.state;
    if let Some(most) = charge.bounds.tokens_per_minute {
        let until = state.tokens_until.unwrap_or(now);
        state.tokens_until = Some(Rate::per_minute(most).corrected(until, charge.charged, tokens, now));
        state.tokens_likely =
            if state.tokens_likely == 0 { tokens } else { (state.tokens_likely * 7 + tokens).div_ceil(8) };
    }
    limit.wakes |= limit.state.is_awaited();
}

/// Nobody goes for this long, [`PAUSE_MAX`] at most. A longer pause stays.
pub fn pause(state: &mut LimitState, span: Duration, now: Timestamp) {
    let until = now.plus(span.min(PAUSE_MAX));
    let known = state.paused.filter(|pause| pause.from <= now && pause.until >= until);
    state.paused = Some(known.unwrap_or(Paused { from: now, until }));
}

/// A request waits no more for the limit of `ask`: its task was cancelled.
pub fn leave(limit: &mut Limit, engine: &EngineId, request: &LimitRequest, ask: &LimitAsk) {
    let state = &mut limit.state;
    state.line.retain(|waiter| ask.more || waiter.engine != *engine || waiter.party != request.party);
    state.insisting.retain(|one| one.engine != *engine || one.slot != request.slot);
    limit.wakes |= state.is_awaited();
}

impl Limit {
    /// What keeps anybody out, whoever it is.
    fn obstacle(&self, engine: &EngineId, ask: &LimitAsk, now: Timestamp) -> Option<Obstacle> {
        let Bounds { concurrent, per_minute, tokens_per_minute } = ask.bounds;
        let at = |why, time: Timestamp| Obstacle { why, again_in: Some(time.since(now)) };
        if let Some(pause) = self.state.paused {
            return Some(at(WaitReason::Paused, pause.until));
        }
        if concurrent.is_some_and(|most| self.held >= most.max(1)) {
            return Some(Obstacle { why: WaitReason::Full, again_in: None });
        }
        if ask.keeps_minutes && self.state.users.keys().all(|user| user == engine) {
            return None;
        }
        let opens = |rate: Option<u64>, until: Option<Timestamp>, units| {
            Some(Rate::per_minute(rate?).opens_at(until?, units)).filter(|time| *time > now)
        };
        if let Some(time) = opens(per_minute.map(u64::from), self.state.requests_until, 1) {
            return Some(at(WaitReason::Rate, time));
        }
        opens(tokens_per_minute, self.state.tokens_until, self.tokens(ask)).map(|time| at(WaitReason::Tokens, time))
    }

    /// There is room, but for somebody who was here before.
    fn turn_of_others(
        &mut self,
        engine: &EngineId,
        request: &LimitRequest,
        ask: &LimitAsk,
        now: Timestamp,
    ) -> Option<Obstacle> {
        match self.state.insisting.iter().position(|one| one.engine == *engine && one.slot == request.slot) {
            Some(0) => return None,
            None if self.state.insisting.is_empty() => {}
            Some(_) | None => return Some(Obstacle { why: WaitReason::Turn, again_in: Some(PATIENCE) }),
        }
        let place = self.place(engine, &request.party, now);
        let is_before = |waiter: &Waiter| {
            waiter.here
                && (waiter.engine != *engine || waiter.party != request.party)
                && (waiter.turn, &waiter.party, waiter.since, &waiter.engine)
                    < (place.0, &request.party, place.1, engine)
        };
        // Each of those before is served by one place.
        let room = ask.bounds.concurrent.map_or(1, |most| (most.max(1) - self.held) as usize);
        let line = &mut self.state.line;
        loop {
            let before = line.iter().filter(|waiter| is_before(waiter)).count();
            // Room is not what those lack who were told a time: whoever went would put it off.
            let is_put_off = |waiter: &Waiter| waiter.kept_since.is_some_and(|since| since > now);
            let is_overtaken = line.iter().any(|waiter| is_before(waiter) && is_put_off(waiter));
            if before < room && !is_overtaken {
                return None;
            }
            let mut left = Duration::MAX;
            let kept = line.iter_mut().filter(|waiter| is_before(waiter));
            for (at, waiter) in kept.enumerate() {
                if at < room || is_put_off(waiter) {
                    let since = *waiter.kept_since.get_or_insert(now);
                    left = left.min((since.since(now) + PATIENCE).saturating_sub(now.since(since)));
                }
            }
            if !left.is_zero() {
                return Some(Obstacle { why: WaitReason::Turn, again_in: Some(left) });
            }
            // They do not come. When they ask again they are the last.
            let is_passed = |waiter: &Waiter| waiter.kept_since.is_some_and(|since| now.since(since) >= PATIENCE);
            line.retain(|waiter| !is_before(waiter) || !is_passed(waiter));
        }
    }

    /// Nobody can go: nobody is late.
    fn has_no_room(&mut self, now: Timestamp) {
        for waiter in &mut self.state.line {
            waiter.kept_since = waiter.kept_since.filter(|since| *since > now);
        }
    }

    /// Where a party and its engine stand in the line, or would.
    fn place(&self, engine: &EngineId, party: &Arc<str>, now: Timestamp) -> (Timestamp, Timestamp) {
        let last = self.state.line.iter().map(|waiter| waiter.turn.max(waiter.since)).max();
        let end = last.map_or(now, |last| now.max(last.plus(Duration::from_micros(1))));
        let of_party = || self.state.line.iter().filter(|waiter| waiter.party == *party);
        let own = of_party().find(|waiter| waiter.engine == *engine);
        (of_party().map(|waiter| waiter.turn).next().unwrap_or(end), own.map_or(end, |waiter| waiter.since))
    }

    /// Takes the place. Gives the tokens that are counted for it until it says what it took.
    fn grant(&mut self, engine: &EngineId, request: &LimitRequest, ask: &LimitAsk, now: Timestamp) -> u64 {
        let tokens = self.tokens(ask);
        self.held += 1;
        let state = &mut self.state;
        if let Some(most) = ask.bounds.per_minute {
            let until = state.requests_until.unwrap_or(now);
            state.requests_until = Some(Rate::per_minute(most.into()).after(until, 1, now));
        }
        let mut charged = 0;
        if let Some(most) = ask.bounds.tokens_per_minute {
            let until = state.tokens_until.unwrap_or(now);
            state.tokens_until = Some(Rate::per_minute(most).after(until, tokens, now));
            charged = tokens;
        }
        if ask.keeps_minutes {
            state.users.insert(engine.clone(), now);
        }
        state.insisting.retain(|one| one.engine != *engine || one.slot != request.slot);
        self.served(engine, request, ask.more, now);
        self.wakes |= self.state.is_awaited() && ask.bounds.concurrent.is_none_or(|most| self.held < most);
        charged
    }

    /// The workflow that was served goes to the end of the line, or leaves it.
    fn served(&mut self, engine: &EngineId, request: &LimitRequest, more: bool, now: Timestamp) {
        let last = self.state.line.iter().map(|waiter| waiter.turn.max(waiter.since)).max();
        let end = last.map_or(now, |last| now.max(last.plus(Duration::from_micros(1))));
        self.state.line.retain(|waiter| more || waiter.engine != *engine || waiter.party != request.party);
        for waiter in self.state.line.iter_mut().filter(|waiter| waiter.party == request.party) {
            waiter.turn = end;
        }
        if more {
            self.enlist(engine, request, Here { waits: true, from: None }, now);
            let own = self.state.line.iter_mut().find(|one| one.engine == *engine && one.party == request.party);
            let own = own.expect("it was enlisted");
            (own.turn, own.since) = (end, end);
        }
        self.sort();
    }

    /// Gets in line, or stays there: it has come.
    fn enlist(&mut self, engine: &EngineId, request: &LimitRequest, here: Here, now: Timestamp) {
        let (turn, since) = self.place(engine, &request.party, now);
        let line = &mut self.state.line;
        match line.iter_mut().find(|waiter| waiter.engine == *engine && waiter.party == request.party) {
            Some(own) => {
                (own.here, own.kept_since) = (here.waits, here.from);
                note(&mut own.asked, now);
            }
            None => {
                let (party, engine) = (request.party.clone(), engine.clone());
                let (here, kept_since) = (here.waits, here.from);
                line.push(Waiter { party, engine, turn, since, here, asked: Some(now), kept_since });
                self.sort();
            }
        }
    }

    fn sort(&mut self) {
        let place = |waiter: &Waiter| (waiter.turn, waiter.party.clone(), waiter.since, waiter.engine.clone());
        self.state.line.sort_by_key(place);
    }

    fn insisting(&mut self, engine: &EngineId, slot: &TaskRunId) -> Option<&mut Insisting> {
        self.state.insisting.iter_mut().find(|one| one.engine == *engine && one.slot == *slot)
    }

    fn insist(&mut self, engine: &EngineId, request: &LimitRequest, since: Timestamp, now: Timestamp) {
        if let Some(own) = self.insisting(engine, &request.slot) {
            return note(&mut own.asked, now);
        }
        let one = Insisting { since, engine: engine.clone(), slot: request.slot.clone(), asked: Some(now) };
        self.state.insisting.push(one);
        self.state.insisting.sort();
    }

    /// What the request will take: as it says, else as others did.
    fn tokens(&self, ask: &LimitAsk) -> u64 {
        ask.tokens.unwrap_or(self.state.tokens_likely).max(1)
    }
}
