//! Simulated runs in a store: logs and rows as an engine would have written them.

use std::sync::Arc;

use segue_core::{
    event::{Event, EventKind},
    ids::{EngineId, HandlerId, RunId},
    plan::{Plan, version_json},
    ports::{ClaimRequest, Commit, Created, Lease, NewRun, RequestKind, RunStore, WorkflowVersion},
    run::Run,
};

use super::log_of;

/// Keeps the run of this seed in a store, owned by a known engine: its whole log, or only the first so many commits. Later
/// seeds have greater ids.
///
/// # Panics
/// If the seed's run breaks a rule, or the store refuses what an engine may write.
pub async fn keep(store: &dyn RunStore, seed: u64, owner: &EngineId, commits_max: usize) -> RunId {
    let (case, log) = log_of(seed).unwrap_or_else(|failure| panic!("{failure}"));
    let plan =
        Arc::new(Plan::compile(&case.spec, &HandlerId::from("pass")).expect("the generator writes good workflows"));
    let ((hash, spec_json), workflow_id) = (version_json(&case.spec), case.spec.id.clone());
    store.put_workflow(WorkflowVersion { hash, workflow_id, spec_json }).await.expect("a version");
    let id = RunId::from_bytes(u128::from(seed).to_be_bytes());
    let mut lease = Lease { run_id: id, fence: 1 };
    let mut upto = 0;
    for events in commits(&log).take(commits_max) {
        upto += events.len();
        let run = Run::fold(plan.clone(), id, &log[..upto]).expect("a log can be folded wherever a commit ends");
        let (row, tasks, events) = (run.run_row(), run.task_rows(events), events.to_vec());
        if upto == events.len() {
            let new = NewRun {
                workflow_hash: hash,
                idempotency_key: None,
                request_hash: hash,
                owner: Some(owner.clone()),
                events,
                run: row,
                tasks,
            };
            let created = store.create_run(new).await;
            assert!(matches!(created, Ok(Created::New(_))), "{created:?}");
            continue;
        }
        let mut answered = Vec::new();
        if matches!(events[0].kind, EventKind::RunReopened {}) {
            answered.push(store.post_request(id, RequestKind::Reopen).await.expect("the run is there"));
            let request = ClaimRequest { engine_id: owner.clone(), limit: 1, runs: vec![id], dead: Vec::new() };
            lease = store.claim(request).await.expect("it can be claimed")[0];
        }
        let expected_version = (upto - events.len()) as u64;
        let commit = Commit { lease, expected_version, events, run: row, tasks, answered };
        store.commit(commit).await.expect("the owner commits");
    }
    id
}

/// The log, commit by commit: what has one time was committed together, and a run is reopened by a commit of its own.
fn commits(log: &[Event]) -> impl Iterator<Item = &[Event]> {
    log.chunk_by(|a, b| a.time == b.time && !matches!(b.kind, EventKind::RunReopened {}))
}
