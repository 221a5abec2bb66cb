//! Places for tasks that are ready.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::Arc,
};

use segue_core::{
    event::Event,
    ids::{HandlerId, TaskId},
    outcome::TaskError,
    plan::PlanNode,
    ports::{ScheduleError, Scheduler, Slot},
    run::{Input, Run},
    time::Timestamp,
};
use tokio::time::Instant;

use super::{Drive, Mode, limited::Tickets};
use crate::{limits::LimitSlot, live::Message, mutants::planted, shared::Shared};

/// The places that a run holds for accepted tasks until they are dispatched, and those that it waits for.
#[derive(Default)]
pub(crate) struct Places {
    granted: HashMap<TaskId, Grant>,
    /// Kinds of place that were refused. They are asked for again after a hint that one may be free.
    refused: Vec<(HandlerId, Option<u32>)>,
    /// Tasks of which an attempt from before a conflict is not over yet.
    dying: HashSet<TaskId>,
    /// The kinds of place that the workflow's nodes need. Counted when one is refused for the first time.
    kinds: Option<usize>,
    /// Since when a task has been waiting for one.
    waiting: HashMap<TaskId, Instant>,
    /// Tasks that wait for a limit.
    pub(super) tickets: Tickets,
}

/// What the scheduler says to a task that may start.
pub(super) enum Grant {
    /// It may.
    Place(Box<dyn Slot>),
    /// It may, in slots of its limits.
    Limited(Box<dyn Slot>, Arc<LimitSlot>),
    /// It needs none: another run carries it out.
    Child,
    /// It never will: accepted all the same, so that it can fail.
    Never(ScheduleError),
    /// It never will, because of its limits.
    NoLimit(TaskError),
}

impl Places {
    pub(super) fn ask_again(&mut self) {
        self.refused.clear();
    }

    pub(super) fn is_over(&mut self, task: &TaskId) {
        self.dying.remove(task);
    }

    /// Forgets everything, after the run was loaded anew. What is `dying` is still not over.
    pub(super) fn reset(&mut self, dying: impl Iterator<Item = TaskId>) {
        let known = mem::take(&mut self.dying);
        *self = Self { dying: known.into_iter().chain(dying).collect(), ..Self::default() };
    }

    /// Is it of no use to ask for any place?
    fn is_hopeless(&mut self, shared: &Shared, run: &Run) -> bool {
        !self.refused.is_empty() && {
            let kinds = self.kinds.get_or_insert_with(|| {
                let nodes = run.plan().nodes().iter();
                nodes.map(|node| kind_of(shared, node)).collect::<HashSet<_>>().len()
            });
            self.refused.len() >= *kinds
        }
    }

    pub(super) fn take(&mut self, task: &TaskId) -> Option<Grant> {
        self.granted.remove(task)
    }
}

fn kind_of<'a>(shared: &Shared, node: &'a PlanNode) -> (&'a HandlerId, Option<u32>) {
    (&node.handler, shared.adapters.of(&node.handler).and_then(|adapter| adapter.concurrency(&node.hints)))
}

/// Tasks that are accepted in one commit. A commit is held in memory, in the store's log, and by everybody who reads it.
const ACCEPTED_MAX: usize = 1_000;

/// Asks for places for all tasks that are ready, and accepts those that get one. A task whose last attempt `is_dying`
/// is left alone: the end of that attempt will be told, and it says nothing about the places of others. Where there are
/// more than fit into one commit, the rest is for the next one.
pub(crate) fn accept(
    shared: &Shared,
    run: &mut Run,
    places: &mut Places,
    is_dying: &dyn Fn(&TaskId) -> bool,
    now: Timestamp,
    wake: &(dyn Fn() -> Box<dyn FnOnce() + Send> + Sync),
) -> Vec<Event> {
    let room = run.room().min(ACCEPTED_MAX);
    let mut found = places.tickets.answered(shared, run, room);
    let is_hopeless = places.is_hopeless(shared, run);
    if is_hopeless && found.is_empty() {
        return Vec::new();
    }
    for (task, node) in run.ready_nodes(now) {
        if found.len() >= room || is_hopeless {
            break;
        }
        if node.child().is_some() {
            if !is_dying(task) {
                found.push((task.clone(), Grant::Child));
            }
            continue;
        }
        let (_, concurrency) = kind_of(shared, node);
        if !node.limits.is_empty() {
            if !is_dying(task) && !places.dying.contains(task) {
                found.extend(places.tickets.ask(shared, run, (task, node, concurrency), wake));
            }
            continue;
        }
        if is_dying(task)
            || places.dying.contains(task)
            || places.refused.iter().any(|(handler, hint)| *handler == node.handler && *hint == concurrency)
        {
            continue;
        }
        let is_suspect = run.is_suspect(task) && !planted!(RunsSuspectsTogether);
        if is_suspect && shared.suspects.is_taken(wake) {
            continue;
        }
        match shared.scheduler.reserve(run.id(), task, &node.handler, concurrency, wake) {
            Ok(Some(slot)) => {
                let slot = if is_suspect { shared.suspects.enter(slot) } else { Some(slot) };
                let Some(slot) = slot else {
                    // Somebody was faster; who asks again is told when that is over.
                    wake()();
                    continue;
                };
                let waited = places.waiting.remove(task).map(|since| since.elapsed()).unwrap_or_default();
                shared.observer.queued(&node.handler, waited);
                found.push((task.clone(), Grant::Place(slot)));
            }
            Ok(None) => {
                places.refused.push((node.handler.clone(), concurrency));
                places.waiting.entry(task.clone()).or_insert_with(Instant::now);
                if places.is_hopeless(shared, run) {
                    break;
                }
            }
            Err(ScheduleError::ShuttingDown) => break,
            Err(never) => found.push((task.clone(), Grant::Never(never))),
        }
    }
    let mut events = Vec::with_capacity(found.len());
    for (task, grant) in found {
        // Refused only if the kernel changed its mind, which drops the place.
        if let Ok(started) = run.handle(Input::TaskAccepted { task: task.clone() }, now) {
            events.extend(started);
            places.granted.insert(task, grant);
        }
    }
    events
}

impl Drive {
    pub(super) fn accept_ready(&mut self) {
        if self.mode > Mode::Working || !self.is_live() {
            self.places.tickets.clear();
            return;
        }
        let sender = self.handle.sender.clone();
        let wake = move || -> Box<dyn FnOnce() + Send> {
            let sender = sender.clone();
            Box::new(move || {
                // The run may have left; then nobody waits.
                let _ = sender.send(Message::Place);
            })
        };
        let now = self.now();
        let events = accept(
            &self.shared,
            &mut self.run,
            &mut self.places,
            &|task| self.in_flight.contains_key(task),
            now,
            &wake,
        );
        if let Some(event) = events.last() {
            self.last = event.time;
        }
        self.batch.events.extend(events);
    }
}
