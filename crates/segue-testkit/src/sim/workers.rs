//! What simulated workers answer, and when.

use std::time::Duration;

use fastrand::Rng;
use segue_core::{
    event::Waiting,
    ids::TaskId,
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    run::{Address, Input},
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{generate::KINDS, people};

/// How bad this run's world is: percentages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mood {
    pub(super) failing: u8,
    pub(super) hanging: u8,
    pub(super) doubled: u8,
    pub(super) crashing: u8,
    pub(super) draining: u8,
    pub(super) nuisance: u8,
    pub(super) cancelling: u8,
    /// Of a cancel at the moment in which an answer is there.
    pub(super) racing: u8,
    pub(super) slow: bool,
    /// Of the answers of workers that are questions.
    pub(super) asking: u8,
}

impl Mood {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let mut up_to = |most: u8| if rng.bool() { 0 } else { rng.u8(..=most) };
        Self {
            failing: up_to(70),
            hanging: up_to(20),
            doubled: up_to(30),
            crashing: up_to(15),
            draining: up_to(5),
            nuisance: up_to(12),
            cancelling: up_to(4),
            racing: up_to(20),
            slow: up_to(3) > 1,
            asking: up_to(12),
        }
    }
}

/// A message on its way to the engine.
#[derive(Debug, Clone)]
pub(super) struct Mail {
    pub(super) at: Timestamp,
    pub(super) letter: Letter,
}

/// What a message says.
#[derive(Debug, Clone)]
pub(super) enum Letter {
    /// An attempt has ended.
    Outcome { task: TaskId, attempt: u32, outcome: TaskOutcome },
    /// An attempt waits for another run.
    Waits { task: TaskId, attempt: u32, waiting: Waiting },
    /// Somebody answers, or something has happened.
    Signal { to: Address, data: Value },
}

impl Mail {
    pub(super) fn input(self, rng: &mut Rng) -> Input {
        self.letter.input(rng)
    }

    /// Does it come from this attempt?
    pub(super) fn is_of(&self, wanted: &TaskId, number: u32) -> bool {
        matches!(&self.letter, Letter::Outcome { task, attempt, .. } | Letter::Waits { task, attempt, .. }
            if task == wanted && *attempt == number)
    }
}

impl Letter {
    pub(super) fn input(self, rng: &mut Rng) -> Input {
        match self {
            Self::Outcome { task, attempt, outcome } => Input::TaskEnded { task, attempt, outcome, jitter: rng.f64() },
            Self::Waits { task, attempt, waiting } => Input::TaskWaits { task, attempt, waiting },
            Self::Signal { to, data } => Input::Signal { to, data, request: None },
        }
    }
}

/// What comes of an attempt that begins at `now`: no message, one, or several.
pub(super) fn execute(
    rng: &mut Rng,
    mood: Mood,
    now: Timestamp,
    (task, attempt): (&TaskId, u32),
    timeout: Option<Duration>,
) -> Vec<Mail> {
    let mut messages = Vec::new();
    if rng.u8(..100) < mood.hanging {
        if rng.bool() {
            let outcome = TaskOutcome::lost(Loss::Worker, "it hung and was found dead");
            messages.push(mail(now.plus(delay(rng, true) * 4), task, attempt, outcome));
        }
        return messages;
    }
    let at = match timeout {
        // Neck and neck with its timeout.
        Some(timeout) if rng.u8(..3) == 0 => now.plus(timeout),
        _ => now.plus(delay(rng, mood.slow)),
    };
    let first = outcome(rng, mood);
    messages.push(mail(at, task, attempt, first.clone()));
    if rng.u8(..100) < mood.doubled {
        let again = if rng.bool() { first } else { outcome(rng, mood) };
        messages.push(mail(at.plus(delay(rng, mood.slow)), task, attempt, again));
    }
    messages
}

pub(super) fn mail(at: Timestamp, task: &TaskId, attempt: u32, outcome: TaskOutcome) -> Mail {
    Mail { at, letter: Letter::Outcome { task: task.clone(), attempt, outcome } }
}

fn delay(rng: &mut Rng, slow: bool) -> Duration {
    let longest = if slow { 20_000 } else { 4_000 };
    match rng.u8(..6) {
        0 => Duration::ZERO,
        1 => Duration::from_secs(rng.u64(..=longest / 1_000)),
        _ => Duration::from_millis(rng.u64(..longest)),
    }
}

/// A random answer.
pub(super) fn outcome(rng: &mut Rng, mood: Mood) -> TaskOutcome {
    if rng.u8(..100) < mood.asking {
        return TaskOutcome::Waiting { question: people::question(rng), usage: usage(rng) };
    }
    if rng.u8(..100) >= mood.failing {
        return success(rng);
    }
    match rng.u8(..12) {
        0 => TaskOutcome::Cancelled { usage: usage(rng) },
        1..=2 => TaskOutcome::lost(Loss::Worker, "exit code 139").with_usage(usage(rng)),
        3 => TaskOutcome::lost(Loss::Drained, "handed back"),
        _ => TaskOutcome::Failed { error: error(rng), usage: usage(rng) },
    }
}

fn error(rng: &mut Rng) -> TaskError {
    let kind = KINDS[rng.usize(..KINDS.len())];
    let mut error = TaskError::new(kind, "it did not work");
    if kind == ErrorKind::RateLimited && rng.bool() {
        error = error.with_retry_after(Duration::from_millis(rng.u64(..9_000)));
    }
    if rng.u8(..10) == 0 {
        error.retryable = !error.retryable;
    }
    error
}

pub(super) fn success(rng: &mut Rng) -> TaskOutcome {
    let mut output = json!({ "n": rng.u8(..3), "go": rng.bool() });
    if rng.u8(..3) > 0 {
        output["deep"] = json!({ "s": if rng.bool() { "x" } else { "y" } });
    }
    if rng.u8(..2) == 0 {
        output["list"] = (0..rng.u8(..4)).collect::<Vec<u8>>().into();
    }
    if rng.u8(..12) == 0 {
        // Poses as a reference, and is therefore kept beside the log as a large value is.
        output = json!({ "$blob": rng.u8(..3) });
    }
    TaskOutcome::Succeeded { output: Payload::new(output), usage: usage(rng), warnings: Vec::new() }
}

pub(super) fn usage(rng: &mut Rng) -> Usage {
    let input_tokens = rng.u64(..50);
    Usage { model_calls: rng.u64(..3), input_tokens, output_tokens: rng.u64(..50), ..Usage::default() }
}
