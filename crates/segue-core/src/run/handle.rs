//! Decisions: what an input means.

use super::{
    FINALLY_SECONDS, Input, Phase, Rejected, Run, TaskIx, Timer, attempt::Failure, index, join::Verdict, scope::ScopeIx,
};
use crate::{
    event::{CancelCause, Event, EventKind, Waiting},
    ids::NodeId,
    outcome::{ErrorKind, TaskError, Usage},
    plan::Work,
    status::Status,
    time::Timestamp,
};

impl Run {
    /// What does `input` mean at `now`? Applies it and returns the new facts, in order. A late, doubled or impossible
    /// input is [`Rejected`] and changes nothing.
    pub fn handle(&mut self, input: Input, now: Timestamp) -> Result<Vec<Event>, Rejected> {
        let mut events = Vec::new();
        match input {
            Input::TaskAccepted { task } => self.accept(&mut events, &task, now)?,
            Input::TaskEnded { task, attempt, outcome, jitter } => {
                let ix = self.running_attempt(&task, attempt)?;
                self.end_of_attempt(&mut events, ix, outcome, jitter, now);
            }
            Input::Woke { jitter } => self.fire_timers(&mut events, jitter, now),
            Input::Signal { to, data, request } => self.signal(&mut events, &to, &data, request, now)?,
            Input::TaskWaits { task, attempt, waiting } => {
                let ix = self.running_attempt(&task, attempt)?;
                let work = &self.node_of(ix).work;
                let is_child = matches!((&waiting, work), (Waiting::Child { .. }, Work::Child(child)) if !child.detach);
                let runs = self.state.running.contains(&ix) || planted!(WaitsTwiceForChildren);
                if !is_child || !runs {
                    return Err(Rejected::Stale);
                }
                self.record_about(&mut events, now, ix, Some(attempt), EventKind::TaskWaiting(waiting));
            }
            Input::Cancel { reason } => match self.state.phase {
                Phase::Ended(_) => return Err(Rejected::Ended),
                Phase::Stopping => return Err(Rejected::Stopping),
                Phase::Created | Phase::Live => self.stop(&mut events, CancelCause::Request, reason, now),
            },
            Input::Reopen => match self.state.phase {
                Phase::Ended(Status::Failed | Status::Cancelled) => {
                    self.record(&mut events, now, EventKind::RunReopened {});
                }
                _ => return Err(Rejected::NotReopenable),
            },
        }
        self.settle(&mut events, now);
        Ok(events)
    }

    fn fire_timers(&mut self, events: &mut Vec<Event>, jitter: f64, now: Timestamp) {
        while let Some(&(due, timer)) = self.state.timers.first()
            && due <= now
        {
            match timer {
                Timer::Run => {
                    let limit = self.plan.timeout.unwrap_or_default().as_secs_f64();
                    let reason = format!("the run did not end within its timeout_seconds: {limit}");
                    self.stop(events, CancelCause::Deadline, reason, now);
                }
                Timer::Finally => {
                    let reason = format!("the finally nodes did not end within {FINALLY_SECONDS} seconds");
                    self.stop(events, CancelCause::Deadline, reason, now);
                }
                Timer::Attempt(ix) => {
                    let limit = self.node_of(ix).timeout.unwrap_or_default().as_secs_f64();
                    let message = format!("the attempt did not end within its timeout_seconds: {limit}");
                    let error = TaskError::new(ErrorKind::Timeout, message);
                    let jitter = spread(jitter, ix);
                    let failure = Failure { jitter, ..Failure::of(error) };
                    if self.task(ix).parts.is_some() {
                        self.cancel_parts(events, ix, now);
                        self.fail_for_good(events, ix, failure, now);
                    } else {
                        self.fail_attempt(events, ix, failure, now);
                    }
                }
                Timer::Deadline(ix) => {
                    let limit = self.node_of(ix).deadline.unwrap_or_default().as_secs_f64();
                    let message = format!("the task did not end within its deadline_seconds: {limit}");
                    let mut error = TaskError::new(ErrorKind::Timeout, message);
                    error.retryable = false;
                    self.cancel_parts(events, ix, now);
                    self.fail_for_good(events, ix, Failure::of(error), now);
                }
                Timer::Wait(ix) => self.stop_waiting(events, ix, now),
                Timer::Iterate(ix) => {
                    self.state.timers.remove(&(due, timer));
                    self.next_iteration(events, ix, now);
                }
            }
            // What was due first comes first, with all that follows from it: the run may have ended before its own timer.
            self.settle(events, now);
        }
    }

    /// Records what follows from what was recorded, until nothing does: skips, conditions that cannot be evaluated, the
    /// stop that a failure means, and the end of the run.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>, now: Timestamp) {
        self.follow_up(events, now);
        if self.plan.cancel_on_failure
            && self.scope(ScopeIx::ROOT).open > 0
            && self.state.phase == Phase::Live
            && let Some(error) = self.unhandled_failure(ScopeIx::ROOT)
        {
            let node = error.node.as_ref().map_or("", NodeId::as_str);
            self.stop(events, CancelCause::Failure, format!("{node} failed: {}", error.message), now);
            self.follow_up(events, now);
        }
        if self.is_over() && !self.status().is_terminal() {
            let kind = self.ending();
            self.record(events, now, kind);
        } else if self.waits_only() {
            self.record(events, now, EventKind::RunWaiting {});
        }
    }

    /// Records what is decided, and what follows from that.
    fn follow_up(&mut self, events: &mut Vec<Event>, now: Timestamp) {
        while self.follow_up_once(events, now).is_some() {}
    }

    /// Records one thing that is decided, and says about which task.
    pub(super) fn follow_up_once(&mut self, events: &mut Vec<Event>, now: Timestamp) -> Option<TaskIx> {
        let (&ix, verdict) = self.state.verdicts.first_key_value()?;
        // The verdict is dropped where its fact is folded: a fold of the log comes through the same states.
        let kind = match verdict {
            Verdict::Skip(reason) => EventKind::TaskSkipped { reason: reason.clone() },
            Verdict::Map(items) => EventKind::TaskMapped { n: index(items.len()) },
            Verdict::Open => EventKind::TaskStarted {},
            Verdict::Cancel => EventKind::TaskCancelled { usage: Usage::default() },
            Verdict::Wait => match self.question(ix, now) {
                Ok(waiting) => EventKind::TaskWaiting(waiting),
                Err(error) => {
                    self.fail_for_good(events, ix, Failure::of(error), now);
                    return Some(ix);
                }
            },
            Verdict::Fail(error) => {
                let error = error.clone();
                self.fail_for_good(events, ix, Failure::of(error), now);
                return Some(ix);
            }
            Verdict::Iterate => {
                self.next_iteration(events, ix, now);
                return Some(ix);
            }
            Verdict::Conclude => {
                let result = self.result_of(ix);
                self.conclude(events, ix, result, now);
                return Some(ix);
            }
            Verdict::Again => {
                self.next_round(events, ix, now);
                return Some(ix);
            }
        };
        self.record_about(events, now, ix, None, kind);
        Some(ix)
    }

    /// Does nothing run, and will nothing unless somebody answers or time passes?
    fn waits_only(&self) -> bool {
        let state = &self.state;
        state.phase == Phase::Live && self.is_quiet() && !state.waiting.is_empty() && !state.is_idle
    }

    /// Does nothing run, and may nothing start, now or at a time of its own?
    pub(super) fn is_quiet(&self) -> bool {
        let state = &self.state;
        state.running.is_empty() && state.ready.is_empty() && state.delayed.is_empty()
    }

    pub(super) fn record(&mut self, events: &mut Vec<Event>, now: Timestamp, kind: EventKind) {
        self.push(events, Event { seq: self.state.version + 1, time: now, task_id: None, attempt: None, kind });
    }

    pub(super) fn record_about(
        &mut self,
        events: &mut Vec<Event>,
        now: Timestamp,
        ix: TaskIx,
        attempt: Option<u32>,
        kind: EventKind,
    ) {
        let task_id = Some(self.task_id(ix).clone());
        self.push(events, Event { seq: self.state.version + 1, time: now, task_id, attempt, kind });
    }

    fn push(&mut self, events: &mut Vec<Event>, event: Event) {
        self.apply(&event);
        let gap = u64::from(planted!(LeavesAGapInSeq) && matches!(event.kind, EventKind::TaskFailed { .. }));
        events.push(Event { seq: event.seq + gap, ..event });
    }
}

/// One draw for many tasks: each gets its own point of `[0, 1)`, so that what fails together is not retried together.
fn spread(jitter: f64, ix: TaskIx) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    f64::from(ix.0).mul_add(GOLDEN, jitter).fract()
}
