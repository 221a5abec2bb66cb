//! Rounds of a loop: which edge sends it round, and what starts over.

use std::collections::BTreeSet;

use super::{Run, TaskIx};
use crate::{
    event::{Event, EventKind},
    expr::ExprError,
    outcome::Usage,
    payload::Payload,
    plan::LoopBack,
    status::Status,
    time::Timestamp,
};

impl Run {
    /// A loop goes round: what still runs in its body belongs to the old round.
    pub(super) fn next_round(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        let plan = self.plan.clone();
        let Some(back) = &plan.node(self.task(ix).node).loop_back else { return };
        for &node in &back.body {
            let inside = self.sibling(ix, node);
            self.cancel_parts(events, inside, now);
            if !self.task(inside).status.is_terminal() && !planted!(RoundsLeaveOldTasks) {
                let attempt = self.is_alive(inside).then_some(self.task(inside).attempt);
                self.record_about(events, now, inside, attempt, EventKind::TaskCancelled { usage: Usage::default() });
            }
        }
        let iteration = self.task(ix).round + 1;
        self.record_about(events, now, ix, None, EventKind::LoopIterated { iteration });
    }

    /// The loop that ends at this task, if it is to go round again.
    pub(super) fn goes_round(&self, ix: TaskIx) -> bool {
        let Some(back) = &self.node_of(ix).loop_back else { return false };
        let task = self.task(ix);
        task.status == Status::Succeeded
            && task.round < back.most + u32::from(planted!(OneRoundTooMany))
            && matches!(self.wants_round(ix, back, None), Ok(true))
    }

    /// Does the condition of the loop edge hold? `output` stands for a result that is not recorded yet.
    pub(super) fn wants_round(&self, ix: TaskIx, back: &LoopBack, output: Option<&Payload>) -> Result<bool, ExprError> {
        let Some(when) = back.when.as_ref().filter(|_| !planted!(LoopsUnconditionally)) else { return Ok(true) };
        let mut scope = self.scope_for(ix, when.references());
        if let Some(value) = output.and_then(Payload::value) {
            let own = &self.node_of(ix).id;
            for (_, view) in scope.nodes.iter_mut().filter(|(id, _)| id == own) {
                (view.output, view.status) = (value.clone(), Status::Succeeded);
            }
        }
        when.is_true(&scope)
    }

    /// `loop.iterated` of a loop edge: every task of the body starts over.
    pub(super) fn go_round(&mut self, ix: TaskIx, round: u32) {
        self.state.verdicts.remove(&ix);
        let plan = self.plan.clone();
        let plan_node = self.task(ix).node;
        let Some(back) = &plan.node(plan_node).loop_back else { return };
        let body: BTreeSet<TaskIx> = back.body.iter().map(|&node| self.sibling(ix, node)).collect();
        let scope = self.task(ix).scope;
        for &inside in &body {
            if self.task(inside).status.is_terminal() {
                self.scope_mut(scope).open += 1;
            }
            self.forget_failure(inside);
            self.forget_edges(inside);
            let node = plan.node(self.task(inside).node);
            self.task_mut(inside).reset(node);
            // A loop inside this one begins again.
            let is_own = node.loop_end == Some(plan_node) || planted!(InnerLoopsGoOn);
            self.task_mut(inside).round = if is_own { round } else { 1 };
            self.note_restart(inside);
            self.task_mut(inside).laps += 1;
            self.state.ready.remove(&inside);
            self.state.verdicts.remove(&inside);
        }
        for &inside in &body {
            self.recount(inside);
            self.weigh_dependencies(inside);
        }
        for &inside in &body {
            self.decide(inside);
        }
    }
}
