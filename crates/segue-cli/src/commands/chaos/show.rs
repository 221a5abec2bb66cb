//! How chaos looks: a live line while it goes on, a table at its end.

use std::path::Path;

use super::{
    choice::Round,
    judge::{Findings, Promise},
    results::Baseline,
    tally::Tally,
};
use crate::{
    live::Size,
    render::{
        table::{Cell, table as columns},
        text::{count, grouped, one_line, span},
    },
    terminal::{self, Paint},
};
use segue_core::status::Status;

/// Broken promises that are shown in words.
const SHOWN_MAX: usize = 10;

/// What is shown while it goes on.
pub(super) struct Progress {
    is_live: bool,
    is_quiet: bool,
}

impl Progress {
    pub(super) fn new(json: bool) -> Self {
        Self { is_live: !json && terminal::is_live(), is_quiet: json }
    }

    fn say(&self, line: impl AsRef<str>) {
        if !self.is_quiet {
            terminal::say(line);
        }
    }

    fn line(&self, text: &str) {
        if self.is_live {
            terminal::draw(vec![one_line(text, Size::of_terminal().columns - 1)]);
        }
    }

    pub(super) fn prepares(&self) {
        self.line("preparing what the workflow's tasks need");
    }

    pub(super) fn undisturbed(&self, n: usize) {
        self.line(&format!("undisturbed run {} of 2: what the workflow comes to by itself", n + 1));
    }

    pub(super) fn begins(&self, tally: &Tally, baseline: &Baseline) {
        let status = tally.status.map_or("nothing", Status::as_str);
        let tasks = baseline.results.runs.values().map(|run| run.tasks.len() as u64).sum();
        let calls =
            if tally.calls == 0 { String::new() } else { format!(", {} of models", count(tally.calls, "answer")) };
        self.say(format!(
            "undisturbed, {} ends {status}: {}{calls}; {} to kill at, {} to come",
            tally.workflow_id,
            count(tasks, "task"),
            count(tally.points as u64, "moment"),
            count(tally.rounds_asked as u64, "round"),
        ));
        if !tally.varying.is_empty() {
            self.say(format!(
                "it is not deterministic: {} differ between undisturbed runs and are not compared",
                some(&tally.varying)
            ));
        }
    }

    pub(super) fn round(&self, n: usize, round: &Round, tally: &Tally) {
        let broken = match tally.broken_count() {
            0 => "all promises hold".to_owned(),
            broken => format!("{} broken", count(broken, "promise")),
        };
        let kills = count(tally.kills(), "kill");
        self.line(&format!("{:>3}/{}  {kills}, {broken}  {}", n + 1, tally.rounds_asked.max(n + 1), round.in_words()));
    }

    pub(super) fn found(&self, round: &Round, findings: &Findings) {
        // Without a terminal the table at the end says it, and nobody waits for it.
        for broken in findings.broken.iter().take(if self.is_live { 3 } else { 0 }) {
            self.say(format!("{} {}: {}", Paint::stderr().bad("broken:"), round.in_words(), broken.what));
        }
    }

    pub(super) fn ends(&self) {
        if self.is_live {
            terminal::draw(Vec::new());
        }
    }
}

/// The first few of many, in words.
fn some(all: &[String]) -> String {
    match all {
        [first, second, third, _, ..] => format!("{first}, {second}, {third} and {} more", all.len() - 3),
        few => few.join(", "),
    }
}

/// The end of it, for people.
pub(super) fn table(tally: &Tally, kept: Option<&Path>) -> String {
    let paint = Paint::stdout();
    let mut lines = vec![
        format!(
            "{}  {}, {} of {} moments, seed {}",
            paint.bold(&format!("chaos {}", tally.workflow_id)),
            count(tally.rounds as u64, "round"),
            grouped(tally.rounds as u64),
            grouped(tally.points as u64),
            tally.seed
        ),
        String::new(),
    ];
    lines.push(indented(&columns(&kills(tally))));
    lines.push(String::new());
    lines.push(indented(&columns(&promises(tally, paint))));
    lines.push(String::new());
    lines.push(indented(&columns(&costs(tally))));
    lines.push(String::new());
    for (_, kill, broken) in tally.broken.iter().take(SHOWN_MAX) {
        lines.push(format!("{} {kill}: {}", paint.bad("broken:"), broken.what));
    }
    if tally.broken_count() > SHOWN_MAX as u64 {
        lines.push(format!("… and {} more; --json has them", tally.broken_count() - SHOWN_MAX as u64));
    }
    lines.push(match (tally.holds(), tally.kills()) {
        (true, _) => paint.status(Status::Succeeded, "The promises hold."),
        (false, 0) => paint.bad("Nothing was killed, so nothing is shown."),
        (false, _) => paint.bad("The promises do not hold."),
    });
    if let Some(folder) = kept {
        lines.push(format!("stores and ledgers: {}", folder.display()));
    }
    lines.join("\n")
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn number(n: u64) -> Cell {
    Cell::new(format!("{:>7}", grouped(n)))
}

fn kills(tally: &Tally) -> Vec<[Cell; 3]> {
    let sum = &tally.sum;
    let mut rows = vec![
        [Cell::new("engine killed"), number(sum.engines), Cell::new("before and after what it wrote")],
        [Cell::new("  of it while recovering"), number(sum.recoveries_killed), Cell::new("")],
    ];
    if sum.workers > 0 {
        let note = "as they began, and while a model answered";
        rows.push([Cell::new("workers killed"), number(sum.workers), Cell::new(note)]);
    }
    if tally.unreached > 0 {
        rows.push([Cell::new("ended before the kill"), number(tally.unreached), Cell::new("its moment did not come")]);
    }
    rows
}

fn promises(tally: &Tally, paint: Paint) -> Vec<[Cell; 4]> {
    let row = |promise, what: &str, note: String| {
        let n = tally.count(promise);
        let mark = if n == 0 { paint.status(Status::Succeeded, "ok") } else { paint.bad("BROKEN") };
        let plain = if n == 0 { "ok" } else { "BROKEN" };
        [Cell::new(what), number(n), Cell::painted(mark, plain), Cell::new(note)]
    };
    let results = match tally.varying.is_empty() {
        true => "statuses and outputs are those of an undisturbed run".to_owned(),
        false => format!("not compared: {}", some(&tally.varying)),
    };
    let mut rows = vec![
        row(Promise::NothingLost, "lost steps", "what was acknowledged is in the log".to_owned()),
        row(Promise::NothingRepeated, "repeated committed steps", "what has succeeded never runs again".to_owned()),
        row(Promise::NothingPaidTwice, "money spent twice", "a kept answer of a model is not paid again".to_owned()),
        row(Promise::SameResults, "other results", results),
        row(Promise::Ends, "unfinished runs", "every accepted run ends".to_owned()),
        row(Promise::Intact, "damage", "`segue store verify` finds nothing".to_owned()),
    ];
    if tally.gave_up > 0 {
        let note = "a worker was killed, and the node's retry_policy allows no further attempt";
        rows.push([Cell::new("failed by policy"), number(tally.gave_up), Cell::new(""), Cell::new(note)]);
    }
    rows
}

fn costs(tally: &Tally) -> Vec<[Cell; 3]> {
    let in_flight = "under way at a kill: carried out again, with the same key";
    let paid = "answered, and killed before the record: paid again";
    let mut rows = vec![[Cell::new("repeated effects in flight"), number(tally.sum.in_flight), Cell::new(in_flight)]];
    if tally.calls > 0 {
        rows.push([Cell::new("answers in flight"), number(tally.sum.paid_again), Cell::new(paid)]);
    }
    if let Some((median, longest)) = tally.recovery() {
        let longest = format!("in the middle, {} at most: from the new process to its first record", span(longest));
        rows.push([Cell::new("time to recover"), Cell::new(format!("{:>7}", span(median))), Cell::new(longest)]);
    }
    rows
}
