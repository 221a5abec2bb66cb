//! One zygote: its process, its connection, the attempts it has forked.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use segue_core::{
    outcome::{ErrorKind, TaskError},
    ports::{Progress, ProgressSink},
};
use serde_json::json;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    PoolOptions, ZygoteSpec,
    door::{Connection, Door, Expectation, random_token},
    lock,
    wire::{Incoming, Outbox},
};
use crate::{
    contain::{Contained, Launch, LogFlow, MARK_VARIABLE, Tail, forward_lines, resident_bytes, scrubbed_environment},
    protocol::{FromZygote, Opening, Spawn, TOKEN_VARIABLE, ToZygote, ZygoteHello, ZygoteOpening},
};

/// How long a zygote may take to leave when it has nothing to do.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// What a process that has ended may still have in its socket is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// How often a zygote's age, size and idleness are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
const STDERR_TAIL_BYTES: usize = 4 * 1024;

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
    Ready(Arc<ZygoteHello>),
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
    state: watch::Sender<State>,
    outbox: OnceLock<Outbox>,
    live: Mutex<Live>,
    /// Tells the supervisor to end it, with the reason.
    abandon: mpsc::UnboundedSender<String>,
    mark: crate::contain::OuterMark,
}

struct Live {
    attempts: HashMap<String, mpsc::UnboundedSender<Notice>>,
    used_at: Instant,
}

impl Zygote {
    /// Starts the process and a task that sees to it until its end.
    pub(super) fn start(
        spec: &ZygoteSpec,
        door: &Door,
        options: PoolOptions,
        stop: CancellationToken,
    ) -> Result<Arc<Self>, TaskError> {
        let token = random_token().map_err(|error| TaskError::new(ErrorKind::WorkerLost, error.to_string()))?;
        let mut env = scrubbed_environment(&[] as &[&str]);
        env.insert(TOKEN_VARIABLE.into(), token.clone().into());
        let argv = vec![
            spec.python.clone().into(),
            "-I".into(),
            "-u".into(),
            spec.program.clone().into(),
            "--socket".into(),
            door.socket().into(),
            "--adapter".into(),
            spec.adapter.clone().into(),
        ];
        let expectation = door.expect(token);
        let launch = Launch { argv, cwd: door.folder().to_owned(), env, stdin: false };
        let process = launch.start().map_err(|error| TaskError::new(ErrorKind::Load, error.to_string()))?;
        let (abandon, abandoned) = mpsc::unbounded_channel();
        let live = Live { attempts: HashMap::new(), used_at: Instant::now() };
        let zygote = Arc::new(Self {
            state: watch::Sender::new(State::Starting),
            outbox: OnceLock::new(),
            live: Mutex::new(live),
            abandon,
            mark: process.outer_mark(),
        });
        let supervisor = Supervisor { zygote: zygote.clone(), options, stop, abandoned };
        tokio::spawn(supervisor.see_to(process, expectation));
        Ok(zygote)
    }

    /// Waits until it takes attempts or never will.
    pub(super) async fn ready(&self) -> Ready {
        let mut state = self.state.subscribe();
        let state = state.wait_for(|state| matches!(state, State::Ready(_) | State::Over(_))).await;
        match &*state.expect("the zygote holds the sender") {
            State::Over(end) => Ready::Over(end.clone()),
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
        match &*self.state.borrow() {
            State::Ready(hello) => Some((**hello).clone()),
            _ => None,
        }
    }

    /// Will it take no more attempts?
    pub(super) fn is_over(&self) -> bool {
        matches!(&*self.state.borrow(), State::Leaving | State::Over(_))
    }

    pub(super) fn end(&self) -> Option<ZygoteEnd> {
        match &*self.state.borrow() {
            State::Over(end) => Some(end.clone()),
            _ => None,
        }
    }

    /// Tells about an attempt from now on; `None` if it takes no more. The stream ends with the zygote.
    pub(super) fn register(&self, spawn_id: &str) -> Option<mpsc::UnboundedReceiver<Notice>> {
        let mut live = lock(&self.live);
        if !matches!(&*self.state.borrow(), State::Ready(_)) {
            return None;
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        live.attempts.insert(spawn_id.to_owned(), sender);
        live.used_at = Instant::now();
        Some(receiver)
    }

    /// The attempt is over.
    pub(super) fn forget(&self, spawn_id: &str) {
        let mut live = lock(&self.live);
        live.attempts.remove(spawn_id);
        live.used_at = Instant::now();
    }

    /// Has an attempt forked, with a mark of its own within ours, which is given back.
    pub(super) fn spawn(&self, mut spawn: Spawn) -> io::Result<crate::contain::InnerMark> {
        let (value, mark) = self.mark.draw_inner();
        spawn.env.insert(MARK_VARIABLE.to_owned(), Some(value));
        self.send(&ToZygote::Spawn(spawn))?;
        Ok(mark)
    }

    /// Has an attempt killed.
    pub(super) fn kill(&self, spawn_id: &str) {
        let _ = self.send(&ToZygote::Kill { spawn_id: spawn_id.to_owned() });
    }

    fn send(&self, message: &ToZygote) -> io::Result<()> {
        self.outbox.get().map_or(Ok(()), |outbox| outbox.send(message))
    }

    /// It does not do what it should: ends it and everything it has forked.
    pub(super) fn abandon(&self, reason: &str) {
        let _ = self.abandon.send(reason.to_owned());
    }

    fn tell(&self, spawn_id: &str, notice: Notice) {
        if let Some(attempt) = lock(&self.live).attempts.get(spawn_id) {
            let _ = attempt.send(notice);
        }
    }
}

/// Sees to a zygote's process from its start to its end.
struct Supervisor {
    zygote: Arc<Zygote>,
    options: PoolOptions,
    stop: CancellationToken,
    abandoned: mpsc::UnboundedReceiver<String>,
}

impl Supervisor {
    async fn see_to(mut self, mut process: Contained, expectation: Expectation) {
        let (stdout, stderr) = process.take_output().expect("the output of a fresh process has not been taken");
        let (mut tail, mut unused) = (Tail::new(STDERR_TAIL_BYTES), Tail::new(0));
        let (mut flow_out, mut flow_err) = (LogFlow::new("stdout"), LogFlow::new("stderr"));
        let mut end = {
            let logs = async {
                let out = forward_lines(stdout, &mut flow_out, &mut unused, &Traced);
                let err = forward_lines(stderr, &mut flow_err, &mut tail, &Traced);
                let _ = tokio::join!(out, err);
            };
            let mut logs = std::pin::pin!(logs);
            let mut life = std::pin::pin!(self.live(&mut process, expectation));
            let mut logs_over = false;
            let end = loop {
                tokio::select! {
                    end = &mut life => break end,
                    () = &mut logs, if !logs_over => logs_over = true,
                }
            };
            if !logs_over && !matches!(end, ZygoteEnd::Retired) {
                // What it said last explains why it ended.
                let _ = timeout(Duration::from_millis(100), logs).await;
            }
            end
        };
        let last_words = tail.text();
        if let (ZygoteEnd::Lost(message), false) = (&mut end, last_words.is_empty()) {
            message.push_str("; it last said: ");
            message.push_str(&last_words);
        }
        if let ZygoteEnd::Lost(message) = &end {
            tracing::warn!(%message, "a Python worker was lost");
        }
        self.zygote.state.send_if_modified(|state| {
            *state = State::Leaving;
            false
        });
        if let Err(error) = process.end(Duration::ZERO).await {
            tracing::warn!(%error, "the end of a Python worker could not be observed");
        }
        // Only now do its attempts learn that they are lost: everything of theirs is over too.
        self.zygote.state.send_replace(State::Over(end));
        lock(&self.zygote.live).attempts.clear();
    }

    async fn live(&mut self, process: &mut Contained, mut expectation: Expectation) -> ZygoteEnd {
        let connection = tokio::select! {
            connection = &mut expectation.receiver => connection.ok(),
            status = process.wait() => {
                // It may have told why before it ended.
                match timeout(LAST_WORDS_MAX, &mut expectation.receiver).await {
                    Ok(Ok(connection)) => Some(connection),
                    _ => return ZygoteEnd::Lost(format!("the Python worker ended before it was ready: {}", shown(status))),
                }
            }
            () = tokio::time::sleep(self.options.hello_within) => {
                let limit = self.options.hello_within.as_secs();
                return ZygoteEnd::Lost(format!("the Python worker was not ready within {limit} s"));
            }
            () = self.stop.cancelled() => return ZygoteEnd::Retired,
        };
        let Some(Connection { opening, incoming, outgoing }) = connection else {
            return ZygoteEnd::Lost("the workers' socket was closed".to_owned());
        };
        let hello = match opening {
            Opening::Zygote(ZygoteOpening::Error(error)) => {
                let detail = json!({ "trace": error.trace });
                return ZygoteEnd::Load(TaskError::new(ErrorKind::Load, error.message).with_detail(detail));
            }
            ref opening if !opening.speaks_our_version() => {
                let message = "the Python worker speaks no version of the protocol that this engine speaks";
                return ZygoteEnd::Load(TaskError::new(ErrorKind::Load, message));
            }
            Opening::Zygote(ZygoteOpening::Hello(hello)) => hello,
            Opening::Attempt(_) => return ZygoteEnd::Lost("the Python worker took itself for an attempt".to_owned()),
        };
        tracing::debug!(python = hello.python, framework = hello.framework, versions = ?hello.versions, "a Python worker is ready");
        let _ = self.zygote.outbox.set(Outbox::new(outgoing));
        lock(&self.zygote.live).used_at = Instant::now();
        self.zygote.state.send_replace(State::Ready(Arc::new(hello)));
        self.listen(process, incoming).await
    }

    async fn listen(&mut self, process: &mut Contained, mut incoming: Incoming) -> ZygoteEnd {
        let born = Instant::now();
        let mut look = interval(LOOK_EVERY.min(self.options.idle_max / 2).max(Duration::from_millis(10)));
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                message = incoming.next::<FromZygote>() => match message {
                    Ok(Some(message)) => self.take(message),
                    Ok(None) => {
                        let status = timeout(LAST_WORDS_MAX, process.wait()).await;
                        let how = status.map_or_else(|_| "closed its connection".to_owned(), shown);
                        return ZygoteEnd::Lost(format!("the Python worker is gone: {how}"));
                    }
                    Err(error) => return ZygoteEnd::Lost(format!("the Python worker broke the protocol: {error}")),
                },
                status = process.wait() => {
                    return ZygoteEnd::Lost(format!("the Python worker is gone: {}", shown(status)));
                }
                Some(reason) = self.abandoned.recv() => return ZygoteEnd::Lost(reason),
                () = self.stop.cancelled() => return ZygoteEnd::Retired,
                _ = look.tick() => if self.leaves(process.pid(), born) {
                    let _ = self.zygote.send(&ToZygote::Drain);
                    let _ = timeout(DRAIN_MAX, process.wait()).await;
                    return ZygoteEnd::Retired;
                },
            }
        }
    }

    fn take(&self, message: FromZygote) {
        match message {
            FromZygote::Spawned { spawn_id, pid } => self.zygote.tell(&spawn_id, Notice::Spawned(pid)),
            FromZygote::SpawnFailed { spawn_id, message } => self.zygote.tell(&spawn_id, Notice::NotForked(message)),
            FromZygote::Exit { spawn_id, code, signal, .. } => {
                let how = match (code, signal) {
                    (_, Some(signal)) => format!("ended by {}", signal_name(signal)),
                    (Some(code), None) => format!("ended with exit code {code}"),
                    (None, None) => "ended".to_owned(),
                };
                self.zygote.tell(&spawn_id, Notice::Exited(how));
            }
            FromZygote::Pong { .. } | FromZygote::Unknown => {}
        }
    }

    /// If it has nothing to do and is old, large or unused: takes no more attempts from now on.
    fn leaves(&self, pid: u32, born: Instant) -> bool {
        let live = lock(&self.zygote.live);
        let options = &self.options;
        let leaves = live.attempts.is_empty()
            && (live.used_at.elapsed() >= options.idle_max
                || born.elapsed() >= options.age_max
                || resident_bytes(pid.cast_signed()).is_some_and(|bytes| bytes > options.memory_bytes_max));
        if leaves {
            self.zygote.state.send_replace(State::Leaving);
        }
        leaves
    }
}

fn shown(status: io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

fn signal_name(number: i32) -> String {
    nix::sys::signal::Signal::try_from(number).map_or_else(|_| format!("signal {number}"), |signal| signal.to_string())
}

/// Takes a zygote's own output: it is the engine's log.
struct Traced;

impl ProgressSink for Traced {
    fn emit(&self, progress: Progress) {
        let line = progress.data["line"].as_str().unwrap_or_default();
        tracing::debug!(target: "segue_worker::python", stream = progress.data["stream"].as_str(), "{line}");
    }
}
