//! Decisions: what an input means.

use std::time::Duration;

use super::{
    Input, Phase, Rejected, Run, TaskIx, Timer,
    join::Verdict,
    scope::ScopeIx,
    task::{ENGINE_LOSSES_MAX, Parts},
};
use crate::{
    event::{CancelCause, Event, EventKind, Waiting},
    ids::{NodeId, TaskId},
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    plan::RetryRule,
    spec::OnExhausted,
    status::Status,
    time::Timestamp,
};

/// An attempt that did not succeed, on its way to a decision.
struct Failure {
    error: TaskError,
    lost: Option<Loss>,
    usage: Usage,
    jitter: f64,
}

impl Failure {
    fn of(error: TaskError) -> Self {
        Self { error, lost: None, usage: Usage::default(), jitter: 0.0 }
    }
}

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
                if !matches!(waiting, Waiting::Child { .. }) || !self.state.running.contains(&ix) {
                    return Err(Rejected::Stale);
                }
                self.record_about(&mut events, now, ix, Some(attempt), EventKind::TaskWaiting(waiting));
            }
            Input::Cancel { reason } => match self.state.phase {
                Phase::Ended(_) => return Err(Rejected::Ended),
                Phase::Stopping { .. } => return Err(Rejected::Stopping),
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

    fn accept(&mut self, events: &mut Vec<Event>, task: &TaskId, now: Timestamp) -> Result<(), Rejected> {
        let ix = self.find(task).ok_or(Rejected::UnknownTask)?;
        let is_over = |due| due <= now || planted!(StartsBeforeDue);
        let is_due = self.task(ix).due.is_some_and(|due| is_over(due) && self.state.delayed.contains(&(due, ix)));
        let is_ready = is_due || self.state.ready.contains(&ix) || planted!(AcceptsTasksTwice);
        if self.room() == 0 || !is_ready {
            return Err(Rejected::NotReady);
        }
        let attempt = self.task(ix).attempt + 1 + u32::from(planted!(AttemptOffByOne));
        self.record_about(events, now, ix, Some(attempt), EventKind::TaskStarted {});
        Ok(())
    }

    /// The fence against stale answers: only the attempt that runs can be answered, and only once.
    fn running_attempt(&self, task: &TaskId, attempt: u32) -> Result<TaskIx, Rejected> {
        let ix = self.find(task).ok_or(Rejected::UnknownTask)?;
        let known = self.task(ix);
        let is_current = known.attempt == attempt || planted!(AcceptsStaleAnswers);
        let is_alive = known.status == Status::Running || self.state.awaiting.contains(&ix);
        let runs = is_alive || planted!(AcceptsAnswersTwice);
        if runs && is_current { Ok(ix) } else { Err(Rejected::Stale) }
    }

    fn end_of_attempt(
        &mut self,
        events: &mut Vec<Event>,
        ix: TaskIx,
        outcome: TaskOutcome,
        jitter: f64,
        now: Timestamp,
    ) {
        let failure = match outcome {
            TaskOutcome::Succeeded { usage, .. } if planted!(LosesSuccessOnCancel) && self.is_stopping() => {
                Failure { error: TaskError::new(ErrorKind::Cancelled, "too late"), lost: None, usage, jitter }
            }
            TaskOutcome::Succeeded { output, usage, warnings } => {
                match self.refusal(ix, &output) {
                    Some(error) => self.fail_for_good(events, ix, Failure { error, lost: None, usage, jitter }, now),
                    None => {
                        let kind = EventKind::TaskSucceeded { output, usage, warnings, reused_from: None };
                        self.record_about(events, now, ix, Some(self.task(ix).attempt), kind);
                    }
                }
                return;
            }
            TaskOutcome::Failed { error, usage } => Failure { error, lost: None, usage, jitter },
            TaskOutcome::Cancelled { usage } => {
                let error = TaskError::new(ErrorKind::Cancelled, "the task cancelled itself");
                Failure { error, lost: None, usage, jitter }
            }
            TaskOutcome::Lost { by, message } => {
                let error = TaskError::new(ErrorKind::WorkerLost, message);
                Failure { error, lost: Some(by), usage: Usage::default(), jitter }
            }
        };
        self.fail_attempt(events, ix, failure, now);
    }

    /// Records the result of a task that no adapter carried out.
    pub(super) fn conclude(
        &mut self,
        events: &mut Vec<Event>,
        ix: TaskIx,
        result: Result<Payload, TaskError>,
        now: Timestamp,
    ) {
        let result = result.and_then(|output| match self.refusal(ix, &output) {
            Some(error) => Err(error),
            None => Ok(output),
        });
        match result {
            Ok(output) => {
                let kind = EventKind::TaskSucceeded {
                    output,
                    usage: Usage::default(),
                    warnings: Vec::new(),
                    reused_from: None,
                };
                self.record_about(events, now, ix, None, kind);
            }
            Err(error) => self.fail_for_good(events, ix, Failure::of(error), now),
        }
    }

    /// A result is none if the loop that it ends would have to go round once more than it may.
    fn refusal(&self, ix: TaskIx, output: &Payload) -> Option<TaskError> {
        let back = self.node_of(ix).loop_back.as_ref().filter(|_| self.is_member(ix) && !self.is_stopping())?;
        match self.wants_round(ix, back, Some(output)) {
            Err(error) => Some(self.no_answer(ix, "the condition of the loop", &error)),
            Ok(true) if self.task(ix).round >= back.most && back.on_exhausted == OnExhausted::Fail => {
                let message = format!(
                    "the loop that ends at `{}` would go on after {} iterations",
                    self.node_of(ix).id,
                    back.most
                );
                Some(TaskError::new(ErrorKind::Limit, message))
            }
            Ok(_) => None,
        }
    }

    fn fail_attempt(&mut self, events: &mut Vec<Event>, ix: TaskIx, failure: Failure, now: Timestamp) {
        let attempt = Some(self.task(ix).attempt);
        if planted!(ChangesStateBesideTheLog) {
            self.task_mut(ix).engine_losses += 1;
        }
        if self.is_stopping() {
            self.record_about(events, now, ix, attempt, EventKind::TaskCancelled { usage: failure.usage });
            return;
        }
        match self.next_attempt_at(ix, &failure, now) {
            Some(due) => {
                let Failure { error, lost, usage, .. } = failure;
                self.record_about(events, now, ix, attempt, EventKind::TaskRetrying { error, due, lost, usage });
            }
            None => self.fail_for_good(events, ix, failure, now),
        }
    }

    /// When another attempt may start; `None` if there is to be none.
    fn next_attempt_at(&self, ix: TaskIx, failure: &Failure, now: Timestamp) -> Option<Timestamp> {
        let task = self.task(ix);
        match failure.lost {
            Some(Loss::Drained) => return Some(now),
            Some(Loss::Engine) => {
                let is_harmless = task.engine_losses + 1 < ENGINE_LOSSES_MAX || planted!(QuarantinesNobody);
                return is_harmless.then_some(now);
            }
            Some(Loss::Worker) | None => {}
        }
        let rule = &self.node_of(ix).retry;
        let failures = task.failures + 1;
        let is_last = failures >= rule.backoff.attempts_max + u32::from(planted!(RetriesWithoutAttemptsLeft));
        if is_last || !(rule.allows(&failure.error) || planted!(RetriesPermanentErrors)) {
            return None;
        }
        let due = now.plus(pause(rule, failures, failure));
        let in_time = task.deadline_at.is_none_or(|deadline| due < deadline) || planted!(RetriesAfterDeadline);
        in_time.then_some(due)
    }

    fn fail_for_good(&mut self, events: &mut Vec<Event>, ix: TaskIx, failure: Failure, now: Timestamp) {
        let Failure { mut error, lost, usage, .. } = failure;
        if lost == Some(Loss::Engine) {
            error.retryable = false;
            error.message = format!(
                "quarantined: {ENGINE_LOSSES_MAX} engines died while this task ran, so it may be what kills them ({})",
                error.message
            );
        }
        let task = self.task(ix);
        let has_begun = self.is_alive(ix) || (task.parts.is_none() && task.due.is_some());
        let attempt = has_begun.then_some(task.attempt);
        let continue_with = match self.stand_in(ix, &error) {
            Ok(output) => output,
            Err(wrong) => {
                error = wrong;
                None
            }
        };
        let kind = EventKind::TaskFailed { error, lost, continue_with, usage };
        self.record_about(events, now, ix, attempt, kind);
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
                Timer::Attempt(ix) => {
                    let limit = self.node_of(ix).timeout.unwrap_or_default().as_secs_f64();
                    let message = format!("the attempt did not end within its timeout_seconds: {limit}");
                    let error = TaskError::new(ErrorKind::Timeout, message);
                    let jitter = spread(jitter, ix);
                    self.fail_attempt(events, ix, Failure { error, lost: None, usage: Usage::default(), jitter }, now);
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

    /// Nothing new starts. What waits is over at once; what runs is no longer owed, and its end is awaited.
    fn stop(&mut self, events: &mut Vec<Event>, by: CancelCause, reason: String, now: Timestamp) {
        self.record(events, now, EventKind::RunCancelling { by, reason });
        let waits = |ix: &TaskIx| {
            let is_live = !self.task(*ix).status.is_terminal() && !self.is_alive(*ix);
            is_live && !planted!(CancelForgetsWhatWaits)
        };
        let waiting: Vec<TaskIx> = self.arena().filter(waits).collect();
        for ix in waiting {
            self.record_about(events, now, ix, None, EventKind::TaskCancelled { usage: Usage::default() });
        }
    }

    /// What is under way inside a task is not wanted any more.
    fn cancel_parts(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        for part in self.parts_under_way(ix) {
            let attempt = self.is_alive(part).then_some(self.task(part).attempt);
            self.record_about(events, now, part, attempt, EventKind::TaskCancelled { usage: Usage::default() });
        }
    }

    fn next_iteration(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        let iteration = match &self.task(ix).parts {
            Some(Parts::Iteration { number, .. }) => number + 1,
            _ => 1,
        };
        self.record_about(events, now, ix, None, EventKind::LoopIterated { iteration });
    }

    /// A loop goes round: what still runs in its body belongs to the old round.
    fn next_round(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        let plan = self.plan.clone();
        let Some(back) = &plan.node(self.task(ix).node).loop_back else { return };
        for &node in &back.body {
            let inside = self.sibling(ix, node);
            self.cancel_parts(events, inside, now);
            if !self.task(inside).status.is_terminal() {
                let attempt = self.is_alive(inside).then_some(self.task(inside).attempt);
                self.record_about(events, now, inside, attempt, EventKind::TaskCancelled { usage: Usage::default() });
            }
        }
        let iteration = self.task(ix).round + 1;
        self.record_about(events, now, ix, None, EventKind::LoopIterated { iteration });
    }

    /// Records what follows from what was recorded, until nothing does: skips, conditions that cannot be evaluated, the
    /// stop that a failure means, and the end of the run.
    pub(super) fn settle(&mut self, events: &mut Vec<Event>, now: Timestamp) {
        self.follow_up(events, now);
        if self.plan.cancel_on_failure
            && self.scope(ScopeIx::ROOT).open > 0
            && self.state.phase == Phase::Live
            && events
                .iter()
                .any(|event| matches!(event.kind, EventKind::TaskFailed { .. } | EventKind::TaskSkipped { .. }))
            && let Some(error) = self.unhandled_failure(ScopeIx::ROOT)
        {
            let node = error.node.as_ref().map_or("", NodeId::as_str);
            self.stop(events, CancelCause::Failure, format!("{node} failed: {}", error.message), now);
        }
        let state = &self.state;
        let nothing_runs = (state.running.is_empty() && state.awaiting.is_empty()) || planted!(EndsWhileSomethingRuns);
        let open = self.scope(ScopeIx::ROOT).open;
        let ended = open == 0 || (planted!(EndsWhileSomethingRuns) && open == state.running.len());
        if ended && nothing_runs && !self.status().is_terminal() {
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
        let (ix, verdict) = self.state.verdicts.pop_first()?;
        match verdict {
            Verdict::Skip(reason) => self.record_about(events, now, ix, None, EventKind::TaskSkipped { reason }),
            Verdict::Fail(error) => self.fail_for_good(events, ix, Failure::of(error), now),
            Verdict::Map(n) => self.record_about(events, now, ix, None, EventKind::TaskMapped { n }),
            Verdict::Iterate => self.next_iteration(events, ix, now),
            Verdict::Open => self.record_about(events, now, ix, None, EventKind::TaskStarted {}),
            Verdict::Wait => match self.question(ix, now) {
                Ok(waiting) => self.record_about(events, now, ix, None, EventKind::TaskWaiting(waiting)),
                Err(error) => self.fail_for_good(events, ix, Failure::of(error), now),
            },
            Verdict::Conclude => {
                let result = self.result_of(ix);
                self.conclude(events, ix, result, now);
            }
            Verdict::Again => self.next_round(events, ix, now),
        }
        Some(ix)
    }

    /// Does nothing run, and will nothing unless somebody answers or time passes?
    fn waits_only(&self) -> bool {
        let state = &self.state;
        let is_quiet = state.running.is_empty() && state.ready.is_empty() && state.delayed.is_empty();
        state.phase == Phase::Live && is_quiet && !state.waiting.is_empty() && !state.is_idle
    }

    /// How a run ends whose tasks have all ended.
    fn ending(&self) -> EventKind {
        let failure = || self.unhandled_failure(ScopeIx::ROOT);
        match &self.state.phase {
            Phase::Stopping { by: CancelCause::Request, reason } => EventKind::RunCancelled { reason: reason.clone() },
            Phase::Stopping { by: CancelCause::Deadline, reason } => {
                EventKind::RunFailed { error: TaskError::new(ErrorKind::Timeout, reason.clone()) }
            }
            Phase::Stopping { by: CancelCause::Failure, reason } => EventKind::RunFailed {
                error: failure().unwrap_or_else(|| TaskError::new(ErrorKind::Cancelled, reason.clone())),
            },
            _ => match failure() {
                Some(error) => EventKind::RunFailed { error },
                None => match self.outputs(ScopeIx::ROOT) {
                    Ok(outputs) => EventKind::RunSucceeded { outputs },
                    Err(error) => EventKind::RunFailed { error },
                },
            },
        }
    }

    /// The first failure in a scope that nothing takes care of, whatever comes.
    pub(super) fn unhandled_failure(&self, scope: ScopeIx) -> Option<TaskError> {
        let ix = *self
            .scope(scope)
            .failures
            .iter()
            .find(|&&ix| !self.is_handled(ix) && !planted!(ReportsFailureAsSuccess))?;
        let id = &self.node_of(ix).id;
        let mut error = match &self.task(ix).error {
            Some(error) => error.clone(),
            None => TaskError::new(
                ErrorKind::Join,
                format!(
                    "`{id}` waits for all its dependencies to succeed (join: all_success), but some were skipped; \
                     use join: no_failure to merge branches"
                ),
            ),
        };
        error.node = Some(id.clone());
        Some(error)
    }

    /// Has a dependent taken care of the failure, or may it still do so?
    fn is_handled(&self, ix: TaskIx) -> bool {
        self.task(ix).status == Status::Failed && self.handlers_of(ix).any(|to| self.task(to).status != Status::Skipped)
    }

    fn handlers_of(&self, ix: TaskIx) -> impl Iterator<Item = TaskIx> {
        let dependents = self.node_of(ix).dependents.iter();
        dependents
            .filter(|edge| self.plan.node(edge.to).join.handles_failure())
            .map(move |edge| self.sibling(ix, edge.to))
            .filter(move |&to| !self.state.untaken.contains_key(&(to, ix)))
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

/// How long to wait before the next attempt.
fn pause(rule: &RetryRule, failures: u32, failure: &Failure) -> Duration {
    if planted!(IgnoresRetryAfter) && failure.error.retry_after.is_some() {
        return Duration::ZERO;
    }
    let jitter = if planted!(IgnoresJitter) { 1.0 } else { failure.jitter };
    rule.pause(failures, &failure.error, jitter)
}

/// One draw for many tasks: each gets its own point of `[0, 1)`, so that what fails together is not retried together.
fn spread(jitter: f64, ix: TaskIx) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_894_8;
    f64::from(ix.0).mul_add(GOLDEN, jitter).fract()
}
