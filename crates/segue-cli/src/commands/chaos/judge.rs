//! What the ledger of a round, and what its runs came to, say about the promises.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use segue_core::ids::RunId;
use serde::Serialize;

use super::{
    choice::Round,
    lab::{Ended, Ran},
    results::{Baseline, Results},
};
use crate::chaos::{
    ledger::{Attempt, Entry, Fact, Line},
    plan::{Kill, Side},
};

/// The promises that chaos can see broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Promise {
    /// What was acknowledged is in the log.
    NothingLost,
    /// What has succeeded on record is never carried out again.
    NothingRepeated,
    /// A model's answer that is kept is not paid again.
    NothingPaidTwice,
    /// The run comes to what it comes to when nobody disturbs it.
    SameResults,
    /// Every accepted run ends.
    Ends,
    /// The store is whole, and its summaries are what its logs say.
    Intact,
}

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Broken {
    pub(super) promise: Promise,
    pub(super) what: String,
}

/// What one round has shown.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    pub(super) broken: Vec<Broken>,
    /// Engines killed, those in recovery included.
    pub(super) engines: u64,
    /// Of them, in recovery.
    pub(super) recoveries_killed: u64,
    /// Times that workers were killed.
    pub(super) workers: u64,
    /// Attempts that were begun anew because one was under way at a kill.
    pub(super) in_flight: u64,
    /// Answers that were paid again because the engine was killed between the answer and its record.
    pub(super) paid_again: u64,
    /// From the start of a new process to what it first recorded.
    pub(super) recoveries: Vec<Duration>,
    /// The run failed because a worker was killed, as its retry policy says.
    pub(super) gave_up: bool,
}

/// A round, and what it is held against.
pub(super) struct Case<'a> {
    pub(super) round: &'a Round,
    pub(super) ran: &'a Ran,
    pub(super) baseline: &'a Baseline,
}

/// Looks at everything.
pub(super) fn judge(case: &Case<'_>) -> Findings {
    let Case { round, ran, baseline } = case;
    let mut findings = Findings::default();
    findings.kills(&ran.ledger);
    findings.lost(&ran.ledger, &ran.results);
    findings.repeated(&ran.ledger);
    let paid = baseline.paid.clone();
    findings.paid(&ran.ledger, &paid, |call| ran.results.portable(call));
    findings.recoveries = recoveries(&ran.ledger);
    ran.damage.iter().for_each(|what| findings.breaks(Promise::Intact, what));
    match &ran.ended {
        Ended::TooLate => findings.breaks(Promise::Ends, "a process has not come to an end in time"),
        Ended::Badly(why) => findings.breaks(Promise::Ends, why),
        Ended::Well if ran.results.tops > 1 => {
            findings.breaks(Promise::SameResults, format!("one start made {} runs", ran.results.tops));
        }
        Ended::Well => {
            let differences = baseline.differences(&ran.results);
            let is_of_workers = round.point.as_ref().is_some_and(|point| point.kill.side == Side::Workers);
            findings.gave_up = !differences.is_empty() && is_of_workers && baseline.may_give_up(&ran.results);
            if !findings.gave_up {
                differences.into_iter().for_each(|what| findings.breaks(Promise::SameResults, what));
            }
        }
    }
    findings
}

impl Findings {
    fn breaks(&mut self, promise: Promise, what: impl Into<String>) {
        self.broken.push(Broken { promise, what: what.into() });
    }

    fn kills(&mut self, ledger: &[Line]) {
        for line in ledger {
            match line.entry {
                Entry::Killed(Kill { side: Side::Workers, .. }) => self.workers += 1,
                Entry::Killed(_) => self.engines += 1,
                _ => {}
            }
        }
        self.recoveries_killed = self.engines.saturating_sub(1);
    }

    /// What the store called durable, and the log does not have.
    fn lost(&mut self, ledger: &[Line], results: &Results) {
        for line in ledger {
            let Entry::Acknowledged { run, facts } = &line.entry else { continue };
            let log = results.names.get(run).and_then(|name| results.runs.get(name)).map(|run| &run.facts[..]);
            for fact in facts {
                let at = usize::try_from(fact.seq).unwrap_or(usize::MAX).wrapping_sub(1);
                if log.and_then(|log| log.get(at)) != Some(fact) {
                    let task = fact.task.as_deref().unwrap_or("the run");
                    self.breaks(Promise::NothingLost, format!("{} of {task} was durable, and is gone", fact.name));
                }
            }
        }
    }

    /// What was carried out again: after its success was on record, or because it was under way at a kill.
    fn repeated(&mut self, ledger: &[Line]) {
        let mut work = Work::default();
        for line in ledger {
            match &line.entry {
                Entry::Began(attempt) => match work.begins(attempt) {
                    Again::AfterSuccess => self.breaks(
                        Promise::NothingRepeated,
                        format!("{} was carried out again although its success was on record", attempt.task),
                    ),
                    Again::AfterKill => self.in_flight += 1,
                    Again::No => {}
                },
                Entry::Ended(attempt) => work.ends(attempt),
                Entry::Acknowledged { run, facts } => facts.iter().for_each(|fact| work.recorded(*run, fact)),
                Entry::Killed(kill) => work.shaken(kill.side),
                _ => {}
            }
        }
    }

    /// What was paid more often than undisturbed, beyond the answers that were on their way to the record at a kill.
    fn paid(&mut self, ledger: &[Line], expected: &BTreeMap<String, u64>, portable: impl Fn(&str) -> String) {
        let (mut paid, mut excused) = (BTreeMap::<&str, u64>::new(), BTreeMap::<&str, u64>::new());
        let mut open = BTreeSet::new();
        for line in ledger {
            match &line.entry {
                Entry::Paid { call } => {
                    *paid.entry(call).or_default() += 1;
                    open.insert(call);
                }
                Entry::Kept { call } => {
                    open.remove(call);
                }
                Entry::Killed(Kill { side: Side::Before | Side::After, .. }) => {
                    std::mem::take(&mut open).into_iter().for_each(|call| *excused.entry(call).or_default() += 1);
                }
                _ => {}
            }
        }
        for (call, times) in paid {
            let usual = expected.get(&portable(call)).copied().unwrap_or(1).max(1);
            let more = times.saturating_sub(usual);
            let excused = excused.get(call).copied().unwrap_or(0).min(more);
            self.paid_again += excused;
            if more > excused {
                let task = call.split_once('/').map_or(call, |(_, rest)| rest.split(' ').next().unwrap_or(rest));
                self.breaks(Promise::NothingPaidTwice, format!("an answer to {task} was paid {times} times"));
            }
        }
    }
}

/// What is carried out, and what is known of it.
#[derive(Default)]
struct Work {
    /// The key under which an attempt's effects happen.
    keys: BTreeMap<(RunId, String, u32), String>,
    /// Begun, and without an outcome on record; has the adapter answered?
    open: BTreeMap<String, bool>,
    /// Under way at a kill, and not begun again since.
    shaken: BTreeSet<String>,
    /// With a success on record.
    done: BTreeSet<String>,
}

/// Why something is begun again.
enum Again {
    No,
    AfterKill,
    AfterSuccess,
}

impl Work {
    fn begins(&mut self, attempt: &Attempt) -> Again {
        let Attempt { run, task, attempt, key } = attempt;
        self.keys.insert((*run, task.clone(), *attempt), key.clone());
        self.open.insert(key.clone(), false);
        match (self.done.contains(key), self.shaken.remove(key)) {
            (true, _) => Again::AfterSuccess,
            (false, true) => Again::AfterKill,
            (false, false) => Again::No,
        }
    }

    fn ends(&mut self, attempt: &Attempt) {
        if let Some(has_answered) = self.open.get_mut(&attempt.key) {
            *has_answered = true;
        }
    }

    fn recorded(&mut self, run: RunId, fact: &Fact) {
        let (Some(task), Some(attempt)) = (&fact.task, fact.attempt) else { return };
        let Some(key) = self.keys.get(&(run, task.clone(), attempt)) else { return };
        if fact.name != "task.started" {
            self.open.remove(key);
        }
        if fact.name == "task.succeeded" {
            self.shaken.remove(key);
            self.done.insert(key.clone());
        }
    }

    fn shaken(&mut self, side: Side) {
        let is_hit = |has_answered: &bool| side != Side::Workers || !has_answered;
        let hit = self.open.iter().filter(|(_, has_answered)| is_hit(has_answered)).map(|(key, _)| key.clone());
        self.shaken.extend(hit);
        if side != Side::Workers {
            self.open.clear();
        }
    }
}

/// From the start of each process that followed a killed engine to what it first recorded.
fn recoveries(ledger: &[Line]) -> Vec<Duration> {
    let mut all = Vec::new();
    let (mut was_killed, mut began) = (false, None);
    for line in ledger {
        match &line.entry {
            Entry::Killed(Kill { side: Side::Before | Side::After, .. }) => (was_killed, began) = (true, None),
            Entry::Spawned => {
                began = was_killed.then_some(line.at);
                was_killed = false;
            }
            Entry::Acknowledged { .. } => {
                all.extend(began.take().map(|began| Duration::from_micros(line.at.saturating_sub(began))));
            }
            _ => {}
        }
    }
    all
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
