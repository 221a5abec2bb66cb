//! One contained process: its start, its end.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use nix::sys::signal::Signal;
use tokio::{
    process::{Child, ChildStderr, ChildStdin, ChildStdout, Command},
    time::{Instant, sleep},
};

use super::{
    family::Family,
    mark::{MARK_VARIABLE, Mark},
    roots::Root,
    table,
};
use crate::off_thread::off_thread;

/// A process to start. Its environment is what is given here and the mark, nothing else.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The program and its arguments. A program without `/` is looked up in the `PATH` of `env`.
    pub argv: Vec<OsString>,
    /// The folder it starts in.
    pub cwd: PathBuf,
    /// Its whole environment.
    pub env: BTreeMap<OsString, OsString>,
    /// Is its stdin a pipe to write to? Otherwise it is `/dev/null`.
    pub stdin: bool,
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such folder to start in.
    #[error("the folder `{}` to start in does not exist", .0.display())]
    NoFolder(PathBuf),
    /// There is no such program, or it may not be started.
    #[error("cannot start `{program}`: {source}")]
    Program {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
    /// The arguments or the environment cannot be passed: too long, or with a zero byte.
    #[error("cannot pass the arguments or the environment to `{program}`: {source}")]
    Arguments {
        /// The program.
        program: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Launch {
    /// Starts it in a group of its own. Takes about half a millisecond, on the calling thread.
    pub fn start(&self) -> Result<Contained, LaunchError> {
        let mark = Mark::draw();
        let program = self.program();
        let mut command = Command::new(&program);
        command
            .args(self.argv.iter().skip(1))
            .current_dir(&self.cwd)
            .env_clear()
            .envs(&self.env)
            .env(MARK_VARIABLE, mark.value())
            .stdin(if self.stdin { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        let spawned = Root::start(|| {
            let child = command.spawn()?;
            let pid = child.id().expect("a child that nobody has waited for has a number");
            Ok((child, pid.cast_signed()))
        });
        let (child, root) = spawned.map_err(|source| self.explain(&program, source))?;
        let pid = child.id().expect("a child that nobody has waited for has a number").cast_signed();
        // It is our child and not reaped yet, so the row is there.
        let started = table::row(pid).map_or(0, |row| row.identity.started);
        Ok(Contained { child, family: Family { root: pid, started, mark }, root: Some(root), is_over: false })
    }

    /// A relative path with a `/` is meant relative to the folder that the program starts in.
    fn program(&self) -> OsString {
        let program = self.argv.first().cloned().unwrap_or_default();
        let path = Path::new(&program);
        if path.is_relative() && path.components().count() > 1 || program.as_encoded_bytes().starts_with(b"./") {
            return self.cwd.join(path).into_os_string();
        }
        program
    }

    fn explain(&self, program: &OsStr, source: io::Error) -> LaunchError {
        let program = program.to_string_lossy().into_owned();
        match source.kind() {
            _ if !self.cwd.is_dir() => LaunchError::NoFolder(self.cwd.clone()),
            io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput => {
                LaunchError::Arguments { program, source }
            }
            _ => LaunchError::Program { program, source },
        }
    }
}

/// A running process that was started in a group of its own. Dropping it kills its group at once and everything else
/// of its family a moment later; [`Contained::end`] and [`Contained::finish`] do it in good order.
#[derive(Debug)]
pub struct Contained {
    child: Child,
    family: Family,
    root: Option<Root>,
    is_over: bool,
}

impl Contained {
    /// Its number.
    pub const fn pid(&self) -> u32 {
        self.family.root.cast_unsigned()
    }

    /// Its mark, to draw further ones within it.
    pub(crate) fn outer_mark(&self) -> OuterMark {
        OuterMark(self.family.mark.clone())
    }

    /// It and everything it starts.
    pub const fn family(&self) -> &Family {
        &self.family
    }

    /// Its stdin, once, if a pipe was asked for.
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Its stdout and stderr, once.
    pub fn take_output(&mut self) -> Option<(ChildStdout, ChildStderr)> {
        Some((self.child.stdout.take()?, self.child.stderr.take()?))
    }

    /// Waits until the process itself has ended. May be dropped and called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.wait().await
    }

    /// After [`Contained::wait`]: ends what the process has left behind, and tells how many processes that were.
    pub async fn finish(mut self) -> usize {
        self.is_over = true;
        self.root = None;
        if !self.family.signal_group(None) && !self.family.may_have_orphans() {
            return 0;
        }
        end_off_thread(self.family.clone()).await
    }

    /// Asks the process's group to end (SIGTERM), gives it `grace` to do so, then kills everything that is left of the
    /// family. Returns when all of it is over, with the process's own end.
    pub async fn end(mut self, grace: Duration) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + grace;
        if !grace.is_zero() && self.family.signal_group(Signal::SIGTERM) {
            self.wait_for_group(deadline).await;
        }
        // The root stays registered while it is not waited for, so that the sweep leaves it to tokio.
        end_off_thread(self.family.clone()).await;
        let status = self.child.wait().await;
        self.is_over = true;
        status
    }

    /// Waits for the root, then looks now and then whether others of its group still clean up.
    async fn wait_for_group(&mut self, deadline: Instant) {
        if tokio::time::timeout_at(deadline, self.child.wait()).await.is_err() {
            return;
        }
        let mut pause = Duration::from_millis(1);
        while self.family.group_runs() && Instant::now() < deadline {
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(50));
        }
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        // Nobody waits for us here. The group dies at once, which is nearly always everything; a thread sees to the
        // rest, and keeps the root registered until tokio has reaped it.
        self.family.signal_group(Signal::SIGKILL);
        let (family, root) = (self.family.clone(), self.root.take());
        let sweeper = std::thread::Builder::new().name("segue-sweep".to_owned());
        if let Err(error) = sweeper.spawn(move || (family.end(), root)) {
            tracing::warn!(%error, pid = self.family.root, "no thread to end a dropped attempt; it is ended here");
            self.family.end();
        }
    }
}

/// The mark of a process that starts families of its own.
#[derive(Debug)]
pub(crate) struct OuterMark(Mark);

impl OuterMark {
    /// A new mark within this one, and what the mark's variable must hold for it.
    pub(crate) fn draw_inner(&self) -> (String, InnerMark) {
        let inner = Mark::draw();
        (inner.value_within(&self.0), InnerMark(inner))
    }
}

/// The mark of a process that another one is to start.
#[derive(Debug)]
pub(crate) struct InnerMark(Mark);

impl InnerMark {
    /// The family of that process, now that it runs in a session of its own; `None` if it has ended already.
    pub(crate) fn family_of(self, pid: u32) -> Option<Family> {
        let root = pid.cast_signed();
        Some(Family { root, started: table::row(root)?.identity.started, mark: self.0 })
    }
}

pub(crate) async fn end_off_thread(family: Family) -> usize {
    off_thread(move || family.end()).await.unwrap_or_default()
}
