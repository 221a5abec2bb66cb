//! One run of a workload in which one thing goes wrong, its recovery, and what is broken afterwards.

use segue_core::status::Status;

use crate::{
    checks::Judge,
    leftovers::leftovers,
    place::{Ended, Going, Place},
    points::{Fault, Phase, Point},
    snapshot::Snapshot,
    strace::Injection,
};

/// A case, before it has begun.
pub struct Case<'a> {
    point: &'a Point<'a>,
    place: Place,
    document: String,
}

/// Lets it go wrong at a point, lets the program recover, and judges. Did it come to that point?
pub fn carry_out(point: &Point<'_>, mutant: Option<&str>) -> (bool, Vec<String>) {
    let case = Case::new(point, mutant);
    let mut judge = Judge::new(point.workload);
    if matches!(point.fault, Fault::Fail { .. }) {
        judge.expect_failing_calls();
    }
    let ended = case.disturbed(&point.injection(), &mut judge);
    let is_hit = match point.fault {
        Fault::Kill => ended.was_killed(),
        Fault::Fail { .. } => {
            case.tells_the_truth(&ended, &mut judge);
            // Whether it came to the call cannot be seen: it may make no difference, and shall.
            true
        }
    };
    if is_hit && !point.phase.is_beside_the_run() {
        judge.died(case.place.effects(), case.snapshot());
    }
    if judge.is_content() {
        case.recover(&mut judge);
    }
    let mut problems = judge.problems();
    problems.extend(leftovers(&case.place));
    (is_hit, problems)
}

impl<'a> Case<'a> {
    /// In a folder of its own; with a bug that is planted in the program.
    pub fn new(point: &'a Point<'a>, mutant: Option<&str>) -> Self {
        let mut place = if point.phase == Phase::First { Place::bare() } else { Place::with_store() };
        if let Some(mutant) = mutant {
            place.set("SEGUE_MUTANT", mutant);
        }
        let document = format!("{}.json", point.workload.name);
        place.write(&document, point.workload.document.to_string());
        Self { point, place, document }
    }

    /// Where it runs.
    pub const fn place(&self) -> &Place {
        &self.place
    }

    fn snapshot(&self) -> Result<Snapshot, String> {
        Snapshot::of_file(&self.place.file(".segue/segue.db"))
    }

    fn start(&self, command: &'static str) -> [&str; 5] {
        [command, &self.document, "--idempotency-key", "once", "--json"]
    }

    /// Everything up to the end of the command that is disturbed.
    pub fn disturbed(&self, injection: &Injection, judge: &mut Judge<'_>) -> Ended {
        match self.point.phase {
            Phase::First | Phase::Run => {
                let going = self.place.start_traced(injection, &self.start("run"));
                self.see_to_its_end(going, judge)
            }
            Phase::Submit => {
                let ended = self.place.start_traced(injection, &self.start("submit")).wait();
                judge.acknowledge(ended.documents());
                ended
            }
            Phase::Recovery => {
                let half = Injection::Kill { call: "fsync".to_owned(), n: 1 + self.point.commits / 2 };
                let going = self.place.start_traced(&half, &self.start("run"));
                self.see_to_its_end(going, judge);
                judge.died(self.place.effects(), self.snapshot());
                let going = self.place.start_traced(injection, &["resume", "--all", "--json"]);
                self.see_to_its_end(going, judge)
            }
            Phase::Cancel => self.disturbed_cancel(injection, judge),
            Phase::Neighbour => self.disturbed_neighbour(injection, judge),
            Phase::Engine | Phase::Heir => unreachable!("engines on one database are another module's"),
        }
    }

    /// The run goes on undisturbed; the command that cancels it does not.
    fn disturbed_cancel(&self, injection: &Injection, judge: &mut Judge<'_>) -> Ended {
        let going = self.place.start(&self.start("run"));
        let mut cancelled = None;
        let ended = going.wait_and(|| {
            if cancelled.is_none() && self.is_at_cancel(0) {
                let ended = self.place.start_traced(injection, &["runs", "cancel", "@last", "--json"]).wait();
                judge.acknowledge(ended.documents());
                if ended.was_killed() {
                    self.cancel(judge);
                }
                cancelled = Some(ended);
            }
        });
        judge.acknowledge(ended.documents());
        judge.hear(&ended.stderr);
        cancelled.unwrap_or(ended)
    }

    /// The run goes on undisturbed; somebody who looks for work beside it does not, and must find none.
    fn disturbed_neighbour(&self, injection: &Injection, judge: &mut Judge<'_>) -> Ended {
        let going = self.place.start(&self.start("run"));
        let mut neighbour = None;
        let ended = going.wait_and(|| {
            if neighbour.is_none() && self.is_at_cancel(0) {
                let looking = self.place.start_traced(injection, &["resume", "--all", "--json"]);
                // Should it find the run, that is started once too often, and cancelled there.
                neighbour = Some(self.see_to_its_end(looking, judge));
                self.cancel(judge);
            }
        });
        judge.acknowledge(ended.documents());
        judge.hear(&ended.stderr);
        neighbour.unwrap_or(ended)
    }

    /// Has the task to cancel at done its effect more often than `seen`?
    fn is_at_cancel(&self, seen: u32) -> bool {
        self.point.workload.cancel_at.is_some_and(|task| self.place.effects().of_task(task) > seen)
    }

    fn cancel(&self, judge: &mut Judge<'_>) {
        let ended = self.place.segue(&["runs", "cancel", "@last", "--json"]);
        judge.acknowledge(ended.documents());
        if ended.code() != 0 && ended.code() != 5 {
            judge.complain(format!("{} ended with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
        }
    }

    /// Waits for a command that carries out the run, and cancels that where it is to be.
    fn see_to_its_end(&self, going: Going, judge: &mut Judge<'_>) -> Ended {
        let mut seen = self.point.workload.cancel_at.map_or(0, |task| self.place.effects().of_task(task));
        let ended = going.wait_and(|| {
            if self.is_at_cancel(seen) {
                seen += 1;
                self.cancel(judge);
            }
        });
        judge.acknowledge(ended.documents());
        judge.hear(&ended.stderr);
        ended
    }

    /// After a call that failed: success only if it is one, else a reason.
    fn tells_the_truth(&self, ended: &Ended, judge: &mut Judge<'_>) {
        let (code, said) = (ended.code(), ended.stderr.trim());
        // A runtime that gets no thread has no other way to say so; the program is to go on, or to end as usual.
        let has_panicked = said.contains("panicked") && !said.contains("can't spawn");
        if has_panicked || code == 101 || code >= 1000 {
            judge.complain(format!("it broke down with {code}: {said}"));
        }
        let has_answered = !ended.documents().is_empty() || self.point.phase == Phase::Recovery;
        match code {
            0 | 5 if !has_answered => judge.complain("it says that all went well, and has no result"),
            0 | 5 => {}
            _ if said.is_empty() && ended.documents().is_empty() => {
                judge.complain(format!("it ended with {code}, and says nothing"))
            }
            // The task that met the failing call has failed, and that is what was said.
            4 => judge.allow_failure(),
            _ => {}
        }
    }

    /// Nothing disturbs any more: what was recorded is resumed, and the start is asked for again.
    fn recover(&self, judge: &mut Judge<'_>) {
        if self.place.file(".segue/segue.db").exists() {
            let resumed = self.see_to_its_end(self.place.start(&["resume", "--all", "--json"]), judge);
            self.must_end(&resumed, judge);
        }
        let started = self.see_to_its_end(self.place.start(&self.start("run")), judge);
        self.must_end(&started, judge);
        judge.ended(&self.place.effects(), self.snapshot());
    }

    fn must_end(&self, ended: &Ended, judge: &mut Judge<'_>) {
        let of_run = if self.point.workload.ends == Status::Cancelled { 5 } else { 0 };
        let failed = if judge.allows_failure() { 4 } else { 0 };
        if ![0, of_run, failed].contains(&ended.code()) {
            judge.complain(format!("{} ended with {}: {}", ended.what, ended.code(), ended.stderr.trim()));
        }
    }
}
