//! Tasks that run under limits: they wait for them before they are accepted, and hold nothing meanwhile.

use std::{collections::HashMap, sync::Arc};

use segue_core::{
    ids::TaskId,
    plan::PlanNode,
    ports::{Completion, Slot},
    run::Run,
    status::Status,
};
use tokio::time::Instant;

use super::{Drive, accept::Grant};
use crate::{
    limits::{Answer, Held, LimitSlot, Ticket, Want, Wanted},
    shared::Shared,
};

/// Tasks of one run that wait for the same limits at once: enough to use what becomes free, and no more, however many
/// instances there are.
const TICKETS_OF_A_KIND: usize = 16;

/// The tickets of a run.
#[derive(Default)]
pub(crate) struct Tickets {
    waiting: HashMap<TaskId, Entry>,
    /// What each task asks for, where that depends on the task.
    keyed: HashMap<TaskId, Arc<[Wanted]>>,
}

struct Entry {
    ticket: Ticket,
    wanted: Arc<[Wanted]>,
    since: Instant,
}

impl Tickets {
    /// Those that may begin now, or never will, as far as there is room for them.
    pub(super) fn answered(&mut self, shared: &Shared, run: &Run, room: usize) -> Vec<(TaskId, Grant)> {
        if self.waiting.is_empty() {
            return Vec::new();
        }
        self.waiting.retain(|task, _| matches!(run.task_status(task), Some((Status::Pending, _))));
        let waiting = &self.waiting;
        self.keyed.retain(|task, _| {
            matches!(run.task_status(task), Some((Status::Pending, _))) || waiting.contains_key(task)
        });
        let answered = self.waiting.iter().filter(|(_, entry)| entry.ticket.is_answered());
        let answered: Vec<TaskId> = answered.map(|(task, _)| task.clone()).take(room).collect();
        let grants = answered.into_iter().filter_map(|task| {
            let entry = self.waiting.remove(&task)?;
            let grant = match entry.ticket.take()? {
                Answer::Never(why) => Grant::Never(why),
                Answer::Go(place, slot) => {
                    let suspect = run.is_suspect(&task);
                    let place = if suspect { shared.suspects.enter(place)? } else { place };
                    if let Some(node) = run.node(&task) {
                        shared.observer.queued(&node.handler, entry.since.elapsed());
                    }
                    Grant::Limited(place, slot)
                }
            };
            Some((task, grant))
        });
        grants.collect()
    }

    /// Gets in line for a task that is ready, unless it stands there, or enough of its kind do. An answer: it never can run.
    pub(super) fn ask(
        &mut self,
        shared: &Shared,
        run: &Run,
        (task, node, concurrency): (&TaskId, &PlanNode, Option<u32>),
        wake: &(dyn Fn() -> Box<dyn FnOnce() + Send> + Sync),
    ) -> Option<(TaskId, Grant)> {
        if self.waiting.contains_key(task) {
            return None;
        }
        if run.is_suspect(task) && shared.suspects.is_taken(wake) {
            return None;
        }
        let is_keyed = node.limits.iter().any(|limit| limit.own.as_ref().is_none_or(|own| own.key.is_some()));
        let wanted = match self.keyed.get(task) {
            Some(wanted) => wanted.clone(),
            None => match shared.limits.wanted(run, task, node) {
                Ok(wanted) => wanted,
                Err(error) => return Some((task.clone(), Grant::NoLimit(error))),
            },
        };
        if is_keyed {
            self.keyed.insert(task.clone(), wanted.clone());
        }
        if self.waiting.values().filter(|entry| entry.wanted == wanted).count() >= TICKETS_OF_A_KIND {
            return None;
        }
        let attempts = run.task_status(task).map_or(0, |(_, attempts)| attempts);
        let ticket = shared.limits.ask(Want {
            run: run.id(),
            task: task.clone(),
            attempt: attempts + 1,
            party: run.plan().workflow_id().as_str().into(),
            handler: node.handler.clone(),
            concurrency,
            wanted: wanted.clone(),
            wake: wake(),
        });
        self.waiting.insert(task.clone(), Entry { ticket, wanted, since: Instant::now() });
        None
    }

    /// Nobody waits any more.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.keyed.clear();
    }
}

impl Drive {
    /// May an attempt begin in these slots? Not if they went to another engine while this one stood still, which shows when
    /// its lease has been renewed.
    pub(super) async fn still_holds(&self, limits: &LimitSlot) -> bool {
        tokio::select! {
            () = self.shared.lease.valid() => {}
            () = self.shared.stopped.cancelled() => {}
        }
        !limits.went_to_others()
    }

    /// Holds the slots until the work is over and its answer was read; what it says is looked at on the way.
    pub(super) fn under_limits(
        place: Box<dyn Slot>,
        slot: Arc<LimitSlot>,
        done: Completion,
    ) -> (Box<dyn Slot>, Completion) {
        let held = Held { _place: place, _limits: slot.clone() };
        (Box::new(held), Box::new(move |outcome| done(slot.ended(outcome))))
    }
}
