//! Deployed workflows, compiled once.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use segue_core::{
    ids::{ContentHash, HandlerId},
    plan::Plan,
    ports::{RunStore, StoreError},
    spec::WorkflowSpec,
};

use crate::secrets::SecretPlaces;

/// A workflow's version, ready to run.
pub(crate) struct Deployed {
    pub(crate) spec: WorkflowSpec,
    pub(crate) plan: Arc<Plan>,
    pub(crate) secrets: SecretPlaces,
}

impl Deployed {
    pub(crate) fn new(spec: WorkflowSpec, plan: Plan) -> Self {
        Self { secrets: SecretPlaces::of(&spec), spec, plan: Arc::new(plan) }
    }
}

/// Versions kept that no live run uses.
const IDLE_MAX: usize = 64;

/// Loads versions from the store and keeps them compiled while they are used.
#[derive(Default)]
pub(crate) struct Plans(Mutex<HashMap<ContentHash, Arc<Deployed>>>);

impl Plans {
    pub(crate) async fn get(
        &self,
        hash: ContentHash,
        store: &dyn RunStore,
        default_handler: &HandlerId,
    ) -> Result<Arc<Deployed>, StoreError> {
        let known = self.0.lock().expect("no holder of this lock panics").get(&hash).cloned();
        if let Some(deployed) = known {
            return Ok(deployed);
        }
        let version = store.get_workflow(hash).await?;
        let unusable = |why: String| StoreError::Broken(format!("workflow version {hash} cannot be used: {why}"));
        let spec: WorkflowSpec =
            serde_json::from_str(&version.spec_json).map_err(|error| unusable(error.to_string()))?;
        let plan = Plan::compile(&spec, default_handler).map_err(|error| unusable(error.to_string()))?;
        Ok(self.keep(hash, Deployed::new(spec, plan)))
    }

    pub(crate) fn keep(&self, hash: ContentHash, deployed: Deployed) -> Arc<Deployed> {
        let mut known = self.0.lock().expect("no holder of this lock panics");
        if known.len() >= IDLE_MAX {
            known.retain(|_, deployed| Arc::strong_count(&deployed.plan) > 1);
        }
        known.entry(hash).or_insert_with(|| Arc::new(deployed)).clone()
    }
}
