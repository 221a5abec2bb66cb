//! What a creation or a commit writes, made ready by its caller before the task that commits sees it.

use segue_core::{
    event::Event,
    ids::{ContentHash, RunId},
    payload::{BlobRef, Payload},
    ports::{RunRow, TaskRow},
    seal::{SealedEvents, SealedRow},
    status::Status,
    time::Timestamp,
};

/// A run's new events and rows.
#[derive(Debug)]
pub(crate) struct Texts {
    pub(crate) run_id: RunId,
    /// The version before these events.
    pub(crate) since: u64,
    /// The version after them.
    pub(crate) version: u64,
    pub(crate) events: SealedEvents,
    pub(crate) row: SealedRow,
    pub(crate) tasks: Vec<TaskText>,
    pub(crate) status: Status,
    /// When the run ended, in microseconds since 1970.
    pub(crate) ended_at: Option<i64>,
    /// Events that carry a large value.
    large: Vec<Event>,
}

/// A task's row.
#[derive(Debug)]
pub(crate) struct TaskText {
    pub(crate) task_id: String,
    pub(crate) row: SealedRow,
    /// `seq` of its `task.waiting`, while it waits.
    pub(crate) waiting_seq: Option<u64>,
    /// When the waiting began, if it did in this commit: in microseconds since 1970.
    pub(crate) waiting_since: Option<i64>,
}

impl Texts {
    pub(crate) fn of(since: u64, events: Vec<Event>, row: &RunRow, tasks: &[TaskRow]) -> Self {
        Self {
            run_id: row.run_id,
            since,
            version: row.version,
            events: SealedEvents::of(&events),
            row: SealedRow::of(row.run_id.as_bytes(), row),
            tasks: tasks.iter().map(|task| TaskText::of(row.run_id, task, &events)).collect(),
            status: row.status,
            ended_at: row.finished_at.filter(|_| row.status.is_terminal()).map(Timestamp::as_micros),
            large: events.into_iter().filter(|event| event.kind.payload().is_some_and(is_large)).collect(),
        }
    }

    /// The chain after these events, where `before` is the one before them.
    pub(crate) fn chain_after(&self, before: ContentHash) -> ContentHash {
        if self.events.count == 0 { before } else { before.chained(self.events.hash) }
    }

    fn payloads(&self) -> impl Iterator<Item = &Payload> {
        self.large.iter().filter_map(|event| event.kind.payload()).filter(|payload| is_large(payload))
    }

    /// The large values that the events refer to.
    pub(crate) fn uses(&self) -> impl Iterator<Item = BlobRef> {
        self.payloads().filter_map(Payload::blob)
    }

    /// The large values that come along.
    pub(crate) fn brings(&self) -> impl Iterator<Item = (BlobRef, &[u8])> {
        self.payloads().filter_map(Payload::blob_to_store)
    }

    /// The large values that must be there already.
    pub(crate) fn needs(&self) -> impl Iterator<Item = BlobRef> {
        self.uses().filter(|needed| self.brings().all(|(own, _)| own.hash != needed.hash))
    }

    /// About how much it is to write.
    pub(crate) fn bytes(&self) -> usize {
        let tasks: usize = self.tasks.iter().map(|task| task.row.text.len()).sum();
        self.events.text.len() + tasks + self.brings().map(|(_, json)| json.len()).sum::<usize>()
    }
}

fn is_large(payload: &Payload) -> bool {
    payload.blob().is_some()
}

impl TaskText {
    fn of(run: RunId, row: &TaskRow, events: &[Event]) -> Self {
        let first = events.first().map_or(0, |event| event.seq);
        let event = |seq: u64| events.get(usize::try_from(seq.checked_sub(first)?).ok()?);
        let waiting_seq = row.result_seq.filter(|_| row.status == Status::Waiting);
        Self {
            task_id: row.task_id.as_str().to_owned(),
            row: SealedRow::of(run.as_bytes(), row),
            waiting_seq,
            waiting_since: waiting_seq.and_then(event).map(|event| event.time.as_micros()),
        }
    }
}
