//! Where a node of a run stands: one task, or many that are counted.

use segue_core::status::Status;
use serde::Serialize;

use crate::render::text::grouped;

/// Tasks by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    counts: [u32; STATUSES.len()],
}

/// In the order in which people ask.
const STATUSES: [Status; 7] = [
    Status::Running,
    Status::Failed,
    Status::Waiting,
    Status::Succeeded,
    Status::Skipped,
    Status::Cancelled,
    Status::Pending,
];

const fn place(status: Status) -> usize {
    match status {
        Status::Running => 0,
        Status::Failed => 1,
        Status::Waiting => 2,
        Status::Succeeded => 3,
        Status::Skipped => 4,
        Status::Cancelled => 5,
        Status::Pending => 6,
    }
}

impl Tally {
    /// A task that was not known before, or has been at `before`, is at `now`.
    pub(crate) fn moved(&mut self, before: Option<Status>, now: Option<Status>) {
        if let Some(before) = before {
            self.counts[place(before)] = self.counts[place(before)].saturating_sub(1);
        }
        if let Some(now) = now {
            self.counts[place(now)] += 1;
        }
    }

    /// How many are there.
    pub(crate) const fn of(&self, status: Status) -> u32 {
        self.counts[place(status)]
    }

    /// How many are known.
    pub(crate) fn all(&self) -> u32 {
        self.counts.iter().sum()
    }

    /// How many have ended.
    pub(crate) fn done(&self) -> u32 {
        STATUSES.iter().filter(|status| status.is_terminal()).map(|status| self.of(*status)).sum()
    }

    /// Those that there are.
    pub(crate) fn present(&self) -> impl Iterator<Item = (Status, u32)> {
        STATUSES.into_iter().map(|status| (status, self.of(status))).filter(|(_, n)| *n > 0)
    }

    /// The one status that says most about all of them.
    pub(crate) fn summary(&self) -> Status {
        let ended = self.done() > 0;
        match STATUSES.into_iter().find(|status| self.of(*status) > 0) {
            // Some have ended and others have not begun: between two of them.
            Some(Status::Failed | Status::Succeeded | Status::Skipped | Status::Cancelled)
                if self.of(Status::Pending) > 0 && ended =>
            {
                Status::Running
            }
            Some(status) => status,
            None => Status::Pending,
        }
    }
}

/// The parts of a node, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) struct Parts {
    /// That have ended.
    pub(crate) done: u32,
    /// That failed, among them.
    pub(crate) failed: u32,
    /// That there are, or will be.
    pub(crate) total: u32,
}

impl Parts {
    /// `12/20, 2 failed`
    pub(crate) fn text(&self) -> String {
        let failed = match self.failed {
            0 => String::new(),
            n => format!(", {} failed", grouped(n.into())),
        };
        format!("{}/{}{failed}", grouped(self.done.into()), grouped(self.total.into()))
    }
}

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NodeState {
    pub(crate) status: Status,
    pub(crate) attempts: u32,
    /// The iteration of its loop.
    pub(crate) iteration: Option<u32>,
    /// Its instances; of a member of a mapped group: its tasks in all of them.
    pub(crate) parts: Option<Parts>,
    /// Its result was taken from another run.
    pub(crate) reused: bool,
}

impl NodeState {
    /// `12/20, 2 failed`, `#3`, `2 attempts`
    pub(crate) fn facts(&self, most_iterations: Option<u32>) -> Vec<String> {
        let mut facts = Vec::new();
        facts.extend(self.parts.map(|parts| parts.text()));
        facts.extend(self.iteration.map(|iteration| match most_iterations {
            Some(most) => format!("#{iteration}/{most}"),
            None => format!("#{iteration}"),
        }));
        if self.attempts > 1 {
            facts.push(format!("{} attempts", self.attempts));
        }
        if self.reused {
            facts.push("reused".to_owned());
        }
        facts
    }
}
