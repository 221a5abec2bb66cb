//! Runs that take over results of an earlier one.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use segue_core::{
    event::{Event, EventKind},
    ids::{NodeId, RunId, TaskId},
    payload::Payload,
    spec::WorkflowSpec,
    time::Timestamp,
};

use super::Coverage;
use crate::auditor::Auditor;

/// Results by task.
pub(super) type Results = BTreeMap<TaskId, Payload>;

/// The run that they come from.
pub(super) const EARLIER: RunId = RunId::from_bytes([8; 16]);

/// Of the earlier run, what a person would take over who wants some nodes, or what failed, to run again: what succeeded,
/// and rests on nothing that runs again.
pub(super) fn results(rng: &mut Rng, spec: &WorkflowSpec, log: &[Event]) -> Results {
    let mut ends: BTreeMap<&TaskId, Option<&Payload>> = BTreeMap::new();
    for event in log {
        let Some(task) = &event.task_id else { continue };
        match &event.kind {
            EventKind::TaskSucceeded { output, .. } => drop(ends.insert(task, Some(output))),
            EventKind::TaskSkipped { .. } => drop(ends.insert(task, None)),
            _ => drop(ends.remove(task)),
        }
    }
    let share = rng.u8(..3);
    let mut again: BTreeSet<&NodeId> = BTreeSet::new();
    let mut taken = Results::new();
    // Nodes stand in the document after those that they depend on.
    for node in &spec.nodes {
        let edges = spec.edges.iter().filter(|edge| edge.loop_bound().is_none() && *edge.to() == node.id);
        let mut above = node.depends_on.iter().chain(edges.map(|edge| edge.from()));
        let task = TaskId::from(&node.id);
        match ends.get(&task) {
            Some(output) if rng.u8(..6) >= share && !above.any(|id| again.contains(id)) => {
                taken.extend(output.map(|output| (task, output.clone())));
            }
            _ => drop(again.insert(&node.id)),
        }
    }
    taken
}

/// What can be taken over is, as it was, unless it is not the task's turn any more; and runs in no case.
pub(super) fn check(
    taken: Results,
    auditor: &Auditor,
    now: Timestamp,
    events: &[Event],
    coverage: &mut Coverage,
) -> Result<(), String> {
    coverage.saw("rerun");
    let takeable = auditor.takeable(&taken.keys().cloned().collect());
    if takeable.len() < taken.len() {
        coverage.saw("loop not taken over");
    }
    let mut reused = BTreeSet::new();
    for event in events {
        match (&event.kind, &event.task_id) {
            (EventKind::TaskSucceeded { output, reused_from: Some(_), .. }, Some(task)) => {
                if !takeable.contains(task) || taken.get(task) != Some(output) {
                    return Err(format!("`{task}` has the old result {output:?}, not {:?}", taken.get(task)));
                }
                coverage.saw("reused");
                reused.insert(task.clone());
            }
            (EventKind::TaskSkipped { .. } | EventKind::TaskFailed { .. }, _) | (_, None) => {}
            (_, Some(task)) if takeable.contains(task) => {
                return Err(format!("`{task}` begins although its result is known: {event:?}"));
            }
            _ => {}
        }
    }
    if auditor.has_reused_loop() {
        coverage.saw("reused loop");
    }
    match auditor.ready(now).iter().find(|task| takeable.contains(*task) && !reused.contains(*task)) {
        Some(task) => Err(format!("`{task}` may start although its result is known")),
        None => Ok(()),
    }
}
