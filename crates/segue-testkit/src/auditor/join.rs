//! When a task may run: joins and conditions, counted afresh from the edges each time.

use segue_core::{event::SkipCode, ids::NodeId, spec::Join, status::Status};
use serde_json::Value;

use super::{
    Auditor, Phase,
    condition::Scope,
    tree::{Layer, Parts, Task},
};

/// What has become of an edge, once its source has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Succeeded,
    Failed,
    Skipped,
    /// Its condition could not be evaluated.
    Broken(String),
}

/// What has been decided about a task. A decision, once made, stays: all that it rests on has ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Decision {
    #[default]
    Open,
    Run,
    /// With the dependency that decided it, where there is exactly one that can be meant.
    Skip(SkipCode, Vec<NodeId>),
    /// A condition on the way cannot be evaluated: the task fails.
    Broken(String),
}

enum Verdict {
    Open,
    Fires,
    Never(SkipCode),
}

fn verdict(join: Join, edges: usize, fates: &[&Fate]) -> Verdict {
    if edges == 0 {
        return Verdict::Fires;
    }
    let count = |wanted: &Fate| fates.iter().filter(|fate| **fate == wanted).count();
    let (succeeded, failed, skipped) = (count(&Fate::Succeeded), count(&Fate::Failed), count(&Fate::Skipped));
    let over = fates.len() == edges;
    match join {
        Join::NoFailure | Join::AllSuccess if failed > 0 => Verdict::Never(SkipCode::UpstreamFailed),
        Join::AnySuccess if succeeded > 0 => Verdict::Fires,
        Join::AnyFailure if failed > 0 => Verdict::Fires,
        _ if !over => Verdict::Open,
        Join::AllDone => Verdict::Fires,
        Join::NoFailure if succeeded > 0 => Verdict::Fires,
        Join::AllSuccess if succeeded == edges => Verdict::Fires,
        Join::AllSuccess if succeeded > 0 => Verdict::Never(SkipCode::JoinNeverHolds),
        Join::AnyFailure if succeeded > 0 => Verdict::Never(SkipCode::NothingFailed),
        Join::AnySuccess if failed > 0 => Verdict::Never(SkipCode::UpstreamFailed),
        _ => {
            debug_assert_eq!(skipped, edges, "nothing but skipped dependencies is left");
            Verdict::Never(SkipCode::NotReached)
        }
    }
}

impl Auditor {
    /// Decides about every task about which nothing has been decided.
    pub(super) fn decide(&mut self) {
        if self.phase != Phase::Live || self.stopping {
            return;
        }
        for ix in 0..self.tasks.len() {
            let task = &self.tasks[ix];
            if !task.gone && task.decision == Decision::Open && self.is_member(ix) && self.is_active(ix) {
                self.tasks[ix].decision = self.decision(ix);
                if self.tasks[ix].decision == Decision::Run && self.tasks[ix].layer == Layer::Map {
                    self.tasks[ix].items = Some(self.items(ix));
                }
            }
            self.begin_instances(ix);
        }
    }

    /// Instances begin in order, `parallelism` of them at once.
    fn begin_instances(&mut self, ix: usize) {
        let task = &self.tasks[ix];
        if task.gone || task.status != Status::Running || task.decision != Decision::Run || !self.is_active(ix) {
            return;
        }
        let Parts::Instances { tasks, .. } = &task.parts else { return };
        // One that was cancelled shows that the whole is ending.
        if tasks.iter().any(|&part| self.tasks[part].status == Status::Cancelled) {
            return;
        }
        let open: Vec<usize> = tasks.iter().copied().filter(|&part| !self.tasks[part].status.is_terminal()).collect();
        let begun = open.iter().filter(|&&part| self.tasks[part].decision == Decision::Run).count();
        let room = self.node(ix).parallelism.saturating_sub(begun);
        let next = open.into_iter().filter(|&part| self.tasks[part].decision == Decision::Open).take(room);
        for part in next.collect::<Vec<_>>() {
            self.tasks[part].decision = Decision::Run;
            if self.tasks[part].parts != Parts::None {
                self.revive(&[part]);
            }
        }
    }

    fn decision(&self, ix: usize) -> Decision {
        let (node, task) = (self.node(ix), &self.tasks[ix]);
        let fates: Vec<&Fate> = task.edges.values().collect();
        if let Some(Fate::Broken(why)) = fates.iter().find(|fate| matches!(fate, Fate::Broken(_))) {
            return Decision::Broken(why.clone());
        }
        match verdict(node.join, node.incoming.len(), &fates) {
            Verdict::Open => Decision::Open,
            Verdict::Never(code) => Decision::Skip(code, self.blamed(ix, code)),
            Verdict::Fires => match node.when.as_deref().map(|when| self.scope_of(ix).is_true(when)) {
                None | Some(Ok(true)) => Decision::Run,
                Some(Ok(false)) => Decision::Skip(SkipCode::When, Vec::new()),
                Some(Err(why)) => Decision::Broken(why),
            },
        }
    }

    /// The dependencies that can be named as the reason for a skip.
    fn blamed(&self, ix: usize, code: SkipCode) -> Vec<NodeId> {
        let wanted = match code {
            SkipCode::UpstreamFailed => Fate::Failed,
            SkipCode::NotReached | SkipCode::JoinNeverHolds => Fate::Skipped,
            SkipCode::When => return Vec::new(),
            SkipCode::NothingFailed => Fate::Succeeded,
        };
        let edges = self.tasks[ix].edges.iter().filter(|(_, fate)| **fate == wanted);
        edges.map(|(&at, _)| self.graph.nodes[self.node(ix).incoming[at].from].id.clone()).collect()
    }

    /// A member has ended: what does that make of the edges that leave it?
    pub(super) fn follow_edges(&mut self, from: usize) {
        let (node, scope) = (self.tasks[from].node, self.tasks[from].scope);
        let leaving: Vec<(usize, usize)> = self.graph.leaving(node).collect();
        for (to, at) in leaving {
            let fate = self.fate(from, self.graph.nodes[to].incoming[at].when.as_deref());
            let to = self.member(scope, to);
            if let Some(fate) = fate {
                self.tasks[to].edges.insert(at, fate);
            }
        }
    }

    fn fate(&self, from: usize, when: Option<&str>) -> Option<Fate> {
        let task: &Task = &self.tasks[from];
        let outcome = match task.status {
            Status::Succeeded => Fate::Succeeded,
            Status::Failed if task.continued => Fate::Succeeded,
            Status::Failed => Fate::Failed,
            Status::Skipped => return Some(Fate::Skipped),
            // A cancelled task decides nothing: what it is in is ending.
            _ => return None,
        };
        Some(match when.map(|when| self.scope_of(from).is_true(when)) {
            None | Some(Ok(true)) => outcome,
            Some(Ok(false)) => Fate::Skipped,
            Some(Err(why)) => Fate::Broken(why),
        })
    }

    /// What a member with `any_failure` is about: the first failure of its dependencies.
    pub(super) fn failure_before(&self, ix: usize) -> Value {
        let sources = self.node(ix).incoming.iter().map(|edge| self.member(self.tasks[ix].scope, edge.from));
        let failed = sources.filter(|&from| self.tasks[from].status == Status::Failed && !self.tasks[from].continued);
        let first = failed.min_by_key(|&from| self.tasks[from].ended_seq);
        first.map_or(Value::Null, |first| self.error_value(first))
    }

    /// What the expressions of a task see.
    pub(super) fn scope_of(&self, ix: usize) -> Scope<'_> {
        Scope { auditor: self, scope: self.tasks[ix].scope, task: Some(ix), result: None, extra: Vec::new() }
    }
}
