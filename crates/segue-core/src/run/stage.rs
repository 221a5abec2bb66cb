//! Stages: the workflow's own nodes, then those of its `on_failure`, then those of its `finally`.
//!
//! Each is a scope of its own that begins when the one before it has ended; what a run will be is known when the first
//! has. No fact says that a stage begins: it follows from the fact that ended the one before it.

use std::time::Duration;

use super::{Phase, Run, Timer, join::Verdict, scope::ScopeIx};
use crate::{
    event::{CancelCause, EventKind, SkipCode, SkipReason},
    outcome::{ErrorKind, TaskError},
    status::Status,
    time::Timestamp,
};

/// The longest that the `finally` nodes of a run may take that is being stopped.
pub const FINALLY_SECONDS: u64 = 30;

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Main,
    /// The nodes of `on_failure`; they are skipped unless the first stage failed.
    Failure,
    Finally,
}

/// Why a run is being stopped.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Stop {
    by: CancelCause,
    reason: String,
}

impl Run {
    fn scope_of_stage(&self, stage: Stage) -> Option<ScopeIx> {
        match stage {
            Stage::Main => Some(ScopeIx::ROOT),
            Stage::Failure => self.plan.failure.map(ScopeIx::top),
            Stage::Finally => self.plan.finally.map(ScopeIx::top),
        }
    }

    /// The scope of the stage that the run is in.
    pub(super) fn current(&self) -> ScopeIx {
        self.scope_of_stage(self.state.stage).unwrap_or(ScopeIx::ROOT)
    }

    fn next_stage(&self) -> Option<Stage> {
        let later = [Stage::Failure, Stage::Finally].into_iter().filter(|&stage| stage > self.state.stage);
        let is_left = |stage: &Stage| self.scope_of_stage(*stage).is_some();
        later.into_iter().find(is_left).filter(|_| self.state.stop.is_none() || !planted!(StoppedRunsHaveNoEnd))
    }

    /// Has everything of this stage ended?
    fn is_stage_over(&self) -> bool {
        let state = &self.state;
        let open = self.scope(self.current()).open;
        if planted!(EndsWhileSomethingRuns) {
            return state.verdicts.is_empty() && (open == 0 || open == state.running.len());
        }
        state.verdicts.is_empty() && open == 0 && state.running.is_empty() && state.awaiting.is_empty()
    }

    /// Has everything ended?
    pub(super) fn is_over(&self) -> bool {
        self.is_stage_over() && self.next_stage().is_none()
    }

    /// Begins the next stage if this one is over. Part of folding every fact.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while matches!(self.state.phase, Phase::Live | Phase::Stopping)
            && self.is_stage_over()
            && let Some(next) = self.next_stage()
        {
            if self.state.stage == Stage::Main && self.state.stop.is_none() {
                self.state.failure =
                    self.unhandled_failure(ScopeIx::ROOT).or_else(|| self.outputs(ScopeIx::ROOT).err());
            }
            self.state.stage = next;
            let scope = self.current();
            match next {
                Stage::Failure if self.state.failure.is_none() && !planted!(OnFailureAlwaysRuns) => {
                    self.skip_scope(scope)
                }
                Stage::Finally => {
                    self.state.phase = Phase::Live;
                    if self.state.stop.is_some() && !planted!(FinallyHasNoLimit) {
                        self.limit_finally(now);
                    }
                    self.begin_scope(scope);
                }
                Stage::Main | Stage::Failure => self.begin_scope(scope),
            }
        }
    }

    fn skip_scope(&mut self, scope: ScopeIx) {
        for ix in self.scope(scope).members() {
            let message = "the run has not failed by a failure of its nodes".to_owned();
            let reason = SkipReason { code: SkipCode::NothingFailed, message, because: None };
            self.state.verdicts.insert(ix, Verdict::Skip(reason));
        }
    }

    fn limit_finally(&mut self, now: Timestamp) {
        self.state.timers.retain(|(_, timer)| *timer != Timer::Run);
        self.state.timers.insert((now.plus(Duration::from_secs(FINALLY_SECONDS)), Timer::Finally));
    }

    /// `run.cancelling`. The first one lets the `finally` nodes run, for a while; the second stops them too.
    pub(super) fn begin_stop(&mut self, by: CancelCause, reason: &str, now: Timestamp) {
        let is_first = self.state.stop.is_none();
        self.state.is_idle = false;
        if is_first {
            self.state.stop = Some(Stop { by, reason: reason.to_owned() });
            if self.state.stage == Stage::Finally && !planted!(TheFirstCancelStopsFinally) {
                self.limit_finally(now);
                return;
            }
        }
        self.state.phase = Phase::Stopping;
        self.state.timers.clear();
        self.state.ready.clear();
        self.state.delayed.clear();
        self.state.verdicts.clear();
    }

    /// What a run whose first stage has ended will be, as far as is known.
    pub(super) fn fate(&self) -> Status {
        match &self.state.stop {
            Some(Stop { by: CancelCause::Request, .. }) => Status::Cancelled,
            Some(_) => Status::Failed,
            None if self.state.failure.is_some() => Status::Failed,
            None => Status::Succeeded,
        }
    }

    /// How a run ends whose tasks have all ended.
    pub(super) fn ending(&self) -> EventKind {
        if let Some(Stop { by, reason }) = &self.state.stop {
            return match by {
                CancelCause::Request => EventKind::RunCancelled { reason: reason.clone() },
                CancelCause::Deadline => {
                    EventKind::RunFailed { error: TaskError::new(ErrorKind::Timeout, reason.clone()) }
                }
                CancelCause::Failure => {
                    let first = self.unhandled_failure(ScopeIx::ROOT);
                    let error = first.unwrap_or_else(|| TaskError::new(ErrorKind::Cancelled, reason.clone()));
                    EventKind::RunFailed { error }
                }
            };
        }
        let failure = self.state.failure.clone().or_else(|| self.unhandled_failure(ScopeIx::ROOT));
        let finally = self.plan.finally.map(ScopeIx::top);
        let finally = finally.filter(|_| !planted!(FinallyNeverFails));
        match failure.or_else(|| self.unhandled_failure(finally?)) {
            Some(error) => EventKind::RunFailed { error },
            None => match self.outputs(ScopeIx::ROOT) {
                Ok(outputs) => EventKind::RunSucceeded { outputs },
                Err(error) => EventKind::RunFailed { error },
            },
        }
    }

    /// Is this one of the scopes that the workflow itself has, and which one?
    pub(super) fn stage_of(&self, scope: ScopeIx) -> Option<Stage> {
        let all = [Stage::Main, Stage::Failure, Stage::Finally].into_iter();
        all.into_iter().find(|&stage| self.scope_of_stage(stage) == Some(scope))
    }
}
