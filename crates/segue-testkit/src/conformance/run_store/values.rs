//! What is written is what is read, small and large.

use segue_core::{
    event::{CancelCause, EventKind, SkipCode, SkipReason},
    ids::{ContentHash, NodeId, TaskId},
    outcome::{ErrorKind, Loss, TaskError, Usage},
    payload::{INLINE_BYTES_MAX, Payload},
    ports::{RunStore, StoreError},
    status::Status,
};
use serde_json::{Value, json};

use super::{
    Database, Live, new_run, run_id,
    world::{LONG, engine, large, started, success, time},
};

fn failure() -> TaskError {
    let mut error =
        TaskError::new(ErrorKind::RateLimited, "slow down, \"please\"\n").with_detail(json!({"status": 429}));
    (error.retry_after, error.node) = (Some(0.1 + 0.2), Some(NodeId::new("write")));
    error
}

fn usage() -> Usage {
    Usage {
        model_calls: 1,
        input_tokens: u64::MAX >> 12,
        output_tokens: 3,
        cached_input_tokens: 4,
        cost_nanousd: 123_456_789,
    }
}

/// Every event of the vocabulary, with all its fields.
pub async fn every_kind_of_event_comes_back(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let reason = SkipReason { code: SkipCode::UpstreamFailed, message: "ä".into(), because: Some(NodeId::new("n")) };
    let payload = || Payload::new(json!({"a": [null, true]}));
    let (lost, warnings) = (Some(Loss::Engine), vec!["one".to_owned()]);
    let kinds = vec![
        (None, EventKind::RunWaiting {}),
        (Some("t"), started()),
        (Some("t"), EventKind::TaskRetrying { error: failure(), due: time(9), lost, usage: usage() }),
        (Some("t"), EventKind::TaskSucceeded { output: payload(), usage: usage(), warnings, reused_from: None }),
        (Some("u"), EventKind::TaskFailed { error: failure(), lost, continue_with: Some(payload()), usage: usage() }),
        (Some("v"), EventKind::TaskSkipped { reason }),
        (Some("w"), EventKind::TaskCancelled { usage: usage() }),
        (None, EventKind::RunCancelling { by: CancelCause::Deadline, reason: "too late".into() }),
    ];
    live.commit(&store, kinds).await;
    live.commit(&store, vec![(None, EventKind::RunReopened {})]).await;
    live.assert_kept(&store).await;
    for (n, end) in (2..).zip([
        EventKind::RunSucceeded { outputs: payload() },
        EventKind::RunFailed { error: failure() },
        EventKind::RunCancelled { reason: "why".into() },
    ]) {
        live = Live::create(&store, n, &owner).await;
        live.commit(&store, vec![(Some("t"), started()), (None, end)]).await;
        live.assert_kept(&store).await;
    }
}

/// Values that a careless encoding changes.
pub async fn numbers_and_texts_come_back_exactly(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let values = json!([
        0.1 + 0.2, 1e300, 5e-324, -0.0, 1.0, 179.86915399999998, u64::MAX, i64::MIN, 0, "", "\u{0}\u{1}\"\\/", "🦀 \u{2028}",
        {"z": 1, "a": {"": []}}, [[[]]], null, "{\"$blob\": 1}"
    ]);
    live.commit(&store, vec![(Some("t"), success(values.clone()))]).await;
    let event = store.events(run_id(1), live.row.version - 1, 1).await.expect("its event").remove(0);
    let back = event.kind.payload().and_then(Payload::value).expect("a small value").clone();
    assert_eq!(*back, values);
    assert_eq!(back.to_string(), values.to_string(), "with the order of its keys");
    live.assert_kept(&store).await;
}

/// A large value is kept beside the log, under its hash, however many events carry it.
pub async fn a_large_value_is_a_reference_in_the_log(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let value = json!({"text": "é\"".repeat(INLINE_BYTES_MAX)});
    let text = serde_json::to_vec(&value).expect("JSON");
    store.create_run(new_run(9, value.clone())).await.expect("a run with large inputs");
    let mut live = Live::create(&store, 1, &owner).await;
    live.commit(&store, vec![(Some("t"), success(value.clone())), (Some("u"), success(value.clone()))]).await;
    live.commit(&store, vec![(Some("v"), success(value))]).await;
    for (run, after) in [(run_id(9), 0), (run_id(1), 2), (run_id(1), 3), (run_id(1), 4)] {
        let event = store.events(run, after, 1).await.expect("its event").remove(0);
        let payload = event.kind.payload().expect("a payload");
        assert!(payload.value().is_none(), "events hold references");
        let blob = payload.blob().expect("a reference");
        assert_eq!((blob.hash, blob.bytes), (ContentHash::of(&text), text.len() as u64));
        assert_eq!(store.blob(blob).await.expect("its text"), text);
    }
    // A payload that was read from the log, and knows only its reference, is written again.
    let read = store.events(run_id(1), 3, 1).await.expect("its event").remove(0);
    let outputs = read.kind.payload().expect("a payload").clone();
    live.commit(&store, vec![(None, EventKind::RunSucceeded { outputs })]).await;
    live.assert_kept(&store).await;
}

/// A value that one task after the other hands on is there for every run that had it, whatever was refused or deleted
/// before.
pub async fn a_value_that_is_handed_on_stays_with_each_run(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut one = Live::of(&store, new_run(1, large(0)), &owner).await;
    let mut two = Live::create(&store, 2, &owner).await;
    let refused = two.clone();
    for n in [0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 9] {
        one.commit(&store, vec![(Some("t"), success(large(n)))]).await;
    }
    two.commit(&store, vec![(Some("t"), started())]).await;
    let stale = refused.next(vec![(Some("t"), success(large(10)))]);
    assert!(matches!(store.commit(stale).await, Err(StoreError::Conflict { .. })));
    for n in [0, 0, 10, 10] {
        two.commit(&store, vec![(Some("t"), success(large(n)))]).await;
    }
    one.end(&store).await;
    store.delete_run(run_id(1)).await.expect("deleted");
    for n in [0, 10] {
        let blob = Payload::new(large(n)).blob().expect("a large value");
        assert_eq!(store.blob(blob).await.expect("its text"), serde_json::to_vec(&large(n)).expect("JSON"));
    }
    let gone = Payload::new(large(9)).blob().expect("a large value");
    assert!(matches!(store.blob(gone).await, Err(StoreError::NotFound(_))));
    two.commit(&store, vec![(Some("t"), success(large(9)))]).await;
    assert_eq!(store.blob(gone).await.expect("its text"), serde_json::to_vec(&large(9)).expect("JSON"));
    two.assert_kept(&store).await;
}

/// A task's own output cannot name another value.
pub async fn a_value_that_looks_like_a_reference_is_no_reference(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let forged = json!({"$blob": {"hash": ContentHash::of(b"secret"), "bytes": 6}});
    live.commit(&store, vec![(Some("t"), success(forged.clone()))]).await;
    assert_eq!(output(&store, "t").await, Some(forged));
}

async fn output(store: &std::sync::Arc<dyn RunStore>, task: &str) -> Option<Value> {
    let result = store.get_task_result(run_id(1), &TaskId::new(task)).await.expect("a result");
    result.output.map(|output| (**output.value().expect("its output is loaded")).clone())
}

/// `get_task_result` of successes, small and large, and of a task that never ran.
pub async fn a_task_result_has_its_output_loaded(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let large = json!(["x".repeat(INLINE_BYTES_MAX)]);
    live.commit(&store, vec![(Some("small"), started()), (Some("large"), started()), (Some("other"), started())]).await;
    live.commit(&store, vec![(Some("small"), success(json!({"a": 1}))), (Some("large"), success(large.clone()))]).await;
    let reason = SkipReason { code: SkipCode::When, message: "its condition is false".into(), because: None };
    live.commit(&store, vec![(Some("skipped"), EventKind::TaskSkipped { reason })]).await;
    assert_eq!(output(&store, "small").await, Some(json!({"a": 1})));
    assert_eq!(output(&store, "large").await, Some(large));
    for (task, status) in [("other", Status::Running), ("skipped", Status::Skipped)] {
        let result = store.get_task_result(run_id(1), &TaskId::new(task)).await.expect("a result");
        assert_eq!((result.status, result.output, result.error), (status, None, None), "{task}");
    }
}

/// `get_task_result` of failures: the last attempt's error, and the output that stands in.
pub async fn a_task_result_tells_the_last_failure(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let retrying = EventKind::TaskRetrying { error: failure(), due: time(9), lost: None, usage: usage() };
    let stand_in = Some(Payload::new(json!("stand-in")));
    let failed = |continue_with| EventKind::TaskFailed { error: failure(), lost: None, continue_with, usage: usage() };
    let kinds = vec![(Some("r"), retrying), (Some("f"), failed(None)), (Some("c"), failed(stand_in.clone()))];
    live.commit(&store, kinds).await;
    for (task, status, output) in
        [("r", Status::Pending, None), ("f", Status::Failed, None), ("c", Status::Failed, stand_in)]
    {
        let result = store.get_task_result(run_id(1), &TaskId::new(task)).await.expect("a result");
        assert_eq!((result.status, result.attempts, result.output), (status, 1, output), "{task}");
        assert_eq!(result.error, Some(failure()), "{task}");
    }
}

/// Rows hold every field, the rare ones too.
pub async fn every_field_of_a_row_comes_back(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    let mut commit = live.next(vec![(Some("t"), success(json!(1))), (None, EventKind::RunFailed { error: failure() })]);
    (commit.run.cancelling, commit.run.error, commit.run.usage) = (true, Some(failure()), usage());
    (commit.run.tasks_total, commit.run.tasks_done) = (u32::MAX, 7);
    (commit.tasks[0].attempts, commit.tasks[0].usage) = (u32::MAX, usage());
    store.commit(commit.clone()).await.expect("the owner's next commit");
    live.accepted(commit);
    live.assert_kept(&store).await;
    assert_eq!(store.list_runs(Default::default()).await.expect("a list"), [live.row]);
}
