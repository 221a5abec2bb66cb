//! A folder with a store of its own, and commands that run in it.

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill, killpg},
    unistd::Pid,
};
use serde_json::Value;

use crate::{program, snapshot::Effects, strace::Injection};

/// Longer than any command here takes, even on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(90);

/// A folder, and what all commands in it get.
pub struct Place {
    dir: tempfile::TempDir,
    env: BTreeMap<String, String>,
    commands: Cell<u32>,
}

/// A command that has been started. Its output goes to files: there is no pipe that it could wait for.
pub struct Going {
    what: String,
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    is_traced: bool,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ended {
    /// The command, to be shown.
    pub what: String,
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said.
    pub stderr: String,
}

impl Place {
    /// A folder with nothing in it.
    pub fn bare() -> Self {
        let dir = tempfile::Builder::new().prefix("segue-faults-").tempdir().unwrap();
        fs::create_dir(dir.path().join("tmp")).unwrap();
        Self { dir, env: BTreeMap::new(), commands: Cell::new(0) }
    }

    /// A folder with an SQLite store without runs, which is copied: making one takes longer than most runs here.
    pub fn with_store() -> Self {
        static EMPTY: OnceLock<Vec<u8>> = OnceLock::new();
        let empty = EMPTY.get_or_init(|| {
            let place = Self::bare();
            place.write("empty.yaml", "id: empty\nnodes:\n  - { id: a, task: pass }\n");
            let made = place.segue(&["workflows", "deploy", "empty.yaml"]);
            assert_eq!(made.code(), 0, "{made:#?}");
            fs::read(place.file(".segue/segue.db")).unwrap()
        });
        let place = Self::bare();
        place.write(".segue/segue.db", empty);
        place
    }

    /// Gives all further commands a variable.
    pub fn set(&mut self, name: &str, value: &str) {
        self.env.insert(name.to_owned(), value.to_owned());
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, and makes its folder.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The effects of tasks so far.
    pub fn effects(&self) -> Effects {
        Effects::read(&fs::read_to_string(self.file("effects")).unwrap_or_default())
    }

    /// `program ARGS` in this folder, with nothing of the caller's settings.
    pub fn command(&self, program: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).current_dir(self.path()).stdin(Stdio::null()).env_clear().process_group(0);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.path()).env("TMPDIR", self.file("tmp")).env("NO_COLOR", "1").envs(&self.env);
        command
    }

    /// Starts `segue ARGS`.
    pub fn start(&self, args: &[&str]) -> Going {
        self.begin(self.command(program::segue(), args), format!("segue {}", args.join(" ")))
    }

    /// Starts `segue ARGS`, of which system calls are looked at by strace.
    pub fn start_traced(&self, injection: &Injection, args: &[&str]) -> Going {
        let mut all: Vec<String> = injection.strace_args();
        all.extend(["--".to_owned(), program::segue().display().to_string()]);
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        let what = format!("segue {} [{injection}]", args.join(" "));
        self.begin(self.command(Path::new("strace"), &all), what)
    }

    /// Starts another program in this folder.
    pub fn start_program(&self, program: &str, args: &[&str]) -> Going {
        self.begin(self.command(Path::new(program), args), format!("{program} {}", args.join(" ")))
    }

    /// Runs `segue ARGS` to its end.
    pub fn segue(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    fn begin(&self, mut command: Command, what: String) -> Going {
        let number = self.commands.replace(self.commands.get() + 1);
        let (stdout, stderr) = (self.file(&format!("out.{number}")), self.file(&format!("err.{number}")));
        let program = PathBuf::from(command.get_program());
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {what}: {error}"));
        Going { what, child, stdout, stderr, is_traced: program.file_name().is_some_and(|name| name == "strace") }
    }
}

impl Going {
    /// Its number (of strace's, if it is traced).
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If that does not come.
    pub fn wait(self) -> Ended {
        self.wait_and(|| {})
    }

    /// As [`Going::wait`]; meanwhile does `something` again and again.
    pub fn wait_and(mut self, mut something: impl FnMut()) -> Ended {
        let started = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            something();
            if started.elapsed() > PATIENCE {
                self.signal(Signal::SIGKILL);
                self.child.wait().unwrap();
                let stderr = fs::read_to_string(&self.stderr).unwrap_or_default();
                panic!("{} has not ended within {PATIENCE:?}; it said:\n{stderr}", self.what);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let read = |path: &Path| String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
        Ended { what: self.what.clone(), status, stdout: read(&self.stdout), stderr: read(&self.stderr) }
    }

    /// Has it ended?
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Asks it to leave: it, or what strace traces, not strace, which would let it go.
    pub fn leave(&mut self) {
        let target = if self.is_traced { self.traced() } else { Some(self.child.id()) };
        if let Some(target) = target {
            // It may have ended just now.
            let _ = kill(Pid::from_raw(target.cast_signed()), Signal::SIGTERM);
        }
    }

    /// The program that strace traces, once it is there: before, strace tries with children of its own what it can do.
    /// None if it has ended.
    fn traced(&mut self) -> Option<u32> {
        let program = program::segue().canonicalize().unwrap();
        let strace = self.child.id();
        let children = move || {
            let list = fs::read_to_string(format!("/proc/{strace}/task/{strace}/children")).unwrap_or_default();
            list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<u32>>()
        };
        let is_it = |child: &u32| fs::read_link(format!("/proc/{child}/exe")).is_ok_and(|exe| exe == program);
        until("strace has started the program", || {
            let found = children().into_iter().find(is_it);
            (found.is_some() || self.has_ended()).then_some(found)
        })
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.stdout).unwrap_or_default()
    }

    /// What it has said so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap_or_default()
    }

    /// Sends a signal to it and to what it started in its group.
    pub fn signal(&self, signal: Signal) {
        // It may have ended just now.
        let _ = killpg(Pid::from_raw(self.child.id().cast_signed()), signal);
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGKILL);
            let _ = self.child.wait();
        }
    }
}

impl Ended {
    /// Its exit code; a signal's number plus 1000.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or_else(|| 1000 + self.status.signal().unwrap_or_default())
    }

    /// Was it killed?
    pub fn was_killed(&self) -> bool {
        self.status.signal() == Some(Signal::SIGKILL as i32)
    }

    /// The JSON documents that it printed, one a line; a line that a kill cut off is none.
    pub fn documents(&self) -> Vec<Value> {
        self.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// Waits until something outside has happened.
///
/// # Panics
/// If it does not.
pub fn until<T>(what: &str, mut happened: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = happened() {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "{what} has not happened within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
