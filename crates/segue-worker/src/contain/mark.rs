//! The mark that a process and its descendants carry in their environment.

use std::{
    env, process,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use super::{family, table};

/// The environment variable that holds the mark.
pub const MARK_VARIABLE: &str = "SEGUE_MARK";

/// Names one start of one process by this engine: `<pid namespace>:<engine pid>:<engine start>:<unique>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark(String);

impl Mark {
    /// A mark like no other.
    pub(super) fn draw() -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        static ENGINE: OnceLock<String> = OnceLock::new();
        let engine = ENGINE.get_or_init(|| {
            let pid = process::id();
            let started = table::row(pid.cast_signed()).map_or(0, |row| row.identity.started);
            format!("{}:{pid}:{started}:{}", namespace(), Uuid::now_v7().simple())
        });
        Self(format!("{engine}-{}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// The variable's value: behind the marks that this process itself carries, if Segue runs inside Segue.
    pub(super) fn value(&self) -> String {
        match env::var(MARK_VARIABLE) {
            Ok(outer) if !outer.is_empty() => format!("{outer};{}", self.0),
            _ => self.0.clone(),
        }
    }

    /// The variable's value for what a process with the mark `outer` starts in turn.
    pub(super) fn value_within(&self, outer: &Self) -> String {
        format!("{};{}", outer.value(), self.0)
    }

    /// Does the environment of a process carry it?
    pub(super) fn is_in(&self, environment: &[u8]) -> bool {
        marks(environment).any(|mark| mark == self.0)
    }
}

fn marks(environment: &[u8]) -> impl Iterator<Item = &str> {
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(MARK_VARIABLE.as_bytes())?.strip_prefix(b"="))
        .and_then(|value| std::str::from_utf8(value).ok())
        .unwrap_or_default()
        .split(';')
}

/// Ends what engines that are dead have left running on this machine, and tells how many processes that were. Called
/// when an engine starts: an attempt that will be run again shall not still be running. Blocks for some milliseconds.
pub fn sweep_dead_engines() -> usize {
    family::sweep(&|row| engine_is_dead(&table::settled_environment(row.identity.pid)))
}

/// The innermost mark counts: it names the engine that started the process. Nothing is said about an engine in another
/// PID namespace (a container's, seen from its host): there its number means another process.
fn engine_is_dead(environment: &[u8]) -> bool {
    let parts: Vec<&str> = marks(environment).last().unwrap_or_default().split(':').collect();
    let [space, pid, started, _] = parts[..] else { return false };
    let (Ok(pid), Ok(started)) = (pid.parse(), started.parse::<u64>()) else { return false };
    // Of an engine that cannot be looked at, or could not look at itself, that cannot be told.
    let Ok(engine) = table::look(pid) else { return false };
    let is_another = |engine: &table::Row| started != 0 && engine.identity.started != started;
    space == namespace() && engine.is_none_or(|engine| is_another(&engine) || engine.is_over())
}

/// The number of our PID namespace.
fn namespace() -> &'static str {
    static NAMESPACE: OnceLock<String> = OnceLock::new();
    NAMESPACE.get_or_init(|| {
        let link = std::fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        link.to_string_lossy().chars().filter(char::is_ascii_digit).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_of_a_mark_lives_or_not() {
        let own = format!("A=1\0{MARK_VARIABLE}=0:1:2:outer;{}\0B=2\0", Mark::draw().0);
        assert!(!engine_is_dead(own.as_bytes()));
        let reused = format!("{MARK_VARIABLE}={}:{}:1:x-0\0", namespace(), process::id());
        assert!(engine_is_dead(reused.as_bytes()), "the number is in use, but by another process");
        let unknown = format!("{MARK_VARIABLE}={}:{}:0:x-0\0", namespace(), process::id());
        assert!(!engine_is_dead(unknown.as_bytes()), "it could not tell when it had started");
        let elsewhere = format!("{MARK_VARIABLE}=1{}:{}:1:x-0\0", namespace(), process::id());
        assert!(!engine_is_dead(elsewhere.as_bytes()), "a container's engine is none of ours");
        assert!(!engine_is_dead(b"A=1\0"));
        assert!(!engine_is_dead(b"SEGUE_MARK=rubbish\0"));
    }

    #[test]
    fn a_mark_is_found_whole_only() {
        let (one, other) = (Mark::draw(), Mark::draw());
        let environment = format!("{MARK_VARIABLE}=x;{}\0", one.0);
        assert!(one.is_in(environment.as_bytes()) && !other.is_in(environment.as_bytes()));
        assert!(!one.is_in(format!("{MARK_VARIABLE}={}0\0", one.0).as_bytes()));
    }
}
