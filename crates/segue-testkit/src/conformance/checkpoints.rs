//! What every [`CheckpointStore`] must keep: each promise of the port, as one case.
//!
//! A backend's test file says how a fresh database is made, and calls
//! [`checkpoint_store_suite!`](crate::checkpoint_store_suite):
//!
//! ```
//! # use std::sync::Arc;
//! use segue_core::{memory::MemoryStore, ports::CheckpointStore};
//! use segue_testkit::conformance::checkpoints::Threads;
//!
//! struct Memory(MemoryStore);
//!
//! impl Threads for Memory {
//!     fn open(&self) -> Arc<dyn CheckpointStore> {
//!         Arc::new(self.0.clone())
//!     }
//! }
//!
//! fn fresh() -> Memory {
//!     Memory(MemoryStore::new(Arc::new(segue_testkit::conformance::now)))
//! }
//!
//! segue_testkit::checkpoint_store_suite!(fresh);
//! ```

use std::sync::Arc;

use segue_core::ports::{Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, Typed, Write};
use serde_json::{Map, Value, json};

/// One database of the backend under test, empty at first.
pub trait Threads: Send + Sync {
    /// Opens a store on it. After the last one is dropped the next one finds what was kept.
    fn open(&self) -> Arc<dyn CheckpointStore>;
}

/// Makes one `#[test]` of each case of the suite. `$fresh` is a function that makes a fresh [`Threads`].
#[macro_export]
macro_rules! checkpoint_store_suite {
    (@ $fresh:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::block_on($crate::conformance::checkpoints::$case(&$fresh()));
            }
        )*
    };
    ($fresh:expr) => {
        $crate::checkpoint_store_suite! { @ $fresh;
            a_state_comes_back_as_it_was
            the_newest_state_is_the_one_with_the_greatest_id
            threads_and_namespaces_are_kept_apart
            a_state_of_the_same_name_is_replaced_and_keeps_its_writes
            writes_come_in_their_order
            a_write_is_replaced_only_where_that_is_asked
            writes_may_come_before_their_state
            filters_narrow_the_list
            a_deleted_thread_is_gone_and_no_other
            what_is_kept_outlives_the_store
            many_at_once_are_all_kept
        }
    };
}

const THREAD: &str = "run_00000000000000000000000001/agent";

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => panic!("{other} is no object"),
    }
}

fn typed(bytes: &[u8]) -> Typed {
    Typed { kind: "msgpack".to_owned(), bytes: bytes.to_vec() }
}

fn state(thread: &str, namespace: &str, id: &str) -> Checkpoint {
    Checkpoint {
        thread: thread.to_owned(),
        namespace: namespace.to_owned(),
        id: id.to_owned(),
        parent: None,
        state: typed(format!("{thread} {namespace} {id}").as_bytes()),
        metadata: object(json!({ "source": "loop", "step": id.len() })),
        writes: Vec::new(),
    }
}

fn write(task_id: &str, task_path: &str, index: i64, value: &[u8]) -> Write {
    Write {
        task_id: task_id.to_owned(),
        task_path: task_path.to_owned(),
        index,
        channel: format!("channel {index}"),
        value: typed(value),
    }
}

fn writes(id: &str, writes: Vec<Write>, replace: bool) -> CheckpointWrites {
    CheckpointWrites { thread: THREAD.to_owned(), namespace: String::new(), id: id.to_owned(), writes, replace }
}

async fn put(store: &dyn CheckpointStore, state: Checkpoint) {
    store.put_checkpoint(state).await.expect("kept");
}

async fn put_writes(store: &dyn CheckpointStore, writes: CheckpointWrites) {
    store.put_writes(writes).await.expect("kept");
}

async fn get(store: &dyn CheckpointStore, thread: &str, namespace: &str, id: Option<&str>) -> Option<Checkpoint> {
    store.get_checkpoint(thread, namespace, id).await.expect("an answer")
}

async fn listed(store: &dyn CheckpointStore, filter: CheckpointFilter) -> Vec<String> {
    let found = store.list_checkpoints(&filter).await.expect("an answer");
    found.into_iter().map(|state| state.id).collect()
}

fn of_thread() -> CheckpointFilter {
    CheckpointFilter { thread: Some(THREAD.to_owned()), ..CheckpointFilter::default() }
}

/// Bytes that are no text, an empty state, metadata of every kind, texts of every script.
pub async fn a_state_comes_back_as_it_was(db: &dyn Threads) {
    let store = db.open();
    assert_eq!(get(&*store, THREAD, "", None).await, None);
    let metadata =
        json!({ "step": -1, "float": 0.1, "writes": { "a": [null, "ü"] }, "": "", "big": 9_007_199_254_740_993_u64 });
    let first = Checkpoint {
        parent: Some("before".to_owned()),
        state: Typed { kind: "bytes".to_owned(), bytes: (0..=255).collect() },
        metadata: object(metadata),
        ..state(THREAD, "sub|graph:é", "1")
    };
    put(&*store, first.clone()).await;
    assert_eq!(get(&*store, THREAD, "sub|graph:é", Some("1")).await, Some(first.clone()));
    assert_eq!(get(&*store, THREAD, "sub|graph:é", None).await, Some(first));
    let large = Checkpoint { state: typed(&vec![7; 3 << 20]), ..state(THREAD, "", "large") };
    let empty = Checkpoint { state: typed(b""), metadata: Map::new(), ..state(THREAD, "", "empty") };
    for kept in [large, empty] {
        put(&*store, kept.clone()).await;
        assert_eq!(get(&*store, THREAD, "", Some(&kept.id)).await, Some(kept));
    }
    assert_eq!(get(&*store, THREAD, "", Some("2")).await, None);
}

/// In whichever order they come.
pub async fn the_newest_state_is_the_one_with_the_greatest_id(db: &dyn Threads) {
    let store = db.open();
    for id in ["b", "d", "a", "c"] {
        put(&*store, state(THREAD, "", id)).await;
    }
    assert_eq!(get(&*store, THREAD, "", None).await, Some(state(THREAD, "", "d")));
    assert_eq!(listed(&*store, of_thread()).await, ["d", "c", "b", "a"]);
}

/// Nothing of one is seen in another, whatever they are called.
pub async fn threads_and_namespaces_are_kept_apart(db: &dyn Threads) {
    let store = db.open();
    let names =
        [(THREAD, ""), (THREAD, "sub"), (THREAD, "SUB"), ("run/a", ""), ("run/a~2", ""), ("run/a/x", ""), ("", "")];
    for (thread, namespace) in names {
        put(&*store, state(thread, namespace, "1")).await;
        let writes = vec![write("t", "", 0, format!("{thread} {namespace}").as_bytes())];
        let (thread, namespace) = (thread.to_owned(), namespace.to_owned());
        put_writes(&*store, CheckpointWrites { thread, namespace, ..self::writes("1", writes, false) }).await;
    }
    for (thread, namespace) in names {
        let found = get(&*store, thread, namespace, None).await.expect("it was kept");
        assert_eq!((found.thread.as_str(), found.namespace.as_str()), (thread, namespace));
        assert_eq!(found.writes, [write("t", "", 0, format!("{thread} {namespace}").as_bytes())]);
        assert_eq!(
            store
                .list_checkpoints(&CheckpointFilter {
                    thread: Some(thread.to_owned()),
                    namespace: Some(namespace.to_owned()),
                    ..CheckpointFilter::default()
                })
                .await
                .expect("an answer"),
            [found]
        );
    }
    assert_eq!(listed(&*store, of_thread()).await.len(), 3, "all namespaces of the thread");
}

/// A graph may write its last state again.
pub async fn a_state_of_the_same_name_is_replaced_and_keeps_its_writes(db: &dyn Threads) {
    let store = db.open();
    put(&*store, state(THREAD, "", "1")).await;
    put_writes(&*store, writes("1", vec![write("t", "p", 0, b"kept")], false)).await;
    let other = Checkpoint { state: typed(b"other"), parent: Some("0".to_owned()), ..state(THREAD, "", "1") };
    put(&*store, other.clone()).await;
    let found = get(&*store, THREAD, "", Some("1")).await.expect("it was kept");
    assert_eq!(found, Checkpoint { writes: vec![write("t", "p", 0, b"kept")], ..other });
    // Writes are put by their own call only.
    let with_writes = Checkpoint { writes: vec![write("u", "p", 0, b"no")], ..state(THREAD, "", "2") };
    put(&*store, with_writes).await;
    assert_eq!(get(&*store, THREAD, "", Some("2")).await.expect("it was kept").writes, []);
}

/// By path, step and place; places below zero are the framework's own.
pub async fn writes_come_in_their_order(db: &dyn Threads) {
    let store = db.open();
    put(&*store, state(THREAD, "", "1")).await;
    let in_order = vec![
        write("z", "a", 0, b"1"),
        write("a", "b", -3, b"2"),
        write("a", "b", 0, b"3"),
        write("a", "b", 10, b"4"),
        write("b", "b", 2, b"5"),
    ];
    for index in [3, 0, 4, 2, 1] {
        put_writes(&*store, writes("1", vec![in_order[index].clone()], false)).await;
    }
    assert_eq!(get(&*store, THREAD, "", None).await.expect("it was kept").writes, in_order);
    let listed = store.list_checkpoints(&of_thread()).await.expect("an answer");
    assert_eq!(listed[0].writes, in_order);
}

/// What a step has written stands, unless it is one that may change.
pub async fn a_write_is_replaced_only_where_that_is_asked(db: &dyn Threads) {
    let store = db.open();
    put(&*store, state(THREAD, "", "1")).await;
    put_writes(&*store, writes("1", vec![write("t", "p", 0, b"first")], false)).await;
    put_writes(&*store, writes("1", vec![write("t", "p", 0, b"second"), write("t", "p", 1, b"new")], false)).await;
    let found = get(&*store, THREAD, "", None).await.expect("it was kept").writes;
    assert_eq!(found, [write("t", "p", 0, b"first"), write("t", "p", 1, b"new")]);
    put_writes(&*store, writes("1", vec![write("t", "q", 0, b"third")], true)).await;
    let found = get(&*store, THREAD, "", None).await.expect("it was kept").writes;
    assert_eq!(found, [write("t", "p", 1, b"new"), write("t", "q", 0, b"third")]);
}

/// Steps write while the state before them is still on its way.
pub async fn writes_may_come_before_their_state(db: &dyn Threads) {
    let store = db.open();
    put_writes(&*store, writes("1", vec![write("t", "p", 0, b"early")], false)).await;
    assert_eq!(get(&*store, THREAD, "", None).await, None);
    put(&*store, state(THREAD, "", "1")).await;
    assert_eq!(get(&*store, THREAD, "", None).await.expect("it was kept").writes, [write("t", "p", 0, b"early")]);
}

/// By id, age, metadata and number.
pub async fn filters_narrow_the_list(db: &dyn Threads) {
    let store = db.open();
    for id in ["1", "2", "3", "44", "55"] {
        put(&*store, state(THREAD, "", id)).await;
    }
    put(&*store, state("another", "", "6")).await;
    let step = |step: u32| object(json!({ "step": step }));
    let before = Some("44".to_owned());
    let cases = [
        (CheckpointFilter { id: Some("2".to_owned()), ..of_thread() }, vec!["2"]),
        (CheckpointFilter { before: before.clone(), ..of_thread() }, vec!["3", "2", "1"]),
        (CheckpointFilter { before, limit: Some(2), ..of_thread() }, vec!["3", "2"]),
        (CheckpointFilter { metadata: step(2), ..of_thread() }, vec!["55", "44"]),
        (CheckpointFilter { metadata: step(1), limit: Some(1), ..of_thread() }, vec!["3"]),
        (CheckpointFilter { metadata: step(3), ..of_thread() }, vec![]),
        (CheckpointFilter { metadata: object(json!({ "absent": null })), ..of_thread() }, vec![]),
        (CheckpointFilter { limit: Some(0), ..of_thread() }, vec![]),
        (CheckpointFilter { namespace: Some("sub".to_owned()), ..of_thread() }, vec![]),
        (CheckpointFilter::default(), vec!["6", "55", "44", "3", "2", "1"]),
    ];
    for (filter, ids) in cases {
        assert_eq!(listed(&*store, filter.clone()).await, ids, "{filter:?}");
    }
}

/// With all that was written after its states; what a name begins with is another thread.
pub async fn a_deleted_thread_is_gone_and_no_other(db: &dyn Threads) {
    let store = db.open();
    for thread in [THREAD.to_owned(), format!("{THREAD}/inner"), format!("{THREAD}~2")] {
        put(&*store, state(&thread, "", "1")).await;
        put(&*store, state(&thread, "sub", "1")).await;
        put_writes(&*store, CheckpointWrites { thread, ..writes("1", vec![write("t", "p", 0, b"x")], false) }).await;
    }
    store.delete_thread(THREAD).await.expect("deleted");
    store.delete_thread("nobody's").await.expect("there is nothing to delete");
    assert_eq!(listed(&*store, of_thread()).await, Vec::<String>::new());
    assert_eq!(listed(&*store, CheckpointFilter::default()).await.len(), 4);
    put(&*store, state(THREAD, "", "1")).await;
    assert_eq!(get(&*store, THREAD, "", None).await.expect("it was kept").writes, [], "its writes have gone too");
}

/// It is durable when the call returns, and seen by others.
pub async fn what_is_kept_outlives_the_store(db: &dyn Threads) {
    let (store, there) = (db.open(), db.open());
    put(&*store, state(THREAD, "", "1")).await;
    put_writes(&*store, writes("1", vec![write("t", "p", 0, b"x")], false)).await;
    let expected = Checkpoint { writes: vec![write("t", "p", 0, b"x")], ..state(THREAD, "", "1") };
    assert_eq!(get(&*there, THREAD, "", None).await, Some(expected.clone()));
    drop((store, there));
    assert_eq!(get(&*db.open(), THREAD, "", None).await, Some(expected));
}

/// Many graphs take their steps at once.
pub async fn many_at_once_are_all_kept(db: &dyn Threads) {
    let store = db.open();
    let threads: Vec<String> = (0..40).map(|n| format!("run/{n}")).collect();
    let each = threads.iter().map(async |thread| {
        for id in ["1", "2", "3"] {
            put(&*store, state(thread, "", id)).await;
            let writes = writes(id, vec![write("t", "p", 0, id.as_bytes())], false);
            put_writes(&*store, CheckpointWrites { thread: thread.clone(), ..writes }).await;
        }
    });
    futures_util::future::join_all(each).await;
    for thread in &threads {
        let found = get(&*store, thread, "", None).await.expect("it was kept");
        assert_eq!((found.id.as_str(), found.writes), ("3", vec![write("t", "p", 0, b"3")]));
    }
}
