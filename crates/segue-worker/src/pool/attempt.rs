//! One attempt, from its fork to the certain end of everything it started.

use std::{sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Invocation, Progress},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    AttemptOrder, PoolOptions,
    door::{Connection, Door, Expectation, random_token},
    streams::Streams,
    wire::{Incoming, Outbox, WireError},
    zygote::{Notice, Zygote},
};
use crate::{
    contain::{Family, InnerMark, end_off_thread},
    protocol::{AttemptError, FromAttempt, Opening, Spawn, ToAttempt},
};

/// How long an attempt that has answered may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// What an attempt that is over may still have in its socket is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// Pieces of progress that an attempt may send; the worker stops itself long before.
const PROGRESS_MAX: u32 = 20_000;

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
    /// Before the zygote has told the process's number.
    mark: Option<InnerMark>,
    family: Option<Family>,
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
    is_over: bool,
}

/// Forks an attempt and sees it to its end.
pub(super) async fn run(
    zygote: &Arc<Zygote>,
    door: &Door,
    options: &PoolOptions,
    spawn_id: String,
    order: &AttemptOrder,
    invocation: &Invocation,
) -> Result<TaskOutcome, NotForked> {
    let failed = |error: std::io::Error| NotForked(format!("the attempt's folder cannot be made: {error}"));
    let folder = tempfile::Builder::new().prefix("attempt-").tempdir_in(door.folder()).map_err(failed)?;
    let mut streams = Streams::open(folder.path()).map_err(failed)?;
    let expectation = door.expect(random_token().map_err(failed)?);
    let spawn = spawn_order(&spawn_id, expectation.token(), order, &streams, &folder).map_err(failed)?;
    let notices = zygote.register(&spawn_id).ok_or_else(|| NotForked("the worker is leaving".to_owned()))?;
    let mut attempt = Attempt {
        zygote,
        options,
        invocation,
        spawn_id,
        mark: None,
        family: None,
        outbox: None,
        incoming: None,
        stage: Stage::Connecting,
        alarm: Instant::now() + options.connect_within,
        is_cancelled: false,
        answer: None,
        fault: None,
        usage: Usage::default(),
        progress: 0,
        is_over: false,
    };
    match zygote.spawn(spawn) {
        Ok(mark) => attempt.mark = Some(mark),
        Err(error) => return Ok(invalid(&error)),
    }
    let gone = attempt.live(notices, expectation, order, &mut streams).await?;
    streams.finish(&*invocation.progress).await;
    let outcome = attempt.outcome(&gone, &streams);
    drop(attempt);
    // Removes what may be many files.
    let _ = tokio::task::spawn_blocking(move || drop(folder)).await;
    Ok(outcome)
}

fn spawn_order(
    spawn_id: &str,
    token: &str,
    order: &AttemptOrder,
    streams: &Streams,
    folder: &TempDir,
) -> std::io::Result<Spawn> {
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mut env = order.env.clone();
    // Frameworks leave lock files where temporary files go.
    let temporary = folder.path().join("tmp");
    std::fs::create_dir(&temporary)?;
    env.entry("TMPDIR".to_owned()).or_insert_with(|| Some(text(&temporary)));
    if let Some(variable) = order.storage_variable {
        let storage = folder.path().join("storage");
        std::fs::create_dir(&storage)?;
        env.insert(variable.to_owned(), Some(text(&storage)));
    }
    let (stdout, stderr) = streams.paths();
    Ok(Spawn {
        spawn_id: spawn_id.to_owned(),
        token: token.to_owned(),
        env,
        cwd: text(&order.cwd),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}

impl Attempt<'_> {
    /// Until everything of it is gone; tells how it went.
    async fn live(
        &mut self,
        mut notices: mpsc::UnboundedReceiver<Notice>,
        mut expectation: Expectation,
        order: &AttemptOrder,
        streams: &mut Streams,
    ) -> Result<String, NotForked> {
        let mut cancelled = self.invocation.cancel.cancelled();
        let mut gone = None;
        let mut is_expected = true;
        let logs = streams.forward(&*self.invocation.progress);
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
                        self.connected(connection, order);
                    }
                }
                message = next(&mut self.incoming) => self.take(message),
                notice = notices.recv(), if gone.is_none() => match notice {
                    Some(Notice::Spawned(pid)) => self.family = self.mark.take().and_then(|mark| mark.family_of(pid)),
                    Some(Notice::NotForked(why)) => {
                        self.is_over = true;
                        self.zygote.forget(&self.spawn_id);
                        return Err(NotForked(why));
                    }
                    Some(Notice::Exited(how)) => {
                        self.enter(Stage::Gone, LAST_WORDS_MAX);
                        self.is_over = true;
                        gone = Some(how);
                    }
                    None => {
                        self.enter(Stage::Gone, LAST_WORDS_MAX);
                        self.is_over = true;
                        gone = Some("its Python worker was lost".to_owned());
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

    fn enter(&mut self, stage: Stage, at_most: Duration) {
        self.stage = stage;
        self.alarm = Instant::now() + at_most;
    }

    fn cancel(&mut self) {
        self.is_cancelled = true;
        let grace = self.invocation.grace;
        let message = ToAttempt::Cancel {
            reason: "cancelled".to_owned(),
            grace_ms: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        };
        if let Some(outbox) = &self.outbox {
            let _ = outbox.send(&message);
        }
        if matches!(self.stage, Stage::Connecting | Stage::Working) {
            // What has not even begun has nothing to clean up.
            let grace = if self.outbox.is_some() { grace } else { Duration::ZERO };
            self.enter(Stage::Leaving, grace);
        }
    }

    fn connected(&mut self, connection: Connection, order: &AttemptOrder) {
        let is_this = matches!(&connection.opening, Opening::Attempt(hello) if hello.is(&self.spawn_id));
        if !is_this || !connection.opening.speaks_our_version() {
            return self.broken("it opened its connection as another one".to_owned());
        }
        let outbox = Outbox::new(connection.outgoing);
        let sent =
            if self.is_cancelled { Ok(()) } else { outbox.send(&ToAttempt::Start(Box::new(order.start.clone()))) };
        match sent {
            Ok(()) => {
                self.outbox = Some(outbox);
                self.incoming = Some(connection.incoming);
                if matches!(self.stage, Stage::Connecting) {
                    self.enter(Stage::Working, self.options.silence_max);
                }
            }
            Err(error) => {
                self.answer = Some(invalid(&error));
                self.enter(Stage::Leaving, Duration::ZERO);
            }
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
            self.alarm = Instant::now() + self.options.silence_max;
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
            FromAttempt::Log { level, line } => {
                self.emit("task.log", json!({ "stream": "worker", "level": level, "line": line }));
            }
            FromAttempt::Heartbeat { usage, .. } => self.usage = usage,
            FromAttempt::Result { output, usage, warnings } => {
                self.answer(TaskOutcome::Succeeded { output: Payload::new(output), usage, warnings });
            }
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

    /// It broke the protocol: it can be trusted with nothing.
    fn broken(&mut self, fault: String) {
        self.fault.get_or_insert(format!("it broke the protocol: {fault}"));
        if !matches!(self.stage, Stage::Killed | Stage::Gone) {
            self.enter(Stage::Leaving, Duration::ZERO);
        }
    }

    async fn too_long(&mut self) {
        match self.stage {
            Stage::Connecting if self.family.is_none() => {
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
        self.enter(Stage::Killed, self.options.report_within);
        match &self.family {
            Some(family) => {
                end_off_thread(family.clone()).await;
            }
            None => self.zygote.kill(&self.spawn_id),
        }
    }

    fn outcome(&mut self, how: &str, streams: &Streams) -> TaskOutcome {
        if let Some(answer) = self.answer.take() {
            return answer;
        }
        if self.is_cancelled {
            return TaskOutcome::Cancelled { usage: self.usage };
        }
        let mut message = match self.fault.take() {
            Some(fault) => format!("{fault} ({how})"),
            None => format!("the worker process {how} without an answer"),
        };
        let last_words = streams.last_words();
        if !last_words.is_empty() {
            message.push_str("; it last said: ");
            message.push_str(&last_words);
        }
        TaskOutcome::lost(Loss::Worker, message)
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        self.zygote.forget(&self.spawn_id);
        if self.is_over {
            return;
        }
        // Nobody waits for it any more. The zygote kills it; a thread makes sure.
        self.zygote.kill(&self.spawn_id);
        if let Some(family) = self.family.take() {
            let sweeper = std::thread::Builder::new().name("segue-sweep".to_owned());
            if let Err(error) = sweeper.spawn(move || family.end()) {
                tracing::error!(%error, "cannot end the processes of a dropped attempt");
            }
        }
    }
}

async fn next(incoming: &mut Option<Incoming>) -> Result<Option<FromAttempt>, WireError> {
    match incoming {
        Some(incoming) => incoming.next().await,
        None => std::future::pending().await,
    }
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
