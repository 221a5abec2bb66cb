//! An edge.

use serde_json::Value;

use super::{
    Decoder, UNREADABLE,
    fields::{Fields, kind_of},
    work::EXHAUSTED,
};
use crate::{
    ids::NodeId,
    spec::{
        EdgeSpec, codes,
        problem::{At, Problem},
    },
};

impl Decoder<'_> {
    /// `edges`.
    pub(super) fn edges(&mut self, fields: &Fields<'_>) -> Vec<EdgeSpec> {
        let Some(items) = self.list(fields, "edges", Some("write a list of `[from, to]` pairs")) else {
            return Vec::new();
        };
        let at = fields.at.key("edges");
        items.iter().enumerate().map(|(index, item)| self.edge(item, &at.index(index))).collect()
    }

    /// An edge; a placeholder if it cannot be read, so that the others keep their places.
    fn edge(&mut self, value: &Value, at: &At<'_>) -> EdgeSpec {
        match value {
            Value::Array(ends) if ends.len() == 2 => {
                let [from, to] = [0, 1].map(|index| NodeId::new(self.id(&ends[index], &at.index(index), "edges")));
                EdgeSpec::Pair(from, to)
            }
            Value::Object(_) => {
                let Some(fields) = self.mapping(value, at, "an edge") else { return unreadable() };
                self.only(&fields, "an edge", &["from", "to", "when", "max_iterations", "on_exhausted"], &[]);
                let from = NodeId::new(self.required_id(&fields, "from", "an edge"));
                let to = NodeId::new(self.required_id(&fields, "to", "an edge"));
                EdgeSpec::Full {
                    from,
                    to,
                    when: self.condition(&fields, "when"),
                    max_iterations: self.max_iterations(&fields),
                    on_exhausted: self.word(&fields, "on_exhausted", &EXHAUSTED, &[]).unwrap_or_default(),
                }
            }
            other => {
                let found = match other {
                    Value::Array(ends) => format!("a list of {}", ends.len()),
                    other => kind_of(other),
                };
                let message = format!("an edge is a pair of node ids; this is {found}");
                let help = "write `[from, to]`, or `{ from: …, to: …, when: … }`";
                self.add(Problem::new(&codes::WRONG_TYPE, at, message).help(help));
                unreadable()
            }
        }
    }

    /// Of a loop edge: its bound. An edge that is meant to be one is never taken for an ordinary one.
    fn max_iterations(&mut self, fields: &Fields<'_>) -> Option<u32> {
        if fields.get("max_iterations").is_some() {
            return Some(self.whole(fields, "max_iterations").unwrap_or(1));
        }
        fields.get("on_exhausted")?;
        let message = "a loop edge needs `max_iterations`: a loop without a bound could go on for ever";
        let at = fields.at.key("max_iterations");
        self.add(Problem::new(&codes::MISSING_FIELD, at, message).help("add `max_iterations: 5`"));
        Some(1)
    }
}

fn unreadable() -> EdgeSpec {
    EdgeSpec::Pair(NodeId::new(UNREADABLE), NodeId::new(UNREADABLE))
}
