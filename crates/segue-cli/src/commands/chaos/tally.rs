//! The sum over the rounds.

use std::{path::Path, time::Duration};

use segue_core::{ids::WorkflowId, status::Status};
use serde_json::{Value, json};

use super::{
    choice::Round,
    judge::{Broken, Findings, Promise},
    results::Baseline,
};

/// Broken promises that are kept in words; all of them are counted.
const KEPT_MAX: usize = 100;

/// What all rounds have shown.
pub(super) struct Tally {
    pub(super) workflow_id: WorkflowId,
    pub(super) seed: u64,
    /// What the workflow comes to undisturbed.
    pub(super) status: Option<Status>,
    pub(super) calls: u64,
    /// What differs between undisturbed runs already.
    pub(super) varying: Vec<String>,
    /// Kills that could be made.
    pub(super) points: usize,
    pub(super) rounds_asked: usize,
    pub(super) rounds: usize,
    /// Rounds that ended before their moment came.
    pub(super) unreached: u64,
    pub(super) gave_up: u64,
    pub(super) sum: Findings,
    pub(super) broken: Vec<(usize, String, Broken)>,
    counts: [u64; PROMISES.len()],
}

const PROMISES: [Promise; 6] = [
    Promise::NothingLost,
    Promise::NothingRepeated,
    Promise::NothingPaidTwice,
    Promise::SameResults,
    Promise::Ends,
    Promise::Intact,
];

impl Tally {
    pub(super) fn new(
        workflow_id: WorkflowId,
        seed: u64,
        baseline: &Baseline,
        points: usize,
        rounds_asked: usize,
    ) -> Self {
        Self {
            workflow_id,
            seed,
            status: baseline.results.top().map(|top| top.status),
            calls: baseline.paid.values().sum(),
            varying: baseline.varying.iter().map(super::results::Place::in_words).collect(),
            points,
            rounds_asked,
            rounds: 0,
            unreached: 0,
            gave_up: 0,
            sum: Findings::default(),
            broken: Vec::new(),
            counts: [0; PROMISES.len()],
        }
    }

    /// Adds a round. Did it end before its moment came?
    pub(super) fn add(&mut self, n: usize, round: &Round, findings: Findings) -> bool {
        let is_unreached = findings.engines + findings.workers == 0;
        self.rounds += 1;
        self.unreached += u64::from(is_unreached);
        self.gave_up += u64::from(findings.gave_up);
        self.sum.engines += findings.engines;
        self.sum.recoveries_killed += findings.recoveries_killed;
        self.sum.workers += findings.workers;
        self.sum.in_flight += findings.in_flight;
        self.sum.paid_again += findings.paid_again;
        self.sum.recoveries.extend(findings.recoveries);
        for broken in findings.broken {
            let at = PROMISES.iter().position(|promise| *promise == broken.promise).expect("all are listed");
            self.counts[at] += 1;
            if self.broken.len() < KEPT_MAX {
                self.broken.push((n + 1, round.in_words(), broken));
            }
        }
        is_unreached
    }

    /// How many processes were killed.
    pub(super) const fn kills(&self) -> u64 {
        self.sum.engines + self.sum.workers
    }

    /// How often a promise was broken.
    pub(super) fn count(&self, promise: Promise) -> u64 {
        let at = PROMISES.iter().position(|known| *known == promise).expect("all are listed");
        self.counts[at]
    }

    /// All broken promises.
    pub(super) fn broken_count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Do the promises hold? Where nothing was killed, nothing was shown.
    pub(super) fn holds(&self) -> bool {
        self.broken_count() == 0 && self.kills() > 0
    }

    /// The middle and the longest of the times to recover.
    pub(super) fn recovery(&self) -> Option<(Duration, Duration)> {
        let mut all = self.sum.recoveries.clone();
        all.sort_unstable();
        Some((*all.get(all.len() / 2)?, *all.last()?))
    }

    /// For programs.
    pub(super) fn to_json(&self, kept: Option<&Path>) -> Value {
        let broken: Vec<Value> = self.broken.iter().map(|(round, kill, broken)| {
            json!({ "round": round, "kill": kill, "promise": broken.promise, "what": broken.what })
        }).collect();
        json!({
            "workflow_id": self.workflow_id,
            "holds": self.holds(),
            "status": self.status,
            "seed": self.seed,
            "moments": self.points,
            "rounds": self.rounds,
            "rounds_before_their_moment": self.unreached,
            "kills": {
                "engine": self.sum.engines,
                "engine_in_recovery": self.sum.recoveries_killed,
                "workers": self.sum.workers,
            },
            "lost_steps": self.count(Promise::NothingLost),
            "repeated_committed_steps": self.count(Promise::NothingRepeated),
            "repeated_effects_in_flight": self.sum.in_flight,
            "money_spent_twice": self.count(Promise::NothingPaidTwice),
            "model_calls": self.calls,
            "model_calls_paid_again_in_flight": self.sum.paid_again,
            "other_results": self.count(Promise::SameResults),
            "unfinished_runs": self.count(Promise::Ends),
            "damage": self.count(Promise::Intact),
            "failed_by_retry_policy": self.gave_up,
            "recovery_seconds": self.recovery().map(|(median, max)| {
                json!({ "median": median.as_secs_f64(), "max": max.as_secs_f64() })
            }),
            "deterministic": self.varying.is_empty(),
            "varying": self.varying,
            "broken": broken,
            "folder": kept.map(|folder| folder.display().to_string()),
        })
    }
}
