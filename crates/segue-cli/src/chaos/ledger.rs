//! The ledger: what the processes of one round did, in the order in which they did it.
//!
//! A line is one write to a file opened for appending: what was written is there, whoever is killed after it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use segue_core::{event::Event, ids::RunId};
use serde::{Deserialize, Serialize};

use super::plan::Kill;

/// A fact, and when it was written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Microseconds since 1970.
    pub(crate) at: u64,
    /// The fact.
    #[serde(flatten)]
    pub(crate) entry: Entry,
}

/// The facts that are written down.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub(crate) enum Entry {
    /// A process is about to be started.
    Spawned,
    /// A moment has come.
    Moment {
        /// Its number, from 1.
        n: u64,
        /// What it is about.
        about: About,
        /// In words: `task.succeeded summarize`.
        label: String,
    },
    /// The store has said that these facts are durable.
    Acknowledged {
        /// The run.
        run: RunId,
        /// The facts.
        facts: Vec<Fact>,
    },
    /// An attempt was handed to an adapter.
    Began(Attempt),
    /// The adapter has answered.
    Ended(Attempt),
    /// A model has answered, and is to be paid. The call's name, without the attempts that share its answer.
    Paid {
        /// Its name.
        call: String,
    },
    /// The journal has said that the answer is durable.
    Kept {
        /// Its name.
        call: String,
    },
    /// Somebody is killed now.
    Killed(Kill),
}

/// What a moment is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum About {
    /// A write of events.
    Commit,
    /// The record of a model's answer.
    Answer,
    /// The start of an attempt that a worker carries out.
    Start,
}

/// An event, as far as it can be compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Fact {
    /// Its place in the log.
    pub(crate) seq: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) task: Option<String>,
    /// Its attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
}

/// One attempt at a task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// The run.
    pub(crate) run: RunId,
    /// The task.
    pub(crate) task: String,
    /// Its number.
    pub(crate) attempt: u32,
    /// The key of its effects.
    pub(crate) key: String,
}

impl Fact {
    /// What an event says.
    pub(crate) fn of(event: &Event) -> Self {
        Self {
            seq: event.seq,
            name: event.kind.name().to_owned(),
            task: event.task_id.as_ref().map(ToString::to_string),
            attempt: event.attempt,
        }
    }
}

/// Microseconds since 1970.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A ledger, to be written on.
pub(crate) struct Ledger(File);

impl Ledger {
    /// Opens the ledger, made if it is not there.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(OpenOptions::new().append(true).create(true).open(path)?))
    }

    /// Writes a fact down.
    pub(crate) fn note(&self, entry: Entry) {
        let mut line = serde_json::to_vec(&Line { at: now(), entry }).expect("a fact can be written as JSON");
        line.push(b'\n');
        if let Err(error) = (&self.0).write_all(&line) {
            tracing::error!(%error, "the ledger of `segue chaos` cannot be written");
        }
    }
}

/// Reads what is written. A last line that a kill cut off is not there.
pub(crate) fn read(path: &Path) -> io::Result<Vec<Line>> {
    let text = match std::fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}
