//! An edge.

use serde_json::Value;

use super::{Decoder, UNREADABLE};
use crate::{
    ids::NodeId,
    spec::{
        EdgeSpec, OnExhausted, codes,
        problem::{At, Problem},
    },
};

impl Decoder<'_> {
    /// An edge; a placeholder if it cannot be read, so that the others keep their places.
    pub(crate) fn edge(&mut self, value: &Value, at: &At<'_>) -> EdgeSpec {
        match value {
            Value::Array(ends) if ends.len() == 2 => {
                let [from, to] = [0, 1].map(|index| NodeId::new(self.id(&ends[index], &at.index(index), "edges")));
                EdgeSpec::Pair(from, to)
            }
            Value::Object(_) => {
                let Some(fields) = self.mapping(value, at, "an edge") else { return unreadable() };
                self.only(&fields, "an edge", &["from", "to", "when"], &["max_iterations", "on_exhausted"]);
                let from = NodeId::new(self.required_id(&fields, "from", "an edge"));
                let to = NodeId::new(self.required_id(&fields, "to", "an edge"));
                EdgeSpec::Full {
                    from,
                    to,
                    when: self.condition(&fields, "when"),
                    max_iterations: None,
                    on_exhausted: OnExhausted::Fail,
                }
            }
            other => {
                let found = match other {
                    Value::Array(ends) => format!("a list of {}", ends.len()),
                    other => super::fields::kind_of(other),
                };
                let message = format!("an edge is a pair of node ids; this is {found}");
                let help = "write `[from, to]`, or `{ from: …, to: …, when: … }`";
                self.add(Problem::new(&codes::WRONG_TYPE, at, message).help(help));
                unreadable()
            }
        }
    }
}

fn unreadable() -> EdgeSpec {
    EdgeSpec::Pair(NodeId::new(UNREADABLE), NodeId::new(UNREADABLE))
}
