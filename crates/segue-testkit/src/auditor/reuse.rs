//! Results that a run takes over from an earlier one.

use std::collections::BTreeSet;

use segue_core::{
    ids::{RunId, TaskId},
    outcome::Usage,
    status::Status,
};

use super::{Auditor, Rule, Violation, graph::MAIN, step::Step};

impl Auditor {
    /// `task.succeeded` with another run's result: in the moment in which the task would begin, before anything runs.
    pub(super) fn task_reused(
        &self,
        ix: usize,
        attempt: Option<u32>,
        usage: Usage,
        from: RunId,
    ) -> Result<(), Violation> {
        let id = &self.tasks[ix].id;
        self.check(self.rerun_of == Some(from), Rule::Reused, || {
            format!("`{id}` has its result from `{from}`, the run takes over those of {:?}", self.rerun_of)
        })?;
        self.check(self.is_beginning(), Rule::Reused, || {
            format!("`{id}` has an old result when the run is under way")
        })?;
        let is_own = self.is_member(ix) && self.tasks[ix].scope == MAIN;
        self.check(is_own && attempt.is_none() && usage.is_zero(), Rule::Reused, || {
            format!("`{id}` cannot have another run's result, or not with attempt {attempt:?} and {usage:?}")
        })?;
        let step = self.step(ix);
        let would_begin = matches!(step, Step::Attempt | Step::Map | Step::Iterate | Step::Open | Step::Ask);
        self.check(would_begin && self.tasks[ix].status == Status::Pending, Rule::Reused, || {
            format!("`{id}` has an old result: {step:?}")
        })
    }

    /// Nothing has begun but the run.
    fn is_beginning(&self) -> bool {
        self.time == self.created_at && self.cancelling.is_none() && self.tasks.iter().all(|task| task.attempts == 0)
    }

    /// What is taken over rests on what is taken over, and a loop is so as a whole. (What was skipped then is so now.)
    pub(super) fn check_reused(&self) -> Result<(), Violation> {
        if self.rerun_of.is_none() || !self.is_beginning() {
            return Ok(());
        }
        let rests = |node: usize| {
            let task = &self.tasks[self.member(MAIN, node)];
            task.reused || task.status == Status::Skipped
        };
        for &ix in &self.scopes[MAIN].tasks {
            let node = self.node(ix);
            let above = node.incoming.iter().map(|edge| edge.from).find(|&from| self.tasks[ix].reused && !rests(from));
            self.check(above.is_none(), Rule::Reused, || {
                format!("`{}` has an old result, and what it depends on has not", self.tasks[ix].id)
            })?;
            let Some(back) = &node.back else { continue };
            let taken = back.body.iter().any(|&at| self.tasks[self.member(MAIN, at)].reused);
            self.check(!taken || back.body.iter().all(|&at| rests(at)), Rule::Reused, || {
                format!("of the loop that ends at `{}` a part is taken over", self.tasks[ix].id)
            })?;
        }
        Ok(())
    }

    /// Has a whole loop its results from another run?
    pub fn has_reused_loop(&self) -> bool {
        let ends = self.scopes[MAIN].tasks.iter().filter(|&&ix| self.node(ix).back.is_some());
        ends.into_iter().any(|&ix| self.tasks[ix].reused)
    }

    /// Of these tasks those whose results can be taken over: not the parts of loops, nor what rests on such a loop.
    pub fn takeable(&self, tasks: &BTreeSet<TaskId>) -> BTreeSet<TaskId> {
        let members = &self.scopes[MAIN].tasks;
        let mut taken: BTreeSet<usize> =
            members.iter().copied().filter(|&ix| tasks.contains(&self.tasks[ix].id)).collect();
        let mut again = BTreeSet::new();
        loop {
            let before = again.len();
            for back in members.iter().filter_map(|&ix| self.node(ix).back.as_ref()) {
                let body: Vec<usize> = back.body.iter().map(|&at| self.member(MAIN, at)).collect();
                if body.iter().any(|ix| taken.contains(ix)) && !body.iter().all(|ix| taken.contains(ix)) {
                    again.extend(body);
                }
            }
            let rests =
                |ix: usize| self.node(ix).incoming.iter().any(|edge| again.contains(&self.member(MAIN, edge.from)));
            let below: Vec<usize> = taken.iter().copied().filter(|&ix| rests(ix)).collect();
            again.extend(below);
            taken.retain(|ix| !again.contains(ix));
            if again.len() == before {
                return taken.into_iter().map(|ix| self.tasks[ix].id.clone()).collect();
            }
        }
    }
}
