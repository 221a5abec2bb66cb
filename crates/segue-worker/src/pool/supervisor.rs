//! Sees to a zygote's process from its start to its end.

use std::{io, sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, TaskError},
    ports::{Progress, ProgressSink},
};
use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    PoolOptions,
    door::{Connection, Expectation},
    wire::{Incoming, Outbox},
    zygote::{Zygote, ZygoteEnd},
};
use crate::{
    contain::{Contained, LogFlow, Tail, forward_lines, resident_bytes},
    off_thread::off_thread,
    protocol::{FromZygote, Mode, Opening, ToZygote, ZygoteOpening},
};

/// How long a zygote may take to leave when it has nothing to do.
const DRAIN_MAX: Duration = Duration::from_secs(5);
/// What a process that has ended may still have in its socket is read for so long.
const LAST_WORDS_MAX: Duration = Duration::from_secs(1);
/// How often a zygote's age, size and idleness are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The shortest pause between two looks.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(10);
const STDERR_TAIL_BYTES: usize = 4 * 1024;

pub(super) struct Supervisor {
    zygote: Arc<Zygote>,
    options: PoolOptions,
    stop: CancellationToken,
    abandoned: mpsc::UnboundedReceiver<String>,
    /// A host's folder for temporary files; removed after it.
    folder: Option<TempDir>,
    /// When a host gave its last sign of life.
    heard_at: Instant,
    /// Of a host, as it tells.
    resident_bytes: u64,
}

impl Supervisor {
    pub(super) fn new(
        zygote: Arc<Zygote>,
        options: PoolOptions,
        stop: CancellationToken,
        abandoned: mpsc::UnboundedReceiver<String>,
        folder: Option<TempDir>,
    ) -> Self {
        Self { zygote, options, stop, abandoned, folder, heard_at: Instant::now(), resident_bytes: 0 }
    }

    pub(super) async fn see_to(mut self, mut process: Contained, expectation: Expectation) {
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
        self.zygote.close();
        if let Err(error) = process.end(Duration::ZERO).await {
            tracing::warn!(%error, "the end of a Python worker could not be observed");
        }
        if let Some(folder) = self.folder.take() {
            // Removes what may be many files.
            off_thread(move || drop(folder)).await;
        }
        self.zygote.is_over_now(end);
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
        let load = |message: &str| ZygoteEnd::Load(TaskError::new(ErrorKind::Load, message));
        let hello = match opening {
            Opening::Zygote(ZygoteOpening::Error(error)) => {
                let detail = json!({ "trace": error.trace });
                return ZygoteEnd::Load(TaskError::new(ErrorKind::Load, error.message).with_detail(detail));
            }
            ref opening if !opening.speaks_our_version() => {
                return load("the Python worker speaks no version of the protocol that this engine speaks");
            }
            Opening::Zygote(ZygoteOpening::Hello(hello)) => hello,
            Opening::Attempt(_) => return ZygoteEnd::Lost("the Python worker took itself for an attempt".to_owned()),
        };
        if hello.mode != self.zygote.mode() {
            return load("the Python worker does not run in the mode that it was started in");
        }
        tracing::debug!(python = hello.python, framework = hello.framework, versions = ?hello.versions, "a Python worker is ready");
        self.heard_at = Instant::now();
        self.zygote.is_ready_now(hello, Outbox::new(outgoing));
        self.listen(process, incoming).await
    }

    async fn listen(&mut self, process: &mut Contained, mut incoming: Incoming) -> ZygoteEnd {
        let born = Instant::now();
        let mut look = interval(self.look_every());
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let zygote = self.zygote.clone();
        loop {
            let fate = tokio::select! {
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
                () = zygote.changed.notified() => self.leaves(),
                _ = look.tick() => self.look(process.pid(), born),
            };
            match fate {
                Fate::Stay => {}
                Fate::Leave => {
                    let _ = self.zygote.send(&ToZygote::Drain);
                    let _ = timeout(DRAIN_MAX, process.wait()).await;
                    return ZygoteEnd::Retired;
                }
                Fate::Kill => return ZygoteEnd::Retired,
                Fate::Lose(reason) => return ZygoteEnd::Lost(reason),
            }
        }
    }

    fn look_every(&self) -> Duration {
        let options = &self.options;
        let mut pause = LOOK_EVERY.min(options.idle_max / 2);
        if self.zygote.mode() == Mode::Shared {
            pause = pause.min(options.beat_within / 4).min(options.dirty_max / 4);
        }
        pause.max(LOOK_EVERY_MIN)
    }

    fn take(&mut self, message: FromZygote) -> Fate {
        self.heard_at = Instant::now();
        match message {
            FromZygote::Beat { lag_ms, rss_bytes, .. } => {
                self.resident_bytes = rss_bytes;
                let lag = Duration::from_millis(lag_ms);
                if lag >= self.options.lag_max {
                    let seconds = lag.as_secs_f64();
                    return Fate::Lose(format!(
                        "the loop that it shares with others was blocked for {seconds:.0} s: code that computes or waits \
                         without `await` belongs into a thread, or into a process of its own (`isolation: process`)"
                    ));
                }
                if lag >= self.options.lag_leave {
                    self.zygote.leave("its loop is blocked");
                }
            }
            // Those of its attempts that are meant give up by themselves, if they are not over in time.
            FromZygote::Dirty { message } => self.zygote.leave(&message),
            FromZygote::Pong { .. } | FromZygote::Unknown => {}
            about => self.zygote.tell(about),
        }
        Fate::Stay
    }

    fn look(&self, pid: u32, born: Instant) -> Fate {
        let (options, load) = (&self.options, self.zygote.load());
        let is_unused = load.wanted + load.given_up == 0 && load.used_at.elapsed() >= options.idle_max;
        let is_old = born.elapsed() >= options.age_max;
        match self.zygote.mode() {
            Mode::Process => {
                let is_large =
                    || resident_bytes(pid.cast_signed()).is_some_and(|bytes| bytes > options.memory_bytes_max);
                let leaves = (is_unused || is_old || is_large()) && self.zygote.leave_if_idle();
                if leaves { Fate::Leave } else { Fate::Stay }
            }
            Mode::Shared => {
                if self.heard_at.elapsed() >= options.beat_within {
                    let seconds = options.beat_within.as_secs_f64();
                    return Fate::Lose(format!(
                        "the process that it shares with others gave no sign of life for {seconds:.0} s"
                    ));
                }
                if load.given_up > 0 && load.dirty_since.is_some_and(|since| since.elapsed() >= options.dirty_max) {
                    return Fate::Lose(
                        "the process that it shared with others had to be ended: an attempt in it could not be"
                            .to_owned(),
                    );
                }
                if is_old || self.resident_bytes > options.memory_bytes_max || load.begun >= options.guests_total_max {
                    self.zygote.leave("it is to be replaced");
                } else if is_unused {
                    self.zygote.leave_if_idle();
                }
                self.leaves()
            }
        }
    }

    /// A host that takes no more attempts ends after the last that is worth waiting for.
    fn leaves(&self) -> Fate {
        let load = self.zygote.load();
        if self.zygote.mode() == Mode::Process || !self.zygote.is_leaving() || load.wanted > 0 {
            return Fate::Stay;
        }
        if load.given_up > 0 { Fate::Kill } else { Fate::Leave }
    }
}

/// What is to become of a zygote.
enum Fate {
    Stay,
    /// It has nothing to do and may go in peace.
    Leave,
    /// It has nothing to do that would end.
    Kill,
    Lose(String),
}

fn shown(status: io::Result<std::process::ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// Takes a zygote's own output: it is the engine's log.
struct Traced;

impl ProgressSink for Traced {
    fn emit(&self, progress: Progress) {
        let line = progress.data["line"].as_str().unwrap_or_default();
        tracing::debug!(target: "segue_worker::python", stream = progress.data["stream"].as_str(), "{line}");
    }
}
