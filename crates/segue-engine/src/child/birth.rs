//! How a child run begins: it is created, found again, or reopened.

use std::{collections::BTreeMap, sync::Arc};

use segue_core::{
    event::{EventKind, ParentLink, Waiting},
    ids::{ContentHash, RunId, WorkflowId},
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome},
    ports::{OrchestratorError, RequestKind, RunRow, StoreError},
    status::Status,
};
use serde_json::{Map, Value};
use tokio::sync::watch;

use super::{ChildTask, LOOKS, Stop, end_of};
use crate::{
    patience::{patiently, pause_before_retry},
    shared::Shared,
    start,
};

/// What a child run is started with.
#[derive(Clone)]
pub(crate) struct Birth {
    /// Its idempotency key: that of the task.
    pub(crate) key: String,
    pub(crate) workflow_id: WorkflowId,
    pub(crate) workflow: ContentHash,
    pub(crate) inputs: Map<String, Value>,
    pub(crate) base_dir: Option<String>,
    pub(crate) rehearsal: bool,
    pub(crate) workflows: BTreeMap<WorkflowId, ContentHash>,
    pub(crate) parent: ParentLink,
    /// Nobody waits for it.
    pub(crate) detach: bool,
}

/// Events that are read at once.
const PAGE: usize = 1_000;

impl ChildTask {
    /// The child run, under way or ended with an end that has not been told yet.
    pub(super) async fn begin(&mut self, birth: &Birth) -> Result<RunId, Stop> {
        let started = self.create(birth).await?;
        let child = started.run_id;
        if started.is_new || birth.detach || self.is_cancelled() {
            return Ok(child);
        }
        let shared = self.shared.clone();
        let mut row = patiently(&shared, || shared.store.get_run(child)).await?;
        if row.cancelling && !row.status.is_terminal() {
            // An earlier attempt has given it up.
            match self.unless_cancelled(end_of(&shared, child)).await? {
                Some(end) => row = end?,
                None => return Ok(child),
            }
        }
        let starts_over = matches!(row.status, Status::Failed | Status::Cancelled) && self.was_told(child).await?;
        if starts_over {
            self.reopen(&row).await?;
        }
        Ok(child)
    }

    async fn create(&self, birth: &Birth) -> Result<segue_core::ports::Started, Stop> {
        for n in 0.. {
            if self.is_cancelled() {
                return Err(Stop::With(TaskOutcome::Cancelled { usage: Default::default() }));
            }
            match start::start_child(&self.shared, birth.clone()).await {
                Ok(started) => return Ok(started),
                Err(OrchestratorError::Store(StoreError::Unavailable(_) | StoreError::Full(_))) => {}
                Err(error) => return Err(refused(birth, error)),
            }
            tokio::select! {
                () = tokio::time::sleep(pause_before_retry(n)) => {}
                () = self.shared.stopped.cancelled() => break,
            }
        }
        Err(Stop::Silently)
    }

    /// Has an earlier attempt waited for this run? Then it has been told how that ended.
    async fn was_told(&self, child: RunId) -> Result<bool, Stop> {
        let shared = &self.shared;
        let mut after = 0;
        loop {
            let page = patiently(shared, || shared.store.events(self.parent, after, PAGE)).await?;
            let waited = page.iter().any(|event| {
                event.task_id.as_ref() == Some(&self.task)
                    && matches!(&event.kind, EventKind::TaskWaiting(Waiting::Child { run_id, .. }) if *run_id == child)
            });
            if waited || page.len() < PAGE {
                return Ok(waited);
            }
            after = page.last().map_or(after, |event| event.seq);
        }
    }

    /// Reopens a child run that failed or was cancelled; returns when it is under way.
    async fn reopen(&mut self, row: &RunRow) -> Result<(), Stop> {
        let (shared, child) = (self.shared.clone(), row.run_id);
        if shared.live.get(child).is_some() {
            // Its last owner is about to leave it.
            end_of(&shared, child).await?;
        }
        let request = patiently(&shared, || shared.store.post_request(child, RequestKind::Reopen)).await?;
        let (mut pause, longest) = LOOKS;
        loop {
            if shared.admit().is_ok() {
                patiently(&shared, || shared.claim(vec![child], 1)).await?;
            } else {
                return Err(drained());
            }
            let pending = patiently(&shared, || shared.store.pending_requests(child)).await?;
            if pending.iter().all(|pending| pending.id != request) {
                return Ok(());
            }
            if self.unless_cancelled(tokio::time::sleep(pause)).await?.is_none() {
                return Ok(());
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Waits for `what`, unless the attempt is given up meanwhile: then the child run is to be told so.
    async fn unless_cancelled<T>(&mut self, what: impl Future<Output = T>) -> Result<Option<T>, Stop> {
        let stopped = self.shared.stopped.clone();
        tokio::select! {
            biased;
            it = what => Ok(Some(it)),
            () = wished(&mut self.wishes) => if self.is_cancelled() { Ok(None) } else { Err(Stop::Silently) },
            () = stopped.cancelled() => Err(Stop::Silently),
        }
    }
}

/// Waits until the attempt is given up, or nobody wants to know any more.
async fn wished(wishes: &mut watch::Receiver<u32>) {
    // Left unseen: who follows the child run sees it too.
    let _ = wishes.wait_for(|times| *times > 0).await;
}

/// The engine takes no new work: this says nothing about the task.
fn drained() -> Stop {
    Stop::With(TaskOutcome::lost(Loss::Drained, "its engine was shut down"))
}

fn refused(birth: &Birth, error: OrchestratorError) -> Stop {
    let whose = format!("workflow `{}` cannot be started", birth.workflow_id);
    match error {
        OrchestratorError::Invalid(problems) => {
            let problems: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
            TaskError::new(ErrorKind::InvalidInput, format!("{whose}: {}", problems.join("; "))).into()
        }
        OrchestratorError::ShuttingDown => drained(),
        OrchestratorError::NotFound(_) | OrchestratorError::Conflict(_) | OrchestratorError::Store(_) => {
            TaskError::new(ErrorKind::Load, format!("{whose}: {error}")).into()
        }
    }
}

/// The folder of a child run's relative paths: that of its version's deployment, else that of the parent.
pub(crate) async fn folder_of(shared: &Arc<Shared>, birth: &Birth) -> Result<Option<String>, StoreError> {
    // Most often it is the current one.
    for limit in [1, 0] {
        let deployments = shared.store.deployments(Some(&birth.workflow_id), limit).await?;
        if let Some(deployed) = deployments.into_iter().find(|deployment| deployment.hash == birth.workflow) {
            return Ok(deployed.base_dir.or_else(|| birth.base_dir.clone()));
        }
    }
    Ok(birth.base_dir.clone())
}
