//! One attempt, from its order to the certain end of everything it started.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Invocation, Progress},
    question::Question,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    AttemptOrder, PoolOptions,
    calls::Calls,
    door::{Connection, Door, Expectation, random_token},
    streams::Streams,
    wire::{Incoming, Outbox, WireError},
    zygote::{Notice, Zygote},
};
use crate::{
    contain::{Family, InnerMark, end_off_thread},
    protocol::{AttemptError, FromAttempt, Mode, Opening, Place, Spawn, Start, ToAttempt},
};

/// How long an attempt that has answered may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// What an attempt that is over may still have in its socket is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Pieces of progress that an attempt may send; the worker stops itself long before.
const PROGRESS_MAX: u32 = 20_000;
/// Pieces of models' answers that an attempt may send.
const CHUNKS_MAX: u32 = 200_000;
/// No alarm: what would raise it is watched by somebody else.
const NEVER: Duration = Duration::from_secs(30 * 365 * 24 * 3600);

/// The attempt was not forked and has done nothing.
#[derive(Debug)]
pub(super) struct NotForked(pub(super) String);

/// Where the attempt stands.
#[derive(Debug)]
enum Stage {
    /// Until it has connected.
    Connecting,
    Working,
    /// Cancelled, or told to leave after its answer.
    Leaving,
    /// Killed; its zygote must tell that it is gone.
    Killed,
    /// Its zygote has told that it is gone; its last words are read.
    Gone,
}

struct Attempt<'a> {
    zygote: &'a Arc<Zygote>,
    options: &'a PoolOptions,
    invocation: &'a Invocation,
    spawn_id: String,
    body: Body,
    start: Option<Box<Start>>,
    calls: Calls,
    outbox: Option<Outbox>,
    incoming: Option<Incoming>,
    stage: Stage,
    /// When the stage has lasted too long.
    alarm: Instant,
    is_cancelled: bool,
    answer: Option<TaskOutcome>,
    /// Why it is lost, where that is known before its end.
    fault: Option<String>,
    usage: Usage,
    progress: u32,
    chunks: u32,
    is_over: bool,
}

/// How the end of an attempt came.
enum Gone {
    /// It ended.
    Alone(String),
    /// With its zygote.
    WithZygote(String),
}

/// What an attempt is made of.
enum Body {
    /// Its own process.
    Process {
        /// Before the zygote has told the process's number.
        mark: Option<InnerMark>,
        family: Option<Family>,
    },
    /// A task in its host's loop. The host's supervisor watches over the loop.
    Guest,
}

/// What an attempt that is a process has of its own.
struct Belongings {
    folder: TempDir,
    streams: Streams,
}

/// Has an attempt begun and sees it to its end.
pub(super) async fn run(
    zygote: &Arc<Zygote>,
    door: &Door,
    options: &PoolOptions,
    spawn_id: String,
    order: &AttemptOrder,
    invocation: &Invocation,
) -> Result<TaskOutcome, NotForked> {
    let failed = |error: std::io::Error| NotForked(format!("the attempt's folder cannot be made: {error}"));
    let mut belongings = match zygote.mode() {
        Mode::Process => Some(Belongings::make(door).map_err(failed)?),
        Mode::Shared => None,
    };
    let expectation = door.expect(random_token().map_err(failed)?);
    let place = belongings.as_ref().map(|own| own.place(order)).transpose().map_err(failed)?;
    let spawn = Spawn { spawn_id: spawn_id.clone(), token: expectation.token().to_owned(), place };
    let notices = zygote.register(&spawn_id).ok_or_else(|| NotForked("the worker is leaving".to_owned()))?;
    let mut attempt = Attempt::new(zygote, options, spawn_id, order, invocation);
    match zygote.spawn(spawn) {
        Ok(mark) => attempt.body = mark.map_or(Body::Guest, |mark| Body::Process { mark: Some(mark), family: None }),
        Err(error) => return Ok(invalid(&error)),
    }
    let streams = belongings.as_mut().map(|own| &mut own.streams);
    let gone = attempt.live(notices, expectation, streams).await?;
    let mut last_words = String::new();
    if let Some(own) = &mut belongings {
        own.streams.finish(&*invocation.progress).await;
        last_words = own.streams.last_words();
    }
    let outcome = attempt.outcome(gone, &last_words);
    drop(attempt);
    if belongings.is_some() {
        // Removes what may be many files.
        let _ = tokio::task::spawn_blocking(move || drop(belongings)).await;
    }
    Ok(outcome)
}

impl Belongings {
    fn make(door: &Door) -> std::io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("attempt-").tempdir_in(door.folder())?;
        let streams = Streams::open(folder.path())?;
        Ok(Self { folder, streams })
    }

    fn place(&self, order: &AttemptOrder) -> std::io::Result<Place> {
        let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut env = order.env.clone();
        // Frameworks leave lock files where temporary files go.
        let temporary = self.folder.path().join("tmp");
        std::fs::create_dir(&temporary)?;
        env.entry("TMPDIR".to_owned()).or_insert_with(|| Some(text(&temporary)));
        if let Some(variable) = order.storage_variable {
            let storage = self.folder.path().join("storage");
            std::fs::create_dir(&storage)?;
            env.insert(variable.to_owned(), Some(text(&storage)));
        }
        let (stdout, stderr) = self.streams.paths();
        Ok(Place { env, cwd: text(&order.cwd), stdout: text(stdout), stderr: text(stderr) })
    }
}

impl<'a> Attempt<'a> {
    fn new(
        zygote: &'a Arc<Zygote>,
        options: &'a PoolOptions,
        spawn_id: String,
        order: &AttemptOrder,
        invocation: &'a Invocation,
    ) -> Self {
        let thread = invocation.context.effect_key.clone();
        let mut start = Box::new(order.start.clone());
        start.thread = order.checkpoints.as_ref().map(|_| thread.clone());
        Self {
            zygote,
            options,
            invocation,
            spawn_id,
            body: Body::Guest,
            start: Some(start),
            calls: Calls::new(order.checkpoints.clone(), thread),
            outbox: None,
            incoming: None,
            stage: Stage::Connecting,
            alarm: Instant::now() + options.connect_within,
            is_cancelled: false,
            answer: None,
            fault: None,
            usage: Usage::default(),
            progress: 0,
            chunks: 0,
            is_over: false,
        }
    }

    /// Until everything of it is gone; tells how it went.
    async fn live(
        &mut self,
        mut notices: mpsc::UnboundedReceiver<Notice>,
        mut expectation: Expectation,
        streams: Option<&mut Streams>,
    ) -> Result<Gone, NotForked> {
        let mut cancelled = self.invocation.cancel.cancelled();
        let mut gone = None;
        let mut is_expected = true;
        let sink = &*self.invocation.progress;
        let logs = async {
            match streams {
                Some(streams) => streams.forward(sink).await,
                None => std::future::pending().await,
            }
        };
        let mut logs = std::pin::pin!(logs);
        loop {
            if let Some(how) = gone.take_if(|_| self.incoming.is_none() && !is_expected) {
                return Ok(how);
            }
            tokio::select! {
                biased;
                () = &mut cancelled, if !self.is_cancelled => self.cancel(),
                () = &mut logs => {}
                connection = &mut expectation.receiver, if is_expected => {
                    is_expected = false;
                    if let Ok(connection) = connection {
                        self.connected(connection);
                    }
                }
                () = self.calls.answer(self.outbox.as_ref()), if self.answer.is_none() => {}
                message = next(&mut self.incoming), if self.calls.have_room() => self.take(message),
                notice = notices.recv(), if gone.is_none() => match notice {
                    Some(Notice::Spawned(pid)) => self.spawned(pid),
                    Some(Notice::NotForked(why)) => {
                        self.is_over = true;
                        self.zygote.forget(&self.spawn_id);
                        return Err(NotForked(why));
                    }
                    Some(Notice::Exited(how)) => {
                        self.enter(Stage::Gone, LAST_WORDS_MAX);
                        self.is_over = true;
                        gone = Some(Gone::Alone(how));
                    }
                    None => {
                        self.enter(Stage::Gone, LAST_WORDS_MAX);
                        self.is_over = true;
                        gone = Some(Gone::WithZygote(self.zygote.last_words()));
                    }
                },
                () = sleep_until(self.alarm) => {
                    if matches!(self.stage, Stage::Gone) {
                        self.incoming = None;
                        is_expected = false;
                    } else {
                        self.too_long().await;
                    }
                }
            }
        }
    }

    fn spawned(&mut self, pid: u32) {
        match &mut self.body {
            Body::Process { mark, family } => *family = mark.take().and_then(|mark| mark.family_of(pid)),
            Body::Guest => {}
        }
    }

    fn enter(&mut self, stage: Stage, at_most: Duration) {
        self.stage = stage;
        self.alarm = Instant::now() + at_most;
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        let grace = match self.body {
            Body::Process { .. } => self.invocation.grace,
            Body::Guest => self.invocation.grace.max(self.options.guest_grace_min),
        };
        let message = ToAttempt::Cancel {
            reason: "cancelled".to_owned(),
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        };
        if let Some(outbox) = &self.outbox {
            let _ = outbox.send(&message);
        }
        if matches!(self.stage, Stage::Connecting | Stage::Working) {
            // A process that has not even begun has nothing to clean up.
            let is_fresh = self.outbox.is_none() && matches!(self.body, Body::Process { .. });
            let grace = if is_fresh { Duration::ZERO } else { grace };
            self.enter(Stage::Leaving, grace);
        }
    }

    fn connected(&mut self, connection: Connection) {
        let is_this = matches!(&connection.opening, Opening::Attempt(hello) if hello.is(&self.spawn_id));
        if !is_this || !connection.opening.speaks_our_version() {
            return self.broken("it opened its connection as another one".to_owned());
        }
        if self.is_cancelled && matches!(self.body, Body::Guest) {
            // It finds its connection closed, and ends without having begun.
            return;
        }
        let outbox = Outbox::new(connection.outgoing);
        let start = self.start.take().filter(|_| !self.is_cancelled);
        match start.map_or(Ok(()), |start| outbox.send(&ToAttempt::Start(start))) {
            Ok(()) => {
                self.outbox = Some(outbox);
                self.incoming = Some(connection.incoming);
                if matches!(self.stage, Stage::Connecting) {
                    self.enter(Stage::Working, self.silence_max());
                }
            }
            Err(error) => {
                self.answer = Some(invalid(&error));
                self.enter(Stage::Leaving, Duration::ZERO);
            }
        }
    }

    fn silence_max(&self) -> Duration {
        match self.body {
            Body::Process { .. } => self.options.silence_max,
            // It beats for all its attempts.
            Body::Guest => NEVER,
        }
    }

    fn take(&mut self, message: Result<Option<FromAttempt>, WireError>) {
        let message = match message {
            Ok(Some(message)) => message,
            Ok(None) | Err(WireError::Broken(_)) => {
                self.incoming = None;
                if matches!(self.stage, Stage::Working) {
                    // It leaves without an answer, or has closed its connection and stays.
                    self.enter(Stage::Leaving, LAST_WORDS_MAX);
                }
                return;
            }
            Err(error) => {
                self.incoming = None;
                return self.broken(error.to_string());
            }
        };
        if matches!(self.stage, Stage::Working) {
            self.alarm = Instant::now() + self.silence_max();
        }
        if self.answer.is_some() {
            // After its answer it has nothing to say.
            return;
        }
        match message {
            FromAttempt::Event { kind, mut data, .. } => {
                let name = if kind.starts_with("model_call_") { "model.call" } else { "task.progress" };
                data.insert("kind".to_owned(), Value::String(kind));
                self.emit(name, Value::Object(data));
            }
            FromAttempt::Log { level, line, stream } => {
                let stream = stream.as_deref().unwrap_or("worker");
                self.emit("task.log", json!({ "stream": stream, "level": level, "line": line }));
            }
            FromAttempt::Chunk(data) => self.chunk(data),
            FromAttempt::Rpc(rpc) => {
                if let Err(fault) = self.calls.take(rpc) {
                    self.broken(fault);
                }
            }
            FromAttempt::Heartbeat { usage, rss_bytes } => {
                self.usage = usage;
                if rss_bytes > self.options.attempt_bytes_max {
                    self.too_large(rss_bytes);
                }
            }
            FromAttempt::Result { output, usage, warnings } => {
                self.answer(TaskOutcome::Succeeded { output: Payload::new(output), usage, warnings });
            }
            FromAttempt::Waiting { question, .. } if !is_sound(&question) => {
                self.broken("its question has no items, or two with the same id".to_owned());
            }
            FromAttempt::Waiting { question, usage } => self.answer(TaskOutcome::Waiting { question, usage }),
            FromAttempt::Error(error) => self.answer(failed(error)),
            FromAttempt::Cancelled { usage } if self.is_cancelled => self.answer(TaskOutcome::Cancelled { usage }),
            FromAttempt::Cancelled { usage } => {
                let error = TaskError::new(ErrorKind::Cancelled, "it cancelled itself");
                self.answer(TaskOutcome::Failed { error, usage });
            }
            FromAttempt::Started | FromAttempt::Pong { .. } | FromAttempt::Unknown => {}
        }
    }

    fn answer(&mut self, outcome: TaskOutcome) {
        self.answer = Some(outcome);
        if let Some(outbox) = &self.outbox {
            let _ = outbox.send(&ToAttempt::Ack);
        }
        if matches!(self.stage, Stage::Connecting | Stage::Working | Stage::Leaving) {
            self.enter(Stage::Leaving, LEAVE_WITHIN);
        }
    }

    fn emit(&mut self, name: &'static str, data: Value) {
        self.progress += 1;
        if self.progress <= PROGRESS_MAX {
            self.invocation.progress.emit(Progress { name, data });
        } else if self.progress == PROGRESS_MAX + 1 {
            let line = "[it sends too much progress; no more of it is shown]";
            self.invocation
                .progress
                .emit(Progress { name: "task.log", data: json!({ "stream": "worker", "line": line }) });
        }
    }

    /// Tokens are worth something only while they are new: what is not wanted now is dropped.
    fn chunk(&mut self, data: serde_json::Map<String, Value>) {
        self.chunks += 1;
        if self.chunks <= CHUNKS_MAX {
            self.invocation.progress.emit(Progress { name: "task.token", data: Value::Object(data) });
        }
    }

    /// It goes before it takes its neighbours with it.
    fn too_large(&mut self, bytes: u64) {
        let [has, may] = [bytes, self.options.attempt_bytes_max].map(|bytes| bytes >> 20);
        self.fault.get_or_insert(format!("it had {has} MiB in memory, and an attempt may have {may} MiB"));
        if matches!(self.stage, Stage::Working) {
            self.enter(Stage::Leaving, Duration::ZERO);
        }
    }

    /// It broke the protocol: it can be trusted with nothing.
    fn broken(&mut self, fault: String) {
        self.fault.get_or_insert(format!("it broke the protocol: {fault}"));
        if !matches!(self.stage, Stage::Killed | Stage::Gone) {
            self.enter(Stage::Leaving, Duration::ZERO);
        }
    }

    async fn too_long(&mut self) {
        match self.stage {
            Stage::Connecting if matches!(self.body, Body::Process { family: None, .. }) => {
                self.zygote.abandon("the Python worker did not fork an attempt in time");
                return self.enter(Stage::Killed, self.options.report_within);
            }
            Stage::Connecting => {
                self.fault.get_or_insert("it did not connect in time".to_owned());
            }
            Stage::Working => {
                let seconds = self.options.silence_max.as_secs();
                self.fault.get_or_insert(format!("it gave no sign of life for {seconds} s"));
            }
            Stage::Killed => {
                self.zygote.abandon("the Python worker does not report the end of a killed attempt");
                return self.enter(Stage::Killed, self.options.report_within);
            }
            Stage::Leaving | Stage::Gone => {}
        }
        match &self.body {
            Body::Process { family, .. } => {
                let family = family.clone();
                self.enter(Stage::Killed, self.options.report_within);
                match family {
                    Some(family) => {
                        end_off_thread(family).await;
                    }
                    None => self.zygote.kill(&self.spawn_id),
                }
            }
            Body::Guest => {
                // Its end is that of the host, which is ended when the neighbours are through, or soon.
                self.enter(Stage::Killed, NEVER);
                self.zygote.give_up(&self.spawn_id);
            }
        }
    }

    fn outcome(&mut self, gone: Gone, last_words: &str) -> TaskOutcome {
        if let Some(answer) = self.answer.take() {
            return answer;
        }
        if self.is_cancelled {
            return TaskOutcome::Cancelled { usage: self.usage };
        }
        let mut message = match (self.fault.take(), gone, &self.body) {
            (Some(fault), Gone::Alone(how) | Gone::WithZygote(how), _) => format!("{fault} ({how})"),
            (None, Gone::Alone(how), Body::Process { .. }) => format!("the worker process {how} without an answer"),
            (None, Gone::Alone(_), Body::Guest) => "the attempt ended in its host without an answer".to_owned(),
            (None, Gone::WithZygote(how), _) => how,
        };
        if !last_words.is_empty() {
            message.push_str("; it last said: ");
            message.push_str(last_words);
        }
        TaskOutcome::Lost { by: Loss::Worker, message, usage: self.usage }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_over {
            return self.zygote.forget(&self.spawn_id);
        }
        // Nobody waits for it any more. The zygote kills it; a thread makes sure.
        match &mut self.body {
            Body::Process { family, .. } => {
                self.zygote.forget(&self.spawn_id);
                self.zygote.kill(&self.spawn_id);
                let Some(family) = family.take() else { return };
                let sweeper = std::thread::Builder::new().name("segue-sweep".to_owned());
                if let Err(error) = sweeper.spawn(move || family.end()) {
                    tracing::error!(%error, "cannot end the processes of a dropped attempt");
                }
            }
            Body::Guest => self.zygote.give_up(&self.spawn_id),
        }
    }
}

async fn next(incoming: &mut Option<Incoming>) -> Result<Option<FromAttempt>, WireError> {
    match incoming {
        Some(incoming) => incoming.next().await,
        None => std::future::pending().await,
    }
}

fn is_sound(question: &Question) -> bool {
    let ids: BTreeSet<&str> = question.items.iter().map(|item| item.id.as_str()).collect();
    !ids.is_empty() && ids.len() == question.items.len()
}

/// What an attempt is to do does not fit into a message.
fn invalid(error: &std::io::Error) -> TaskOutcome {
    TaskOutcome::failure(ErrorKind::InvalidInput, format!("the inputs cannot be handed to the worker: {error}"))
}

fn failed(error: AttemptError) -> TaskOutcome {
    // A kind of a later version is at least an error.
    let kind = ErrorKind::ALL.into_iter().find(|kind| kind.as_str() == error.kind).unwrap_or(ErrorKind::User);
    let mut detail = json!({ "chain": error.chain });
    if let Some(trace) = error.trace {
        detail["trace"] = Value::String(trace);
    }
    if !error.warnings.is_empty() {
        detail["warnings"] = json!(error.warnings);
    }
    let mut failure = TaskError::new(kind, error.message).with_detail(detail);
    failure.retryable = error.retryable;
    if let Some(pause) = error.retry_after_ms {
        failure = failure.with_retry_after(Duration::from_millis(pause));
    }
    TaskOutcome::Failed { error: failure, usage: error.usage }
}
