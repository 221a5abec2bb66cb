//! A run that takes over results of an earlier one.

use std::collections::BTreeMap;

use super::{Run, TaskIx, join::Verdict, scope::ScopeIx};
use crate::{
    event::{Event, EventKind, RunCreated},
    ids::{RunId, TaskId},
    outcome::Usage,
    payload::Payload,
    plan::Plan,
    status::Status,
    time::Timestamp,
};

impl Run {
    /// As [`Run::create`], for a run that takes over results of `created.rerun_of`: the tasks of the workflow's own nodes
    /// that are named in `taken` have theirs in the moment in which they would begin, all in these first facts. A loop is
    /// taken over as a whole or not at all. What is named in `taken` and never begins (its branch is not taken any more)
    /// is not used.
    pub fn create_from(
        plan: std::sync::Arc<Plan>,
        id: RunId,
        created: RunCreated,
        taken: BTreeMap<TaskId, Payload>,
        now: Timestamp,
    ) -> (Self, Vec<Event>) {
        let from = created.rerun_of.filter(|_| !planted!(ForgetsWhoseResultsTheyAre)).unwrap_or(id);
        let mut run = Self::empty(plan, id, created.clone(), now);
        let mut events = Vec::with_capacity(2 + taken.len());
        let mut taken = run.takeable(taken);
        run.record(&mut events, now, EventKind::RunCreated(created));
        run.record(&mut events, now, EventKind::RunStarted {});
        // What has begun is taken before anything follows from it, so that no task that is taken ever runs.
        let mut begun: Vec<TaskIx> = run.scope(ScopeIx::ROOT).members().rev().collect();
        loop {
            let next = match begun.pop() {
                Some(ix) if !run.begins(ix) => continue,
                Some(ix) => {
                    let Some(output) = taken.remove(&ix) else { continue };
                    let (usage, warnings, reused_from) = (Usage::default(), Vec::new(), Some(from));
                    let kind = EventKind::TaskSucceeded { output, usage, warnings, reused_from };
                    run.record_about(&mut events, now, ix, None, kind);
                    ix
                }
                None => match run.follow_up_once(&mut events, now) {
                    Some(ix) => ix,
                    None => break,
                },
            };
            let goes_on = !planted!(ReusesOnlyTheFirst);
            if goes_on
                && run.task(next).status.is_terminal()
                && run.task(next).scope == ScopeIx::ROOT
                && run.is_member(next)
            {
                begun.extend(run.node_of(next).dependents.iter().rev().map(|edge| run.sibling(next, edge.to)));
            }
        }
        run.settle(&mut events, now);
        (run, events)
    }

    fn takeable(&self, taken: BTreeMap<TaskId, Payload>) -> BTreeMap<TaskIx, Payload> {
        let mut taken: BTreeMap<TaskIx, Payload> =
            taken.into_iter().filter_map(|(task, output)| Some((self.find(&task)?, output))).collect();
        taken.retain(|&ix, _| self.task(ix).scope == ScopeIx::ROOT);
        let mut again = self.broken_loops(&taken);
        while !again.is_empty() {
            // What rests on a loop that runs again does so too.
            while let Some(ix) = again.pop() {
                taken.remove(&ix);
                let below = self.node_of(ix).dependents.iter().map(|edge| self.sibling(ix, edge.to));
                again.extend(below.filter(|below| taken.contains_key(below)));
            }
            again = self.broken_loops(&taken);
        }
        taken
    }

    /// The tasks of those loops of which a part is taken over, and not the whole.
    fn broken_loops(&self, taken: &BTreeMap<TaskIx, Payload>) -> Vec<TaskIx> {
        let mut found = Vec::new();
        for ix in self.scope(ScopeIx::ROOT).members() {
            let Some(back) = &self.node_of(ix).loop_back else { continue };
            let body = back.body.iter().map(|&node| self.sibling(ix, node));
            let some = body.clone().any(|inside| taken.contains_key(&inside));
            if some && !planted!(ReusesPartsOfLoops) && !body.clone().all(|inside| taken.contains_key(&inside)) {
                found.extend(body);
            }
        }
        found
    }

    /// Is it this task's turn, and has nothing come of it yet?
    fn begins(&self, ix: TaskIx) -> bool {
        self.task(ix).status == Status::Pending
            && match self.state.verdicts.get(&ix) {
                Some(verdict) => {
                    matches!(verdict, Verdict::Map(_) | Verdict::Iterate | Verdict::Open | Verdict::Wait)
                }
                None => self.state.ready.contains(&ix),
            }
    }
}
