//! The tables of the store in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_channel::mpsc;

use super::MemoryStats;
use crate::{
    event::Event,
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    payload::BlobRef,
    ports::{OwnerProof, Request, RunRow, StoreError, TaskRow, WorkflowVersion},
    time::Timestamp,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) workflows: BTreeMap<ContentHash, WorkflowVersion>,
    pub(super) runs: BTreeMap<RunId, RunState>,
    /// Runs that have not ended, so that claiming does not look at history.
    pub(super) live: BTreeSet<RunId>,
    pub(super) keys: BTreeMap<(WorkflowId, String), RunId>,
    blobs: BTreeMap<ContentHash, Arc<[u8]>>,
    pub(super) engines: BTreeMap<EngineId, (OwnerProof, Timestamp)>,
    pub(super) last_request: i64,
    pub(super) signals: Vec<mpsc::Sender<RunId>>,
    pub(super) stats: MemoryStats,
}

#[derive(Debug)]
pub(super) struct RunState {
    pub(super) row: RunRow,
    pub(super) request_hash: ContentHash,
    pub(super) owner: Option<EngineId>,
    pub(super) fence: u64,
    pub(super) events: Vec<Event>,
    /// In the order in which they first changed.
    pub(super) tasks: Vec<TaskRow>,
    task_places: BTreeMap<TaskId, usize>,
    pub(super) requests: Vec<Request>,
}

impl RunState {
    pub(super) fn new(row: RunRow, request_hash: ContentHash, owner: Option<EngineId>) -> Self {
        Self {
            row,
            request_hash,
            // Fences count claims; being created with an owner is the first.
            fence: u64::from(owner.is_some()),
            owner,
            events: Vec::new(),
            tasks: Vec::new(),
            task_places: BTreeMap::new(),
            requests: Vec::new(),
        }
    }

    pub(super) fn task(&self, task: &TaskId) -> Option<&TaskRow> {
        self.task_places.get(task).map(|&at| &self.tasks[at])
    }

    pub(super) fn event(&self, seq: u64) -> Option<&Event> {
        self.events.get(usize::try_from(seq.checked_sub(1)?).ok()?)
    }

    fn put_task(&mut self, row: TaskRow) {
        match self.task_places.get(&row.task_id) {
            Some(&at) => self.tasks[at] = row,
            None => {
                self.task_places.insert(row.task_id.clone(), self.tasks.len());
                self.tasks.push(row);
            }
        }
    }
}

impl State {
    pub(super) fn run(&self, run: RunId) -> Result<&RunState, StoreError> {
        self.runs.get(&run).ok_or_else(|| no_run(run))
    }

    pub(super) fn run_mut(&mut self, run: RunId) -> Result<&mut RunState, StoreError> {
        self.runs.get_mut(&run).ok_or_else(|| no_run(run))
    }

    pub(super) fn blob(&self, blob: BlobRef) -> Result<&[u8], StoreError> {
        self.blobs
            .get(&blob.hash)
            .map(|json| &**json)
            .ok_or_else(|| StoreError::NotFound(format!("value {}", blob.hash)))
    }

    /// Writes what a creation or a commit brings. All checks have passed.
    pub(super) fn append(&mut self, events: Vec<Event>, row: RunRow, tasks: Vec<TaskRow>) {
        self.stats.commits += 1;
        self.stats.events += events.len() as u64;
        let run = self.runs.get_mut(&row.run_id).expect("the caller has looked it up");
        for mut event in events {
            if let Some(payload) = event.kind.payload_mut() {
                if let Some((blob, json)) = payload.blob_to_store() {
                    self.blobs.entry(blob.hash).or_insert_with(|| json.into());
                }
                *payload = payload.to_logged();
            }
            run.events.push(event);
        }
        for task in tasks {
            run.put_task(task);
        }
        if row.status.is_terminal() {
            run.owner = None;
            self.live.remove(&row.run_id);
        } else {
            self.live.insert(row.run_id);
        }
        run.row = row;
    }
}

fn no_run(run: RunId) -> StoreError {
    StoreError::NotFound(format!("run {run}"))
}
