//! Folding facts: the only code that changes a run's state.

use super::{Phase, Run, TaskIx, Timer, params_of, scope::ScopeIx, task::Parts};
use crate::{
    event::{Event, EventKind, SkipCode, Waiting},
    outcome::{Loss, TaskError, Usage},
    payload::Payload,
    status::Status,
    time::Timestamp,
};

impl Run {
    /// Folds one committed fact. It must be the next one of this run's log; [`Fold`](super::Fold) checks that for logs
    /// from outside.
    pub fn apply(&mut self, event: &Event) {
        debug_assert_eq!(event.seq, self.state.version + 1, "facts are folded in order");
        self.state.version = event.seq;
        match event.task_id.as_ref().and_then(|task| self.find(task)) {
            Some(ix) => self.apply_to_task(ix, event),
            None => self.apply_to_run(event),
        }
        self.advance(event.time);
        self.state.is_idle &= self.is_quiet() && !self.state.waiting.is_empty();
    }

    fn apply_to_run(&mut self, event: &Event) {
        match &event.kind {
            EventKind::RunCreated(created) => {
                self.state.created_at = event.time;
                self.state.params = params_of(&created.inputs);
                self.state.created = created.clone();
            }
            EventKind::RunStarted {} => {
                self.state.started_at = Some(event.time);
                self.go_live(event.time);
                self.begin_scope(ScopeIx::ROOT);
            }
            EventKind::RunWaiting {} => self.state.is_idle = true,
            EventKind::RunReopened {} => self.reopen(event.time),
            EventKind::RunCancelling { .. } if planted!(GoesOnAfterCancel) => {}
            EventKind::RunCancelling { by, reason } => {
                self.begin_stop(*by, reason, event.time);
            }
            EventKind::RunSucceeded { .. } => self.end(event.time, Status::Succeeded),
            EventKind::RunFailed { error } => {
                self.state.error = Some(error.clone());
                self.end(event.time, Status::Failed);
            }
            EventKind::RunCancelled { .. } => self.end(event.time, Status::Cancelled),
            _ => {}
        }
    }

    fn apply_to_task(&mut self, ix: TaskIx, event: &Event) {
        self.state.is_idle &= self.task(ix).status == Status::Waiting;
        if let EventKind::TaskWaiting(_) = event.kind {
            // Lists find the question there.
            self.task_mut(ix).result_seq = Some(event.seq);
        }
        match &event.kind {
            EventKind::TaskStarted {} if event.attempt.is_none() => self.open_group(ix, event.time),
            EventKind::TaskStarted {} => self.begin_attempt(ix, event),
            EventKind::TaskMapped { .. } => self.map(ix, event.time),
            EventKind::LoopIterated { iteration } if self.task(ix).status.is_terminal() => {
                self.go_round(ix, *iteration)
            }
            EventKind::LoopIterated { iteration } => self.iterate(ix, *iteration, event.time),
            EventKind::TaskWaiting(Waiting::Failure { error, lost, usage }) => {
                self.pause(ix, event, error, *lost, *usage);
            }
            EventKind::TaskWaiting(Waiting::Question { question, usage }) => self.ask(ix, event, question, *usage),
            EventKind::TaskWaiting(waiting) => self.begin_waiting(ix, waiting, event.time),
            EventKind::TaskSignaled { data, .. } => {
                self.state.is_idle = false;
                self.grant(ix, data);
                match self.task(ix).waiting {
                    Some(Waiting::Question { .. }) => self.take_answers(ix, data),
                    _ => self.resume(ix, data, event.time),
                }
            }
            EventKind::TaskRetrying { error, due, lost, usage } => {
                self.end_attempt(ix, event, *usage);
                if !self.is_waited_out(ix, error, *lost) {
                    self.count_failure(ix, *lost);
                }
                self.weigh_answers(ix, error, *lost);
                let task = self.task_mut(ix);
                task.status = Status::Pending;
                task.error = Some(error.clone());
                task.due = Some(*due);
                self.state.delayed.insert((*due, ix));
            }
            EventKind::TaskSucceeded { output, usage, reused_from, .. } => {
                self.end_attempt(ix, event, *usage);
                self.task_mut(ix).error = None;
                self.end_task(ix, event.time, Status::Succeeded);
                self.keep_output(ix, output);
                if reused_from.is_some() && !planted!(ReusedLoopsGoRound) {
                    // The loop that it ends has come to its end in the other run.
                    self.pass_on(ix);
                } else {
                    self.tell(ix, event.time);
                }
            }
            EventKind::TaskFailed { error, lost, continue_with, usage } => {
                self.end_attempt(ix, event, *usage);
                self.count_failure(ix, *lost);
                self.weigh_answers(ix, error, *lost);
                self.fail_task(ix, event.time, error, continue_with.as_ref());
                self.tell(ix, event.time);
                self.weigh(ix);
            }
            EventKind::TaskSkipped { reason } => {
                self.end_attempt(ix, event, Usage::default());
                self.end_task(ix, event.time, Status::Skipped);
                if reason.code == SkipCode::JoinNeverHolds {
                    self.note_failure(ix);
                }
                if !planted!(ForgetsSkipCascade) {
                    self.tell(ix, event.time);
                }
                self.stop_handling(ix);
            }
            EventKind::TaskCancelled { usage } => {
                self.end_attempt(ix, event, *usage);
                self.end_task(ix, event.time, Status::Cancelled);
                self.close_stopped(ix);
            }
            _ => {}
        }
    }

    fn begin_attempt(&mut self, ix: TaskIx, event: &Event) {
        self.state.ready.remove(&ix);
        if let Some(due) = self.task_mut(ix).due.take() {
            self.state.delayed.remove(&(due, ix));
        }
        let timeout = self.node_of(ix).timeout;
        self.begin(ix, event.time);
        let task = self.task_mut(ix);
        task.attempt = event.attempt.unwrap_or_else(|| task.attempt + 1);
        task.timeout_at = timeout.map(|span| event.time.plus(span));
        let attempt_end = task.timeout_at.filter(|_| !planted!(LosesTimeouts));
        self.state.timers.extend(attempt_end.map(|time| (time, Timer::Attempt(ix))));
        self.state.running.insert(ix);
    }

    /// A task is under way, for the first time or again. Its deadline counts from the first, and is that of its
    /// outermost layer.
    pub(super) fn begin(&mut self, ix: TaskIx, now: Timestamp) {
        let deadline = self.node_of(ix).deadline.filter(|_| self.is_member(ix));
        let task = self.task_mut(ix);
        task.status = Status::Running;
        task.started_at.get_or_insert(now);
        if task.deadline_at.is_none() {
            task.deadline_at = deadline.map(|span| now.plus(span));
            let deadline_at = task.deadline_at;
            self.state.timers.extend(deadline_at.map(|time| (time, Timer::Deadline(ix))));
        }
    }

    /// What every answer about a task does, whether or not an attempt was under way.
    pub(super) fn end_attempt(&mut self, ix: TaskIx, event: &Event, usage: Usage) {
        self.state.running.remove(&ix);
        self.state.awaiting.remove(&ix);
        self.state.waiting.remove(&ix);
        self.state.usage += usage;
        let task = self.task_mut(ix);
        if let Some(due) = task.waiting.take().and_then(|waiting| waiting.due()) {
            self.state.timers.remove(&(due, Timer::Wait(ix)));
        }
        let task = self.task_mut(ix);
        task.usage += usage;
        task.result_seq = Some(event.seq);
        if planted!(TimesOutWhatHasEnded) && matches!(event.kind, EventKind::TaskSucceeded { .. }) {
            return;
        }
        if let Some(time) = task.timeout_at.take().filter(|&time| event.time >= time || !planted!(KeepsOldTimers)) {
            self.state.timers.remove(&(time, Timer::Attempt(ix)));
        }
    }

    pub(super) fn count_failure(&mut self, ix: TaskIx, lost: Option<Loss>) {
        let task = self.task_mut(ix);
        match lost {
            None | Some(Loss::Worker) => task.failures += 1,
            Some(Loss::Engine) if planted!(CountsEngineLosses) => task.failures += 1,
            Some(Loss::Engine) => task.engine_losses += 1,
            Some(Loss::Drained) => {}
        }
    }

    fn fail_task(&mut self, ix: TaskIx, time: Timestamp, error: &TaskError, continue_with: Option<&Payload>) {
        self.task_mut(ix).error = Some(error.clone());
        self.end_task(ix, time, Status::Failed);
        if let Some(output) = continue_with {
            self.task_mut(ix).continues = true;
            self.keep_output(ix, output);
        }
    }

    fn end_task(&mut self, ix: TaskIx, time: Timestamp, status: Status) {
        self.unschedule(ix);
        match self.task(ix).parent {
            None => {
                let scope = self.task(ix).scope;
                self.scope_mut(scope).open -= 1;
            }
            Some(whole) => {
                if let Some(Parts::Instances { open, .. }) = &mut self.task_mut(whole).parts {
                    *open -= 1;
                }
            }
        }
        let task = self.task_mut(ix);
        task.status = status;
        task.finished_at = Some(time);
        task.resume = None;
    }

    fn keep_output(&mut self, ix: TaskIx, output: &Payload) {
        let task = self.task_mut(ix);
        // The parts of a task are read by it, once.
        task.output = (task.readers > 0 || task.parent.is_some()).then(|| output.clone());
        self.drop_parts(ix);
    }

    pub(super) fn go_live(&mut self, now: Timestamp) {
        self.state.phase = Phase::Live;
        let timeout = self.plan.timeout.filter(|_| !planted!(LosesRunTimeout));
        self.state.timers.extend(timeout.map(|span| (now.plus(span), Timer::Run)));
    }

    fn end(&mut self, time: Timestamp, status: Status) {
        self.state.phase = Phase::Ended(status);
        self.state.finished_at = Some(time);
        self.state.timers.clear();
    }
}
