//! The one task of an engine that asks the store for slots.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use segue_core::{
    ids::LimitKey,
    ports::{Acquire, Admission, Charge, LimitStore, ScheduleError, Scheduler, StoreError},
};
use tokio::time::Instant;

use super::{
    Inner, Limits,
    lines::Todo,
    slot::LimitSlot,
    ticket::{Answer, Asked, Waiting},
};
use crate::lease::is_gone;

/// After an answer of the store that says nothing.
const PAUSE: Duration = Duration::from_millis(250);

/// Runs until the engine stops.
pub(super) async fn keep(inner: Arc<Inner>) {
    let Some(store) = inner.store.clone() else { return };
    let mut signals = store.limit_signals();
    let mut hears = true;
    loop {
        let has_failed = work(&inner, &*store).await;
        inner.done.notify_waiters();
        let (next, has_more) = {
            let mut lines = inner.lines();
            (lines.look(Instant::now(), &is_gone), lines.has_open() || lines.has_todo())
        };
        if has_more && !has_failed {
            continue;
        }
        let retry = has_failed.then(|| Instant::now() + PAUSE);
        let at = next.into_iter().chain(retry).min();
        tokio::select! {
            biased;
            () = inner.stopped.cancelled() => return,
            () = inner.work.notified() => {}
            key = signals.next(), if hears => {
                hears = key.is_some();
                let mut heard = key;
                while let Some(key) = heard {
                    inner.lines().signalled(&key);
                    heard = signals.next().now_or_never().flatten();
                }
            }
            () = tokio::time::sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {}
        }
    }
}

/// Tells the store what there is to tell, and asks for those whose turn it is. `true`: the store did not answer.
async fn work(inner: &Arc<Inner>, store: &dyn LimitStore) -> bool {
    let Todo { pauses, freed, left } = inner.lines().todo();
    let mut has_failed = false;
    // First, so that nobody goes who would not have to come back.
    for (keys, until) in pauses {
        let span = until.saturating_duration_since(Instant::now());
        let paused = store.pause(keys.clone(), span).await;
        tracing::info!(limits = %shown(&keys), seconds = span.as_secs_f64(), "a provider asks to wait; everybody does");
        if told("a pause", paused) {
            has_failed = true;
            inner.lines().pause(keys, until);
        }
    }
    // Before anything is asked: who comes now is not to lose its place to somebody who left before.
    if !left.is_empty() {
        let is_told = !told("a place in line", store.leave(&inner.engine, left.clone()).await);
        inner.lines().have_left(left, is_told);
        has_failed |= !is_told;
    }
    let chosen = inner.lines().candidates();
    let asked = with_places(inner, chosen);
    let (requests, dead) = {
        let lines = inner.lines();
        (lines.requests(&asked), lines.dead.iter().cloned().collect())
    };
    // What is given back is asked for in the same breath: one transaction where the store can.
    let free = async {
        if freed.is_empty() {
            return true;
        }
        let is_told = !told("a slot", store.release(&inner.engine, freed.clone()).await);
        inner.lines().told(if is_told { Vec::new() } else { freed });
        is_told
    };
    let ask = async {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        store.acquire(Acquire { engine: inner.engine.clone(), dead, requests: requests.clone() }).await
    };
    let (is_freed, answers) = tokio::join!(free, ask);
    let answers = answers.unwrap_or_else(|error| {
        has_failed = true;
        tracing::warn!(engine_id = %inner.engine, %error, "limits cannot be asked");
        Vec::new()
    });
    let mut answers = answers.into_iter();
    for (one, request) in asked.into_iter().zip(&requests) {
        let answer = answers.next();
        inner.lines().keeps_places(request, one.waiting.is_unsure, answer.as_ref());
        match answer {
            Some(answer) => settle(inner, one, answer),
            None => {
                inner.lines().unanswered(one.waiting, PAUSE);
                drop(one.place);
            }
        }
    }
    inner.lines().has_asked();
    has_failed || !is_freed
}

/// Takes the place of its adapter for each of them; who gets none waits for one.
fn with_places(inner: &Arc<Inner>, chosen: Vec<Waiting>) -> Vec<Asked> {
    let wake = || -> Box<dyn FnOnce() + Send> {
        let inner = Arc::downgrade(inner);
        Box::new(move || {
            if let Some(inner) = inner.upgrade() {
                inner.lines().has_places();
                inner.work.notify_one();
            }
        })
    };
    let mut asked = Vec::with_capacity(chosen.len());
    for waiting in chosen {
        let want = &waiting.want;
        match inner.scheduler.reserve(want.run, &want.task, &want.handler, want.concurrency, &wake) {
            Ok(Some(place)) => asked.push(Asked { waiting, place }),
            Ok(None) | Err(ScheduleError::ShuttingDown) => inner.lines().has_no_place(waiting),
            Err(never) => {
                let unwanted = inner.lines().answer(&waiting, Answer::Never(never));
                drop(unwanted);
                (waiting.want.wake)();
            }
        }
    }
    asked
}

/// Carries out the store's answer. Nothing is dropped under the lock: dropping calls out.
fn settle(inner: &Arc<Inner>, asked: Asked, admission: Admission) {
    let Asked { waiting, place } = asked;
    match admission {
        Admission::Granted(charged) => {
            let charges = waiting.want.wanted.iter().zip(charged).map(|(wanted, charged)| Charge {
                key: wanted.key.clone(),
                bounds: wanted.bounds,
                charged,
            });
            let slot =
                LimitSlot::new(Limits(inner.clone()), waiting.slot.clone(), charges.collect(), waiting.is_unsure);
            let unwanted = inner.lines().answer(&waiting, Answer::Go(place, Arc::new(slot)));
            match unwanted {
                // This gives all of it back.
                Some(unwanted) => drop(unwanted),
                None => (waiting.want.wake)(),
            }
        }
        Admission::Wait(wait) => {
            inner.lines().refused(waiting, wait);
            drop(place);
        }
    }
}

/// `true`: the store did not answer.
fn told(what: &str, answer: Result<(), StoreError>) -> bool {
    if let Err(error) = &answer {
        tracing::warn!(%error, "the store of limits could not be told of {what}");
    }
    answer.is_err()
}

fn shown(keys: &[LimitKey]) -> String {
    let names: Vec<_> = keys.iter().map(LimitKey::as_str).collect();
    names.join(", ")
}
