//! Secrets: put into an attempt's inputs when it is dispatched, and taken out of whatever comes back.
//!
//! Only a `{ $secret: NAME }` that stands in the document is one. A value that merely looks like it, in the output of a
//! task or in a param, is data: otherwise whoever writes an output could read every secret.

mod redact;

use std::{collections::HashMap, sync::Arc};

use segue_core::{
    ids::NodeId,
    outcome::{ErrorKind, TaskError},
    ports::Secrets,
    spec::{TaskNode, WorkflowOnFailure, WorkflowSpec},
};
use serde_json::{Map, Value};

pub(crate) use self::redact::{Redacted, Redactor};

/// The secrets of each node of a workflow, and where they belong.
#[derive(Default)]
pub(crate) struct SecretPlaces(HashMap<NodeId, Vec<Place>>);

/// A place in a node's inputs.
struct Place {
    path: Vec<Step>,
    secret: String,
}

#[derive(Clone)]
enum Step {
    Key(String),
    Index(usize),
}

impl SecretPlaces {
    /// Those of all nodes of `spec`, also of its groups and of what runs at its end.
    pub(crate) fn of(spec: &WorkflowSpec) -> Self {
        let mut all = Self::default();
        spec.nodes.iter().chain(&spec.finally).for_each(|node| all.add(node));
        if let Some(WorkflowOnFailure::Nodes(nodes)) = &spec.on_failure {
            nodes.iter().for_each(|node| all.add(node));
        }
        all
    }

    fn add(&mut self, node: &TaskNode) {
        let mut places = Vec::new();
        for (key, value) in &node.spec.inputs {
            find(value, &mut vec![Step::Key(key.clone())], &mut places);
        }
        if !places.is_empty() {
            self.0.insert(node.id.clone(), places);
        }
        node.group.iter().flat_map(|group| &group.nodes).for_each(|node| self.add(node));
    }

    /// The inputs with the secrets in their places, and what takes them out again; `None` if the node has none. A
    /// secret that is not there fails the attempt.
    pub(crate) fn give(
        &self,
        node: &NodeId,
        inputs: &Value,
        secrets: &dyn Secrets,
    ) -> Result<Option<(Arc<Value>, Redactor)>, TaskError> {
        let Some(places) = self.0.get(node) else { return Ok(None) };
        let (mut inputs, mut given) = (inputs.clone(), Vec::new());
        for Place { path, secret } in places {
            let text = secrets.get(secret).ok_or_else(|| missing(secret))?;
            if let Some(place) = at(&mut inputs, path) {
                *place = Value::String(text.clone());
            }
            given.push((secret.as_str(), text));
        }
        Ok(Some((Arc::new(inputs), Redactor::of(&given))))
    }
}

fn find(value: &Value, path: &mut Vec<Step>, places: &mut Vec<Place>) {
    if let Some(secret) = named(value) {
        return places.push(Place { path: path.clone(), secret: secret.to_owned() });
    }
    let mut go = |step, part| {
        path.push(step);
        find(part, path, places);
        path.pop();
    };
    match value {
        Value::Array(items) => items.iter().enumerate().for_each(|(at, item)| go(Step::Index(at), item)),
        Value::Object(fields) => fields.iter().for_each(|(key, field)| go(Step::Key(key.clone()), field)),
        _ => {}
    }
}

/// The name in `{ $secret: NAME }`.
fn named(value: &Value) -> Option<&str> {
    let fields: &Map<String, Value> = value.as_object()?;
    if fields.len() == 1 { fields.get("$secret")?.as_str() } else { None }
}

/// Rendering changes no key and no length of what stands in the document: a place stays where it is.
fn at<'a>(inputs: &'a mut Value, path: &[Step]) -> Option<&'a mut Value> {
    path.iter().try_fold(inputs, |value, step| match step {
        Step::Key(key) => value.get_mut(key),
        Step::Index(index) => value.get_mut(index),
    })
}

fn missing(secret: &str) -> TaskError {
    let message = format!(
        "there is no secret `{secret}`: set the environment variable {secret}, or say where it is in segue.toml: \
         [secrets] {secret} = {{ file = \"PATH\" }}"
    );
    TaskError::new(ErrorKind::InvalidInput, message)
}

/// Knows no secret.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoSecrets;

impl Secrets for NoSecrets {
    fn get(&self, _: &str) -> Option<String> {
        None
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    struct One;

    impl Secrets for One {
        fn get(&self, name: &str) -> Option<String> {
            (name == "KEY").then(|| "hunter22".to_owned())
        }
    }

    fn places(nodes: Value) -> SecretPlaces {
        SecretPlaces::of(&serde_json::from_value(json!({"id": "w", "nodes": nodes})).expect("a workflow"))
    }

    #[test]
    fn a_secret_goes_where_the_document_says_and_nowhere_else() {
        let inputs = json!({"a": {"b": ["x", {"$secret": "KEY"}]}, "from": "{{ params.p }}", "n": 1});
        let places = places(json!([
            {"id": "outside", "group": {"nodes": [{"id": "a", "inputs": inputs}]}},
            {"id": "none", "inputs": {"x": {"$secret": "KEY", "more": 1}, "y": "$secret"}},
        ]));
        // The param's value poses as a secret.
        let rendered = json!({"a": {"b": ["x", {"$secret": "KEY"}]}, "from": {"$secret": "KEY"}, "n": 1});
        let (given, _) = places.give(&"a".into(), &rendered, &One).expect("it is there").expect("it has one");
        assert_eq!(*given, json!({"a": {"b": ["x", "hunter22"]}, "from": {"$secret": "KEY"}, "n": 1}));
        assert!(places.give(&"none".into(), &rendered, &One).expect("nothing is needed").is_none());
    }

    #[test]
    fn a_missing_secret_is_named_and_not_tried_again() {
        let places = places(json!([{"id": "a", "inputs": {"x": {"$secret": "OTHER"}}}]));
        let error = places.give(&"a".into(), &json!({"x": {"$secret": "OTHER"}}), &One).err().expect("it is not there");
        assert!(error.message.contains("`OTHER`") && !error.retryable, "{error}");
        assert!(matches!(error.kind, ErrorKind::InvalidInput));
    }
}
