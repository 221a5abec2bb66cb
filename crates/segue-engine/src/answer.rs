//! Answers to what tasks wait for, from whoever has one: checked before they are posted, and followed until it is known
//! whether they counted.
//!
//! The first answer wins. Whose it is, is written in the log: `task.signaled` names the request that said it.

use std::time::Duration;

use futures_util::StreamExt;
use segue_core::{
    event::{Event, EventKind},
    ids::{RunId, TaskId},
    ports::{Request, RequestId, RequestKind, RunStore, StoreError},
    run::{Address, Input, Rejected, Run},
    spec::Diagnostic,
    time::Timestamp,
};
use serde_json::Value;
use tokio::time::Instant;

use crate::{
    clock::Clock,
    lease::is_gone,
    read::{ReadError, read_run},
};

/// How long to wait for the engine that drives the run, if one is there.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often to look whether it has taken the answer.
const PAUSE: Duration = Duration::from_millis(50);

/// What has become of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answered {
    /// It counts: the run goes on with it since then.
    Taken {
        /// When it was written into the log.
        at: Timestamp,
    },
    /// It is recorded, and is used when the run goes on: nobody drives the run now, or its engine is busy.
    Recorded,
}

/// Why an answer does not count.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// It does not fit the question. All problems at once, with JSON Pointers into the answer.
    #[error("the answer does not fit the question: {} problem(s)", .0.len())]
    Invalid(Vec<Diagnostic>),
    /// There is no such run or task.
    #[error("{0} not found")]
    NotFound(String),
    /// Nobody waits for it: it was answered before, or is not asked yet.
    #[error("{0}")]
    Conflict(String),
    /// The run cannot be read.
    #[error(transparent)]
    Read(ReadError),
}

impl From<ReadError> for AnswerError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(StoreError::NotFound(what)) => Self::NotFound(what),
            other => Self::Read(other),
        }
    }
}

impl From<StoreError> for AnswerError {
    fn from(error: StoreError) -> Self {
        ReadError::Store(error).into()
    }
}

/// Answers the task, or every task that waits for the event. `by` is who answers, where the data does not say so.
///
/// Reads the run's log, checks the answer and posts it. Where an engine is at work, it waits (a few seconds at most)
/// until the engine has taken or refused it. Cancel-safe: once posted, the answer stands.
pub async fn answer(
    store: &dyn RunStore,
    run: RunId,
    to: Address,
    data: Value,
    by: Option<&str>,
) -> Result<Answered, AnswerError> {
    let state = read_run(store, run).await?;
    let data = signed(&state, &to, data, by);
    let pending = store.pending_requests(run).await?;
    check(store, &state, &pending, &to, &data).await?;

    let mut signals = store.request_signals();
    let request = store.post_request(run, RequestKind::Signal { to: to.clone(), data: data.clone() }).await?;
    let until = Instant::now() + PATIENCE;
    while has_engine(store).await? && Instant::now() < until {
        if !is_pending(store, run, request).await? {
            return result(store, run, &to, request).await;
        }
        tokio::select! {
            _ = signals.next() => tokio::task::yield_now().await,
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
    // Of two that were posted at the same time the first counts.
    let pending = store.pending_requests(run).await?;
    let Some(own) = pending.iter().position(|pending| pending.id == request) else {
        return result(store, run, &to, request).await;
    };
    let state = read_run(store, run).await?;
    if let Err(error) = check(store, &state, &pending[..own], &to, &data).await {
        store.dismiss_requests(run, &[request]).await?;
        return Err(error);
    }
    Ok(Answered::Recorded)
}

/// An answer of a person says whose it is.
fn signed(state: &Run, to: &Address, mut data: Value, by: Option<&str>) -> Value {
    let asks_a_person = match to {
        Address::Task(task) => {
            use segue_core::event::Waiting::{Approval, Failure, Question};
            matches!(state.waits_for(task), Some(Approval { .. } | Failure { .. } | Question { .. }))
        }
        Address::Event(_) => false,
    };
    if let (Value::Object(fields), Some(by), true) = (&mut data, by, asks_a_person) {
        fields.entry("by").or_insert_with(|| by.into());
    }
    data
}

/// Would this answer count, after everything that is pending?
async fn check(
    store: &dyn RunStore,
    state: &Run,
    pending: &[Request],
    to: &Address,
    data: &Value,
) -> Result<(), AnswerError> {
    if let Address::Task(task) = to {
        if state.task_status(task).is_none() {
            return Err(AnswerError::NotFound(format!("task `{task}` of run {}", state.id())));
        }
        state.check_answer(task, data).map_err(AnswerError::Invalid)?;
    }
    let now = Clock::start().now();
    let mut then = state.clone();
    let signal = |request| Input::Signal { to: to.clone(), data: data.clone(), request };
    let refused = |run: &Run| run.clone().handle(signal(None), now).err();
    if let Some(why) = refused(&then) {
        return Err(AnswerError::Conflict(conflict(store, state, to, why).await?));
    }
    for request in pending {
        let _ = then.handle(input_of(&request.kind), now);
        if refused(&then).is_some() {
            let what = match &request.kind {
                RequestKind::Signal { data, .. } => format!("was answered by {} just now", who(data)),
                RequestKind::Cancel { .. } | RequestKind::Reopen => "is about to be cancelled".to_owned(),
            };
            return Err(AnswerError::Conflict(format!("{} {what}", subject(to))));
        }
    }
    Ok(())
}

fn input_of(kind: &RequestKind) -> Input {
    match kind.clone() {
        RequestKind::Cancel { reason } => Input::Cancel { reason },
        RequestKind::Reopen => Input::Reopen,
        RequestKind::Signal { to, data } => Input::Signal { to, data, request: None },
    }
}

/// Nobody waits: says why, and who was faster.
async fn conflict(store: &dyn RunStore, state: &Run, to: &Address, why: Rejected) -> Result<String, AnswerError> {
    if let Address::Task(task) = to
        && let Some((data, at)) = last_answer(store, state.id(), task).await?
    {
        return Ok(format!("{} was answered by {} at {at}", subject(to), who(&data)));
    }
    let run = state.id();
    Ok(match to {
        _ if state.status().is_terminal() => format!("run {run} has ended: it is {}", state.status()),
        Address::Event(name) => format!("no task of run {run} waits for `{name}`"),
        Address::Task(task) => match state.task_status(task) {
            Some((status, _)) => format!("{} does not wait for an answer: it is {status}", subject(to)),
            None => format!("{}: {why}", subject(to)),
        },
    })
}

fn subject(to: &Address) -> String {
    match to {
        Address::Task(task) => format!("task `{task}`"),
        Address::Event(name) => format!("`{name}`"),
    }
}

fn who(data: &Value) -> &str {
    data.get("by").and_then(Value::as_str).unwrap_or("somebody")
}

async fn last_answer(
    store: &dyn RunStore,
    run: RunId,
    task: &TaskId,
) -> Result<Option<(Value, Timestamp)>, AnswerError> {
    let events = store.events(run, 0, 0).await?;
    let signaled = |event: &Event| match &event.kind {
        EventKind::TaskSignaled { data, .. } if event.task_id.as_ref() == Some(task) => {
            Some((data.value().map(|data| Value::clone(data)).unwrap_or_default(), event.time))
        }
        _ => None,
    };
    Ok(events.iter().rev().find_map(signaled))
}

/// May an engine be at work? One of this machine whose process is gone is not.
async fn has_engine(store: &dyn RunStore) -> Result<bool, StoreError> {
    Ok(store.engines().await?.iter().any(|engine| !is_gone(engine)))
}

async fn is_pending(store: &dyn RunStore, run: RunId, request: RequestId) -> Result<bool, StoreError> {
    Ok(store.pending_requests(run).await?.iter().any(|pending| pending.id == request))
}

/// The request was dealt with: it counted if the log names it.
async fn result(store: &dyn RunStore, run: RunId, to: &Address, request: RequestId) -> Result<Answered, AnswerError> {
    let events = store.events(run, 0, 0).await?;
    let own = events
        .iter()
        .rev()
        .find(|event| matches!(event.kind, EventKind::TaskSignaled { request: Some(id), .. } if id == request.0));
    if let Some(event) = own {
        return Ok(Answered::Taken { at: event.time });
    }
    let state = read_run(store, run).await?;
    Err(AnswerError::Conflict(conflict(store, &state, to, Rejected::NobodyWaits).await?))
}
