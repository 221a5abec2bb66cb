//! The stages of a run: the workflow's own nodes, then those of its `on_failure`, then those of its `finally`.
//!
//! No event says that one begins: it does when nothing of the one before it is open any more.

use std::time::Duration;

use segue_core::{
    event::{CancelCause, SkipCode},
    outcome::ErrorKind,
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{Auditor, Phase, graph::MAIN, join::Decision};

/// The longest that the `finally` nodes of a run may take that is being stopped.
const FINALLY: Duration = Duration::from_secs(30);

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Main,
    Failure,
    Finally,
}

impl Auditor {
    /// The scopes that the workflow itself has, in their order.
    pub(super) fn tops(&self) -> impl Iterator<Item = usize> + use<> {
        0..1 + usize::from(self.graph.failure.is_some()) + usize::from(self.graph.finally.is_some())
    }

    pub(super) fn open_stages(&mut self) {
        self.open_scope(MAIN, None, Stage::Main);
        for (stage, block) in [(Stage::Failure, self.graph.failure), (Stage::Finally, self.graph.finally)] {
            if let Some(block) = block {
                self.open_scope(block, None, stage);
            }
        }
    }

    fn scope_of_stage(&self, stage: Stage) -> Option<usize> {
        self.tops().find(|&scope| self.scopes[scope].stage == stage)
    }

    pub(super) fn stage_of(&self, ix: usize) -> Stage {
        self.scopes[self.tasks[ix].scope].stage
    }

    pub(super) fn is_stage_over(&self) -> bool {
        let scope = self.scope_of_stage(self.stage).unwrap_or(MAIN);
        self.scopes[scope].tasks.iter().all(|&ix| self.tasks[ix].is_over()) && self.under_way().next().is_none()
    }

    /// Goes on to the next stage, and to the one after it, as far as there is nothing to do.
    pub(super) fn advance(&mut self) {
        while self.phase == Phase::Live && self.is_stage_over() {
            let Some(next) = self.tops().map(|scope| self.scopes[scope].stage).find(|&next| next > self.stage) else {
                return;
            };
            if self.stage == Stage::Main && self.cancelling.is_none() {
                self.has_failed = self.first_failure(MAIN).is_some() || self.outputs(MAIN).is_err();
            }
            self.stage = next;
            if self.skips_stage() {
                for ix in self.scopes[self.scope_of_stage(next).unwrap_or(MAIN)].tasks.clone() {
                    self.tasks[ix].decision = Decision::Skip(SkipCode::NothingFailed, Vec::new());
                }
            }
            if next == Stage::Finally {
                // What is left of a run that is being stopped may run, for a while.
                self.stopping = false;
                self.limit_finally();
            }
        }
    }

    /// Nothing has failed that the `on_failure` nodes would be for; the run may be being stopped.
    pub(super) fn skips_stage(&self) -> bool {
        self.stage == Stage::Failure && !self.has_failed
    }

    /// From now on there is so much time for the `finally` nodes.
    pub(super) fn limit_finally(&mut self) {
        self.finally_until = self.cancelling.as_ref().map(|_| self.time.plus(FINALLY));
    }

    /// When the run's time is over: `timeout_seconds` of the workflow, or what is left for the `finally` nodes.
    pub(super) fn run_deadline(&self) -> Option<Timestamp> {
        match (self.stopping, &self.cancelling) {
            (true, _) => None,
            (false, Some(_)) => self.finally_until,
            (false, None) => Some(self.began_at.plus(self.graph.timeout?)),
        }
    }

    /// What `run.status` is for the expressions of a stage.
    pub(super) fn status_in(&self, stage: Stage) -> Status {
        match (stage, &self.cancelling) {
            (Stage::Main, _) => Status::Running,
            (_, Some((CancelCause::Request, _))) => Status::Cancelled,
            (_, Some(_)) => Status::Failed,
            (_, None) if self.has_failed => Status::Failed,
            (_, None) => Status::Succeeded,
        }
    }

    /// What `error` is for the expressions of the later stages.
    pub(super) fn failure_of_main(&self) -> Value {
        match self.first_failure(MAIN).filter(|_| self.has_failed) {
            Some(ix) => self.error_value(ix),
            None if self.has_failed => json!({ "kind": ErrorKind::InvalidInput }),
            None => Value::Null,
        }
    }

    /// The error of a member that failed, as those see it who handle it.
    pub(super) fn error_value(&self, ix: usize) -> Value {
        match &self.tasks[ix].error {
            Some(error) => json!({ "kind": error.kind, "message": error.message, "node": self.node_id(ix) }),
            None => json!({ "kind": ErrorKind::Join, "node": self.node_id(ix) }),
        }
    }
}
