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
/// Looks at the process table that may leave it open whether somebody slipped through, before the next is believed.
const UNCERTAIN_LOOKS_MAX: usize = 256;
/// Chases after each look that leaves it open.
const CHASES: usize = 16;
/// Looks at our own children before the whole table is asked.
const ORPHAN_LOOKS_MAX: usize = 4;

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
                    || self.mark.is_in(&table::settled_environment(row.identity.pid)))
        })
    }

    /// Can a member have outlived the root? Looks only at our own children, whom an orphan joins; cheap. Reaps the dead.
    pub(super) fn may_have_orphans(&self) -> bool {
        for _ in 0..ORPHAN_LOOKS_MAX {
            let Some(children) = table::adopted_or_of_main_thread() else { return true };
            let strangers: Vec<Row> =
                children.into_iter().filter(|pid| !roots::is_root(*pid)).filter_map(table::row).collect();
            if !strangers.iter().any(Row::is_over) {
                return strangers.iter().any(|row| self.may_own(row));
            }
            // What has ended since the list was read has left us its children: they are on the next list.
            roots::reap_orphans(&strangers);
        }
        true
    }

    /// Is it a member, or one of whom that cannot be told at this moment?
    fn may_own(&self, row: &Row) -> bool {
        row.group == self.root
            || row.is_ending()
            || table::environment(row.identity.pid).is_none_or(|environment| self.mark.is_in(&environment))
    }
}

/// Stops, then kills, every process for which `belongs` says so, and all its descendants. Gives how many had to be
/// killed.
pub(super) fn sweep(belongs: &dyn Fn(&Row) -> bool) -> usize {
    let mut sweep = Sweep { belongs, members: HashSet::new(), over: HashSet::new() };
    for _ in 0..FREEZE_ROUNDS_MAX {
        let look = sweep.look();
        for row in look.alive.iter().filter(|row| !row.is_stopped()) {
            signal(row, Signal::SIGSTOP);
        }
        if !look.is_certain {
            sweep.chase();
        } else if !look.is_new {
            break;
        }
    }
    let give_up = Instant::now() + DEATH_MAX;
    let mut pause = Duration::from_micros(200);
    let mut uncertain_looks = 0;
    loop {
        let look = sweep.look();
        if look.alive.is_empty() && (look.is_certain || uncertain_looks == UNCERTAIN_LOOKS_MAX) {
            return sweep.members.len();
        }
        for row in &look.alive {
            signal(row, Signal::SIGKILL);
        }
        if Instant::now() > give_up {
            let pids: Vec<i32> = look.alive.iter().map(|row| row.identity.pid).collect();
            tracing::error!(?pids, "processes do not die although they were killed; giving them up");
            return sweep.members.len();
        }
        if look.alive.is_empty() {
            uncertain_looks += 1;
            sweep.chase();
        } else {
            thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(20));
        }
    }
}

struct Sweep<'a> {
    belongs: &'a dyn Fn(&Row) -> bool,
    /// Those that were alive when they were seen first.
    members: HashSet<Identity>,
    /// Those that have been seen to be over.
    over: HashSet<Identity>,
}

/// One look at the process table.
struct Look {
    /// The members that are not over.
    alive: Vec<Row>,
    /// Has one of them not been seen before?
    is_new: bool,
    /// The table is read process by process. One that starts its successor and ends is never seen if that happens
    /// behind the reader's back, again and again. But its end does not go unnoticed: it stays in the table until its
    /// parent reaps it, and that is a member, which stands still, or we, who inherit it. Certain is a look during
    /// which nobody has ended or was about to, so that whoever was there at its end was there all the time.
    is_certain: bool,
}

impl Sweep<'_> {
    /// Stops what belongs among our own children and theirs, each as soon as it is seen. A look at the whole table takes
    /// longer than a process needs that starts its successor and ends; this does not.
    fn chase(&self) {
        for _ in 0..CHASES {
            let mut open = table::children(Pid::this().as_raw()).unwrap_or_default();
            while let Some(pid) = open.pop() {
                let Some(row) = table::row(pid).filter(|row| !row.is_over()) else { continue };
                if !row.is_stopped() && (self.belongs)(&row) {
                    signal(&row, Signal::SIGSTOP);
                }
                open.extend(table::children(pid).unwrap_or_default());
            }
        }
    }

    fn look(&mut self) -> Look {
        let ended_before = roots::orphans_ended();
        let table = table::all();
        let (over, alive): (Vec<Row>, Vec<Row>) =
            members_of(&table, self.belongs, &self.members).into_iter().partition(Row::is_over);
        let mut is_new = false;
        for row in &alive {
            is_new |= self.members.insert(row.identity);
        }
        let mut has_ended = false;
        for row in &over {
            has_ended |= self.over.insert(row.identity);
        }
        let is_changing = || table.iter().any(|row| may_breed_unseen(row, &self.members));
        let is_certain = !has_ended && !is_changing();
        // Children that other threads of ours have started and forgotten are in the table only.
        roots::reap_orphans(&table);
        Look { alive, is_new, is_certain: is_certain && roots::orphans_ended() == ended_before }
    }
}

/// Was it on its way out when it was asked whether it belongs, and so without the mark that would have told? Asked of
/// our own children and those of members: whoever else ends has an ancestor among them that has ended.
fn may_breed_unseen(row: &Row, members: &HashSet<Identity>) -> bool {
    let is_near = row.parent == Pid::this().as_raw() || members.iter().any(|member| member.pid == row.parent);
    is_near
        && !row.is_over()
        && !members.contains(&row.identity)
        && table::row(row.identity.pid)
            .is_none_or(|now| now.identity != row.identity || now.is_over() || now.is_ending())
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
