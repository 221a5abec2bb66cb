//! One start key is one run, however many ask at once.
#![allow(clippy::unwrap_used)]

mod support;

use segue_core::{
    ids::{ContentHash, RunId},
    ports::{Created, RunStore, StoreError},
};
use segue_testkit::{
    conformance::{
        block_on,
        run_store::{new_run, workflow},
    },
    services,
};
use serde_json::json;
use tokio::task::JoinSet;

/// A thousand starts with one key over four stores, each with connections of its own, as of four machines.
#[test]
fn a_thousand_starts_with_one_key_are_one_run_on_a_database() {
    const STORES: u32 = 4;
    const STARTS: u32 = 250;
    block_on(async {
        let database = services::postgres().await;
        let mut asks = JoinSet::new();
        for store_no in 0..STORES {
            let store = support::open(&database.url()).await;
            store.put_workflow(workflow("flow")).await.unwrap();
            for n in 0..STARTS {
                let store = store.clone();
                asks.spawn(async move {
                    let mut new = new_run(n, json!({"invoice": 17}));
                    new.idempotency_key = Some("invoice-17".to_owned());
                    new.run.run_id = RunId::from_bytes(u128::from(store_no * 1_000 + n + 1).to_be_bytes());
                    (new.run.run_id, store.create_run(new).await.unwrap())
                });
            }
        }
        let answers = asks.join_all().await;
        let new: Vec<RunId> =
            answers.iter().filter(|(_, it)| matches!(it, Created::New(_))).map(|(id, _)| *id).collect();
        let [run] = new[..] else { panic!("{} runs were made", new.len()) };
        let others = answers.iter().filter(|(_, answer)| *answer == Created::Existing(run)).count();
        assert_eq!(others, (STORES * STARTS - 1) as usize);
        let store = support::open(&database.url()).await;
        assert_eq!(store.list_runs(Default::default()).await.unwrap().len(), 1);
        let mut other = new_run(9_999, json!({"invoice": 18}));
        (other.idempotency_key, other.request_hash) = (Some("invoice-17".to_owned()), ContentHash::of(b"another"));
        let refused = store.create_run(other).await.unwrap_err();
        assert!(matches!(refused, StoreError::KeyReused { run_id, .. } if run_id == run), "{refused}");
    });
}
