//! Results that stand in for others.

use std::sync::Arc;

use segue_core::{
    ids::TaskId,
    payload::Payload,
    ports::{Cached, RunStore, StoreError},
};
use serde_json::{Value, json};

use super::{
    Database, Live, run_id,
    world::{LONG, engine, large, success, time},
};

pub(super) fn entry(n: u32, output: Value) -> Cached {
    let output = Payload::new(output);
    Cached { output, run_id: run_id(n), task_id: TaskId::new("t"), stored_at: time(u64::from(n)) }
}

pub(super) async fn get(store: &Arc<dyn RunStore>, key: &str, now: u64) -> Option<Value> {
    let found = store.cache_get(key, time(now)).await.expect("an answer")?;
    Some(Value::clone(found.output.value().expect("its output is loaded")))
}

/// What is put is what is got, until it is replaced.
pub async fn a_result_is_kept_under_its_key(db: &dyn Database) {
    let (store, there) = (db.open(), db.open());
    assert_eq!(store.cache_get("k", time(1)).await.expect("an answer"), None);
    for output in [json!({"a": [1, null]}), json!(null), large(1), json!({"$blob": 1}), large(2), large(2)] {
        store.cache_put("k", entry(1, output.clone()), None).await.expect("kept");
        assert_eq!(there.cache_get("k", time(1)).await.expect("an answer"), Some(entry(1, output.clone())));
        assert_eq!(get(&there, "k", 1).await, Some(output));
        assert_eq!(get(&store, "K", 1).await, None);
    }
    store.cache_put("other", entry(2, json!("mine")), None).await.expect("kept");
    assert_eq!(get(&store, "k", 1).await, Some(large(2)));
    assert_eq!(get(&store, "other", 1).await, Some(json!("mine")));
}

/// A result is served before its time is over, and not from then on; what is put again has its own time.
pub async fn an_expired_result_is_not_served(db: &dyn Database) {
    let store = db.open();
    store.cache_put("k", entry(1, json!(1)), Some(time(100))).await.expect("kept");
    assert_eq!(get(&store, "k", 99).await, Some(json!(1)));
    for late in [100, 101, 1 << 40] {
        assert_eq!(get(&store, "k", late).await, None, "{late}");
    }
    store.cache_put("k", entry(2, json!(2)), None).await.expect("kept");
    assert_eq!(get(&store, "k", 1 << 40).await, Some(json!(2)));
    store.cache_put("k", entry(3, json!(3)), Some(time(50))).await.expect("kept");
    assert_eq!(get(&store, "k", 60).await, None);
}

/// A large value that nobody refers to any more is gone; one that a log refers to is not.
pub async fn a_replaced_result_leaves_its_value_to_others(db: &dyn Database) {
    let store = db.open();
    let owner = engine(&store, "a", LONG).await;
    let mut live = Live::create(&store, 1, &owner).await;
    live.commit(&store, vec![(Some("t"), success(large(1)))]).await;
    let blob = |n| Payload::new(large(n)).blob().expect("a large value");
    store.cache_put("k", entry(1, large(1)), None).await.expect("kept");
    store.cache_put("k", entry(1, large(2)), None).await.expect("kept");
    store.cache_put("l", entry(1, large(2)), None).await.expect("kept");
    assert!(store.blob(blob(1)).await.is_ok(), "the log refers to it");
    store.cache_put("k", entry(1, json!(3)), None).await.expect("kept");
    assert_eq!(get(&store, "l", 1).await, Some(large(2)), "the other key refers to it");
    store.cache_put("l", entry(1, json!(3)), None).await.expect("kept");
    assert!(matches!(store.blob(blob(2)).await, Err(StoreError::NotFound(_))));
    live.assert_kept(&store).await;
    // A value that was read from a log, and is not brought along, is taken as it is there.
    let logged = live.events[2].kind.payload().expect("a payload").to_logged();
    store.cache_put("k", Cached { output: logged, ..entry(1, json!(null)) }, None).await.expect("kept");
    assert_eq!(get(&store, "k", 1).await, Some(large(1)));
}
