//! Versions that were put into service.

use std::sync::Arc;

use segue_core::{
    ids::{ContentHash, WorkflowId},
    ports::{Deployment, RunStore, StoreError, WorkflowVersion},
};

use super::{Database, workflow, world::time};

/// The `n`th version of the workflow called `id`.
fn version(id: &str, n: u32) -> WorkflowVersion {
    let spec_json: Arc<str> = format!("{{\"id\": \"{id}\", \"n\": {n}}}").into();
    WorkflowVersion { hash: ContentHash::of(spec_json.as_bytes()), workflow_id: WorkflowId::new(id), spec_json }
}

fn deployment(id: &str, n: u32, at: u64) -> Deployment {
    let WorkflowVersion { hash, workflow_id, .. } = version(id, n);
    Deployment { workflow_id, hash, deployed_at: time(at), base_dir: Some(format!("/folder/{n}")) }
}

async fn all(store: &Arc<dyn RunStore>, id: Option<&str>, limit: usize) -> Vec<Deployment> {
    store.deployments(id.map(WorkflowId::new).as_ref(), limit).await.expect("a list")
}

/// What was deployed last is current, whatever its version and its time.
pub async fn the_last_deployment_is_the_current_one(db: &dyn Database) {
    let (store, there) = (db.open(), db.open());
    assert!(all(&store, None, 0).await.is_empty());
    for (id, n) in [("b", 1), ("b", 2), ("a", 1), ("c", 1)] {
        store.put_workflow(version(id, n)).await.expect("kept");
    }
    let (first, second, back) = (deployment("b", 1, 5), deployment("b", 2, 9), deployment("b", 1, 7));
    let (a, mut c) = (deployment("a", 1, 1), deployment("c", 1, 2));
    c.base_dir = None;
    for each in [&first, &c, &second, &a, &back] {
        store.deploy(each.clone()).await.expect("deployed");
    }
    for store in [&store, &there] {
        assert_eq!(all(store, Some("b"), 0).await, [back.clone(), second.clone(), first.clone()]);
        assert_eq!(all(store, Some("b"), 2).await, [back.clone(), second.clone()]);
        assert_eq!(all(store, None, 0).await, [a.clone(), back.clone(), c.clone()]);
        assert_eq!(all(store, None, 2).await, [a.clone(), back.clone()]);
        assert!(all(store, Some("none"), 0).await.is_empty());
    }
}

/// A deployment that changes nothing is not another one; another folder is.
pub async fn a_deployment_is_repeatable(db: &dyn Database) {
    let store = db.open();
    store.put_workflow(version("b", 1)).await.expect("kept");
    let first = deployment("b", 1, 5);
    for at in [5, 6] {
        store.deploy(Deployment { deployed_at: time(at), ..first.clone() }).await.expect("deployed");
    }
    assert_eq!(all(&store, Some("b"), 0).await, std::slice::from_ref(&first));
    let moved = Deployment { base_dir: None, ..first.clone() };
    store.deploy(moved.clone()).await.expect("deployed");
    assert_eq!(all(&store, Some("b"), 0).await, [moved, first]);
}

/// Only what has been put can be deployed, and only as what it is.
pub async fn an_unknown_version_is_not_deployed(db: &dyn Database) {
    let store = db.open();
    store.put_workflow(workflow("other")).await.expect("kept");
    let wrong = Deployment { hash: workflow("other").hash, ..deployment("b", 1, 1) };
    for unknown in [deployment("b", 1, 1), wrong] {
        let answer = store.deploy(unknown).await;
        assert!(matches!(answer, Err(StoreError::NotFound(_))), "{answer:?}");
    }
    assert!(all(&store, None, 0).await.is_empty());
}
