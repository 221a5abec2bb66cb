//! What a node's limits are: those of its document, and those of the configuration.

use std::collections::BTreeMap;

use segue_core::{
    expr::Expression,
    ids::{ContentHash, LimitKey, TaskId},
    outcome::{ErrorKind, TaskError},
    plan::{NodeLimit, PlanNode},
    ports::Bounds,
    run::Run,
    spec::LimitSpec,
};

/// Values of a key that are longer are named by their hash.
const KEY_BYTES_MAX: usize = 200;

/// A limit that an attempt asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// As nodes name it.
    pub(crate) name: String,
    pub(crate) key: LimitKey,
    pub(crate) bounds: Bounds,
}

/// The limits of the configuration, by name.
pub(super) struct Catalog(BTreeMap<String, Configured>);

struct Configured {
    bounds: Bounds,
    key: Option<Expression>,
}

impl Catalog {
    /// A key that is no expression limits everybody together.
    pub(super) fn new(specs: &BTreeMap<String, LimitSpec>) -> Self {
        let configured = |(name, spec): (&String, &LimitSpec)| {
            let key = spec.key.as_deref().and_then(|key| Expression::compile(key).ok());
            (name.clone(), Configured { bounds: spec.bounds(), key })
        };
        Self(specs.iter().map(configured).collect())
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.0.keys().cloned().collect()
    }

    /// What an attempt of this task asks for, in the order of the keys. An error means that it can never run.
    pub(super) fn wanted(&self, run: &Run, task: &TaskId, node: &PlanNode) -> Result<Vec<Wanted>, TaskError> {
        let mut wanted =
            node.limits.iter().map(|limit| self.one(run, task, limit)).collect::<Result<Vec<_>, TaskError>>()?;
        wanted.sort_by(|one, other| one.key.cmp(&other.key));
        Ok(wanted)
    }

    fn one(&self, run: &Run, task: &TaskId, limit: &NodeLimit) -> Result<Wanted, TaskError> {
        let name = &limit.name;
        let (scope, bounds, key) = match (&limit.own, self.0.get(name)) {
            (Some(own), _) => (run.plan().workflow_id().as_str(), own.bounds, own.key.as_ref()),
            (None, Some(shared)) => ("", shared.bounds, shared.key.as_ref()),
            (None, None) => {
                let why = format!("there is no limit `{name}` in the configuration of this engine");
                return Err(TaskError::new(ErrorKind::Load, why));
            }
        };
        let value = key.map(|key| run.evaluate(task, &format!("limits.{name}.key"), key)).transpose()?;
        Ok(Wanted { name: name.clone(), key: key_of(scope, name, value.as_ref()), bounds })
    }
}

/// `workflow/name` or, for all workflows, `/name`; with the value of the key.
fn key_of(scope: &str, name: &str, value: Option<&serde_json::Value>) -> LimitKey {
    match value.map(ToString::to_string) {
        None => LimitKey::new(format!("{scope}/{name}")),
        Some(text) if text.len() > KEY_BYTES_MAX => {
            LimitKey::new(format!("{scope}/{name}=#{}", ContentHash::of(text.as_bytes())))
        }
        Some(text) => LimitKey::new(format!("{scope}/{name}={text}")),
    }
}
