//! Lists of runs.

use std::sync::Arc;

use segue_core::{
    event::EventKind,
    ids::{EngineId, RunId, WorkflowId},
    ports::{RunFilter, RunRow, RunStore},
    status::Status,
};
use serde_json::json;

use super::{
    Database, Live, new_run, run_id,
    world::{LONG, engine},
};

async fn list(store: &Arc<dyn RunStore>, filter: RunFilter) -> Vec<RunId> {
    store.list_runs(filter).await.expect("a list").into_iter().map(|row| row.run_id).collect()
}

fn ids(numbers: &[u32]) -> Vec<RunId> {
    numbers.iter().map(|n| run_id(*n)).collect()
}

/// Newest first, whatever the order of creation; 0 means all.
pub async fn runs_are_listed_newest_first(db: &dyn Database) {
    let store = db.open();
    assert!(list(&store, RunFilter::default()).await.is_empty());
    for n in [2, 3, 1] {
        store.create_run(new_run(n, json!({}))).await.expect("new");
    }
    assert_eq!(list(&store, RunFilter::default()).await, ids(&[3, 2, 1]));
    assert_eq!(list(&store, RunFilter { limit: 2, ..Default::default() }).await, ids(&[3, 2]));
    assert_eq!(list(&store, RunFilter { limit: usize::MAX, ..Default::default() }).await, ids(&[3, 2, 1]));
}

/// By status, by workflow, and by both.
pub async fn filters_narrow_the_list(db: &dyn Database) {
    let store = db.open();
    let a = engine(&store, "a", LONG).await;
    for n in 1..=6 {
        let mut live = Live::create(&store, n, &a).await;
        match n % 3 {
            0 => live.end(&store).await,
            1 => live.commit(&store, vec![(None, EventKind::RunWaiting {})]).await,
            _ => {}
        }
    }
    let mut other = new_run(7, json!({}));
    other.run.workflow_id = WorkflowId::new("other");
    store.create_run(other).await.expect("new");
    let of = |statuses: &[Status]| RunFilter { statuses: statuses.to_vec(), ..Default::default() };
    assert_eq!(list(&store, of(&[Status::Succeeded])).await, ids(&[6, 3]));
    assert_eq!(list(&store, of(&[Status::Waiting, Status::Succeeded])).await, ids(&[6, 4, 3, 1]));
    assert_eq!(list(&store, of(&[Status::Running])).await, ids(&[7, 5, 2]));
    assert!(list(&store, of(&[Status::Failed])).await.is_empty());
    let flow = Some(WorkflowId::new("flow"));
    let both = RunFilter { workflow_id: flow.clone(), ..of(&[Status::Running]) };
    assert_eq!(list(&store, both).await, ids(&[5, 2]));
    let first = RunFilter { workflow_id: flow, limit: 1, ..Default::default() };
    assert_eq!(list(&store, first).await, ids(&[6]));
}

/// By the beginning of the id's text, at every length.
pub async fn a_prefix_finds_its_run(db: &dyn Database) {
    let store = db.open();
    for n in [0x0000_0001, 0x0001_0002, 0x0001_0003, 0x00f0_0004] {
        store.create_run(new_run(n, json!({}))).await.expect("new");
    }
    let with = |prefix: &str| RunFilter { id_prefix: Some(prefix.to_owned()), ..Default::default() };
    let text = run_id(0x0001_0002).to_string();
    for length in 0..=text.len() {
        let found = list(&store, with(&text[..length])).await;
        let expected = [0x00f0_0004, 0x0001_0003, 0x0001_0002, 0x0000_0001].map(run_id);
        let expected: Vec<_> = expected.into_iter().filter(|id| id.to_string().starts_with(&text[..length])).collect();
        assert_eq!(found, expected, "{length}");
    }
    for none in ["x", "01998E3C", "01998e3c0", &format!("{text}0"), "%", "_"] {
        assert!(list(&store, with(none)).await.is_empty(), "{none}");
    }
}

/// The next page begins where the last one ended.
pub async fn pages_of_a_list_meet(db: &dyn Database) {
    let store = db.open();
    for n in 1..=7 {
        store.create_run(new_run(n, json!({}))).await.expect("new");
    }
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = list(&store, RunFilter { before, limit: 3, ..Default::default() }).await;
        let Some(last) = page.last() else { break };
        before = Some(*last);
        all.extend(page);
    }
    assert_eq!(all, ids(&[7, 6, 5, 4, 3, 2, 1]));
}

/// A run of one of two workflows, with labels and a parent as its number says, and a status as its number says.
async fn varied(store: &Arc<dyn RunStore>, n: u32, owner: &EngineId) {
    let mut new = new_run(n, json!({}));
    if n.is_multiple_of(4) {
        new.run.workflow_id = WorkflowId::new("other");
    }
    new.run.parent = n.is_multiple_of(5).then(|| run_id(n % 3 + 1));
    if n.is_multiple_of(2) {
        new.run.labels.insert("team".to_owned(), if n.is_multiple_of(6) { "red" } else { "blue" }.to_owned());
        new.run.labels.insert("n".to_owned(), n.to_string());
    }
    let mut live = Live::of(store, new, owner).await;
    match n % 7 {
        0 => live.commit(store, vec![(None, EventKind::RunWaiting {})]).await,
        1 | 2 => live.end(store).await,
        3 => live.commit(store, vec![(None, EventKind::RunCancelled { reason: String::new() })]).await,
        _ => {}
    }
}

/// Every combination of what a filter can name, against the rows themselves.
pub async fn filters_agree_with_the_rows(db: &dyn Database) {
    const RUNS: u32 = 45;
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    for n in 1..=RUNS {
        varied(&store, n, &owner).await;
    }
    let all = store.list_runs(RunFilter::default()).await.expect("a list");
    assert_eq!(all.len(), RUNS as usize);
    let text = |text: &str| Some(text.to_owned());
    let label = |name: &str, value: &str| Some((name.to_owned(), value.to_owned()));
    let statuses: [&[Status]; 5] = [
        &[],
        &[Status::Waiting],
        &[Status::Succeeded, Status::Cancelled, Status::Succeeded],
        &[Status::Running, Status::Waiting],
        &[Status::Failed],
    ];
    for statuses in statuses {
        for workflow in [None, Some("flow"), Some("other"), Some("none")] {
            for label in [None, label("team", "red"), label("n", "12"), label("team", "n"), label("red", "team")] {
                for parent in [None, Some(run_id(1)), Some(run_id(3)), Some(run_id(44))] {
                    for (before, id_prefix, limit) in
                        [(None, None, 0), (Some(run_id(30)), None, 3), (None, text(&run_id(32).to_string()[..35]), 0)]
                    {
                        let filter = RunFilter {
                            statuses: statuses.to_vec(),
                            workflow_id: workflow.map(WorkflowId::new),
                            id_prefix,
                            label: label.clone(),
                            parent,
                            before,
                            limit,
                        };
                        let expected: Vec<RunRow> = all.iter().filter(|row| fits(row, &filter)).cloned().collect();
                        let expected = &expected[..if limit == 0 { expected.len() } else { limit.min(expected.len()) }];
                        assert_eq!(store.list_runs(filter.clone()).await.expect("a list"), expected, "{filter:?}");
                    }
                }
            }
        }
    }
}

fn fits(row: &RunRow, filter: &RunFilter) -> bool {
    (filter.statuses.is_empty() || filter.statuses.contains(&row.status))
        && filter.workflow_id.as_ref().is_none_or(|id| row.workflow_id == *id)
        && filter.label.as_ref().is_none_or(|(name, value)| row.labels.get(name) == Some(value))
        && filter.parent.is_none_or(|parent| row.parent == Some(parent))
        && filter.before.is_none_or(|before| row.run_id < before)
        && filter.id_prefix.as_ref().is_none_or(|prefix| row.run_id.to_string().starts_with(prefix))
}
