//! Folding facts: the only code that changes a run's state.

use super::{
    Phase, Run, TaskIx, Timer,
    join::{Counts, Decision, EdgeEnd, Verdict},
    params_of,
};
use crate::{
    event::{Event, EventKind, SkipCode},
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
                for ix in self.arena() {
                    if self.node_of(ix).incoming.is_empty() {
                        self.decide(ix);
                    }
                }
            }
            EventKind::RunReopened {} => self.reopen(event.time),
            EventKind::RunCancelling { .. } if planted!(GoesOnAfterCancel) => {}
            EventKind::RunCancelling { by, reason } => {
                self.state.phase = Phase::Stopping { by: *by, reason: reason.clone() };
                self.state.timers.clear();
                self.state.ready.clear();
                self.state.delayed.clear();
                self.state.verdicts.clear();
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
        match &event.kind {
            EventKind::TaskStarted {} => self.begin_attempt(ix, event),
            EventKind::TaskRetrying { error, due, lost, usage } => {
                self.end_attempt(ix, event, *usage);
                self.count_failure(ix, *lost);
                let task = self.task_mut(ix);
                task.status = Status::Pending;
                task.error = Some(error.clone());
                task.due = Some(*due);
                self.state.delayed.insert((*due, ix));
            }
            EventKind::TaskSucceeded { output, usage, .. } => {
                self.end_attempt(ix, event, *usage);
                self.task_mut(ix).error = None;
                self.end_task(ix, event.time, Status::Succeeded);
                self.keep_output(ix, output);
                self.tell_dependents(ix);
            }
            EventKind::TaskFailed { error, lost, continue_with, usage } => {
                self.end_attempt(ix, event, *usage);
                self.count_failure(ix, *lost);
                self.fail_task(ix, event.time, error, continue_with.as_ref());
                self.tell_dependents(ix);
            }
            EventKind::TaskSkipped { reason } => {
                self.end_attempt(ix, event, Usage::default());
                self.end_task(ix, event.time, Status::Skipped);
                if reason.code == SkipCode::JoinNeverHolds {
                    self.state.failures.push(ix);
                }
                if !planted!(ForgetsSkipCascade) {
                    self.tell_dependents(ix);
                }
            }
            EventKind::TaskCancelled { usage } => {
                self.end_attempt(ix, event, *usage);
                self.end_task(ix, event.time, Status::Cancelled);
            }
            _ => {}
        }
    }

    fn begin_attempt(&mut self, ix: TaskIx, event: &Event) {
        self.state.ready.remove(&ix);
        if let Some(due) = self.task_mut(ix).due.take() {
            self.state.delayed.remove(&(due, ix));
        }
        let (timeout, deadline) = (self.node_of(ix).timeout, self.node_of(ix).deadline);
        let task = self.task_mut(ix);
        task.status = Status::Running;
        task.attempt = event.attempt.unwrap_or(task.attempt + 1);
        task.started_at.get_or_insert(event.time);
        task.timeout_at = timeout.map(|span| event.time.plus(span));
        let is_first = task.deadline_at.is_none();
        if is_first {
            task.deadline_at = deadline.map(|span| event.time.plus(span));
        }
        let (timeout_at, deadline_at) = (task.timeout_at, task.deadline_at);
        let attempt_end = timeout_at.filter(|_| !planted!(LosesTimeouts));
        self.state.timers.extend(attempt_end.map(|time| (time, Timer::Attempt(ix))));
        if is_first {
            self.state.timers.extend(deadline_at.map(|time| (time, Timer::Deadline(ix))));
        }
        self.state.running.insert(ix);
    }

    /// What every answer about a task does, whether or not an attempt was under way.
    fn end_attempt(&mut self, ix: TaskIx, event: &Event, usage: Usage) {
        self.state.running.remove(&ix);
        self.state.usage += usage;
        let task = self.task_mut(ix);
        task.usage += usage;
        task.result_seq = Some(event.seq);
        if let Some(time) = task.timeout_at.take().filter(|_| !planted!(KeepsOldTimers)) {
            self.state.timers.remove(&(time, Timer::Attempt(ix)));
        }
    }

    fn count_failure(&mut self, ix: TaskIx, lost: Option<Loss>) {
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
        match continue_with {
            Some(output) => {
                self.task_mut(ix).continues = true;
                self.keep_output(ix, output);
            }
            None => self.state.failures.push(ix),
        }
        if planted!(ContinueCountsAsFailure) {
            self.state.failures.push(ix);
        }
    }

    fn end_task(&mut self, ix: TaskIx, time: Timestamp, status: Status) {
        self.state.verdicts.remove(&ix);
        self.state.ready.remove(&ix);
        self.state.open -= 1;
        let task = self.task_mut(ix);
        task.status = status;
        task.finished_at = Some(time);
        let (due, deadline_at) = (task.due.take(), task.deadline_at);
        if let Some(due) = due {
            self.state.delayed.remove(&(due, ix));
        }
        if let Some(deadline_at) = deadline_at {
            self.state.timers.remove(&(deadline_at, Timer::Deadline(ix)));
        }
    }

    fn keep_output(&mut self, ix: TaskIx, output: &Payload) {
        let task = self.task_mut(ix);
        task.output = (task.readers > 0).then(|| output.clone());
    }

    /// A task whose result stays reads nothing any more. Values without readers are dropped. (A task that failed or was
    /// cancelled may still read: the run can be reopened.)
    fn release_reads(&mut self, ix: TaskIx) {
        if !self.task(ix).is_kept() {
            return;
        }
        let plan = self.plan.clone();
        for &read in &plan.node(self.task(ix).node).reads {
            let task = self.task_mut(Self::sibling(ix, read));
            task.readers -= 1;
            if task.readers == 0 {
                task.output = None;
            }
        }
    }

    /// Adds the outcome of `ix` to the counters of each dependent, and decides those that it decides. While the run is
    /// being stopped nobody is told; reopening makes up for it.
    fn tell_dependents(&mut self, ix: TaskIx) {
        if self.state.phase != Phase::Live {
            return;
        }
        self.count_for_dependents(ix);
        let plan = self.plan.clone();
        for edge in &plan.node(self.task(ix).node).dependents {
            self.decide(Self::sibling(ix, edge.to));
        }
    }

    fn count_for_dependents(&mut self, ix: TaskIx) {
        self.task_mut(ix).told = true;
        if planted!(DropsValuesTooEarly) {
            self.task_mut(ix).output = None;
        }
        let plan = self.plan.clone();
        for edge in &plan.node(self.task(ix).node).dependents {
            let to = Self::sibling(ix, edge.to);
            let is_asked = self.task(ix).status != Status::Skipped && !planted!(IgnoresEdgeConditions);
            let when = edge.when.as_ref().filter(|_| is_asked);
            let untaken = match when.map(|when| self.is_true(when, ix)) {
                None | Some(Ok(true)) => None,
                Some(Ok(false)) => Some(None),
                Some(Err(error)) => {
                    let place = format!("the condition of the edge from `{}`", self.task_id(ix));
                    Some(Some(Box::new(self.no_answer(to, &place, &error))))
                }
            };
            let end = if untaken.is_some() { EdgeEnd::Skipped } else { self.edge_end(ix) };
            self.state.untaken.extend(untaken.map(|why| ((to, ix), why)));
            self.task_mut(to).counts.add(end);
        }
        self.release_reads(ix);
    }

    pub(super) fn edge_end(&self, ix: TaskIx) -> EdgeEnd {
        match self.task(ix).status {
            Status::Succeeded => EdgeEnd::Succeeded,
            Status::Failed if self.task(ix).continues => EdgeEnd::Succeeded,
            Status::Failed => EdgeEnd::Failed,
            _ => EdgeEnd::Skipped,
        }
    }

    /// Looks at a task's join, and at its condition once the join holds. A task is decided once: what comes later (an edge
    /// whose condition cannot be evaluated, after `any_success` has fired) changes nothing.
    fn decide(&mut self, ix: TaskIx) {
        let task = self.task(ix);
        let untouched = task.status == Status::Pending && task.due.is_none();
        if !untouched || self.state.verdicts.contains_key(&ix) || self.state.ready.contains(&ix) {
            return;
        }
        let edges = self.state.untaken.range((ix, TaskIx(0))..=(ix, TaskIx(u32::MAX)));
        if let Some(why) = edges.filter_map(|(_, why)| why.as_deref()).next() {
            let verdict = Verdict::Fail(why.clone());
            self.state.verdicts.insert(ix, verdict);
            return;
        }
        match self.task(ix).counts.decide(self.node_of(ix).join) {
            Decision::Waits => {}
            Decision::Skips(code) => {
                let reason = self.skip_reason(ix, code);
                self.state.verdicts.insert(ix, Verdict::Skip(reason));
            }
            Decision::Fires => self.decide_condition(ix),
        }
    }

    fn decide_condition(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let Some(when) = &plan.node(self.task(ix).node).when else {
            self.state.ready.insert(ix);
            return;
        };
        match self.is_true(when, ix) {
            Ok(true) => {
                self.state.ready.insert(ix);
            }
            Ok(false) => {
                let reason = self.skip_reason(ix, SkipCode::When);
                self.state.verdicts.insert(ix, Verdict::Skip(reason));
            }
            Err(error) => {
                let verdict = Verdict::Fail(self.no_answer(ix, "`when`", &error));
                self.state.verdicts.insert(ix, verdict);
            }
        }
    }

    fn go_live(&mut self, now: Timestamp) {
        self.state.phase = Phase::Live;
        let timeout = self.plan.timeout.filter(|_| !planted!(LosesRunTimeout));
        self.state.timers.extend(timeout.map(|span| (now.plus(span), Timer::Run)));
    }

    fn end(&mut self, time: Timestamp, status: Status) {
        self.state.phase = Phase::Ended(status);
        self.state.finished_at = Some(time);
        self.state.timers.clear();
    }

    /// What has no result that stays starts over. Costs the graph once.
    fn reopen(&mut self, now: Timestamp) {
        let plan = self.plan.clone();
        self.state.finished_at = None;
        self.state.error = None;
        self.state.failures.clear();
        self.go_live(now);
        for ix in self.arena() {
            if !self.task(ix).is_kept() || (planted!(ReopenRunsSuccessesAgain) && self.task(ix).attempt > 0) {
                let node = plan.node(self.task(ix).node);
                self.task_mut(ix).reset(node);
                self.task_mut(ix).attempt *= u32::from(!planted!(ReopenForgetsAttempts));
                self.state.open += 1;
            }
        }
        let told: Vec<bool> = self.state.tasks.iter().map(|task| task.told).collect();
        self.state.untaken.retain(|(_, from), _| told[from.index()]);
        for ix in self.arena() {
            self.recount(ix);
        }
        for ix in self.arena() {
            if self.task(ix).is_kept() && !told[ix.index()] {
                self.count_for_dependents(ix);
            }
        }
        for ix in self.arena() {
            self.decide(ix);
        }
    }

    /// Counts what is known of a task's dependencies when the run is reopened: those whose result stays.
    fn recount(&mut self, ix: TaskIx) {
        let plan = self.plan.clone();
        let incoming = &plan.node(self.task(ix).node).incoming;
        let mut counts = Counts::of(incoming.len());
        for edge in incoming {
            let from = Self::sibling(ix, edge.from);
            match self.task(from).told {
                true if self.state.untaken.contains_key(&(ix, from)) => counts.add(EdgeEnd::Skipped),
                true => counts.add(EdgeEnd::Succeeded),
                false => {}
            }
        }
        self.task_mut(ix).counts = counts;
    }

    pub(super) fn arena(&self) -> impl Iterator<Item = TaskIx> + use<> {
        (0..u32::try_from(self.state.tasks.len()).expect("fits: see Plan::compile")).map(TaskIx)
    }
}
