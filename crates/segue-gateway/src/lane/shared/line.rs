//! Who waits for the store, and what the store is still to be told. Nothing in here calls out.

use std::collections::VecDeque;

use segue_core::{
    ids::{LimitKey, TaskRunId},
    ports::{Admission, Freed},
};
use tokio::{sync::oneshot, time::Instant};

use super::{SharedSlot, UNDER_WAY_MAX};

/// Requests that are decided in one transaction.
const ASKED_AT_ONCE: usize = 16;

/// The line of a lane, and what its keeper is to do.
#[derive(Default)]
pub(super) struct Line {
    tickets: VecDeque<Ticket>,
    freed: Vec<Freed>,
    /// Slots that are given back once more, then: a question for them may be under way.
    doubtful: VecDeque<(Instant, TaskRunId)>,
    /// Nobody goes before; not told yet.
    paused_until: Option<Instant>,
    /// The first was refused: it is of no use to ask before.
    not_before: Option<Instant>,
    /// The store keeps a place for this engine, or may.
    pub(super) has_place: bool,
    numbers: u64,
    /// There is a keeper.
    pub(super) is_kept: bool,
    /// There may be something that the store is to be told.
    pub(super) has_news: bool,
    /// What its predecessors listened to.
    pub(super) ears: Ears,
}

/// What is heard of the store.
#[derive(Default)]
pub(super) enum Ears {
    #[default]
    Closed,
    Open(futures_util::stream::BoxStream<'static, LimitKey>),
    /// The signals have ended: then only time helps.
    Deaf,
}

/// Somebody who waits. Nobody listens to its answer any more: it has left.
pub(super) struct Ticket {
    pub(super) name: TaskRunId,
    pub(super) tokens: u64,
    /// The store was asked and did not answer: it may have granted it.
    pub(super) is_unsure: bool,
    pub(super) answer: oneshot::Sender<SharedSlot>,
}

/// What there is to do at one time.
#[derive(Default)]
pub(super) struct Round {
    pub(super) paused_until: Option<Instant>,
    pub(super) freed: Vec<Freed>,
    pub(super) asked: Vec<Ticket>,
    /// Others wait behind those that ask.
    pub(super) has_more: bool,
    /// Nobody waits any more, and the store keeps a place.
    pub(super) leaves: bool,
}

impl Round {
    pub(super) fn is_empty(&self) -> bool {
        self.paused_until.is_none() && self.freed.is_empty() && self.asked.is_empty() && !self.leaves
    }
}

impl Line {
    pub(super) fn join(&mut self, tokens: u64, answer: oneshot::Sender<SharedSlot>) {
        self.numbers += 1;
        let name = TaskRunId::new(format!("call {}", self.numbers));
        self.tickets.push_back(Ticket { name, tokens, is_unsure: false, answer });
    }

    pub(super) fn free(&mut self, freed: Freed, is_doubtful: bool) {
        if is_doubtful {
            self.doubtful.push_back((Instant::now() + UNDER_WAY_MAX, freed.slot.clone()));
        }
        self.freed.push(freed);
    }

    pub(super) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// Asking again may succeed.
    pub(super) const fn ask_again(&mut self) {
        self.not_before = None;
    }

    /// When there is something to do, if nothing is heard before.
    pub(super) fn next_time(&self) -> Option<Instant> {
        let asks = self.not_before.filter(|_| !self.tickets.is_empty());
        asks.into_iter().chain(self.doubtful.front().map(|(time, _)| *time)).min()
    }

    /// What there is to do now. None: nothing, now or later. `give_back` says how a slot is given back of which nobody
    /// knows whether it was had.
    pub(super) fn next(&mut self, now: Instant, give_back: impl Fn(TaskRunId) -> Freed) -> Option<Round> {
        let first = self.tickets.front().map(|ticket| ticket.name.clone());
        let (wanted, left): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.tickets).into_iter().partition(|ticket| !ticket.answer.is_closed());
        self.tickets = wanted;
        for ticket in left.into_iter().filter(|ticket| ticket.is_unsure) {
            self.free(give_back(ticket.name), true);
        }
        while self.doubtful.front().is_some_and(|(time, _)| *time <= now) {
            let due = self.doubtful.pop_front();
            self.freed.extend(due.map(|(_, name)| give_back(name)));
        }
        if !self.freed.is_empty() || self.tickets.front().map(|ticket| &ticket.name) != first.as_ref() {
            // There is room, or the first one now needs less than the one before.
            self.ask_again();
        }
        let may_ask = self.not_before.is_none_or(|time| time <= now);
        let count = if may_ask { self.tickets.len().min(ASKED_AT_ONCE) } else { 0 };
        let leaves = self.has_place && self.tickets.is_empty();
        let asked: Vec<Ticket> = self.tickets.drain(..count).collect();
        let (paused_until, freed) = (self.paused_until.take(), std::mem::take(&mut self.freed));
        let round = Round { paused_until, freed, asked, has_more: !self.tickets.is_empty(), leaves };
        (!round.is_empty() || round.has_more || !self.doubtful.is_empty()).then_some(round)
    }

    /// Those that were refused or not answered wait on, before all others. The first asks again at this time.
    pub(super) fn go_back(&mut self, tickets: Vec<Ticket>, not_before: Option<Instant>) {
        tickets.into_iter().rev().for_each(|ticket| self.tickets.push_front(ticket));
        self.not_before = not_before;
    }

    /// What the answer to this request says of the place that the store keeps.
    pub(super) fn keeps_place(&mut self, answer: &Admission, has_more: bool, is_unsure: bool) {
        match answer {
            Admission::Granted(_) if has_more => self.has_place = true,
            // What was granted before and not heard may have kept it.
            Admission::Granted(_) => self.has_place &= is_unsure,
            Admission::Wait(_) => self.has_place = true,
        }
    }
}
