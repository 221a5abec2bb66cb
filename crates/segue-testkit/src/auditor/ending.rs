//! How a run ends, and what stops it.

use segue_core::{
    event::{CancelCause, SkipCode},
    outcome::{ErrorKind, TaskError},
    payload::Payload,
    status::Status,
};
use serde_json::Value;

use super::{
    Auditor, Phase, Rule, Violation,
    graph::MAIN,
    join::{Decision, Fate},
    stage::Stage,
};

impl Auditor {
    pub(super) fn run_cancelling(&mut self, by: CancelCause, reason: &str) -> Result<(), Violation> {
        self.check(!self.stopping, Rule::Cause, || "is being cancelled already".into())?;
        let open = self.current().any(|ix| !self.tasks[ix].status.is_terminal());
        self.check(open, Rule::Cause, || "nothing is left to be cancelled".into())?;
        match by {
            CancelCause::Request => {}
            CancelCause::Deadline => {
                let end = self.run_deadline();
                self.check(end.is_some_and(|end| self.time >= end), Rule::Cause, || {
                    format!("times out before {end:?}")
                })?;
            }
            CancelCause::Failure => {
                let hopeless = self.first_failure(MAIN).filter(|_| self.stage == Stage::Main);
                self.check(self.graph.cancel_on_failure && hopeless.is_some(), Rule::Cause, || {
                    format!("is cancelled for a failure; unhandled: {hopeless:?}")
                })?;
                self.fatal = hopeless;
            }
        }
        self.idle = false;
        // The first word lets the `finally` nodes run, for a while; the second stops them too.
        self.stopping = self.stage != Stage::Finally || self.cancelling.is_some();
        if self.cancelling.is_none() {
            self.cancelling = Some((by, reason.to_owned()));
            self.limit_finally();
        }
        Ok(())
    }

    pub(super) fn run_succeeded(&mut self, outputs: &Payload) -> Result<(), Violation> {
        self.check_all_ended()?;
        self.check(self.cancelling.is_none(), Rule::End, || "a run that is being cancelled succeeds".into())?;
        let failed = self.first_failure(MAIN).or_else(|| self.failure_of_finally());
        self.check(failed.is_none(), Rule::End, || {
            format!("succeeds although nothing handles what became of `{}`", self.node_id(failed.unwrap_or(0)))
        })?;
        let given = outputs.value().map_or(&Value::Null, |value| value);
        match self.outputs(MAIN) {
            Ok(expected) => {
                self.check(*given == expected, Rule::Outputs, || format!("outputs {given}, not {expected}"))?;
            }
            Err(why) => return self.broken(Rule::Outputs, format!("has outputs although {why}")),
        }
        self.phase = Phase::Ended(Status::Succeeded);
        Ok(())
    }

    pub(super) fn run_failed(&mut self, error: &TaskError) -> Result<(), Violation> {
        self.check_all_ended()?;
        let fits = match self.cause() {
            Some(CancelCause::Deadline) => error.kind == ErrorKind::Timeout,
            Some(CancelCause::Failure) => self.fatal.is_some_and(|ix| self.is_error_of(ix, error)),
            Some(CancelCause::Request) => false,
            None => match self.first_failure(MAIN) {
                Some(ix) => self.is_error_of(ix, error),
                // Nothing failed: only the outputs can be at fault, or what runs at the end.
                None if self.outputs(MAIN).is_err() => error.kind == ErrorKind::InvalidInput && error.node.is_none(),
                None => self.failure_of_finally().is_some_and(|ix| self.is_error_of(ix, error)),
            },
        };
        self.check(fits, Rule::End, || {
            let first = self.first_failure(MAIN).map(|ix| self.node_id(ix));
            format!("fails with {error:?}; cause {:?}, first unhandled failure {first:?}", self.cause())
        })?;
        self.phase = Phase::Ended(Status::Failed);
        Ok(())
    }

    pub(super) fn run_cancelled(&mut self, reason: &str) -> Result<(), Violation> {
        self.check_all_ended()?;
        let asked = matches!(&self.cancelling, Some((CancelCause::Request, why)) if why == reason);
        self.check(asked, Rule::End, || format!("is cancelled ({reason}) after {:?}", self.cancelling))?;
        self.phase = Phase::Ended(Status::Cancelled);
        Ok(())
    }

    fn check_all_ended(&self) -> Result<(), Violation> {
        let open = self.current().find(|&ix| !self.tasks[ix].is_over());
        self.check(open.is_none(), Rule::End, || {
            let ix = open.unwrap_or(0);
            format!("ends while `{}` is {}", self.tasks[ix].id, self.tasks[ix].status)
        })
    }

    fn failure_of_finally(&self) -> Option<usize> {
        self.tops()
            .filter(|&scope| self.scopes[scope].stage == Stage::Finally)
            .find_map(|scope| self.first_failure(scope))
    }

    fn is_error_of(&self, ix: usize, error: &TaskError) -> bool {
        let names_it = error.node.as_ref() == Some(self.node_id(ix));
        match &self.tasks[ix].error {
            Some(own) => names_it && own.kind == error.kind && own.message == error.message,
            None => names_it && error.kind == ErrorKind::Join,
        }
    }

    /// The first task of a scope, by when it ended, whose end fails the whole: nothing has handled it, or can do so.
    pub(super) fn first_failure(&self, scope: usize) -> Option<usize> {
        let fatal = self.scopes[scope].tasks.iter().copied().filter(|&ix| self.fails_its_scope(ix));
        fatal.min_by_key(|&ix| self.tasks[ix].ended_seq)
    }

    fn fails_its_scope(&self, ix: usize) -> bool {
        let task = &self.tasks[ix];
        match task.status {
            Status::Skipped => matches!(task.decision, Decision::Skip(SkipCode::JoinNeverHolds, _)),
            Status::Failed if !task.continued => {
                let mut dependents = self.graph.leaving(task.node);
                !dependents.any(|(to, at)| {
                    let dependent = &self.tasks[self.member(task.scope, to)];
                    let followed = dependent.edges.get(&at) == Some(&Fate::Failed);
                    followed && self.graph.nodes[to].join.handles_failure() && dependent.status != Status::Skipped
                })
            }
            _ => false,
        }
    }
}
