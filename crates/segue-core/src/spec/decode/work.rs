//! What a node runs, where it is not a handler: a group, another workflow, a person, a wait. And its loops and cache.

use serde_json::Value;

use super::{Decoder, fields::Fields};
use crate::{
    ids::WorkflowId,
    spec::{
        ApprovalSpec, CacheSpec, ChildSpec, GroupSpec, OnExhausted, RepeatSpec, WaitSpec, codes,
        problem::{At, Problem},
    },
};

/// The words for `on_exhausted`.
pub(super) const EXHAUSTED: [&str; 2] = ["fail", "continue"];

impl Decoder<'_> {
    /// `foreach`: an expression, or a list.
    pub(super) fn foreach(&mut self, fields: &Fields<'_>) -> Option<Value> {
        let value = fields.get("foreach")?;
        if value.is_string() || value.is_array() {
            return Some(value.clone());
        }
        let message = format!(
            "`foreach` is an expression that gives a list, or a list; this is {}",
            super::fields::kind_of(value)
        );
        let help = "write `foreach: nodes.ID.output.items`, or `foreach: [a, b]`";
        self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key("foreach"), message).help(help));
        // Stands in, so that `item` is not reported as well.
        Some(Value::Array(Vec::new()))
    }

    pub(super) fn repeat(&mut self, fields: &Fields<'_>) -> Option<RepeatSpec> {
        let value = fields.get("repeat")?;
        let at = fields.at.key("repeat");
        let example = || match value.as_u64() {
            Some(times) => format!("write `repeat: {{ max_iterations: {times} }}`"),
            None => "write `repeat: { until: output.ok, max_iterations: 5 }`".to_owned(),
        };
        let stand_in =
            RepeatSpec { until: None, max_iterations: 1, delay_seconds: None, on_exhausted: OnExhausted::Fail };
        let Some(own) = self.mapping_like(value, &at, "`repeat`", example) else { return Some(stand_in) };
        self.only(&own, "`repeat`", &["until", "max_iterations", "delay_seconds", "on_exhausted"], &[]);
        if own.get("max_iterations").is_none() {
            let message = "`repeat` needs `max_iterations`: a loop without a bound could go on for ever";
            self.add(
                Problem::new(&codes::MISSING_FIELD, at.key("max_iterations"), message).help("add `max_iterations: 5`"),
            );
        }
        Some(RepeatSpec {
            until: self.condition(&own, "until"),
            max_iterations: self.whole(&own, "max_iterations").unwrap_or(1),
            delay_seconds: self.seconds(&own, "delay_seconds"),
            on_exhausted: self.word(&own, "on_exhausted", &EXHAUSTED, &[]).unwrap_or_default(),
        })
    }

    pub(super) fn group(&mut self, fields: &Fields<'_>) -> Option<GroupSpec> {
        let value = fields.get("group")?;
        let at = fields.at.key("group");
        let example = || "write `group: { nodes: [ … ] }`".to_owned();
        let unreadable = || GroupSpec { nodes: super::unreadable_nodes(), edges: Vec::new(), output: None };
        let Some(own) = self.mapping_like(value, &at, "`group`", example) else { return Some(unreadable()) };
        self.only(&own, "`group`", &["nodes", "edges", "output"], &[]);
        let nodes = self.nodes(&own, "nodes").unwrap_or_else(|| {
            self.missing(&own, "nodes", "a group");
            super::unreadable_nodes()
        });
        Some(GroupSpec { nodes, edges: self.edges(&own), output: own.get("output").cloned() })
    }

    pub(super) fn child(&mut self, fields: &Fields<'_>) -> Option<ChildSpec> {
        let value = fields.get("workflow")?;
        let at = fields.at.key("workflow");
        let example = || match value {
            Value::String(id) => format!("write `workflow: {{ id: {id} }}`"),
            _ => "write `workflow: { id: … }`".to_owned(),
        };
        let unreadable = || ChildSpec { id: WorkflowId::new(super::UNREADABLE), version: None, detach: false };
        let Some(own) = self.mapping_like(value, &at, "`workflow`", example) else { return Some(unreadable()) };
        self.only(&own, "`workflow`", &["id", "version", "detach"], &[]);
        Some(ChildSpec {
            id: WorkflowId::new(self.required_id(&own, "id", "`workflow`")),
            version: self.text(&own, "version"),
            detach: self.flag(&own, "detach"),
        })
    }

    pub(super) fn approval(&mut self, fields: &Fields<'_>) -> Option<ApprovalSpec> {
        let value = fields.get("approval")?;
        let at = fields.at.key("approval");
        let example = || match value {
            Value::String(title) if !title.contains('"') => format!("write `approval: {{ title: \"{title}\" }}`"),
            _ => "write `approval: { title: … }`".to_owned(),
        };
        let mut approval = ApprovalSpec {
            title: String::new(),
            message: None,
            form: serde_json::Map::new(),
            approvers: Vec::new(),
            on_timeout: None,
            on_reject: None,
        };
        let Some(own) = self.mapping_like(value, &at, "`approval`", example) else { return Some(approval) };
        self.only(&own, "`approval`", &["title", "message", "form", "approvers", "on_timeout", "on_reject"], &[]);
        if own.get("title").is_none() {
            self.missing(&own, "title", "`approval`");
        }
        approval.title = self.text(&own, "title").unwrap_or_default();
        approval.message = self.text(&own, "message");
        approval.form = self.free_map(&own, "form");
        approval.approvers = self.texts(&own, "approvers");
        approval.on_timeout = self.word(&own, "on_timeout", &["fail", "approve", "reject"], &[]);
        approval.on_reject = self.word(&own, "on_reject", &["fail", "continue"], &[]);
        Some(approval)
    }

    pub(super) fn wait(&mut self, fields: &Fields<'_>) -> Option<WaitSpec> {
        let value = fields.get("wait")?;
        let at = fields.at.key("wait");
        let example = || match value {
            Value::Number(seconds) => format!("write `wait: {{ seconds: {seconds} }}`"),
            _ => "write `wait: { seconds: … }`, `{ until: … }` or `{ event: … }`".to_owned(),
        };
        let Some(own) = self.mapping_like(value, &at, "`wait`", example) else { return Some(self.some_wait()) };
        self.only(&own, "`wait`", &["seconds", "until", "event", "match"], &[]);
        let given: Vec<&str> =
            ["seconds", "until", "event"].into_iter().filter(|kind| own.get(kind).is_some()).collect();
        let wait = WaitSpec {
            seconds: self.seconds(&own, "seconds"),
            until: self.text(&own, "until"),
            event: self.text(&own, "event"),
            matches: self.condition(&own, "match"),
        };
        let read = wait.seconds.is_some() || wait.until.is_some() || wait.event.is_some();
        // What could not be read has been reported, and is not missing as well.
        Some(if read || given.is_empty() { wait } else { WaitSpec { matches: wait.matches, ..self.some_wait() } })
    }

    /// Stands for a wait that could not be read.
    fn some_wait(&self) -> WaitSpec {
        WaitSpec { event: Some("unreadable".to_owned()), ..WaitSpec::default() }
    }

    pub(super) fn cache(&mut self, fields: &Fields<'_>) -> Option<CacheSpec> {
        let value = fields.get("cache")?;
        let at = fields.at.key("cache");
        let example = || match value {
            Value::Bool(true) => "write `cache: {}`".to_owned(),
            Value::Bool(false) => "leave it out".to_owned(),
            _ => "write `cache: { ttl_seconds: … }`, or `cache: {}`".to_owned(),
        };
        let own = self.mapping_like(value, &at, "`cache`", example)?;
        self.only(&own, "`cache`", &["key", "ttl_seconds"], &[]);
        Some(CacheSpec { key: self.text(&own, "key"), ttl_seconds: self.seconds(&own, "ttl_seconds") })
    }

    /// `output_schema`: a JSON Schema, which is a mapping or a boolean.
    pub(super) fn output_schema(&mut self, fields: &Fields<'_>) -> Option<Value> {
        let value = fields.get("output_schema")?;
        if value.is_object() || value.is_boolean() {
            return Some(value.clone());
        }
        let help = match value {
            Value::String(kind) => format!("write `output_schema: {{ type: {kind} }}`"),
            _ => "write `output_schema: { type: object }`".to_owned(),
        };
        let message = format!("`output_schema` is a JSON Schema, a mapping; this is {}", super::fields::kind_of(value));
        self.add(Problem::new(&codes::WRONG_TYPE, fields.at.key("output_schema"), message).help(help));
        None
    }

    /// The value as a mapping; where it is something else, with an example of how it is written.
    fn mapping_like<'a>(
        &mut self,
        value: &'a Value,
        at: &'a At<'a>,
        what: &str,
        example: impl FnOnce() -> String,
    ) -> Option<Fields<'a>> {
        if let Some(map) = value.as_object() {
            return Some(Fields { map, at });
        }
        let message = format!("{what} is a mapping; this is {}", super::fields::kind_of(value));
        self.add(Problem::new(&codes::WRONG_TYPE, at, message).help(example()));
        None
    }
}
