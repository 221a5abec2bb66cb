//! The tables of the store in memory.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures_channel::mpsc;

use super::{MemoryStats, blobs::Blobs, checkpoints::Checkpoints, limits::Limits};
use crate::{
    event::{Event, EventKind},
    ids::{ContentHash, EngineId, RunId, TaskId, WorkflowId},
    payload::Payload,
    ports::{
        Cached, CallKey, Deployment, OwnerProof, RecordedCall, Request, RunRow, StoreError, TaskRow, WaitingTask,
        WorkflowVersion,
    },
    status::Status,
    time::Timestamp,
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) workflows: BTreeMap<ContentHash, WorkflowVersion>,
    pub(super) runs: BTreeMap<RunId, RunState>,
    /// Runs that have not ended, so that claiming does not look at history.
    pub(super) live: BTreeSet<RunId>,
    pub(super) keys: BTreeMap<(WorkflowId, String), RunId>,
    pub(super) blobs: Blobs,
    /// Of each workflow, the newest last.
    pub(super) deployments: BTreeMap<WorkflowId, Vec<Deployment>>,
    /// By key, with the time of expiry.
    pub(super) cache: BTreeMap<Arc<str>, (Cached, Option<Timestamp>)>,
    /// The tasks that wait: since when, whose, and their place among its tasks.
    waiting: BTreeSet<(Timestamp, RunId, usize)>,
    pub(super) calls: BTreeMap<CallKey, RecordedCall>,
    pub(super) checkpoints: Checkpoints,
    pub(super) limits: Limits,
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

    /// Gives the row its place.
    fn put_task(&mut self, row: TaskRow) -> usize {
        let next = self.tasks.len();
        let at = *self.task_places.entry(row.task_id.clone()).or_insert(next);
        if at == next {
            self.tasks.push(row);
        } else {
            self.tasks[at] = row;
        }
        at
    }

    /// What the task at this place waits for, if it does.
    fn waiting_task(&self, at: usize) -> Option<WaitingTask> {
        let row = self.tasks.get(at).filter(|row| row.status == Status::Waiting)?;
        let event = self.event(row.result_seq?)?;
        let EventKind::TaskWaiting(waiting) = &event.kind else { return None };
        Some(WaitingTask {
            run_id: self.row.run_id,
            workflow_id: self.row.workflow_id.clone(),
            task_id: row.task_id.clone(),
            since: event.time,
            waiting: waiting.clone(),
        })
    }
}

impl State {
    pub(super) fn run(&self, run: RunId) -> Result<&RunState, StoreError> {
        self.runs.get(&run).ok_or_else(|| no_run(run))
    }

    pub(super) fn run_mut(&mut self, run: RunId) -> Result<&mut RunState, StoreError> {
        self.runs.get_mut(&run).ok_or_else(|| no_run(run))
    }

    /// Gives a large value its content.
    pub(super) fn load(&self, payload: &mut Payload) -> Result<(), StoreError> {
        if let Some(blob) = payload.blob() {
            let value = serde_json::from_slice(self.blobs.get(blob)?).expect("a payload's text is JSON");
            payload.supply(Arc::new(value));
        }
        Ok(())
    }

    /// Writes what a creation or a commit brings. All checks have passed.
    pub(super) fn append(&mut self, events: Vec<Event>, row: RunRow, tasks: Vec<TaskRow>) {
        self.stats.commits += 1;
        self.stats.events += events.len() as u64;
        let run = self.runs.get_mut(&row.run_id).expect("the caller has looked it up");
        for mut event in events {
            if let Some(payload) = event.kind.payload_mut() {
                self.blobs.keep_for_run(payload, row.run_id);
                *payload = payload.to_logged();
            }
            run.events.push(event);
        }
        for task in tasks {
            let before = run.task_places.get(&task.task_id).and_then(|&at| run.waiting_task(at));
            let at = run.put_task(task);
            if let Some(before) = before {
                self.waiting.remove(&(before.since, row.run_id, at));
            }
            if let Some(now) = run.waiting_task(at) {
                self.waiting.insert((now.since, row.run_id, at));
            }
        }
        if row.status.is_terminal() {
            run.owner = None;
            self.live.remove(&row.run_id);
        } else {
            self.live.insert(row.run_id);
        }
        run.row = row;
    }

    /// Removes a run with all that is its own. Gives the bytes of its log.
    pub(super) fn remove_run(&mut self, run_id: RunId) -> u64 {
        let Some(run) = self.runs.remove(&run_id) else { return 0 };
        self.live.remove(&run_id);
        self.keys.retain(|_, owner| *owner != run_id);
        self.waiting.retain(|(_, owner, _)| *owner != run_id);
        self.calls.retain(|key, _| key.run_id != run_id);
        let threads = format!("{run_id}/");
        self.checkpoints.delete_threads(|thread| thread.starts_with(&threads));
        serde_json::to_vec(&run.events).expect("events can be written as JSON").len() as u64
    }

    pub(super) fn waiting(&self) -> impl Iterator<Item = WaitingTask> {
        self.waiting.iter().filter_map(|(_, run, at)| self.runs.get(run)?.waiting_task(*at))
    }
}

fn no_run(run: RunId) -> StoreError {
    StoreError::NotFound(format!("run {run}"))
}
