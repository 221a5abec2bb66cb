//! A log against its chain of hashes, as a backend keeps it: one row a commit.
//!
//! [`seal::LogReader`](crate::seal::LogReader) stops at the first damage, since nothing behind it may be served. Here all of
//! it is looked at: damage in one commit does not hide damage in those behind it.

use crate::{
    event::Event,
    ids::{ContentHash, RunId, TaskId},
    payload::BlobRef,
    ports::{Finding, FindingKind, Findings},
    seal,
};

/// Looks at the commits of one run's log, in order.
#[derive(Debug)]
pub struct ChainCheck {
    run: RunId,
    /// The end of the chain so far; unknown behind a gap.
    chain: Option<ContentHash>,
    expected: u64,
}

impl ChainCheck {
    /// Before the first commit.
    pub fn new(run: RunId) -> Self {
        Self { run, chain: Some(seal::chain_start(run)), expected: 1 }
    }

    /// The next commit as it is kept: its first `seq`, how many events it says to hold, its text, its link of the chain.
    pub fn commit(&mut self, seq: u64, count: u64, text: &[u8], link: ContentHash, findings: &mut Findings) {
        if seq > self.expected {
            self.missing(self.expected, seq - 1, "", findings);
            self.chain = None;
        } else if seq < self.expected {
            let what = format!("event {seq} stands twice");
            findings.push(Finding::of(FindingKind::EventMisplaced, self.run, what).at(seq));
            self.chain = None;
        }
        let last = seq + count.saturating_sub(1);
        if self.chain.is_some_and(|chain| chain.chained(ContentHash::of(text)) != link) {
            findings.push(self.changed(seq, last, text));
        }
        self.chain = Some(link);
        self.expected = last + 1;
    }

    /// That was the last one; the run's row names this version and this end of the chain.
    pub fn end(self, version: u64, link: ContentHash, findings: &mut Findings) {
        if self.expected <= version {
            self.missing(self.expected, version, ": the log ends too early", findings);
        } else if self.expected > version + 1 {
            let what = format!("the log goes on to event {}, and the run's row is at {version}", self.expected - 1);
            findings.push(Finding::of(FindingKind::Run, self.run, what).at(version));
        } else if self.chain.is_some_and(|chain| chain != link) {
            let what = "the end of the log is not the one that the run's row knows";
            findings.push(Finding::of(FindingKind::Event, self.run, what).at(version));
        }
    }

    fn changed(&self, seq: u64, last: u64, text: &[u8]) -> Finding {
        let own = named(seq, last);
        let found = |kind, what: String| Finding::of(kind, self.run, what).at(seq);
        match range(text) {
            Some((first, other)) if first != seq => {
                let stand = if first == other { "stands" } else { "stand" };
                let what = format!("where {own} belongs, {} {stand}", named(first, other));
                found(FindingKind::EventMisplaced, what)
            }
            Some(_) => found(FindingKind::Event, format!("{own}: not what was written, the hash does not match")),
            None => found(FindingKind::Event, format!("{own}: cannot be read, and the hash does not match")),
        }
    }

    fn missing(&self, first: u64, last: u64, why: &str, findings: &mut Findings) {
        let are = if first == last { "is" } else { "are" };
        let what = format!("{} {are} missing{why}", named(first, last));
        findings.push(Finding::of(FindingKind::EventMissing, self.run, what).at(first));
    }
}

/// The large values that the events of a commit refer to, with the event and its task.
pub fn values_in(text: &[u8]) -> Vec<(u64, Option<TaskId>, BlobRef)> {
    const MARK: &[u8] = br#""$blob""#;
    if !text.windows(MARK.len()).any(|window| window == MARK) {
        return Vec::new();
    }
    let events: Vec<Event> = serde_json::from_slice(text).unwrap_or_default();
    let value = |event: Event| Some((event.seq, event.task_id.clone(), event.kind.payload()?.blob()?));
    events.into_iter().filter_map(value).collect()
}

/// The `seq`s of the events in a text, first and last; none if it cannot be read.
fn range(text: &[u8]) -> Option<(u64, u64)> {
    let events: Vec<Event> = serde_json::from_slice(text).ok()?;
    Some((events.first()?.seq, events.last()?.seq))
}

/// `event 4`, `events 4 to 6`.
fn named(first: u64, last: u64) -> String {
    if first == last { format!("event {first}") } else { format!("events {first} to {last}") }
}
