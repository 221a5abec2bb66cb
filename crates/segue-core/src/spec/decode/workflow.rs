//! The workflow itself.

use serde_json::Value;

use super::{Decoder, fields::Fields};
use crate::{
    ids::{HandlerId, WorkflowId},
    spec::{
        Defaults, TaskNode, WorkflowOnFailure, WorkflowSpec, codes,
        problem::{At, Problem, Problems},
    },
};

const KNOWN: [&str; 17] = [
    "segue",
    "id",
    "name",
    "description",
    "params",
    "secrets",
    "defaults",
    "limits",
    "timeout_seconds",
    "budget",
    "max_parallel_nodes",
    "nodes",
    "edges",
    "outputs",
    "on_failure",
    "finally",
    "metadata",
];

const DEFAULTS: [&str; 6] = ["task", "retry_policy", "timeout_seconds", "limits", "hints", "on_failure"];

/// Decodes a document. None only if it is no mapping at all.
pub(crate) fn workflow(value: &Value, problems: &mut Problems) -> Option<WorkflowSpec> {
    let mut decoder = Decoder::new(problems);
    let Some(map) = value.as_object() else {
        let message = format!("a workflow is a mapping; this document is {}", super::fields::kind_of(value));
        decoder.add(Problem::new(&codes::NOT_A_MAPPING, "", message).help("begin with `id: my_workflow` and `nodes:`"));
        return None;
    };
    let fields = Fields { map, at: &At::ROOT };
    decoder.only(&fields, "a workflow", &KNOWN, &[]);
    Some(WorkflowSpec {
        segue: decoder.version(&fields),
        id: WorkflowId::new(decoder.required_id(&fields, "id", "a workflow")),
        name: decoder.text(&fields, "name"),
        description: decoder.text(&fields, "description"),
        params: decoder.free_map(&fields, "params"),
        secrets: decoder.texts(&fields, "secrets"),
        defaults: decoder.defaults(&fields),
        limits: decoder.limits(&fields),
        timeout_seconds: decoder.seconds(&fields, "timeout_seconds"),
        budget: decoder.budget(&fields),
        max_parallel_nodes: decoder.whole(&fields, "max_parallel_nodes"),
        nodes: decoder.nodes(&fields, "nodes").unwrap_or_else(|| {
            decoder.missing(&fields, "nodes", "a workflow");
            super::unreadable_nodes()
        }),
        edges: decoder.edges(&fields),
        outputs: fields.get("outputs").is_some().then(|| decoder.free_map(&fields, "outputs")),
        on_failure: decoder.workflow_on_failure(&fields),
        finally: decoder.nodes(&fields, "finally").unwrap_or_default(),
        metadata: decoder.free_map(&fields, "metadata"),
    })
}

impl Decoder<'_> {
    fn version(&mut self, fields: &Fields<'_>) -> Option<u32> {
        let value = fields.get("segue")?;
        if value.as_u64() != Some(1) {
            let message = format!("this program reads version 1 of the language; the document says {value}");
            self.add(
                Problem::new(&codes::UNSUPPORTED_VERSION, fields.at.key("segue"), message).help("write `segue: 1`"),
            );
        }
        Some(1)
    }

    /// A list of nodes; none if it is absent. What is no list is reported, and one placeholder stands in.
    pub(super) fn nodes(&mut self, fields: &Fields<'_>, name: &str) -> Option<Vec<TaskNode>> {
        let at = fields.at.key(name);
        match fields.get(name)? {
            Value::Array(items) => {
                Some(items.iter().enumerate().map(|(index, item)| self.node(item, &at.index(index))).collect())
            }
            other => {
                let message = format!("`{name}` is a list of nodes; this is {}", super::fields::kind_of(other));
                let help = other.is_object().then(|| "write each node as `- id: …`".to_owned());
                self.add(Problem::new(&codes::WRONG_TYPE, at, message).maybe_help(help));
                Some(super::unreadable_nodes())
            }
        }
    }

    fn defaults(&mut self, fields: &Fields<'_>) -> Option<Defaults> {
        let value = fields.get("defaults")?;
        let at = fields.at.key("defaults");
        let own = self.mapping(value, &at, "`defaults`")?;
        self.only(&own, "`defaults`", &DEFAULTS, &[]);
        Some(Defaults {
            task: self.text(&own, "task").map(HandlerId::new),
            retry_policy: self.retry_policy(&own),
            timeout_seconds: self.seconds(&own, "timeout_seconds"),
            limits: own.get("limits").is_some().then(|| self.texts(&own, "limits")),
            hints: self.hints(&own),
            on_failure: self.on_failure(&own),
        })
    }

    /// A policy, or nodes.
    fn workflow_on_failure(&mut self, fields: &Fields<'_>) -> Option<WorkflowOnFailure> {
        match fields.get("on_failure")? {
            Value::Array(_) => self.nodes(fields, "on_failure").map(WorkflowOnFailure::Nodes),
            Value::String(_) => {
                self.word(fields, "on_failure", &["finish", "cancel"], &[]).map(WorkflowOnFailure::Policy)
            }
            other => {
                let rule = "`on_failure` of a workflow is `finish`, `cancel` or a list of nodes";
                let help = other.is_object().then(|| {
                    "`action` belongs to the `on_failure` of a node, or of `defaults`; nodes are written `- id: …`"
                        .to_owned()
                });
                let message = format!("{rule}; this is {}", super::fields::kind_of(other));
                self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key("on_failure"), message).maybe_help(help));
                None
            }
        }
    }
}
