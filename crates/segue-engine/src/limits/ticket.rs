//! A place in line.

use std::sync::Arc;

use segue_core::{
    ids::{HandlerId, LimitKey, RunId, TaskId, TaskRunId},
    ports::{Bounds, Charge, Freed, LimitAsk, LimitRequest, ScheduleError, Slot},
};

use super::{Limits, Wanted, slot::LimitSlot};

/// Refusals by another limit than before, after which a task insists.
const FLIPS_MAX: u32 = 4;

/// What a task waits for, and how it is told.
pub(crate) struct Want {
    pub(crate) run: RunId,
    pub(crate) task: TaskId,
    pub(crate) attempt: u32,
    /// Its workflow.
    pub(crate) party: Arc<str>,
    pub(crate) handler: HandlerId,
    pub(crate) concurrency: Option<u32>,
    pub(crate) wanted: Arc<[Wanted]>,
    pub(crate) wake: Box<dyn FnOnce() + Send>,
}

/// A place in line. Dropping it leaves the line, and gives back what it was granted and did not take.
pub(crate) struct Ticket {
    pub(super) limits: Limits,
    pub(super) number: u64,
}

/// The answer to a ticket.
pub(crate) enum Answer {
    /// It may begin: the place of its adapter, and its slots.
    Go(Box<dyn Slot>, Arc<LimitSlot>),
    /// It never will.
    Never(ScheduleError),
}

impl Ticket {
    /// Is there an answer?
    pub(crate) fn is_answered(&self) -> bool {
        self.limits.0.lines().is_answered(self.number)
    }

    /// The answer, if there is one; once.
    pub(crate) fn take(&self) -> Option<Answer> {
        self.limits.0.lines().take_answer(self.number)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // What it was granted is dropped outside of the lock: that gives it back.
        let unused = self.limits.0.lines().leave(self.number);
        drop(unused);
        self.limits.0.work.notify_one();
    }
}

/// A ticket as the lines keep it.
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) want: Want,
    pub(super) slot: TaskRunId,
    /// The limit that refused it last. None: the store does not know of it.
    pub(super) refused_by: Option<LimitKey>,
    /// The store was asked and did not answer: it may have granted it.
    pub(super) is_unsure: bool,
    /// How often it was another one than before.
    flips: u32,
}

impl Waiting {
    pub(super) fn new(number: u64, want: Want) -> Self {
        // The number makes it unique: a slot that is being given back is not mixed up with the next one.
        let slot = TaskRunId::new(format!("{}/{}@{}#{number}", want.run, want.task, want.attempt));
        Self { number, want, slot, refused_by: None, is_unsure: false, flips: 0 }
    }

    pub(super) fn is_refused_by(&mut self, key: LimitKey) {
        self.flips += u32::from(self.refused_by.as_ref().is_some_and(|before| *before != key));
        self.refused_by = Some(key);
    }

    /// Where its workflow stands in line because of it.
    pub(super) fn places(&self) -> impl Iterator<Item = (Arc<str>, LimitKey)> {
        self.want.wanted.iter().map(|wanted| (self.want.party.clone(), wanted.key.clone()))
    }

    /// What gives its slots back if it has them: it has taken nothing.
    pub(super) fn without_knowing(&self) -> Freed {
        let charge = |wanted: &Wanted| {
            let bounds = Bounds { tokens_per_minute: None, ..wanted.bounds };
            Charge { key: wanted.key.clone(), bounds, charged: 0 }
        };
        Freed { slot: self.slot.clone(), charges: self.want.wanted.iter().map(charge).collect(), tokens: 0 }
    }

    /// `more`: of each limit, do others of its workflow wait for it?
    pub(super) fn request(&self, more: impl Fn(&LimitKey) -> bool) -> LimitRequest {
        let ask = |wanted: &Wanted| LimitAsk {
            key: wanted.key.clone(),
            bounds: wanted.bounds,
            tokens: None,
            more: more(&wanted.key),
            keeps_minutes: false,
        };
        LimitRequest {
            slot: self.slot.clone(),
            party: self.want.party.clone(),
            insists: self.flips >= FLIPS_MAX,
            asks: self.want.wanted.iter().map(ask).collect(),
        }
    }
}

/// A ticket that the store is being asked about, with the place of its adapter in hand.
pub(super) struct Asked {
    pub(super) waiting: Waiting,
    pub(super) place: Box<dyn Slot>,
}
