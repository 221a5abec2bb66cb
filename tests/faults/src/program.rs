//! The program under test, and the tools that testing it needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use nix::sys::signal::Signal;

/// `SEGUE_BIN`, else the `segue` that cargo built beside this test.
///
/// # Panics
/// If there is none: nothing was tested then.
pub fn segue() -> &'static Path {
    static SEGUE: OnceLock<PathBuf> = OnceLock::new();
    SEGUE.get_or_init(|| {
        let path = env::var_os("SEGUE_BIN").map_or_else(beside_this_test, PathBuf::from);
        let path = path.canonicalize().unwrap_or_else(|error| {
            panic!("there is no program to test at {}: {error}; build it: cargo build -p segue-cli", path.display())
        });
        println!("under test: {}", path.display());
        path
    })
}

/// `target/PROFILE/segue`, seen from `target/PROFILE/deps/TEST`.
fn beside_this_test() -> PathBuf {
    let test = env::current_exe().unwrap();
    test.parent().unwrap().parent().unwrap().join("segue")
}

/// Fails unless `tool` can be started.
///
/// # Panics
/// If it is missing, naming Debian's package: a tool that is missing is no passed test.
pub fn need(tool: &str, package: &str) {
    let mut command = Command::new(tool);
    let command = command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let works = command.status().is_ok_and(|status| status.success());
    assert!(works, "`{tool}` is missing, and without it this is not tested; install it: apt-get install {package}");
}

/// What ends strace so that it lets go of what it traces.
pub const INTERRUPT: Signal = Signal::SIGINT;

/// Does somebody trace this process?
pub fn is_traced(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|tracer| tracer.trim() != "0"))
}

/// How many times a test is to let something go wrong: `SEGUE_FAULTS_HITS` (the long form), else `usual`.
pub fn hits_wanted(usual: usize) -> usize {
    match env::var("SEGUE_FAULTS_HITS") {
        Ok(text) => text.parse().expect("SEGUE_FAULTS_HITS is a number"),
        Err(_) => usual,
    }
}

/// `SEGUE_SEED`, else a new one; printed, so that a failure can be replayed.
pub fn seed() -> u64 {
    let seed = env::var("SEGUE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed}; SEGUE_SEED={seed} replays it");
    seed
}
