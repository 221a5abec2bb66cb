//! A folder of its own, and the real program in it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

/// Engines that serve.
pub mod serving;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longer than anything here takes, even on a machine that is busy with other things.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A folder with a store in it.
pub struct Place {
    dir: tempfile::TempDir,
}

/// What a command came to.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.file(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }

    /// The program, in this folder, with nothing of the caller's settings.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_segue"));
        for (name, _) in std::env::vars() {
            let is_ours = name.starts_with("SEGUE_") || name.starts_with("OPENAI_") || name.starts_with("XDG_");
            if is_ours && name != "SEGUE_HOME" && name != "SEGUE_PYTHON" {
                command.env_remove(name);
            }
        }
        command.args(args).current_dir(self.path()).stdin(Stdio::null());
        command.env("HOME", self.path()).env("NO_COLOR", "1");
        command
    }

    /// Runs the program to its end.
    pub fn segue(&self, args: &[&str]) -> Ran {
        Ran::from(self.command(args).output().unwrap())
    }

    /// As [`Place::segue`], for a command that goes well and prints one JSON document.
    pub fn json(&self, args: &[&str]) -> Value {
        let ran = self.segue(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
        ran.document()
    }

    /// Starts the program and lets it run.
    pub fn spawn(&self, args: &[&str]) -> Child {
        self.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The events of a run, as the program prints them.
    pub fn events(&self, run: &str) -> Vec<Value> {
        let ran = self.segue(&["runs", "events", run, "--json"]);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.lines_of_json()
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = output.status.signal().map(|signal| 1000 + signal);
        Self {
            code: output.status.code().or(signal).unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// The one JSON document on stdout.
    pub fn document(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "one document on one line: {self:#?}");
        serde_json::from_str(&self.stdout).unwrap()
    }

    pub fn lines_of_json(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// Waits until something outside has happened.
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

/// Waits for a child's end, and takes what it printed.
pub fn end_of(child: Child) -> Ran {
    Ran::from(child.wait_with_output().unwrap())
}

/// Sends a signal to a child that has not been waited for.
pub fn signal(child: &Child, signal: nix::sys::signal::Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// Is there a process with this id (and is it more than a zombie)?
pub fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| !rest.is_empty() && !rest.trim_start().starts_with('Z'))
}

/// Segue's home, with the managed Python environment in it: made once, which takes minutes, and shared by the tests.
pub fn home() -> PathBuf {
    static HOME: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let home = std::env::var_os("SEGUE_HOME")
            .map_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("segue-home"), PathBuf::from);
        let place = Place::new();
        place.write("agent.yaml", "id: agent\nnodes:\n  - { id: a, name: say hello }\n");
        let mut command = place.command(&["run", "agent.yaml", "--rehearse"]);
        let ran = Ran::from(command.env("SEGUE_HOME", &home).output().unwrap());
        assert_eq!(ran.code, 0, "{ran:#?}");
        home
    };
    HOME.get_or_init(make).clone()
}
