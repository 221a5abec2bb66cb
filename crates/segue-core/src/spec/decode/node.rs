//! A node.

use serde_json::Value;

use super::{Decoder, UNREADABLE, fields::Fields};
use crate::{
    ids::{HandlerId, NodeId},
    spec::{
        TaskNode, TaskSpec, codes,
        problem::{At, Problem},
    },
};

const KNOWN: [&str; 25] = [
    "id",
    "name",
    "description",
    "task",
    "workflow",
    "group",
    "approval",
    "wait",
    "inputs",
    "output_schema",
    "depends_on",
    "when",
    "join",
    "foreach",
    "parallelism",
    "repeat",
    "retry_policy",
    "timeout_seconds",
    "deadline_seconds",
    "budget",
    "limits",
    "on_failure",
    "cache",
    "hints",
    "metadata",
];

const RESERVED: [&str; 1] = ["heartbeat_seconds"];

/// What a node runs: one of these.
const WORK: [&str; 5] = ["task", "workflow", "group", "approval", "wait"];

const JOINS: [&str; 5] = ["no_failure", "all_success", "any_success", "all_done", "any_failure"];

impl Decoder<'_> {
    /// A node; a placeholder if it cannot be read, so that the others keep their places.
    pub(crate) fn node(&mut self, value: &Value, at: &At<'_>) -> TaskNode {
        let Some(fields) = self.mapping(value, at, "a node") else { return TaskNode::new(NodeId::new(UNREADABLE)) };
        self.only(&fields, "a node", &KNOWN, &RESERVED);
        self.no_empty_work(&fields);
        let mut node = TaskNode::new(NodeId::new(self.required_id(&fields, "id", "a node")));
        node.name = self.text(&fields, "name");
        node.description = self.text(&fields, "description");
        node.spec = TaskSpec {
            task: self.text(&fields, "task").map(HandlerId::new),
            inputs: self.free_map(&fields, "inputs"),
            hints: self.hints(&fields),
        };
        node.depends_on = self.depends_on(&fields);
        node.when = self.condition(&fields, "when");
        node.join = self.word(&fields, "join", &JOINS, &[]).unwrap_or_default();
        node.foreach = self.foreach(&fields);
        node.parallelism = self.whole(&fields, "parallelism");
        node.repeat = self.repeat(&fields);
        node.group = self.group(&fields);
        node.workflow = self.child(&fields);
        node.approval = self.approval(&fields);
        node.wait = self.wait(&fields);
        node.output_schema = self.output_schema(&fields);
        node.cache = self.cache(&fields);
        node.retry_policy = self.retry_policy(&fields);
        node.timeout_seconds = self.seconds(&fields, "timeout_seconds");
        node.deadline_seconds = self.seconds(&fields, "deadline_seconds");
        node.budget = self.budget(&fields);
        node.limits = fields.get("limits").is_some().then(|| self.texts(&fields, "limits"));
        node.on_failure = self.on_failure(&fields);
        node.metadata = self.free_map(&fields, "metadata");
        node
    }

    /// Work that is begun is not left empty, which would be a node of the default handler.
    fn no_empty_work(&mut self, fields: &Fields<'_>) {
        let mut named = WORK.into_iter().filter(|kind| fields.map.contains_key(*kind));
        if let (Some(only), None) = (named.next(), named.next())
            && only != "task"
            && fields.get(only).is_none()
        {
            let message = format!("`{only}` is a mapping; this is nothing");
            let help = format!("fill it in, or remove `{only}`: the node would be one of the default handler");
            self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key(only), message).help(help));
        }
    }

    fn depends_on(&mut self, fields: &Fields<'_>) -> Vec<NodeId> {
        let Some(items) = self.list(fields, "depends_on", None) else { return Vec::new() };
        let at = fields.at.key("depends_on");
        let ids =
            items.iter().enumerate().map(|(index, item)| NodeId::new(self.id(item, &at.index(index), "depends_on")));
        ids.collect()
    }

    /// A condition. `when: true` is one too.
    pub(crate) fn condition(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        match fields.get(name)? {
            Value::Bool(flag) => Some(flag.to_string()),
            Value::String(text) => Some(text.clone()),
            other => {
                let message =
                    format!("`{name}` is an expression, as a text; this is {}", super::fields::kind_of(other));
                let help = "write it without braces, as in `when: nodes.a.output.ok`";
                self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key(name), message).help(help));
                None
            }
        }
    }
}
