//! The versions of all workflows that a run may start, found when the run is started.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use segue_core::{
    ids::{ContentHash, NodeId, WorkflowId},
    ports::{OrchestratorError, StoreError},
    spec::{ChildSpec, Diagnostic, TaskNode, WorkflowOnFailure, WorkflowSpec},
};

use crate::{plans::Deployed, shared::Shared};

/// Under which name the version for a node is kept: `id`, or `id@version` where the node asks for a certain one. No
/// workflow has such an id.
pub(crate) fn pin_of(child: &ChildSpec) -> WorkflowId {
    match &child.version {
        Some(version) => WorkflowId::new(format!("{}@{version}", child.id)),
        None => child.id.clone(),
    }
}

/// What a start looks among.
struct Pins<'a> {
    shared: &'a Shared,
    /// What the caller brings, and the workflow that is started: a workflow that starts itself starts its own version.
    brought: BTreeMap<WorkflowId, ContentHash>,
    pinned: BTreeMap<WorkflowId, ContentHash>,
    problems: Vec<Diagnostic>,
}

/// Finds the version of every workflow that `workflow` may start, and of those that they may start. What is `brought`
/// comes before what is deployed. Names every workflow that cannot be found, with the node that wants it.
pub(crate) async fn pin(
    shared: &Shared,
    workflow: ContentHash,
    deployed: &Arc<Deployed>,
    brought: &BTreeMap<WorkflowId, ContentHash>,
) -> Result<BTreeMap<WorkflowId, ContentHash>, OrchestratorError> {
    if deployed.plan.children().is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut brought = brought.clone();
    brought.entry(deployed.spec.id.clone()).or_insert(workflow);
    let mut pins = Pins { shared, brought, pinned: BTreeMap::new(), problems: Vec::new() };
    let mut seen = BTreeSet::from([workflow]);
    let mut open = vec![deployed.clone()];
    while let Some(next) = open.pop() {
        for found in pins.add(&next, next.spec.id == deployed.spec.id).await? {
            if seen.insert(found) {
                open.push(shared.deployed(found).await?);
            }
        }
    }
    if pins.problems.is_empty() { Ok(pins.pinned) } else { Err(OrchestratorError::Invalid(pins.problems)) }
}

impl Pins<'_> {
    /// Pins what the nodes of one workflow start, and returns it.
    async fn add(&mut self, parent: &Deployed, is_root: bool) -> Result<Vec<ContentHash>, StoreError> {
        let mut found = Vec::new();
        for node in parent.plan.nodes() {
            let Some(child) = node.child() else { continue };
            let pin = pin_of(child);
            if let Some(&hash) = self.pinned.get(&pin) {
                found.push(hash);
                continue;
            }
            match self.version_of(child).await? {
                Some(hash) => {
                    self.pinned.insert(pin, hash);
                    found.push(hash);
                }
                None => self.problems.push(missing(parent, &node.id, child, is_root)),
            }
        }
        Ok(found)
    }

    async fn version_of(&self, child: &ChildSpec) -> Result<Option<ContentHash>, StoreError> {
        let fits = |hash: &ContentHash| {
            child.version.as_ref().is_none_or(|version| hash.to_string().starts_with(version.as_str()))
        };
        if let Some(hash) = self.brought.get(&child.id).copied().filter(fits) {
            return Ok(Some(hash));
        }
        // The newest comes first: without a version that is the current one.
        let limit = usize::from(child.version.is_none());
        let deployments = self.shared.store.deployments(Some(&child.id), limit).await?;
        Ok(deployments.into_iter().map(|deployment| deployment.hash).find(fits))
    }
}

fn missing(parent: &Deployed, node: &NodeId, child: &ChildSpec, is_root: bool) -> Diagnostic {
    let path = pointer_to(&parent.spec, node).filter(|_| is_root).unwrap_or_default();
    let whose = if is_root { String::new() } else { format!(" of workflow `{}`", parent.spec.id) };
    let what = match &child.version {
        Some(version) => format!("version {version} of workflow `{}`", child.id),
        None => format!("workflow `{}`", child.id),
    };
    let message = format!("`{node}`{whose} starts {what}, which is neither deployed nor in a file beside this one");
    let help = match &child.version {
        Some(_) => format!("`segue workflows history {}` lists the versions that are deployed", child.id),
        None => {
            format!("deploy it: segue workflows deploy FILE; or put a file with `id: {}` beside this one", child.id)
        }
    };
    Diagnostic::error("child-not-found", path, message).with_help(help)
}

/// JSON Pointer to what a node says about the workflow it starts.
fn pointer_to(spec: &WorkflowSpec, id: &NodeId) -> Option<String> {
    fn among(nodes: &[TaskNode], at: &str, id: &NodeId) -> Option<String> {
        nodes.iter().enumerate().find_map(|(number, node)| {
            if node.id == *id {
                return Some(format!("{at}/{number}/workflow"));
            }
            among(&node.group.as_ref()?.nodes, &format!("{at}/{number}/group/nodes"), id)
        })
    }
    let after = match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => nodes.as_slice(),
        _ => &[],
    };
    among(&spec.nodes, "/nodes", id)
        .or_else(|| among(after, "/on_failure", id))
        .or_else(|| among(&spec.finally, "/finally", id))
}
