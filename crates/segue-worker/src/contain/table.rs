//! The process table, as `/proc` shows it.

use std::{fs, str::FromStr};

use nix::unistd::Pid;

/// What names a process for good: its number may be used again, but not with the same start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    pub(super) pid: i32,
    /// Clock ticks since boot.
    pub(super) started: u64,
}

/// One process.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) identity: Identity,
    pub(super) parent: i32,
    pub(super) group: i32,
    pub(super) session: i32,
    state: u8,
}

impl Row {
    /// Has it ended? (It may still wait to be reaped.)
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x')
    }

    pub(super) const fn is_stopped(&self) -> bool {
        matches!(self.state, b'T' | b't')
    }

    pub(super) const fn pid(&self) -> Pid {
        Pid::from_raw(self.identity.pid)
    }
}

/// All processes that can be seen.
pub(super) fn all() -> Vec<Row> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|entry| row(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process, if there is one with this number.
pub(super) fn row(pid: i32) -> Option<Row> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    parse(pid, &String::from_utf8_lossy(&stat))
}

/// The program's name stands in brackets and may hold anything, so the fields are counted from the last bracket.
fn parse(pid: i32, stat: &str) -> Option<Row> {
    let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
    fn field<T: FromStr>(fields: &[&str], index: usize) -> Option<T> {
        fields.get(index)?.parse().ok()
    }
    Some(Row {
        identity: Identity { pid, started: field(&fields, 19)? },
        parent: field(&fields, 1)?,
        group: field(&fields, 2)?,
        session: field(&fields, 3)?,
        state: *fields.first()?.as_bytes().first()?,
    })
}

/// The environment a process was started with. Empty for one that has ended, or that belongs to somebody else.
pub(super) fn environment(pid: i32) -> Vec<u8> {
    fs::read(format!("/proc/{pid}/environ")).unwrap_or_default()
}

/// The processes that have become our children because their parents ended, and the children that our main thread
/// started. `None` where the kernel keeps no such list.
pub(super) fn adopted_or_of_main_thread() -> Option<Vec<i32>> {
    let me = Pid::this();
    let list = fs::read_to_string(format!("/proc/{me}/task/{me}/children")).ok()?;
    Some(list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

/// Resident memory of a process in bytes.
pub(crate) fn resident_bytes(pid: i32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split_ascii_whitespace().nth(1)?.parse().ok()?;
    let page = nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten()?;
    Some(pages * u64::try_from(page).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_full_of_brackets_does_not_confuse() {
        let line = "42 (a) S 9 (x) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let row = parse(42, line).expect("a line of /proc/PID/stat");
        assert_eq!((row.parent, row.group, row.session), (7, 42, 41));
        assert_eq!(row.identity, Identity { pid: 42, started: 987_654 });
    }

    #[test]
    fn we_are_in_the_table() {
        let me = Pid::this().as_raw();
        assert!(all().iter().any(|row| row.identity.pid == me && !row.is_over()));
        assert!(resident_bytes(me).is_some_and(|bytes| bytes > 100_000));
    }
}
