//! The workflow itself.

use serde_json::{Map, Value};

use super::{Decoder, UNREADABLE, fields::Fields};
use crate::{
    ids::{HandlerId, NodeId, WorkflowId},
    spec::{
        Defaults, TaskNode, WorkflowOnFailure, WorkflowSpec, codes,
        problem::{At, Problem, Problems},
    },
};

const KNOWN: [&str; 13] = [
    "segue",
    "id",
    "name",
    "description",
    "params",
    "defaults",
    "timeout_seconds",
    "max_parallel_nodes",
    "nodes",
    "edges",
    "outputs",
    "on_failure",
    "metadata",
];

const RESERVED: [&str; 4] = ["secrets", "limits", "budget", "finally"];

/// Decodes a document. None only if it is no mapping at all.
pub(crate) fn workflow(value: &Value, problems: &mut Problems) -> Option<WorkflowSpec> {
    let mut decoder = Decoder::new(problems);
    let Some(map) = value.as_object() else {
        let message = format!("a workflow is a mapping; this document is {}", super::fields::kind_of(value));
        decoder.add(Problem::new(&codes::NOT_A_MAPPING, "", message).help("begin with `id: my_workflow` and `nodes:`"));
        return None;
    };
    let fields = Fields { map, at: &At::ROOT };
    decoder.only(&fields, "a workflow", &KNOWN, &RESERVED);
    Some(WorkflowSpec {
        segue: decoder.version(&fields),
        id: WorkflowId::new(decoder.required_id(&fields, "id", "a workflow")),
        name: decoder.text(&fields, "name"),
        description: decoder.text(&fields, "description"),
        params: decoder.free_map(&fields, "params"),
        secrets: Vec::new(),
        defaults: decoder.defaults(&fields),
        timeout_seconds: decoder.seconds(&fields, "timeout_seconds"),
        max_parallel_nodes: decoder.whole(&fields, "max_parallel_nodes"),
        nodes: decoder.nodes(&fields),
        edges: match decoder.list(&fields, "edges", Some("write a list of `[from, to]` pairs")) {
            None => Vec::new(),
            Some(items) => {
                let at = fields.at.key("edges");
                items.iter().enumerate().map(|(index, item)| decoder.edge(item, &at.index(index))).collect()
            }
        },
        outputs: fields.get("outputs").is_some().then(|| decoder.free_map(&fields, "outputs")),
        on_failure: decoder.workflow_on_failure(&fields),
        finally: Vec::new(),
        metadata: decoder.metadata(&fields),
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

    fn nodes(&mut self, fields: &Fields<'_>) -> Vec<TaskNode> {
        let at = fields.at.key("nodes");
        match fields.get("nodes") {
            None => {
                self.missing(fields, "nodes", "a workflow");
                unreadable()
            }
            Some(Value::Array(items)) => {
                items.iter().enumerate().map(|(index, item)| self.node(item, &at.index(index))).collect()
            }
            Some(other) => {
                let message = format!("`nodes` is a list; this is {}", super::fields::kind_of(other));
                let help = other.is_object().then(|| "write each node as `- id: …`".to_owned());
                self.add(Problem::new(&codes::WRONG_TYPE, at, message).maybe_help(help));
                unreadable()
            }
        }
    }

    fn defaults(&mut self, fields: &Fields<'_>) -> Option<Defaults> {
        let value = fields.get("defaults")?;
        let at = fields.at.key("defaults");
        let own = self.mapping(value, &at, "`defaults`")?;
        self.only(&own, "`defaults`", &["task", "retry_policy", "timeout_seconds", "hints", "on_failure"], &["limits"]);
        Some(Defaults {
            task: self.text(&own, "task").map(HandlerId::new),
            retry_policy: self.retry_policy(&own),
            timeout_seconds: self.seconds(&own, "timeout_seconds"),
            hints: self.hints(&own),
            on_failure: self.on_failure(&own),
        })
    }

    fn workflow_on_failure(&mut self, fields: &Fields<'_>) -> Option<WorkflowOnFailure> {
        if let Some(Value::Array(_)) = fields.get("on_failure") {
            self.not_available(&fields.at.key("on_failure"), "`on_failure` with a list of nodes");
            return None;
        }
        self.word(fields, "on_failure", &["finish", "cancel"], &[]).map(WorkflowOnFailure::Policy)
    }

    fn metadata(&mut self, fields: &Fields<'_>) -> Map<String, Value> {
        self.free_map(fields, "metadata")
    }
}

/// Stands for the nodes, so that the checks do not say once more that there are none.
fn unreadable() -> Vec<TaskNode> {
    vec![TaskNode::new(NodeId::new(UNREADABLE))]
}
