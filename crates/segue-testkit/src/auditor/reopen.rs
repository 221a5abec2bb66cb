//! Reopening, and going on after a pause: what has no result that stays starts over.

use segue_core::status::Status;

use super::{
    Auditor, Phase,
    graph::MAIN,
    join::Decision,
    stage::Stage,
    step::Round,
    tree::{Layer, Parts},
};

impl Auditor {
    /// The run starts over with what has not succeeded.
    pub(super) fn reopen(&mut self) {
        self.phase = Phase::Live;
        (self.cancelling, self.finally_until, self.fatal) = (None, None, None);
        (self.stage, self.stopping, self.has_failed, self.idle) = (Stage::Main, false, false, false);
        self.began_at = self.time;
        for scope in self.tops().filter(|&scope| scope != MAIN) {
            self.rewind(scope);
        }
        self.revive(&self.scopes[MAIN].tasks.clone());
    }

    /// The later stages run again from their beginning.
    fn rewind(&mut self, scope: usize) {
        for ix in self.scopes[scope].tasks.clone() {
            self.forget_parts(ix);
            self.tasks[ix].reset();
            self.tasks[ix].edges.clear();
        }
    }

    /// Of these tasks, and what is inside them, all that has no result that stays starts over; what has parts goes on
    /// with those that are left. An instance that has parts does so when it is its turn.
    pub(super) fn revive(&mut self, tasks: &[usize]) {
        let mut members = Vec::new();
        for &ix in tasks {
            self.revive_task(ix, &mut members);
        }
        // What was found about the edges of a task that keeps its result stays found. Nobody looked at those of a task
        // that succeeded while the run was being stopped.
        for &ix in &members {
            let (scope, incoming) = (self.tasks[ix].scope, self.node(ix).incoming.clone());
            let edges = self.tasks[ix].edges.clone().into_iter();
            let kept = edges.filter(|(at, _)| self.tasks[self.member(scope, incoming[*at].from)].status.is_terminal());
            self.tasks[ix].edges = kept.collect();
        }
        for &ix in &members {
            if std::mem::take(&mut self.tasks[ix].unfollowed) {
                self.tasks[ix].again = self.round(ix, &self.output(ix)) == Round::Again;
                if !self.tasks[ix].again {
                    self.follow_edges(ix);
                }
            }
        }
    }

    fn revive_task(&mut self, ix: usize, members: &mut Vec<usize>) {
        if self.is_member(ix) {
            members.push(ix);
        }
        if self.tasks[ix].is_kept() {
            return;
        }
        if self.tasks[ix].parts == Parts::None {
            self.tasks[ix].reset();
            self.tasks[ix].decision = if self.is_iteration(ix) { Decision::Run } else { Decision::Open };
            return;
        }
        let now = self.time;
        let task = &mut self.tasks[ix];
        task.status = Status::Running;
        (task.error, task.waiting, task.answer) = (None, None, None);
        (task.first_started, task.deadline_from, task.started) = (Some(now), Some(now), now);
        task.decision = Decision::Run;
        for part in self.parts(ix) {
            let task = &self.tasks[part];
            if task.layer == Layer::Map || task.is_kept() || task.parts == Parts::None || !self.is_instance(part) {
                self.revive_task(part, members);
            } else {
                let task = &mut self.tasks[part];
                (task.status, task.error, task.decision) = (Status::Pending, None, Decision::Open);
            }
        }
    }
}
