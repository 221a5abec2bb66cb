//! Secrets: declared, used, and only where they are kept secret.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::Checks;
use crate::{
    ids::is_valid_name,
    spec::{
        codes,
        decode::{UNREADABLE, kind_of},
        problem::{At, Problem},
    },
};

/// The key of a reference to a secret.
const SECRET: &str = "$secret";

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In the inputs of a node that an adapter carries out.
    Inputs,
    /// In the inputs of a node that runs a workflow.
    ChildInputs,
    /// Anywhere else.
    Elsewhere,
}

impl<'s> Checks<'s> {
    pub(super) fn secrets(&mut self) {
        let spec = self.spec;
        let root = At::ROOT;
        let list_at = root.key("secrets");
        let mut declared: BTreeSet<&str> = BTreeSet::new();
        for (index, name) in spec.secrets.iter().enumerate() {
            let at = list_at.index(index);
            if name != UNREADABLE && !is_valid_name(name) {
                self.id(name, "secret", &at);
            }
            if name != UNREADABLE && !declared.insert(name) {
                let message = format!("the secret `{name}` is declared already");
                self.add(Problem::new(&codes::DUPLICATE_ID, at, message).help("keep one of them"));
            }
        }
        let mut used: BTreeSet<&str> = BTreeSet::new();
        self.secrets_of_nodes(&declared, &mut used);
        let mut elsewhere =
            |value: &'s Value, at: &At<'_>| self.look(value, at, Place::Elsewhere, &declared, &mut used);
        for (name, value) in spec.outputs.iter().flatten() {
            elsewhere(value, &root.key("outputs").key(name));
        }
        for (name, value) in &spec.params {
            elsewhere(value, &root.key("params").key(name));
        }
        if let Some(defaults) = &spec.defaults {
            let at = root.key("defaults");
            for (name, value) in &defaults.hints {
                elsewhere(value, &at.key("hints").key(name));
            }
            if let Some(output) = defaults.on_failure.as_ref().and_then(|on_failure| on_failure.output.as_ref()) {
                elsewhere(output, &at.key("on_failure").key("output"));
            }
        }
        for (index, name) in spec.secrets.iter().enumerate() {
            if name != UNREADABLE && !used.contains(name.as_str()) {
                let message = format!("the secret `{name}` is used by no node");
                let help = format!("use it as a whole value of an input, `{{ $secret: {name} }}`, or remove it");
                self.add(Problem::new(&codes::UNUSED_SECRET, list_at.index(index), message).help(help));
            }
        }
    }

    fn secrets_of_nodes(&mut self, declared: &BTreeSet<&'s str>, used: &mut BTreeSet<&'s str>) {
        let layout = self.layout;
        for member in &layout.nodes {
            let (node, at) = (member.node, member.at());
            let place = if node.workflow.is_some() { Place::ChildInputs } else { Place::Inputs };
            let inputs_at = at.key("inputs");
            if let Some(name) = node.spec.inputs.get(SECRET) {
                let message = "`inputs` as a whole is no secret";
                let help = "a secret is the whole value of one input: `inputs: { api_key: { $secret: NAME } }`";
                self.add(Problem::new(&codes::MISPLACED_SECRET, inputs_at.key(SECRET), message).help(help));
                used.extend(name.as_str());
            }
            for (name, value) in node.spec.inputs.iter().filter(|(name, _)| *name != SECRET) {
                self.look(value, &inputs_at.key(name), place, declared, used);
            }
            for (name, value) in &node.spec.hints {
                self.look(value, &at.key("hints").key(name), Place::Elsewhere, declared, used);
            }
            let on_failure = at.key("on_failure");
            let others = [
                (node.foreach.as_ref(), at.key("foreach")),
                (node.on_failure.as_ref().and_then(|on_failure| on_failure.output.as_ref()), on_failure.key("output")),
            ];
            for (value, at) in others {
                if let Some(value) = value {
                    self.look(value, &at, Place::Elsewhere, declared, used);
                }
            }
            if let Some(output) = node.group.as_ref().and_then(|group| group.output.as_ref()) {
                self.look(output, &at.key("group").key("output"), Place::Elsewhere, declared, used);
            }
            let approval = node.approval.iter().flat_map(|approval| [Some(&approval.title), approval.message.as_ref()]);
            for (text, name) in approval.zip(["title", "message"]) {
                self.in_text(text.map_or("", String::as_str), &at.key("approval").key(name), declared, used);
            }
        }
    }

    fn look(
        &mut self,
        value: &'s Value,
        at: &At<'_>,
        place: Place,
        declared: &BTreeSet<&'s str>,
        used: &mut BTreeSet<&'s str>,
    ) {
        match value {
            Value::Object(fields) => {
                if let Some(name) = fields.get(SECRET) {
                    return self.reference(name, fields, at, place, declared, used);
                }
                for (name, value) in fields {
                    self.look(value, &at.key(name), place, declared, used);
                }
            }
            Value::Array(items) => {
                for (index, value) in items.iter().enumerate() {
                    self.look(value, &at.index(index), place, declared, used);
                }
            }
            Value::String(text) => self.in_text(text, at, declared, used),
            _ => {}
        }
    }

    fn reference(
        &mut self,
        name: &'s Value,
        fields: &Map<String, Value>,
        at: &At<'_>,
        place: Place,
        declared: &BTreeSet<&'s str>,
        used: &mut BTreeSet<&'s str>,
    ) {
        let at_name = at.key(SECRET);
        let Some(name) = name.as_str() else {
            let message = format!("`{SECRET}` is the name of a secret, a text; this is {}", kind_of(name));
            self.add(Problem::new(&codes::WRONG_TYPE, at_name, message).help("write `{ $secret: NAME }`"));
            return;
        };
        used.insert(name);
        let wrong = if place == Place::ChildInputs {
            Some((
                "a secret cannot be given to another workflow: a run's inputs are kept in its log",
                "declare it in that workflow, and use it in the node that needs it",
            ))
        } else if place == Place::Elsewhere {
            Some((
                "a secret may stand in the `inputs` of a node only",
                "use it in the `inputs` of the node that needs it",
            ))
        } else if fields.len() > 1 {
            Some(("`$secret` stands alone in its mapping", "write `{ $secret: NAME }`, and nothing else"))
        } else if name.contains("{{") {
            Some(("the name of a secret is written out, and not computed", "write `{ $secret: NAME }`"))
        } else {
            None
        };
        if let Some((message, help)) = wrong {
            self.add(Problem::new(&codes::MISPLACED_SECRET, at_name, message).help(help));
        } else if !declared.contains(name) {
            let help = self.nearest.help(name, declared.iter().copied());
            let help = help.unwrap_or_else(|| format!("declare it: `secrets: [{name}]`"));
            let message = format!("the workflow declares no secret `{name}`");
            self.add(Problem::new(&codes::UNKNOWN_SECRET, at_name, message).help(help));
        }
    }

    /// A secret that somebody tries to put into a text: `Bearer { $secret: KEY }`.
    fn in_text(&mut self, text: &'s str, at: &At<'_>, declared: &BTreeSet<&'s str>, used: &mut BTreeSet<&'s str>) {
        let Some((_, rest)) = text.split_once(SECRET) else { return };
        let rest = rest.trim_start_matches([' ', ':', '.', '"', '\'', '[', '(', '}']);
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '-')).unwrap_or(rest.len());
        let Some(name) = declared.get(&rest[..end]) else { return };
        used.insert(name);
        let message = format!("the secret `{name}` cannot be a part of a text: texts are kept in the log");
        let help = format!(
            "make it the whole value of an input, `{{ $secret: {name} }}`, and put it together where it is used"
        );
        self.add(Problem::new(&codes::MISPLACED_SECRET, at, message).help(help));
    }
}
