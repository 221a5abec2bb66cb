//! What an attempt holds of its limits.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use segue_core::{
    ids::{LimitKey, TaskRunId},
    limits::PAUSE_MAX,
    outcome::{ErrorKind, Loss, TaskOutcome},
    ports::{Bounds, Charge, Freed, LimitAsk, LimitRequest, Scheduler, Slot},
};

use tokio::time::Instant;

use super::Limits;
use crate::mutants::planted;

/// A slot of each limit of an attempt. Dropping it gives them back.
pub(crate) struct LimitSlot {
    limits: Limits,
    name: TaskRunId,
    charges: Vec<Charge>,
    tokens: AtomicU64,
    is_lost: AtomicBool,
    /// It was asked for more than once.
    is_doubtful: bool,
    /// What the scheduler calls the attempt, when it runs.
    attempt: Mutex<Option<TaskRunId>>,
}

impl LimitSlot {
    pub(super) fn new(limits: Limits, name: TaskRunId, charges: Vec<Charge>, is_doubtful: bool) -> Self {
        Self {
            limits,
            name,
            charges,
            tokens: AtomicU64::new(0),
            is_lost: AtomicBool::new(false),
            is_doubtful,
            attempt: Mutex::default(),
        }
    }

    /// What asks for its rows anew. What a rate counts has been counted.
    pub(super) fn request(&self) -> LimitRequest {
        let bound = self.charges.iter().filter(|charge| charge.bounds.concurrent.is_some());
        let ask = |charge: &Charge| LimitAsk {
            key: charge.key.clone(),
            bounds: Bounds { concurrent: charge.bounds.concurrent, ..Bounds::default() },
            tokens: None,
            more: false,
            keeps_minutes: false,
        };
        let party = self.name.as_str().into();
        LimitRequest { slot: self.name.clone(), party, insists: false, asks: bound.map(ask).collect() }
    }

    pub(super) fn name(&self) -> &TaskRunId {
        &self.name
    }

    /// The attempt runs.
    pub(crate) fn runs_as(&self, attempt: &TaskRunId) {
        *self.attempt.lock().expect("no holder of this lock panics") = Some(attempt.clone());
    }

    /// Does another engine hold it now?
    pub(crate) fn went_to_others(&self) -> bool {
        self.is_lost.load(Ordering::Acquire)
    }

    /// Are all of its rows there? Rates have none.
    pub(super) fn is_among(&self, held: &[(TaskRunId, LimitKey)]) -> bool {
        let mut rows = self.charges.iter().filter(|charge| charge.bounds.concurrent.is_some());
        rows.all(|charge| held.iter().any(|(name, key)| *name == self.name && *key == charge.key))
    }

    /// It is another's: what runs in it is told to stop.
    pub(super) async fn lose(&self) {
        self.is_lost.store(true, Ordering::Release);
        let attempt = self.attempt.lock().expect("no holder of this lock panics").clone();
        if let Some(attempt) = attempt {
            self.limits.0.scheduler.cancel_task(&attempt).await;
        }
    }

    /// The attempt has ended. A provider that asks to wait is waited for by everybody; an attempt that was stopped because
    /// its slot was lost counts for nothing.
    pub(crate) fn ended(&self, outcome: TaskOutcome) -> TaskOutcome {
        let usage = outcome.usage();
        self.tokens.store(usage.total_tokens(), Ordering::Release);
        if let TaskOutcome::Failed { error, .. } = &outcome
            && error.kind == ErrorKind::RateLimited
            && let Some(seconds) = error.retry_after
        {
            self.pause(Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(PAUSE_MAX));
        }
        let is_over = matches!(outcome, TaskOutcome::Succeeded { .. } | TaskOutcome::Waiting { .. });
        if self.went_to_others() && !is_over {
            return self.lost_outcome().with_usage(usage);
        }
        outcome
    }

    /// What an attempt comes to that cannot begin or go on without its slot.
    pub(crate) fn lost_outcome(&self) -> TaskOutcome {
        TaskOutcome::lost(Loss::Drained, "its engine stood still, and its slot of a limit went to another")
    }

    fn pause(&self, span: Duration) {
        let keys = self.charges.iter().map(|charge| charge.key.clone()).collect();
        self.limits.0.lines().pause(keys, Instant::now() + span.min(PAUSE_MAX));
        self.limits.0.work.notify_one();
    }
}

impl Drop for LimitSlot {
    fn drop(&mut self) {
        if planted!(LeaksSlots) {
            return;
        }
        let tokens = self.tokens.load(Ordering::Acquire);
        let freed = Freed { slot: self.name.clone(), charges: std::mem::take(&mut self.charges), tokens };
        self.limits.0.lines().free(freed, self.is_doubtful);
        self.limits.0.work.notify_one();
    }
}

/// The place of an adapter together with the slots of limits.
pub(crate) struct Held {
    pub(crate) _place: Box<dyn Slot>,
    pub(crate) _limits: Arc<LimitSlot>,
}

impl Slot for Held {}
