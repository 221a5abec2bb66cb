//! Everything that an attempt has started, and its end.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};

use super::{
    mark::Mark,
    roots,
    table::{self, Identity, Row},
};

/// How long killed processes may take to disappear before they are given up (a process in an uninterruptible wait).
const DEATH_MAX: Duration = Duration::from_secs(10);
/// Rounds of stopping before killing starts whether or not new members still appear.
const FREEZE_ROUNDS_MAX: usize = 64;

/// A process that was started in a group of its own, with everything it started.
#[derive(Debug, Clone)]
pub struct Family {
    pub(super) root: i32,
    /// The root's start: whatever is older cannot belong to it.
    pub(super) started: u64,
    pub(super) mark: Mark,
}

impl Family {
    /// Sends `signal` to the root's group; with `None` only looks. `false`: the group is empty.
    pub(super) fn signal_group(&self, signal: impl Into<Option<Signal>>) -> bool {
        killpg(Pid::from_raw(self.root), signal) != Err(Errno::ESRCH)
    }

    /// Does anybody in the root's group still run? Reads the process table.
    pub(super) fn group_runs(&self) -> bool {
        table::all().iter().any(|row| row.group == self.root && !row.is_over())
    }

    /// Kills everything that is left of the family, and reaps what it can. Returns when all of it is over, with the
    /// number of processes that had to be killed. Blocks: some milliseconds where nothing resists.
    pub fn end(&self) -> usize {
        sweep(&|row| {
            row.identity.started >= self.started
                && (row.group == self.root
                    || row.session == self.root
                    || self.mark.is_in(&table::environment(row.identity.pid)))
        })
    }

    /// Has a member outlived the root? Looks only at our own children, whom an orphan joins; cheap. Reaps the dead.
    pub(super) fn has_orphans(&self) -> bool {
        let Some(children) = table::adopted_or_of_main_thread() else { return true };
        let strangers: Vec<Row> =
            children.into_iter().filter(|pid| !roots::is_root(*pid)).filter_map(table::row).collect();
        if strangers.is_empty() {
            return false;
        }
        if strangers.iter().any(Row::is_over) {
            roots::reap_orphans(&strangers);
        }
        strangers.iter().any(|row| {
            !row.is_over() && (row.group == self.root || self.mark.is_in(&table::environment(row.identity.pid)))
        })
    }
}

/// Stops, then kills, every process for which `belongs` says so, and all its descendants. Gives how many had to be
/// killed.
pub(super) fn sweep(belongs: &dyn Fn(&Row) -> bool) -> usize {
    let mut members = HashSet::new();
    for _ in 0..FREEZE_ROUNDS_MAX {
        let found = members_of(&table::all(), belongs, &members);
        let mut is_new = false;
        for row in found.iter().filter(|row| !row.is_over()) {
            is_new |= members.insert(row.identity);
            if !row.is_stopped() {
                signal(row, Signal::SIGSTOP);
            }
        }
        if !is_new {
            break;
        }
    }
    let killed = members.len();
    let give_up = Instant::now() + DEATH_MAX;
    let mut pause = Duration::from_micros(200);
    loop {
        let found = members_of(&table::all(), belongs, &members);
        roots::reap_orphans(&found);
        let alive: Vec<&Row> = found.iter().filter(|row| !row.is_over()).collect();
        if alive.is_empty() {
            return killed;
        }
        for row in &alive {
            members.insert(row.identity);
            signal(row, Signal::SIGKILL);
        }
        if Instant::now() > give_up {
            let pids: Vec<i32> = alive.iter().map(|row| row.identity.pid).collect();
            tracing::error!(?pids, "processes do not die although they were killed; giving them up");
            return killed;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    }
}

/// The rows that belong, that are known already, or that descend from such a one. Never ourselves.
fn members_of(table: &[Row], belongs: &dyn Fn(&Row) -> bool, known: &HashSet<Identity>) -> Vec<Row> {
    let me = Pid::this().as_raw();
    let mut children: HashMap<i32, Vec<&Row>> = HashMap::new();
    for row in table {
        children.entry(row.parent).or_default().push(row);
    }
    let seeds = table.iter().filter(|row| known.contains(&row.identity) || belongs(row));
    let mut open: Vec<&Row> = seeds.filter(|row| row.identity.pid != me).collect();
    let mut seen = HashSet::new();
    let mut members = Vec::new();
    while let Some(row) = open.pop() {
        if row.identity.pid != me && seen.insert(row.identity.pid) {
            members.push(*row);
            open.extend(children.get(&row.identity.pid).into_iter().flatten());
        }
    }
    members
}

/// Sends a signal to a process, unless its number belongs to another one by now.
fn signal(row: &Row, signal: Signal) {
    if table::row(row.identity.pid).is_some_and(|now| now.identity == row.identity) {
        // ESRCH: it has just ended. EPERM: it has become somebody else's (setuid); DEATH_MAX reports it.
        let _ = kill(row.pid(), signal);
    }
}
