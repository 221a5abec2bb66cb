//! The numbered moments of a run, and the kill at one of them.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    ledger::{About, Entry, Ledger},
    plan::{Bug, Kill, Plan, Side},
    workers,
};

/// Counts moments, writes down what happens, and kills when it is time.
pub(super) struct Moments {
    plan: Plan,
    ledger: Ledger,
    passed: AtomicU64,
}

impl Moments {
    /// Opens the ledger.
    pub(super) fn begin(plan: Plan) -> io::Result<Self> {
        Ok(Self { ledger: Ledger::open(&plan.ledger)?, passed: AtomicU64::new(plan.passed), plan })
    }

    /// A moment has come: its number. Whoever is to be killed before what it is about is killed here.
    pub(super) fn come(&self, about: About, label: String) -> u64 {
        let n = self.passed.fetch_add(1, Ordering::Relaxed) + 1;
        self.note(Entry::Moment { n, about, label });
        self.strike(n, Side::Before);
        n
    }

    /// What the moment is about has happened.
    pub(super) fn over(&self, n: u64) {
        self.strike(n, Side::After);
    }

    /// Are the workers to be killed at this moment?
    pub(super) fn wants_workers(&self, n: u64) -> bool {
        self.plan.kill == Some(Kill { moment: n, side: Side::Workers })
    }

    /// Kills the workers that there are. Says whether there were any.
    pub(super) fn kill_workers(&self, n: u64) -> bool {
        let found = workers::kill_all();
        if found {
            self.note(Entry::Killed(Kill { moment: n, side: Side::Workers }));
        }
        found
    }

    /// Writes a fact down.
    pub(super) fn note(&self, entry: Entry) {
        self.ledger.note(entry);
    }

    /// Is this bug planted?
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.plan.bug == Some(bug)
    }

    fn strike(&self, moment: u64, side: Side) {
        let blow = Kill { moment, side };
        if self.plan.kill == Some(blow) {
            self.note(Entry::Killed(blow));
            // A process may always signal itself. The signal is delivered before the call returns.
            let _ = kill(Pid::this(), Signal::SIGKILL);
        }
    }
}
