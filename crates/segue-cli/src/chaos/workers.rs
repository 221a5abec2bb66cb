//! The workers of this process: those that carry out attempts of agents and of Python code.

use std::fs;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use segue_worker::{contain::MARK_VARIABLE, protocol::TOKEN_VARIABLE};

/// Kills every worker of this process. Says whether there was one.
///
/// Workers are known by their environment: they hold a worker's token, and the mark of the engine that started them.
/// Programs that tasks start hold none, and are left alone: their end by a signal is an answer, and final.
pub(super) fn kill_all() -> bool {
    let own = std::process::id().to_string();
    let mut found = false;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        if is_worker_of(&environment, &own) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok() {
            found = true;
        }
    }
    found
}

fn is_worker_of(environment: &[u8], engine: &str) -> bool {
    let value = |name: &str| {
        let entries = environment.split(|byte| *byte == 0);
        entries
            .filter_map(|entry| std::str::from_utf8(entry).ok())
            .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    };
    let is_ours = |mark: &str| mark.split(';').any(|mark| mark.split(':').nth(1) == Some(engine));
    value(TOKEN_VARIABLE).is_some() && value(MARK_VARIABLE).is_some_and(is_ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_told_from_a_program_and_from_others_workers() {
        let of = |text: &str| is_worker_of(text.replace('|', "\0").as_bytes(), "42");
        assert!(of("A=1|SEGUE_WORKER_TOKEN=x|SEGUE_MARK=4026:7:1:u-0;4026:42:99:u-1|"));
        assert!(!of("A=1|SEGUE_MARK=4026:42:99:u-1|"), "a program that a task started");
        assert!(!of("SEGUE_WORKER_TOKEN=x|SEGUE_MARK=4026:43:42:u-1|"), "another engine's");
    }
}
