//! The process table, as `/proc` shows it.

use std::{
    fs, io,
    str::FromStr,
    thread,
    time::{Duration, Instant},
};

use nix::{errno::Errno, unistd::Pid};

/// How long a process may be between two programs before it is taken to have no environment.
const EXEC_MAX: Duration = Duration::from_secs(2);
/// How often it is looked at who becomes one program after the other.
const LOOKS_MAX: usize = 8;
/// How long the table is waited for where there is no file descriptor or memory left to read it with.
const SHORTAGE_MAX: Duration = Duration::from_millis(50);
/// Readings of the list of children before it is given up as too restless.
const READINGS_MAX: usize = 8;

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
    threads: u32,
    memory_bytes: u64,
}

impl Row {
    /// Has it ended? (It may still wait to be reaped.) One whose first thread alone has ended runs on.
    pub(super) const fn is_over(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    /// Is it about to end, without memory already (and so without an environment to be known by), while its children
    /// are still its own? Threads of the kernel have no memory either; they have no group.
    pub(super) const fn is_ending(&self) -> bool {
        !self.is_over() && self.memory_bytes == 0 && self.group != 0
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
    let Ok(entries) = patiently(|| fs::read_dir("/proc")) else { return Vec::new() };
    entries.filter_map(|entry| row(entry.ok()?.file_name().to_str()?.parse().ok()?)).collect()
}

/// One process, if there is one with this number, and if that can be seen.
pub(super) fn row(pid: i32) -> Option<Row> {
    look(pid).ok().flatten()
}

/// One process; `None` if there is none with this number. An error: that cannot be told.
pub(super) fn look(pid: i32) -> io::Result<Option<Row>> {
    match read(&format!("/proc/{pid}/stat")) {
        Ok(stat) => Ok(parse(pid, &String::from_utf8_lossy(&stat))),
        Err(error) if error.kind() == io::ErrorKind::NotFound || is(&error, &[Errno::ESRCH]) => Ok(None),
        Err(error) => Err(error),
    }
}

fn read(path: &str) -> io::Result<Vec<u8>> {
    patiently(|| fs::read(path))
}

/// What cannot be read for want of a file descriptor says nothing about who is there: waits for others to close one.
fn patiently<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let give_up = Instant::now() + SHORTAGE_MAX;
    loop {
        match read() {
            Err(error) if is(&error, &[Errno::EMFILE, Errno::ENFILE, Errno::ENOMEM]) && Instant::now() < give_up => {
                thread::sleep(Duration::from_millis(1));
            }
            done => return done,
        }
    }
}

fn is(error: &io::Error, what: &[Errno]) -> bool {
    error.raw_os_error().is_some_and(|code| what.contains(&Errno::from_raw(code)))
}

/// The program's name stands in brackets and may hold anything, so the fields are counted from the last bracket.
fn parse(pid: i32, stat: &str) -> Option<Row> {
    let fields = fields(stat)?;
    Some(Row {
        identity: Identity { pid, started: field(&fields, 19)? },
        parent: field(&fields, 1)?,
        group: field(&fields, 2)?,
        session: field(&fields, 3)?,
        state: *fields.first()?.as_bytes().first()?,
        threads: field(&fields, 17)?,
        memory_bytes: field(&fields, 20)?,
    })
}

/// What follows the name; the first is the state.
fn fields(stat: &str) -> Option<Vec<&str>> {
    Some(stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect())
}

fn field<T: FromStr>(fields: &[&str], index: usize) -> Option<T> {
    fields.get(index)?.parse().ok()
}

/// The environment a process was started with. Empty for one that has ended, or that belongs to somebody else. `None`
/// while it changes from one program to another (`exec`): then it has none for a moment, and that says nothing.
pub(super) fn environment(pid: i32) -> Option<Vec<u8>> {
    let path = format!("/proc/{pid}/environ");
    environment_by(|| read(&path), || environment_addresses(pid))
}

/// As [`environment`], with what reads it and what says where it lies.
fn environment_by(
    mut read: impl FnMut() -> io::Result<Vec<u8>>,
    mut addresses: impl FnMut() -> Option<(u64, u64)>,
) -> Option<Vec<u8>> {
    let mut before = None;
    let mut has_moved = false;
    for _ in 0..LOOKS_MAX {
        match read() {
            Err(_) => return Some(Vec::new()),
            Ok(environment) if !environment.is_empty() => return Some(environment),
            Ok(_) => {}
        }
        match addresses() {
            Some((_, 0)) => return None,
            // What was read was of the program before: this one has become another between the two looks.
            Some((start, end)) if start != end => {
                has_moved |= before.is_some_and(|before| before != (start, end));
                before = Some((start, end));
            }
            _ => return Some(Vec::new()),
        }
    }
    // Always the same place, and nothing there: it took its environment away itself.
    (!has_moved).then(Vec::new)
}

/// The same of a process that may be between two programs: that is waited for.
pub(super) fn settled_environment(pid: i32) -> Vec<u8> {
    let give_up = Instant::now() + EXEC_MAX;
    loop {
        match environment(pid) {
            Some(environment) => return environment,
            None if Instant::now() > give_up => return Vec::new(),
            None => thread::sleep(Duration::from_micros(200)),
        }
    }
}

/// Where in its memory the environment starts and ends; `None` without memory. The new program's memory is there
/// before the environment is written to it: until then both are zero.
fn environment_addresses(pid: i32) -> Option<(u64, u64)> {
    let stat = read(&format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields = fields(&stat)?;
    let memory_bytes: u64 = field(&fields, 20)?;
    (memory_bytes > 0).then_some((field(&fields, 47)?, field(&fields, 48)?))
}

/// The processes that have become our children because their parents ended, and the children that our main thread
/// started. `None` where the kernel keeps no such list, or where it changes faster than it can be read.
pub(super) fn adopted_or_of_main_thread() -> Option<Vec<i32>> {
    let read = || children(Pid::this().as_raw());
    // The kernel gives it in pieces and finds its place again by counting: a child that leaves the list meanwhile
    // makes it skip another one. Two equal readings have skipped nobody.
    let mut last = read()?;
    for _ in 0..READINGS_MAX {
        let next = read()?;
        if next == last {
            return Some(next);
        }
        last = next;
    }
    None
}

/// The children of a process's main thread; where they change, one may be missing.
pub(super) fn children(pid: i32) -> Option<Vec<i32>> {
    let list = read(&format!("/proc/{pid}/task/{pid}/children")).ok()?;
    let list = String::from_utf8_lossy(&list);
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
    use std::process::{Child, Command};

    use super::*;

    /// Is ended with the test, whatever becomes of it.
    struct Ended(Child);

    impl Ended {
        fn spawn(command: &mut Command) -> Self {
            Self(command.spawn().expect("its program is there"))
        }

        fn pid(&self) -> i32 {
            self.0.id().cast_signed()
        }

        fn end(&mut self) {
            self.0.kill().and_then(|()| self.0.wait()).expect("it can be ended");
        }
    }

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill().and_then(|()| self.0.wait());
        }
    }

    #[test]
    fn a_name_full_of_brackets_does_not_confuse() {
        let line = "42 (a) S 9 (x) S 7 42 41 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2";
        let row = parse(42, line).expect("a line of /proc/PID/stat");
        assert!(!row.is_over() && !row.is_ending());
        assert_eq!((row.parent, row.group, row.session), (7, 42, 41));
        assert_eq!(row.identity, Identity { pid: 42, started: 987_654 });
    }

    #[test]
    fn a_shortage_says_nothing_about_who_is_there() {
        let mut left = 3;
        let read = patiently(|| {
            left -= 1;
            if left > 0 { Err(Errno::EMFILE.into()) } else { Ok("read") }
        });
        assert_eq!((read.ok(), left), (Some("read"), 0));
        let mut asked = 0;
        let gone = patiently(|| -> io::Result<()> {
            asked += 1;
            Err(Errno::ENOENT.into())
        });
        assert!(gone.is_err() && asked == 1, "who is not there is not waited for");
        assert!(look(Pid::this().as_raw()).is_ok_and(|row| row.is_some()));
        assert!(look(i32::MAX).is_ok_and(|row| row.is_none()));
    }

    #[test]
    fn we_are_in_the_table() {
        let me = Pid::this().as_raw();
        assert!(all().iter().any(|row| row.identity.pid == me && !row.is_over()));
        assert!(resident_bytes(me).is_some_and(|bytes| bytes > 100_000));
    }

    #[test]
    fn an_end_has_steps() {
        let row = |state: char, threads: u32, memory: u64, group: i32| {
            let line = format!("42 (a) {state} 7 {group} 41 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 9 {memory} 2");
            parse(42, &line).expect("a line of /proc/PID/stat")
        };
        assert!(row('Z', 1, 0, 42).is_over() && !row('Z', 1, 0, 42).is_ending());
        assert!(!row('Z', 2, 0, 42).is_over(), "its first thread has ended, another one runs");
        assert!(row('R', 1, 0, 42).is_ending() && !row('R', 1, 4096, 42).is_ending());
        assert!(!row('S', 1, 0, 0).is_ending(), "a thread of the kernel");
    }

    #[test]
    fn an_environment_is_told_from_none_and_from_one_that_is_not_there_yet() {
        let me = Pid::this().as_raw();
        assert!(environment(me).is_some_and(|environment| !environment.is_empty()));
        let mut bare = Ended::spawn(Command::new("sleep").arg("1000").env_clear());
        let pid = bare.pid();
        assert!(settled_environment(pid).is_empty());
        assert_eq!(environment(pid), Some(Vec::new()), "it has settled, and has none");
        bare.end();
        assert_eq!(environment(pid), Some(Vec::new()));
    }

    #[test]
    fn who_becomes_one_program_after_the_other_is_not_taken_for_bare() {
        let look = |texts: &[&str], places: &[(u64, u64)]| {
            let (mut texts, mut places) = (texts.iter(), places.iter().cycle());
            environment_by(|| Ok(texts.next().map_or("", |text| *text).into()), || places.next().copied())
        };
        assert_eq!(look(&["", "", "", "A=1"], &[(1, 2), (3, 4), (5, 6)]), Some(b"A=1".to_vec()));
        assert_eq!(look(&[], &[(1, 2), (3, 4)]), None, "it is not seen for long enough");
        assert_eq!(look(&[""], &[(0, 0)]), None);
        assert_eq!(look(&[""], &[(1, 1)]), Some(Vec::new()));
        assert_eq!(look(&[], &[(1, 2)]), Some(Vec::new()), "it took its environment away itself");
        assert_eq!(look(&[""], &[]), Some(Vec::new()), "it has no memory any more");
    }

    #[test]
    fn no_moment_between_two_programs_is_taken_for_an_empty_environment() {
        // It becomes another program again and again, always with the same environment.
        let script = "[ $1 = 0 ] || exec sh -c \"$SCRIPT\" sh $(($1 - 1)); exec sleep 1000";
        let mut restless = Command::new("sh");
        restless.args(["-c", script, "sh", "300"]).env_clear().env("SCRIPT", script).env("PATH", "/usr/bin:/bin");
        let restless = Ended::spawn(&mut restless);
        let pid = restless.pid();
        let mut looks = 0;
        while !fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sleep") {
            let environment = settled_environment(pid);
            assert!(environment.windows(7).any(|part| part == b"SCRIPT="), "look {looks} saw {environment:?}");
            looks += 1;
        }
        assert!(looks > 0);
    }
}
