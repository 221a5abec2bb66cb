//! System calls that kill or fail, by strace; the program is not modified.
//!
//! What to know of strace here: `when=N` counts the calls of each thread on its own, so the first thread that comes to its
//! n-th call is hit. With `--seccomp-bpf` an injection with N > 1 silently does nothing: it must not be given. `-b execve`
//! lets processes go that the program starts: the faults are the engine's, not its tasks'.

use std::{collections::BTreeMap, fmt};

use crate::{
    place::{Ended, Place},
    program,
};

/// What to do to system calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Injection {
    /// Kill the program instead of a thread's `n`-th `call`.
    Kill {
        /// The system call.
        call: String,
        /// From 1.
        n: u32,
    },
    /// Let calls fail, from a thread's `from`-th on.
    Fail {
        /// The system call.
        call: String,
        /// The error, such as `ENOSPC`.
        errno: String,
        /// From 1.
        from: u32,
        /// How many of a thread's calls fail.
        times: u32,
    },
    /// Only write down which calls are made.
    Watch {
        /// The system calls.
        calls: Vec<String>,
        /// Where.
        log: String,
    },
}

impl Injection {
    /// The arguments of strace, without the command.
    pub fn strace_args(&self) -> Vec<String> {
        let mut args: Vec<String> = ["-f", "-b", "execve", "-qq"].map(str::to_owned).into();
        let mut option = |name: &str, value: String| args.extend([name.to_owned(), value]);
        match self {
            Self::Kill { call, n } => {
                option("-o", "/dev/null".to_owned());
                option("-e", format!("trace={call}"));
                option("-e", format!("inject={call}:signal=KILL:when={n}"));
            }
            Self::Fail { call, errno, from, times } => {
                let last = from + times - 1;
                option("-o", "/dev/null".to_owned());
                option("-e", format!("trace={call}"));
                option("-e", format!("inject={call}:error={errno}:when={from}..{last}"));
            }
            Self::Watch { calls, log } => {
                option("-o", log.clone());
                option("-e", format!("trace={}", calls.join(",")));
            }
        }
        args
    }
}

impl fmt::Display for Injection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill { call, n } => write!(f, "killed at {call} {n}"),
            Self::Fail { call, errno, from, times } => write!(f, "{errno} at {call} {from}, {times} times"),
            Self::Watch { .. } => write!(f, "watched"),
        }
    }
}

/// How often a thread makes each of these calls in a command that `carry` starts with this injection: the most of all
/// threads, which is how many points there are.
pub fn count(place: &Place, calls: &[&str], carry: impl FnOnce(&Injection) -> Ended) -> BTreeMap<String, u32> {
    program::need("strace", "strace");
    let log = place.file("calls");
    let calls = calls.iter().map(|call| (*call).to_owned()).collect();
    let ended = carry(&Injection::Watch { calls, log: log.display().to_string() });
    assert!([0, 5].contains(&ended.code()), "what nothing disturbs goes well: {ended:#?}");
    most(&std::fs::read_to_string(&log).unwrap())
}

/// The most calls of one thread, by call, in what strace has written down.
pub fn most(log: &str) -> BTreeMap<String, u32> {
    let mut of_thread: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for line in log.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        if rest.trim_start().starts_with("<...") {
            continue;
        }
        if let Some((call, _)) = rest.trim_start().split_once('(') {
            *of_thread.entry((thread, call)).or_default() += 1;
        }
    }
    let mut most: BTreeMap<String, u32> = BTreeMap::new();
    for ((_, call), times) in of_thread {
        let known = most.entry(call.to_owned()).or_default();
        *known = times.max(*known);
    }
    most
}
