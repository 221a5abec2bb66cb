//! One zygote as the pool and its attempts see it. What sees to its process is the supervisor.

use std::{
    collections::HashMap,
    ffi::OsString,
    io,
    sync::{Arc, Mutex, OnceLock},
};

use segue_core::outcome::{ErrorKind, TaskError};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    PoolOptions, Workers, ZygoteSpec,
    door::{Door, random_token},
    lock,
    supervisor::Supervisor,
    wire::Outbox,
};
use crate::{
    contain::{InnerMark, Launch, MARK_VARIABLE, OuterMark, scrubbed_environment},
    protocol::{FromZygote, Mode, Spawn, TOKEN_VARIABLE, ToZygote, ZygoteHello},
};

/// How a zygote ended.
#[derive(Debug, Clone)]
pub(super) enum ZygoteEnd {
    /// It was told to.
    Retired,
    /// Its framework cannot be loaded.
    Load(TaskError),
    /// It died, hung or broke the protocol.
    Lost(String),
}

#[derive(Debug, Clone)]
enum State {
    Starting,
    Ready,
    /// Takes no more attempts.
    Leaving,
    Over(ZygoteEnd),
}

/// Does it take attempts?
pub(super) enum Ready {
    Yes,
    Over(ZygoteEnd),
}

/// What a zygote tells about one attempt.
#[derive(Debug)]
pub(super) enum Notice {
    Spawned(u32),
    NotForked(String),
    Exited(String),
}

pub(super) struct Zygote {
    mode: Mode,
    state: watch::Sender<State>,
    hello: OnceLock<ZygoteHello>,
    outbox: OnceLock<Outbox>,
    live: Mutex<Live>,
    /// Tells the supervisor to end it, with the reason.
    abandon: mpsc::UnboundedSender<String>,
    /// Tells the supervisor that it may have nothing left to do.
    pub(super) changed: Notify,
    mark: OuterMark,
}

struct Live {
    attempts: HashMap<String, Entry>,
    /// Attempts ever begun.
    begun: u64,
    used_at: Instant,
    /// Since when something in it runs on that was to be over.
    dirty_since: Option<Instant>,
}

struct Entry {
    notices: mpsc::UnboundedSender<Notice>,
    /// It does not end by itself: it ends with its host.
    is_given_up: bool,
}

/// What there is to do for a zygote, for its supervisor to judge.
#[derive(Debug, Clone, Copy)]
pub(super) struct Load {
    /// Attempts that are not given up.
    pub(super) wanted: usize,
    pub(super) given_up: usize,
    pub(super) begun: u64,
    pub(super) used_at: Instant,
    pub(super) dirty_since: Option<Instant>,
}

impl Zygote {
    /// Starts the process and a task that sees to it until its end.
    pub(super) fn start(
        spec: &ZygoteSpec,
        door: &Door,
        options: PoolOptions,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, TaskError> {
        let lost = |error: io::Error| TaskError::new(ErrorKind::WorkerLost, error.to_string());
        let token = random_token().map_err(lost)?;
        let mut env = scrubbed_environment(&[] as &[&str]);
        let mut folder = None;
        if spec.mode == Mode::Shared {
            let own = tempfile::Builder::new().prefix("host-").tempdir_in(door.folder()).map_err(lost)?;
            env.insert("TMPDIR".into(), own.path().into());
            folder = Some(own);
        }
        env.extend(spec.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        env.insert(TOKEN_VARIABLE.into(), token.clone().into());
        let mut argv: Vec<OsString> = vec![spec.python.clone().into(), "-I".into(), "-u".into()];
        argv.extend([spec.program.clone().into(), "--socket".into(), door.socket().into()]);
        argv.extend(["--adapter".into(), spec.adapter.clone().into()]);
        if spec.mode != Mode::Process {
            argv.extend(["--mode".into(), spec.mode.as_str().into()]);
        }
        let expectation = door.expect(token);
        let cwd = spec.cwd.clone().unwrap_or_else(|| door.folder().to_owned());
        let launch = Launch { argv, cwd, env, stdin: false };
        let process = launch.start().map_err(|error| TaskError::new(ErrorKind::Load, error.to_string()))?;
        let (abandon, abandoned) = mpsc::unbounded_channel();
        let live = Live { attempts: HashMap::new(), begun: 0, used_at: Instant::now(), dirty_since: None };
        let zygote = Arc::new(Self {
            mode: spec.mode,
            state: watch::Sender::new(State::Starting),
            hello: OnceLock::new(),
            outbox: OnceLock::new(),
            live: Mutex::new(live),
            abandon,
            changed: Notify::new(),
            mark: process.outer_mark(),
        });
        let supervisor = Supervisor::new(zygote.clone(), options, stop, abandoned, folder);
        tokio::spawn(supervisor.see_to(process, expectation));
        Ok(zygote)
    }

    pub(super) const fn mode(&self) -> Mode {
        self.mode
    }

    /// Waits until it takes attempts or never will.
    pub(super) async fn ready(&self) -> Ready {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| !matches!(state, State::Starting)).await;
        match &*state.expect("the zygote holds the sender") {
            State::Over(end) => Ready::Over(end.clone()),
            // One that is leaving refuses by itself.
            _ => Ready::Yes,
        }
    }

    /// Waits until it and everything it started is over.
    pub(super) async fn over(&self) {
        let mut state = self.state.subscribe();
        let over = state.wait_for(|state| matches!(state, State::Over(_))).await;
        over.expect("the zygote holds the sender");
    }

    pub(super) fn hello(&self) -> Option<ZygoteHello> {
        self.hello.get().cloned()
    }

    /// Will it take no more attempts?
    pub(super) fn is_leaving(&self) -> bool {
        matches!(&*self.state.borrow(), State::Leaving | State::Over(_))
    }

    pub(super) fn end(&self) -> Option<ZygoteEnd> {
        match &*self.state.borrow() {
            State::Over(end) => Some(end.clone()),
            _ => None,
        }
    }

    /// Why its attempts are lost with it.
    pub(super) fn last_words(&self) -> String {
        match self.end() {
            Some(ZygoteEnd::Lost(message)) => message,
            _ => "its Python worker was ended".to_owned(),
        }
    }

    /// Tells about an attempt from now on; `None` if it takes no more. The stream ends with the zygote.
    pub(super) fn register(&self, spawn_id: &str) -> Option<mpsc::UnboundedReceiver<Notice>> {
        let mut live = lock(&self.live);
        if !matches!(&*self.state.borrow(), State::Ready) {
            return None;
        }
        let (notices, receiver) = mpsc::unbounded_channel();
        live.attempts.insert(spawn_id.to_owned(), Entry { notices, is_given_up: false });
        live.begun += 1;
        live.used_at = Instant::now();
        Some(receiver)
    }

    /// The attempt is over.
    pub(super) fn forget(&self, spawn_id: &str) {
        let mut live = lock(&self.live);
        live.attempts.remove(spawn_id);
        live.used_at = Instant::now();
        drop(live);
        self.changed.notify_one();
    }

    /// Has an attempt begun. One that is a process gets a mark of its own within ours, which is given back.
    pub(super) fn spawn(&self, mut spawn: Spawn) -> io::Result<Option<InnerMark>> {
        let mark = spawn.place.as_mut().map(|place| {
            let (value, mark) = self.mark.draw_inner();
            place.env.insert(MARK_VARIABLE.to_owned(), Some(value));
            mark
        });
        self.send(&ToZygote::Spawn(spawn))?;
        Ok(mark)
    }

    /// Has an attempt killed.
    pub(super) fn kill(&self, spawn_id: &str) {
        let _ = self.send(&ToZygote::Kill { spawn_id: spawn_id.to_owned() });
    }

    /// Of a host: the attempt does not end although it should, and so the host has to.
    pub(super) fn give_up(&self, spawn_id: &str) {
        self.kill(spawn_id);
        let mut live = lock(&self.live);
        if let Some(entry) = live.attempts.get_mut(spawn_id) {
            entry.is_given_up = true;
            live.dirty_since.get_or_insert_with(Instant::now);
        }
        drop(live);
        self.leave("an attempt in it did not end when it was told to");
    }

    /// Takes no more attempts from now on.
    pub(super) fn leave(&self, why: &str) {
        // Nobody registers meanwhile.
        let live = lock(&self.live);
        let is_new = self.state.send_if_modified(|state| {
            let is_ready = matches!(state, State::Ready);
            if is_ready {
                *state = State::Leaving;
            }
            is_ready
        });
        drop(live);
        if is_new {
            tracing::debug!(why, "a Python worker takes no more attempts");
        }
        self.changed.notify_one();
    }

    pub(super) fn send(&self, message: &ToZygote) -> io::Result<()> {
        self.outbox.get().map_or(Ok(()), |outbox| outbox.send(message))
    }

    /// It does not do what it should: ends it and everything it has forked.
    pub(super) fn abandon(&self, reason: &str) {
        let _ = self.abandon.send(reason.to_owned());
    }
}

/// For the supervisor.
impl Zygote {
    pub(super) fn is_ready_now(&self, hello: ZygoteHello, outbox: Outbox) {
        let _ = self.hello.set(hello);
        let _ = self.outbox.set(outbox);
        lock(&self.live).used_at = Instant::now();
        self.state.send_replace(State::Ready);
    }

    /// Adds itself to the number of those that do what it does now. One that is over is none.
    pub(super) fn count(&self, workers: &mut Workers) {
        // Both are never held at once here: who lets it leave holds the attempts, and then changes the state.
        let state = self.state.borrow().clone();
        match state {
            State::Starting => workers.starting += 1,
            State::Ready if lock(&self.live).attempts.is_empty() => workers.idle += 1,
            State::Ready => workers.busy += 1,
            State::Leaving => workers.leaving += 1,
            State::Over(_) => {}
        }
    }

    pub(super) fn load(&self) -> Load {
        let live = lock(&self.live);
        let given_up = live.attempts.values().filter(|entry| entry.is_given_up).count();
        Load {
            wanted: live.attempts.len() - given_up,
            given_up,
            begun: live.begun,
            used_at: live.used_at,
            dirty_since: live.dirty_since,
        }
    }

    /// Takes no more attempts, if it has none at this moment.
    pub(super) fn leave_if_idle(&self) -> bool {
        let live = lock(&self.live);
        let is_idle = live.attempts.is_empty();
        if is_idle {
            self.state.send_replace(State::Leaving);
        }
        is_idle
    }

    /// Passes on what its process tells about an attempt.
    pub(super) fn tell(&self, message: FromZygote) {
        let (spawn_id, notice) = match message {
            FromZygote::Spawned { spawn_id, pid } => (spawn_id, Notice::Spawned(pid)),
            FromZygote::SpawnFailed { spawn_id, message } => (spawn_id, Notice::NotForked(message)),
            FromZygote::Exit { spawn_id, code, signal, .. } => {
                let how = match (code, signal) {
                    (_, Some(signal)) => format!("ended by {}", signal_name(signal)),
                    (Some(code), None) => format!("ended with exit code {code}"),
                    (None, None) => "ended".to_owned(),
                };
                (spawn_id, Notice::Exited(how))
            }
            _ => return,
        };
        let mut live = lock(&self.live);
        let Some(entry) = live.attempts.get(&spawn_id) else { return };
        if let Err(mpsc::error::SendError(Notice::Exited(_))) = entry.notices.send(notice) {
            // Nobody waits for it any more; it was here only to be counted.
            live.attempts.remove(&spawn_id);
        }
        drop(live);
        self.changed.notify_one();
    }

    /// From now on it takes no more attempts, and nobody is told yet.
    pub(super) fn close(&self) {
        self.state.send_if_modified(|state| {
            *state = State::Leaving;
            false
        });
    }

    /// Only now do its attempts learn that they are lost: everything of theirs is over too.
    pub(super) fn is_over_now(&self, end: ZygoteEnd) {
        self.state.send_replace(State::Over(end));
        lock(&self.live).attempts.clear();
    }
}

fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}
