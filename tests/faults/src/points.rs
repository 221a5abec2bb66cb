//! The moments at which something goes wrong: every n-th call of the chosen system calls, in every phase of a workload.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, OnceLock},
    thread,
};

use crate::{
    case::Case,
    checks::Judge,
    strace::{self, Injection},
    workload::Workload,
};

/// The system calls at which the program is killed: those with which it changes something outside itself (files, pipes,
/// processes, sockets), and `epoll_wait`, which marks the turns of the event loop. Left out is what happens in between
/// and changes nothing (`read`, `mmap`, `futex`, `getpid`, …): to be killed there is to be killed before the next call
/// that counts.
pub const KILLED_AT: [&str; 19] = [
    "fsync",
    "fdatasync",
    "pwrite64",
    "write",
    "writev",
    "ftruncate",
    "openat",
    "close",
    "unlink",
    "mkdir",
    "clone",
    "clone3",
    "socket",
    "sendto",
    "sendmsg",
    "recvfrom",
    "kill",
    "epoll_wait",
    "exit_group",
];

/// The system calls that fail, how, and how many times in a row. Not `write`: most of the program's go to itself, where
/// they cannot fail so.
pub const FAILING: [(&str, &str, u32); 15] = [
    ("fsync", "EIO", 1),
    ("fsync", "ENOSPC", 1),
    ("fdatasync", "EIO", 1),
    ("pwrite64", "ENOSPC", 1),
    ("pwrite64", "ENOSPC", 4),
    ("pwrite64", "ENOSPC", 12),
    ("pwrite64", "EIO", 1),
    ("pwrite64", "EINTR", 1),
    ("ftruncate", "ENOSPC", 1),
    ("openat", "EMFILE", 1),
    ("openat", "EMFILE", 20),
    ("socket", "EMFILE", 1),
    ("clone", "EAGAIN", 1),
    ("clone3", "EAGAIN", 1),
    ("epoll_wait", "EINTR", 1),
];

/// What goes wrong at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The program is killed.
    Kill,
    /// The call fails.
    Fail {
        /// How.
        errno: &'static str,
        /// How many times in a row.
        times: u32,
    },
}

/// Which command it goes wrong in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// `segue run`, in a folder without a store.
    First,
    /// `segue run`.
    Run,
    /// `segue submit`.
    Submit,
    /// `segue resume --all`, after `segue run` was killed half-way.
    Recovery,
    /// `segue runs cancel`.
    Cancel,
    /// `segue resume --all`, while another process carries out the run.
    Neighbour,
    /// One of two engines on one database.
    Engine,
    /// The engine that takes over after another was killed; a third one goes on.
    Heir,
}

impl Phase {
    /// Does another process go on with the run, whatever becomes of this one?
    pub const fn is_beside_the_run(self) -> bool {
        matches!(self, Self::Cancel | Self::Neighbour)
    }
}

/// A moment, and what goes wrong then.
#[derive(Debug, Clone)]
pub struct Point<'a> {
    /// What runs.
    pub workload: &'a Workload,
    /// Which command.
    pub phase: Phase,
    /// Which system call.
    pub call: String,
    /// A thread's n-th.
    pub n: u32,
    /// What goes wrong.
    pub fault: Fault,
    /// How often the workload's run makes a commit durable: where half-way is.
    pub commits: u32,
}

impl Point<'_> {
    /// For strace.
    pub fn injection(&self) -> Injection {
        let (call, n) = (self.call.clone(), self.n);
        match self.fault {
            Fault::Kill => Injection::Kill { call, n },
            Fault::Fail { errno, times } => Injection::Fail { call, errno: errno.to_owned(), from: n, times },
        }
    }

    /// What it belongs to in a report.
    pub fn group(&self) -> String {
        let (workload, phase, call) = (self.workload.name, self.phase, &self.call);
        match self.fault {
            Fault::Kill => format!("{workload} {phase:?} {call}"),
            Fault::Fail { errno, times } => format!("{workload} {phase:?} {call} {errno} x{times}"),
        }
    }
}

impl fmt::Display for Point<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.group(), self.n)
    }
}

/// Points of one kind each.
pub type Groups<'a> = Vec<Vec<Point<'a>>>;

/// The points of several workloads. Counting them takes a while: half of it is done beside the other half.
pub fn of_all<'a>(workloads: &'a [Workload], of: &(dyn Fn(&'a Workload) -> Groups<'a> + Sync)) -> Groups<'a> {
    let (here, there) = workloads.split_at(workloads.len() / 2);
    thread::scope(|scope| {
        let there = scope.spawn(|| there.iter().flat_map(of).collect::<Groups<'_>>());
        let mut groups: Groups<'_> = here.iter().flat_map(of).collect();
        groups.extend(there.join().unwrap());
        groups
    })
}

/// Every kill of a workload, by phase and call.
pub fn kills(workload: &Workload) -> Groups<'_> {
    kills_in(workload, &phases(workload))
}

/// Those in some phases.
pub fn kills_in<'a>(workload: &'a Workload, phases: &[Phase]) -> Groups<'a> {
    of(workload, phases, &|call| if KILLED_AT.contains(&call) { vec![Fault::Kill] } else { Vec::new() })
}

/// Every failing call of a workload, by phase, call and error.
pub fn failures(workload: &Workload) -> Groups<'_> {
    let mut phases = phases(workload);
    phases.retain(|phase| !phase.is_beside_the_run());
    failures_in(workload, &phases)
}

/// Those in some phases.
pub fn failures_in<'a>(workload: &'a Workload, phases: &[Phase]) -> Groups<'a> {
    let faults = |call: &str| {
        let its = FAILING.iter().filter(|(failing, ..)| *failing == call);
        its.map(|&(_, errno, times)| Fault::Fail { errno, times }).collect()
    };
    of(workload, phases, &faults)
}

fn phases(workload: &Workload) -> Vec<Phase> {
    let mut phases = vec![Phase::Run, Phase::Recovery];
    if workload.name == "linear" {
        phases.extend([Phase::First, Phase::Submit]);
    }
    if workload.cancel_at.is_some() {
        phases.extend([Phase::Cancel, Phase::Neighbour]);
    }
    phases
}

fn of<'a>(workload: &'a Workload, phases: &[Phase], faults: &dyn Fn(&str) -> Vec<Fault>) -> Groups<'a> {
    let of_run = count(workload, Phase::Run, 0);
    let commits = of_run.get("fsync").or(of_run.get("fdatasync")).copied().unwrap_or_default();
    assert!(commits > 0, "a run of `{}` makes nothing durable: {of_run:?}", workload.name);
    let mut groups = Vec::new();
    for &phase in phases {
        let counts = if phase == Phase::Run { of_run.clone() } else { count(workload, phase, commits) };
        for (call, most) in counts {
            for fault in faults(&call) {
                let point = |n| Point { workload, phase, call: call.clone(), n, fault, commits };
                groups.push((1..=most).map(point).collect());
            }
        }
    }
    groups
}

/// How often a thread makes each call in a phase of a workload that nothing disturbs. Looked at once.
fn count(workload: &Workload, phase: Phase, commits: u32) -> BTreeMap<String, u32> {
    static KNOWN: Mutex<BTreeMap<(String, Phase), Counts>> = Mutex::new(BTreeMap::new());
    let key = (workload.document.to_string(), phase);
    let known = KNOWN.lock().unwrap().entry(key).or_default().clone();
    known.get_or_init(|| look(workload, phase, commits)).clone()
}

/// Made by whoever needs them first; others wait for these only.
type Counts = Arc<OnceLock<BTreeMap<String, u32>>>;

fn look(workload: &Workload, phase: Phase, commits: u32) -> BTreeMap<String, u32> {
    let point = Point { workload, phase, call: String::new(), n: 0, fault: Fault::Kill, commits };
    let case = Case::new(&point, None);
    strace::count(case.place(), &KILLED_AT, |watch| case.disturbed(watch, &mut Judge::new(workload)))
}
