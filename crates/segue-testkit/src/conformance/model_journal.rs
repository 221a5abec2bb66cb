//! What every [`ModelJournal`] must keep: each promise of the port, as one case.
//!
//! A backend's test file says how a fresh database is made, and calls
//! [`model_journal_suite!`](crate::model_journal_suite):
//!
//! ```
//! # use std::sync::Arc;
//! use segue_core::{memory::MemoryStore, ports::{ModelJournal, RunStore}};
//! use segue_testkit::conformance::model_journal::Calls;
//!
//! struct Memory(MemoryStore);
//!
//! impl Calls for Memory {
//!     fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn ModelJournal>) {
//!         (Arc::new(self.0.clone()), Arc::new(self.0.clone()))
//!     }
//! }
//!
//! fn fresh() -> Memory {
//!     Memory(MemoryStore::new(Arc::new(segue_testkit::conformance::now)))
//! }
//!
//! segue_testkit::model_journal_suite!(fresh);
//! ```

use std::sync::Arc;

use futures_util::future::join_all;
use segue_core::{
    ids::ContentHash,
    outcome::Usage,
    ports::{CallKey, ModelJournal, RecordedCall, RunStore, StoreError},
};

use super::run_store::{Live, engine, run_id, workflow};
use crate::conformance::PATIENCE;

/// One database of the backend under test, empty at first.
pub trait Calls: Send + Sync {
    /// Opens a store on it, as the keeper of runs and of calls. After the last one is dropped the next one finds what was
    /// kept.
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn ModelJournal>);
}

/// Makes one `#[test]` of each case of the suite. `$fresh` is a function that makes a fresh [`Calls`].
#[macro_export]
macro_rules! model_journal_suite {
    (@ $fresh:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::block_on($crate::conformance::model_journal::$case(&$fresh()));
            }
        )*
    };
    ($fresh:expr) => {
        $crate::model_journal_suite! { @ $fresh;
            an_answer_comes_back_as_it_was
            every_part_of_the_name_tells_calls_apart
            the_first_answer_of_a_name_stays
            what_an_attempt_consumed_is_the_sum_of_its_calls
            what_is_kept_outlives_the_store
            only_calls_of_runs_that_are_there_are_kept
            answers_go_with_their_run_and_with_no_other
            many_at_once_are_all_kept
        }
    };
}

fn key(run: u32) -> CallKey {
    let hash = ContentHash::of(b"a request");
    CallKey { run_id: run_id(run), effect_key: format!("{}/a", run_id(run)), since: 1, hash, nth: 0 }
}

fn call(key: CallKey, body: &[u8]) -> RecordedCall {
    let usage =
        Usage { model_calls: 1, input_tokens: 12, output_tokens: 4, cached_input_tokens: 3, cost_nanousd: 1_234_567 };
    let content_type = "application/json".to_owned();
    RecordedCall { key, attempt: 1, model: "gpt-4o".to_owned(), content_type, body: body.to_vec(), usage }
}

/// The `n`th run, live.
async fn run(store: &Arc<dyn RunStore>, n: u32) -> Live {
    store.put_workflow(workflow("flow")).await.expect("a version");
    let owner = engine(store, "engine", PATIENCE).await;
    Live::create(store, n, &owner).await
}

/// Bytes are bytes: large ones too, and those that are no text.
pub async fn an_answer_comes_back_as_it_was(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    let large: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    for (nth, body) in (0..).zip([b"{}".to_vec(), Vec::new(), vec![0, 255, 10, 0], large]) {
        let key = CallKey { nth, ..key(1) };
        assert_eq!(journal.recorded(&key).await.expect("a look"), None);
        let mut call = call(key.clone(), &body);
        call.content_type = "text/event-stream".to_owned();
        call.attempt = 7;
        journal.record(call.clone()).await.expect("it is kept");
        assert_eq!(journal.recorded(&key).await.expect("a look"), Some(call));
    }
}

/// Another run, task, reset, request or repetition is another call.
pub async fn every_part_of_the_name_tells_calls_apart(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    run(&store, 2).await;
    let names = [
        key(1),
        CallKey { run_id: run_id(2), ..key(1) },
        CallKey { effect_key: "other".to_owned(), ..key(1) },
        CallKey { since: 2, ..key(1) },
        CallKey { hash: ContentHash::of(b"another"), ..key(1) },
        CallKey { nth: 2, ..key(1) },
        CallKey { since: 2, nth: 1, ..key(1) },
    ];
    for (at, name) in names.iter().enumerate() {
        assert_eq!(journal.recorded(name).await.expect("a look"), None, "{name:?}");
        journal.record(call(name.clone(), &[at as u8])).await.expect("it is kept");
    }
    for (at, name) in names.iter().enumerate() {
        assert_eq!(journal.recorded(name).await.expect("a look").expect("a call").body, [at as u8]);
    }
}

/// A second record changes nothing, and is no error.
pub async fn the_first_answer_of_a_name_stays(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    let first = call(key(1), b"first");
    journal.record(first.clone()).await.expect("it is kept");
    journal.record(RecordedCall { attempt: 2, ..call(key(1), b"second") }).await.expect("it is not needed");
    assert_eq!(journal.recorded(&key(1)).await.expect("a look"), Some(first));
    let of_second = journal.usage(run_id(1), &key(1).effect_key, 2).await.expect("a sum");
    assert!(of_second.is_zero(), "what is not kept is not counted");
}

/// Of this run, this work, this attempt.
pub async fn what_an_attempt_consumed_is_the_sum_of_its_calls(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    run(&store, 2).await;
    let usage = async |attempt| journal.usage(run_id(1), &key(1).effect_key, attempt).await.expect("a sum");
    assert!(usage(1).await.is_zero());
    for nth in 0..3 {
        journal.record(call(CallKey { nth, ..key(1) }, b"{}")).await.expect("it is kept");
    }
    journal.record(RecordedCall { attempt: 2, ..call(CallKey { nth: 3, ..key(1) }, b"{}") }).await.expect("it is kept");
    journal.record(call(CallKey { effect_key: "other".to_owned(), ..key(1) }, b"{}")).await.expect("it is kept");
    journal.record(call(CallKey { effect_key: key(1).effect_key, ..key(2) }, b"{}")).await.expect("it is kept");
    let one = call(key(1), b"").usage;
    let mut three = one;
    three += one;
    three += one;
    assert_eq!((usage(1).await, usage(2).await, usage(3).await), (three, one, Usage::default()));
}

/// Durable when it returns.
pub async fn what_is_kept_outlives_the_store(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    journal.record(call(key(1), b"kept")).await.expect("it is kept");
    drop((store, journal));
    let (_, journal) = calls.open();
    assert_eq!(journal.recorded(&key(1)).await.expect("a look"), Some(call(key(1), b"kept")));
}

/// A call of nobody is refused: nobody would ever delete it.
pub async fn only_calls_of_runs_that_are_there_are_kept(calls: &dyn Calls) {
    let (_, journal) = calls.open();
    let refused = journal.record(call(key(9), b"{}")).await;
    assert!(matches!(refused, Err(StoreError::NotFound(_))), "{refused:?}");
    assert_eq!(journal.recorded(&key(9)).await.expect("a look"), None);
    assert!(journal.usage(run_id(9), "a", 1).await.expect("a sum").is_zero());
}

/// With a deletion and with a collection.
pub async fn answers_go_with_their_run_and_with_no_other(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    for n in 1..=3 {
        let mut live = run(&store, n).await;
        let recorded = (0..700).map(|nth| journal.record(call(CallKey { nth, ..key(n) }, &[n as u8; 2_000])));
        assert!(join_all(recorded).await.iter().all(Result::is_ok));
        live.end(&store).await;
    }
    let is_there = async |n| journal.recorded(&CallKey { nth: 699, ..key(n) }).await.expect("a look").is_some();
    store.delete_run(run_id(2)).await.expect("it has ended");
    assert_eq!((is_there(1).await, is_there(2).await, is_there(3).await), (true, false, true));
    assert!(journal.usage(run_id(2), &key(2).effect_key, 1).await.expect("a sum").is_zero());
    store.collect_garbage(super::now()).await.expect("a collection");
    assert_eq!((is_there(1).await, is_there(3).await), (false, false));
}

/// As eight crews would.
pub async fn many_at_once_are_all_kept(calls: &dyn Calls) {
    let (store, journal) = calls.open();
    run(&store, 1).await;
    let recorded = (0..200).map(|nth| {
        let journal = journal.clone();
        async move { journal.record(call(CallKey { nth, ..key(1) }, &nth.to_le_bytes())).await }
    });
    assert!(join_all(recorded).await.iter().all(Result::is_ok));
    for nth in 0..200_u32 {
        let found = journal.recorded(&CallKey { nth, ..key(1) }).await.expect("a look").expect("a call");
        assert_eq!(found.body, nth.to_le_bytes());
    }
}
