//! The program under test, and the tools that testing it needs.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::Duration,
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
    number("SEGUE_FAULTS_HITS").map_or(usual, |hits| usize::try_from(hits).expect("so many can be counted"))
}

/// How long a database is away: `SEGUE_FAULTS_AWAY_SECONDS` (the long form), else longer than the lease of an engine here.
pub fn away() -> Duration {
    Duration::from_secs(number("SEGUE_FAULTS_AWAY_SECONDS").unwrap_or(4))
}

/// The order of the points where nobody names another one: every run of the short form does the same.
const USUAL_SEED: u64 = 5;

/// `SEGUE_SEED`; else in the long form a new one; else always the same. What uses it prints it.
pub fn seed() -> u64 {
    let is_long = env::var_os("SEGUE_FAULTS_HITS").is_some();
    number("SEGUE_SEED").unwrap_or_else(|| if is_long { fastrand::u64(..) } else { USUAL_SEED })
}

/// `SEGUE_FAULTS_POINT`: only points whose name holds this text, again and again.
pub fn points_wanted() -> Option<String> {
    env::var("SEGUE_FAULTS_POINT").ok()
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is no number: {text}")))
}

/// Fails unless bugs can be planted in the program under test.
///
/// # Panics
/// If it is one without them: nothing would be found in it.
pub fn need_bugs() {
    let unknown = Command::new(segue()).args(["config", "show"]).env("SEGUE_MUTANT", "NoSuchBug").output().unwrap();
    assert_eq!(
        unknown.status.code(),
        Some(2),
        "this program has no bugs to plant; build it with them: cargo build -p segue-cli --features mutants"
    );
}
