//! What a task's state asks for next: what a commit may not leave undone.

use segue_core::{ids::NodeId, spec::OnExhausted, status::Status, time::Timestamp};
use serde_json::Value;

use super::{
    Auditor, Phase, Rule, Violation,
    graph::{MAIN, Work},
    join::Decision,
    stage::Stage,
    tree::{Layer, Parts},
};

/// The next thing that a task does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing by itself.
    Nothing,
    /// Its next attempt may start, once its pause is over.
    Attempt,
    Skip,
    /// A condition on the way to it cannot be evaluated.
    Break,
    Map,
    /// Its next iteration begins.
    Iterate,
    /// As above, at this time.
    IterateAt(Timestamp),
    /// The members of its group begin.
    Open,
    /// It asks for an answer, a time, a signal.
    Ask,
    /// Its parts, or its answer, have given it a result.
    Conclude,
    /// The loop that it ends goes round.
    Again,
}

/// Does the loop that ends here go round?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Round {
    Over,
    Again,
    /// It would, and may not: the result is none.
    Exhausted,
    /// Its condition cannot be evaluated: the result is none.
    Broken,
}

impl Auditor {
    pub(super) fn step(&self, ix: usize) -> Step {
        let task = &self.tasks[ix];
        if self.phase != Phase::Live || self.stopping || !self.is_active(ix) {
            return Step::Nothing;
        }
        match (task.status, &task.decision) {
            (Status::Succeeded, _) if task.again => Step::Again,
            (Status::Waiting, _) if task.answer.is_some() => Step::Conclude,
            (Status::Pending, Decision::Skip(..)) => Step::Skip,
            (Status::Pending, Decision::Broken(_)) => Step::Break,
            (Status::Pending, Decision::Run) => match (task.layer, &self.node(ix).work) {
                (Layer::Map, _) => Step::Map,
                (Layer::Repeat, _) => Step::Iterate,
                (Layer::Work, Work::Group(_)) => Step::Open,
                (Layer::Work, Work::Approval(_) | Work::Wait(_)) => Step::Ask,
                (Layer::Work, Work::Attempts | Work::Child(_)) => Step::Attempt,
            },
            (Status::Running, Decision::Run) => self.step_of_whole(ix),
            _ => Step::Nothing,
        }
    }

    fn step_of_whole(&self, ix: usize) -> Step {
        let over = match &self.tasks[ix].parts {
            Parts::None => false,
            Parts::Iteration { current, .. } => return self.step_of_repeat(ix, *current),
            _ => self.parts(ix).iter().all(|&part| self.tasks[part].is_over()),
        };
        if over { Step::Conclude } else { Step::Nothing }
    }

    fn step_of_repeat(&self, ix: usize, last: usize) -> Step {
        let Some(repeat) = &self.node(ix).repeat else { return Step::Nothing };
        let part = &self.tasks[last];
        if !part.status.is_terminal() {
            return Step::Nothing;
        }
        if !part.is_kept() || part.number >= repeat.max_iterations || self.is_enough(last) != Ok(false) {
            return Step::Conclude;
        }
        match repeat.delay_seconds.map(|delay| delay.as_duration()) {
            Some(delay) if !delay.is_zero() => Step::IterateAt(part.ended.plus(delay)),
            _ => Step::Iterate,
        }
    }

    /// `until`, after this iteration. Without it, never.
    pub(super) fn is_enough(&self, iteration: usize) -> Result<bool, String> {
        let Some(until) = self.node(iteration).repeat.as_ref().and_then(|repeat| repeat.until.as_deref()) else {
            return Ok(false);
        };
        let mut scope = self.scope_of(iteration);
        scope.extra.push(("output", self.output(iteration)));
        scope.is_true(until)
    }

    /// What the loop edge of a member means, once it has this result.
    pub(super) fn round(&self, ix: usize, result: &Value) -> Round {
        let Some(back) = self.node(ix).back.as_ref().filter(|_| self.is_member(ix)) else { return Round::Over };
        let scope = super::condition::Scope { result: Some(result), ..self.scope_of(ix) };
        match back.when.as_deref().map_or(Ok(true), |when| scope.is_true(when)) {
            Err(_) => Round::Broken,
            Ok(false) => Round::Over,
            Ok(true) if self.tasks[ix].round < back.most => Round::Again,
            Ok(true) if back.on_exhausted == OnExhausted::Fail => Round::Exhausted,
            Ok(true) => Round::Over,
        }
    }

    pub(super) fn output(&self, ix: usize) -> Value {
        self.tasks[ix].output.as_deref().cloned().unwrap_or_default()
    }

    /// Call it where a commit ends: nothing that follows from its events may be left for later.
    pub fn settled(&self) -> Result<(), Violation> {
        if self.phase == Phase::Created {
            return self.broken(Rule::Settled, "the run was created and not started".into());
        }
        if self.phase != Phase::Live {
            return Ok(());
        }
        for ix in self.current() {
            self.settled_task(ix)?;
        }
        self.check_reused()?;
        if self.is_stage_over() {
            return self.broken(Rule::Settled, "all tasks have ended and the run has not".into());
        }
        let is_main = self.stage == Stage::Main && self.cancelling.is_none();
        if is_main && self.graph.cancel_on_failure && self.first_failure(MAIN).is_some() {
            return self.broken(Rule::Settled, "a failure that nothing handles did not cancel the run".into());
        }
        self.check(self.idle == self.is_quiet(), Rule::Idle, || {
            format!("nothing runs and something waits: {}; the run says {}", self.is_quiet(), self.idle)
        })
    }

    fn settled_task(&self, ix: usize) -> Result<(), Violation> {
        let task = &self.tasks[ix];
        if self.stopping {
            let is_left = self.stage_of(ix) == self.stage && !task.status.is_terminal();
            let open = is_left && !task.is_alive() && !self.has_open_parts(ix);
            return self.check(!open, Rule::Settled, || format!("`{}` was not cancelled with its run", task.id));
        }
        let step = self.step(ix);
        let may_wait = matches!(step, Step::Nothing | Step::Attempt | Step::IterateAt(_));
        self.check(may_wait, Rule::Settled, || format!("`{}` was left although it is to: {step:?}", task.id))?;
        let is_lost = task.status == Status::Cancelled && self.is_active(ix);
        self.check(!is_lost, Rule::Settled, || format!("`{}` was cancelled and what it is in goes on", task.id))?;
        let ends = |around: usize| self.tasks[around].status.is_terminal();
        let outlives = !task.status.is_terminal() && self.containers(ix).any(ends);
        self.check(!outlives, Rule::Outlived, || {
            format!("`{}` is {} in something that has ended", task.id, task.status)
        })
    }

    fn has_open_parts(&self, ix: usize) -> bool {
        self.parts(ix).iter().any(|&part| !self.tasks[part].status.is_terminal())
    }

    /// Does nothing run, nor could start, nor is due again, while something waits?
    pub(super) fn is_quiet(&self) -> bool {
        self.phase == Phase::Live
            && !self.stopping
            && self.running().next().is_none()
            && self.current().any(|ix| self.tasks[ix].status == Status::Waiting)
            && !self.current().any(|ix| self.step(ix) == Step::Attempt)
    }

    pub(super) fn node_id(&self, ix: usize) -> &NodeId {
        &self.node(ix).id
    }
}
