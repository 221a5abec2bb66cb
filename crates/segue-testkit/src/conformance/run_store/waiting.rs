//! Tasks that wait, and what for.

use std::sync::Arc;

use segue_core::{
    event::{EventKind, Waiting},
    payload::Payload,
    ports::{RunStore, StoreError},
};
use serde_json::json;

use super::{
    Database, Live, run_id,
    world::{LONG, engine, started, success, time, waits_for},
};

/// What waits: the run's number, the task, and the name of the signal.
async fn waiting(store: &Arc<dyn RunStore>, run: Option<u32>, limit: usize) -> Vec<(u32, String, String)> {
    let tasks = store.list_waiting(run.map(run_id), limit).await.expect("a list");
    let told = tasks.into_iter().map(|task| {
        let Waiting::Event { event, .. } = task.waiting else { panic!("{:?}", task.waiting) };
        assert_eq!(task.workflow_id.as_str(), "flow");
        let run = (1..10).find(|n| run_id(*n) == task.run_id).expect("one of the case");
        (run, task.task_id.to_string(), event)
    });
    told.collect()
}

fn expected(tasks: &[(u32, &str, &str)]) -> Vec<(u32, String, String)> {
    tasks.iter().map(|(run, task, name)| (*run, (*task).to_owned(), (*name).to_owned())).collect()
}

/// Whoever has waited longest comes first, over all runs; what is answered is in the list no longer.
pub async fn the_longest_waiting_task_comes_first(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    assert!(waiting(&store, None, 0).await.is_empty());
    // Times follow the numbers of events, so a later commit of an earlier run waits since later.
    let (mut one, mut two) = (Live::create(&store, 1, &owner).await, Live::create(&store, 2, &owner).await);
    let other = Live::create(&store, 3, &owner).await;
    one.commit(&store, vec![(Some("a"), started()), (Some("a"), success(json!(1))), (Some("z"), waits_for("late"))])
        .await;
    two.commit(&store, vec![(Some("y"), waits_for("early"))]).await;
    two.commit(&store, vec![(Some("b"), started()), (Some("x"), waits_for("last"))]).await;
    one.commit(&store, vec![(Some("c"), waits_for("end"))]).await;
    let all = [(2, "y", "early"), (1, "z", "late"), (2, "x", "last"), (1, "c", "end")];
    let (last, since) = (two.events.len() as u64, store.list_waiting(None, 0).await.expect("a list")[1].since);
    assert_eq!((last, since), (5, time(5)), "the time of its event");
    // `z` and `x` wait since the same microsecond: either may come first.
    let mut found = waiting(&store, None, 0).await;
    found[1..3].sort();
    assert_eq!(found, expected(&all));
    assert_eq!(waiting(&store, None, 1).await, expected(&all[..1]));
    assert_eq!(waiting(&store, None, usize::MAX).await.len(), 4);
    assert_eq!(waiting(&store, Some(1), 0).await, expected(&[all[1], all[3]]));
    assert_eq!(waiting(&store, Some(2), 1).await, expected(&all[..1]));
    assert!(waiting(&store, Some(3), 0).await.is_empty());
    assert!(matches!(store.list_waiting(Some(run_id(9)), 0).await, Err(StoreError::NotFound(_))));

    let signaled = |data| EventKind::TaskSignaled { data: Payload::new(data), request: None };
    two.commit(&store, vec![(Some("y"), signaled(json!({}))), (Some("y"), success(json!({})))]).await;
    one.commit(&store, vec![(Some("z"), success(json!(0)))]).await;
    assert_eq!(waiting(&store, None, 0).await, expected(&[all[2], all[3]]));
    for live in [&one, &two, &other] {
        live.assert_kept(&store).await;
    }
}

/// A row that is written again keeps its place; a task that waits again is at the end.
pub async fn a_place_in_the_queue_is_kept(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    live.commit(&store, vec![(Some("a"), waits_for("first"))]).await;
    live.commit(&store, vec![(Some("b"), waits_for("second"))]).await;
    let mut again = live.next(vec![(Some("c"), started())]);
    again.tasks.push(live.tasks[0].clone());
    store.commit(again.clone()).await.expect("the owner's next commit");
    live.accepted(again);
    live.assert_kept(&store).await;
    assert_eq!(waiting(&store, None, 0).await, expected(&[(1, "a", "first"), (1, "b", "second")]));

    live.commit(&store, vec![(Some("a"), started())]).await;
    assert_eq!(waiting(&store, None, 0).await, expected(&[(1, "b", "second")]));
    live.commit(&store, vec![(Some("a"), waits_for("third"))]).await;
    assert_eq!(waiting(&store, None, 0).await, expected(&[(1, "b", "second"), (1, "a", "third")]));
    // Asked anew without an end in between: the new question counts.
    live.commit(&store, vec![(Some("b"), waits_for("fourth"))]).await;
    assert_eq!(waiting(&store, Some(1), 0).await, expected(&[(1, "a", "third"), (1, "b", "fourth")]));
}

/// Many that begin to wait in one commit, at one time: in the order of their rows.
pub async fn tasks_that_wait_since_one_time_keep_their_order(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let names: Vec<String> = (0..40).rev().map(|n| format!("ask[{n}]")).collect();
    let mut commit = live.next(names.iter().map(|name| (Some(name.as_str()), waits_for(name))).collect());
    commit.events.iter_mut().for_each(|event| event.time = time(1_000));
    store.commit(commit.clone()).await.expect("the owner's next commit");
    live.accepted(commit);
    let found = waiting(&store, None, 0).await;
    assert_eq!(found, names.iter().map(|name| (1, name.clone(), name.clone())).collect::<Vec<_>>());
    assert_eq!(waiting(&store, Some(1), 0).await, found);
    assert_eq!(waiting(&store, Some(1), 7).await, found[..7]);
}
