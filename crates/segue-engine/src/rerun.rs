//! Running an ended run once more, with the results that still hold.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use segue_core::{
    event::{EventKind, RunCreated},
    ids::{NodeId, RunId, TaskId},
    payload::Payload,
    ports::{OrchestratorError, Started, StoreError},
    spec::WorkflowSpec,
    status::Status,
};
use serde_json::json;

use crate::{
    read::supply,
    shared::Shared,
    start::{Draft, hash_of, launch, ready},
};

/// Starts a run of the same version with the same inputs, which takes over what `run` has achieved: all that succeeded,
/// except the nodes `from` and everything below them, and except what depends on something that runs again.
pub(crate) async fn rerun(shared: &Arc<Shared>, run: RunId, from: &[NodeId]) -> Result<Started, OrchestratorError> {
    ready(shared).await?;
    let row = shared.store.get_run(run).await?;
    if !row.status.is_terminal() {
        let why = format!("run {run} is {}; only a run that has ended can be run again", row.status);
        return Err(OrchestratorError::Conflict(why));
    }
    let deployed = shared.deployed(row.workflow_hash).await?;
    if let Some(unknown) = from.iter().find(|id| deployed.spec.nodes.iter().all(|node| node.id != **id)) {
        return Err(OrchestratorError::NotFound(format!("node `{unknown}` of workflow `{}`", deployed.spec.id)));
    }
    let tasks = shared.store.list_tasks(run).await?;
    let status: BTreeMap<&str, Status> = tasks.iter().map(|task| (task.task_id.as_str(), task.status)).collect();
    let mut taken = BTreeMap::new();
    for node in reused(&deployed.spec, &status, from) {
        let task = TaskId::from(node);
        let result = shared.store.get_task_result(run, &task).await?;
        // Made anew: the new run keeps a large value of its own, whatever becomes of the old one.
        let value = result.output.as_ref().and_then(Payload::value).cloned().unwrap_or_default();
        taken.insert(task, Payload::from_arc(value));
    }
    let created =
        RunCreated { rerun_of: Some(run), idempotency_key: None, parent: None, ..created(shared, run).await? };
    let request_hash = hash_of(&json!({ "rerun_of": run, "from": from }));
    launch(shared, Draft { deployed, request_hash, created, taken }).await
}

/// How the run was created.
async fn created(shared: &Shared, run: RunId) -> Result<RunCreated, OrchestratorError> {
    let mut first = shared.store.events(run, 0, 1).await?;
    for event in &mut first {
        supply(&*shared.store, event).await?;
    }
    match first.into_iter().next().map(|event| event.kind) {
        Some(EventKind::RunCreated(mut created)) => {
            created.inputs = created.inputs.value().cloned().map_or(created.inputs, Payload::from_arc);
            Ok(created)
        }
        _ => Err(StoreError::Broken(format!("the log of run {run} does not begin with run.created")).into()),
    }
}

/// The nodes of the workflow itself that succeeded and whose result still holds: neither they nor anything that they
/// depend on, however far, runs again.
fn reused<'a>(spec: &'a WorkflowSpec, status: &BTreeMap<&str, Status>, from: &[NodeId]) -> Vec<&'a NodeId> {
    let mut below: BTreeMap<&NodeId, BTreeSet<&NodeId>> = BTreeMap::new();
    let depends = spec.nodes.iter().flat_map(|node| node.depends_on.iter().map(move |from| (from, &node.id)));
    let edges = spec.edges.iter().filter(|edge| edge.loop_bound().is_none()).map(|edge| (edge.from(), edge.to()));
    for (upper, lower) in depends.chain(edges) {
        below.entry(upper).or_default().insert(lower);
    }
    // What runs again spreads downwards.
    let stays = |id: &NodeId| {
        matches!(status.get(id.as_str()), Some(Status::Succeeded | Status::Skipped)) && !from.contains(id)
    };
    let mut again: BTreeSet<&NodeId> = spec.nodes.iter().map(|node| &node.id).filter(|id| !stays(id)).collect();
    let mut open: Vec<&NodeId> = again.iter().copied().collect();
    while let Some(id) = open.pop() {
        open.extend(below.get(id).into_iter().flatten().copied().filter(|lower| again.insert(lower)));
    }
    let succeeded = |id: &&NodeId| status.get(id.as_str()) == Some(&Status::Succeeded);
    spec.nodes.iter().map(|node| &node.id).filter(|id| !again.contains(id)).filter(succeeded).collect()
}
