//! The adapters of an engine, found by handler.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use segue_core::{
    ids::HandlerId,
    ports::Adapter,
    spec::{Diagnostic, WorkflowSpec},
};

/// Two adapters claim one handler.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the handler `{handler}` is claimed by `{first}` and by `{second}`")]
pub struct HandlerTaken {
    /// The handler.
    pub handler: &'static str,
    /// The adapter that had it.
    pub first: &'static str,
    /// The adapter that wants it too.
    pub second: &'static str,
}

/// Which adapter carries out which handler, and how many attempts of each may be alive at once.
#[derive(Default)]
pub struct Adapters {
    adapters: Vec<Arc<dyn Adapter>>,
    limits: Vec<Option<u32>>,
    by_handler: HashMap<HandlerId, usize>,
}

impl Adapters {
    /// Registers adapters, with the limits configured for some of them by name.
    pub fn new(adapters: Vec<Arc<dyn Adapter>>, limits: &BTreeMap<String, u32>) -> Result<Self, HandlerTaken> {
        let mut all = Self::default();
        for adapter in adapters {
            let number = all.adapters.len();
            for handler in adapter.handlers() {
                if let Some(first) = all.by_handler.insert(HandlerId::from(*handler), number) {
                    let first = if first == number { adapter.name() } else { all.adapters[first].name() };
                    return Err(HandlerTaken { handler, first, second: adapter.name() });
                }
            }
            all.limits.push(limits.get(adapter.name()).copied());
            all.adapters.push(adapter);
        }
        Ok(all)
    }

    /// The adapter for a handler.
    pub fn of(&self, handler: &HandlerId) -> Option<&Arc<dyn Adapter>> {
        self.number_of(handler).map(|number| &self.adapters[number])
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<dyn Adapter>> {
        self.adapters.iter()
    }

    /// The handlers that they carry out, in alphabetical order.
    pub fn handlers(&self) -> Vec<HandlerId> {
        let mut handlers: Vec<_> = self.by_handler.keys().cloned().collect();
        handlers.sort();
        handlers
    }

    /// Everything that the adapters find wrong with a workflow.
    pub fn check(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        self.iter().flat_map(|adapter| adapter.translate_workflow(workflow)).collect()
    }

    pub(crate) fn number_of(&self, handler: &HandlerId) -> Option<usize> {
        self.by_handler.get(handler).copied()
    }

    pub(crate) fn get(&self, number: usize) -> &Arc<dyn Adapter> {
        &self.adapters[number]
    }

    pub(crate) fn limit(&self, number: usize) -> Option<u32> {
        self.limits[number]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::Pass;

    #[test]
    fn a_handler_has_one_adapter() {
        let taken = Adapters::new(vec![Arc::new(Pass), Arc::new(Pass)], &BTreeMap::new()).err();
        assert_eq!(taken, Some(HandlerTaken { handler: "pass", first: "pass", second: "pass" }));
        let one = Adapters::new(vec![Arc::new(Pass)], &BTreeMap::from([("pass".to_owned(), 3)])).expect("one adapter");
        assert_eq!(one.number_of(&"pass".into()), Some(0));
        assert_eq!(one.limit(0), Some(3));
        assert!(one.of(&"process.run".into()).is_none());
    }
}
