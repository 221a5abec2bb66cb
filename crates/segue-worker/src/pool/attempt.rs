//! One attempt, from its order to the certain end of everything it started.

mod body;
mod messages;

use std::{sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, Loss, TaskOutcome, Usage},
    ports::Invocation,
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use self::body::{Belongings, Body};
use super::{
    AttemptOrder, PoolOptions,
    calls::Calls,
    door::{Connection, Door, Expectation, random_token},
    streams::Streams,
    wire::{Incoming, Outbox, WireError},
    zygote::{Notice, Zygote},
};
use crate::{
    contain::end_off_thread,
    off_thread::off_thread,
    protocol::{FromAttempt, Mode, Opening, Spawn, Start, ToAttempt},
};

/// How long an attempt that has answered may take to leave.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// What an attempt that is over may still have in its socket is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
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
        off_thread(move || drop(belongings)).await;
    }
    Ok(outcome)
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

/// What an attempt is to do does not fit into a message.
fn invalid(error: &std::io::Error) -> TaskOutcome {
    TaskOutcome::failure(ErrorKind::InvalidInput, format!("the inputs cannot be handed to the worker: {error}"))
}

async fn next(incoming: &mut Option<Incoming>) -> Result<Option<FromAttempt>, WireError> {
    match incoming {
        Some(incoming) => incoming.next().await,
        None => std::future::pending().await,
    }
}
