//! What may grow by how much.

use std::{collections::BTreeMap, fmt};

use serde_json::{Value, json};

use super::{
    KILLS,
    gauge::Sample,
    process::{KEPT, SLOTS, SWEEP},
};

/// By how much something may exceed what it was before: noise, and the page cache of the allocator.
const GROWTH: f64 = 1.25;
/// The store begins its log again when it has this size at the latest, if no reader hinders it for long.
const LOG_MB: f64 = 66.0;
/// What was to be removed may be there for so many times as long, on a machine that does much else.
const RETENTION_SLACK: f64 = 5.0;
/// Signals of limits that a store keeps.
const SIGNALS: u64 = 1_000;

/// All looks.
#[derive(Debug, Default)]
pub struct Lives {
    pub killed: Vec<Vec<Sample>>,
    pub last: Vec<Sample>,
}

impl Lives {
    pub fn runs(&self) -> u64 {
        self.all().map(|life| Sample::most(life).runs as u64).sum()
    }

    fn all(&self) -> impl Iterator<Item = &Vec<Sample>> {
        self.killed.iter().chain([&self.last])
    }

    /// The long life when its caches are full, and its end.
    fn windows(&self) -> (&[Sample], &[Sample]) {
        let at = |percent: usize| self.last.len() * percent / 100;
        (&self.last[at(10)..at(35)], &self.last[at(70)..])
    }
}

/// What is in the store at the end, everything removed that may be.
#[derive(Debug)]
pub struct Left {
    /// By table.
    pub rows: BTreeMap<String, u64>,
    /// Engines that own a run.
    pub owners: usize,
    /// `ok`, or what SQLite's own check found.
    pub damage: String,
}

/// What was judged: how it was before, how it is, and what is allowed.
#[derive(Debug)]
pub struct Line {
    pub name: String,
    before: Option<f64>,
    now: f64,
    most: f64,
}

impl Line {
    fn new(name: &str, before: Option<f64>, now: f64, most: f64) -> Self {
        Self { name: name.to_owned(), before, now, most }
    }

    /// May exceed what was before by [`GROWTH`] and a little.
    fn flat(name: &str, before: f64, now: f64, little: f64) -> Self {
        Self::new(name, Some(before), now, before * GROWTH + little)
    }

    pub fn holds(&self) -> bool {
        self.now <= self.most
    }

    pub fn json(&self) -> Value {
        json!({"judged": self.name, "before": self.before, "now": self.now, "most": self.most, "holds": self.holds()})
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds() { "" } else { "  <- grows" };
        let before = self.before.map_or_else(String::new, |before| format!("{before:.2}"));
        write!(f, "{:44} {before:>9} -> {:9.2}  (at most {:9.2}){verdict}", self.name, self.now, self.most)
    }
}

pub fn judge(lives: &Lives, left: &Left) -> Vec<Line> {
    let (early, end) = lives.windows();
    let (before, now) = (Sample::most(early), Sample::most(end));
    let thirds = lives.killed.len() / 3;
    // The first life fills the file.
    let memory = |lives: &[Vec<Sample>]| lives.iter().map(|life| Sample::most(life).rss_mb).fold(0.0, f64::max);
    let all: Vec<Sample> = lives.all().flatten().copied().collect();
    let all = Sample::most(&all);
    let retention = (KEPT + SWEEP).as_secs_f64();
    let mut lines = vec![
        Line::flat("memory of the long life, MB", before.rss_mb, now.rss_mb, 2.0),
        Line::flat(
            "memory of the killed lives, MB",
            memory(&lives.killed[1..lives.killed.len() - thirds]),
            memory(&lives.killed[lives.killed.len() - thirds..]),
            2.0,
        ),
        Line::new("open files", Some(before.open_files), now.open_files, before.open_files + 4.0),
        // A file is as large as the most that was in use at once, unless free pages are not used again.
        Line::new("file, MB, beside the most in use", Some(all.used_mb), all.file_mb, all.used_mb * 1.1 + 8.0),
        Line::flat("in use for each kept run, KB", used_by_run(early), used_by_run(end), 0.0),
        Line::new("the oldest kept run ended s ago", Some(before.oldest_s), now.oldest_s, retention * RETENTION_SLACK),
        Line::new("log, MB", Some(before.log_mb), now.log_mb, LOG_MB),
        // Those of a process that was killed are given up when somebody asks for one.
        Line::new("slots held at once", None, all.slots, f64::from(2 * SLOTS)),
        Line::new("engines that own a run at the end", None, left.owners as f64, 0.0),
        Line::new("damage at the end (SQLite's own check)", None, f64::from(u8::from(left.damage != "ok")), 0.0),
    ];
    let rows = left.rows.iter().map(|(table, rows)| {
        Line::new(&format!("rows of {table} at the end"), None, *rows as f64, allowed(table) as f64)
    });
    lines.extend(rows.filter(|line| line.now > 0.0));
    lines
}

/// At the moment with the most runs: then what is there besides them weighs least.
fn used_by_run(samples: &[Sample]) -> f64 {
    let most = samples.iter().max_by(|a, b| a.kept.total_cmp(&b.kept));
    most.map_or(0.0, |sample| sample.used_mb * 1024.0 / sample.kept.max(1.0))
}

/// How many rows a table may have when all runs are removed.
fn allowed(table: &str) -> u64 {
    match table {
        "workflows" | "limits" => 1,
        // Of processes that were killed: the next one forgets those whose lease has ended.
        "engines" => u64::from(KILLS) + 1,
        "limit_signals" => SIGNALS,
        "sqlite_sequence" | "sqlite_stat1" => 16,
        _ => 0,
    }
}
