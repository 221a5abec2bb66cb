//! What an adapter finds wrong with a node's inputs or hints: once for diagnostics of the document, once for the error
//! of an attempt, in the same words.

use serde_json::{Map, Value};

use crate::{
    outcome::{ErrorKind, TaskError},
    spec::{Diagnostic, WorkflowSpec},
};

/// One thing that is wrong: where, what, and the cure.
#[derive(Debug, Clone)]
pub struct Problem {
    path: Vec<String>,
    message: String,
    help: Option<String>,
}

impl Problem {
    /// At these keys, from the inputs or the hints on.
    pub fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self { path: path.iter().map(|&part| part.to_owned()).collect(), message: message.into(), help: None }
    }

    /// Adds the cure.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// As the error of an attempt.
    pub fn into_error(self) -> TaskError {
        let message = match self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message,
        };
        TaskError::new(ErrorKind::InvalidInput, message)
    }

    /// As a diagnostic; `root` leads from the document to the inputs or hints.
    pub fn into_diagnostic(self, code: &str, root: &[&str]) -> Diagnostic {
        let path = pointer(root.iter().copied().chain(self.path.iter().map(String::as_str)));
        let diagnostic = Diagnostic::error(code, path, self.message);
        match self.help {
            Some(help) => diagnostic.with_help(help),
            None => diagnostic,
        }
    }
}

/// What an adapter asks of the nodes of a workflow: the walk that every adapter's
/// [`translate_workflow`](crate::ports::Adapter::translate_workflow) takes.
#[derive(Debug)]
pub struct NodeRules {
    /// What is wrong with the inputs of a node of this handler; nothing if the handler is another adapter's. Templates are
    /// not filled in yet.
    pub inputs: fn(handler: &str, inputs: &Map<String, Value>) -> Vec<Problem>,
    /// The code of its diagnostics.
    pub input_code: &'static str,
    /// The adapter's own object among the hints.
    pub hints_name: &'static str,
    /// What is wrong with it; of all hints, of a node or of the defaults.
    pub hints: fn(hints: &Map<String, Value>) -> Vec<Problem>,
    /// The code of its diagnostics.
    pub hint_code: &'static str,
}

impl NodeRules {
    /// All that is wrong, node by node, then with the defaults.
    pub fn diagnose(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        let mut found = Vec::new();
        let mut add = |problems: Vec<Problem>, code: &str, root: &[&str]| {
            found.extend(problems.into_iter().map(|problem| problem.into_diagnostic(code, root)));
        };
        let defaults = workflow.defaults.as_ref();
        let default = defaults.and_then(|defaults| defaults.task.as_ref());
        for (pointer, node) in workflow.every_node() {
            let root =
                |last: &[&'static str]| pointer.split('/').skip(1).chain(last.iter().copied()).collect::<Vec<_>>();
            if let Some(handler) = node.spec.task.as_ref().or(default).filter(|_| node.has_handler()) {
                add((self.inputs)(handler.as_str(), &node.spec.inputs), self.input_code, &root(&["inputs"]));
            }
            add((self.hints)(&node.spec.hints), self.hint_code, &root(&["hints", self.hints_name]));
        }
        if let Some(defaults) = defaults {
            add((self.hints)(&defaults.hints), self.hint_code, &["defaults", "hints", self.hints_name]);
        }
        found
    }
}

/// A problem for every key that is not among `names`. `whose` and `what`: "`process.run` has no input".
pub fn unknown(given: &Map<String, Value>, names: &[&str], whose: &str, what: &str) -> Vec<Problem> {
    let unknown = given.keys().filter(|key| !names.contains(&key.as_str()) && !key.starts_with("x-"));
    unknown
        .map(|key| {
            let problem = Problem::new(&[key], format!("`{whose}` has no {what} `{key}`"));
            match nearest(key, names) {
                Some(name) => problem.with_help(format!("did you mean `{name}`?")),
                None => problem.with_help(format!("it has {}", names.join(", "))),
            }
        })
        .collect()
}

/// The problem of a hint `concurrency` that is no number of attempts.
pub fn concurrency(hints: &Map<String, Value>) -> Option<Problem> {
    let given = hints.get("concurrency")?;
    let is_number = given.as_u64().is_some_and(|number| (1..=u64::from(u32::MAX)).contains(&number));
    (!is_number).then(|| Problem::new(&["concurrency"], "`concurrency` is how many may run at once, 1 or more"))
}

/// Is this a text with an expression in it, which may become anything?
pub fn is_template(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.contains("{{"))
}

/// What a value is, for people.
pub fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A JSON Pointer (RFC 6901) of these keys and indices.
fn pointer<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    parts.fold(String::new(), |pointer, part| pointer + "/" + &part.replace('~', "~0").replace('/', "~1"))
}

/// The name that is most like `text`, if one is like it.
fn nearest<'a>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let best = names.iter().map(|name| (strsim::damerau_levenshtein(text, name), *name)).min()?;
    (best.0 <= 1 + text.len() / 4).then_some(best.1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn unknown_keys_are_told_with_the_nearest_name() {
        let given = json!({ "comand": 1, "x-mine": 2, "a/b": 3 });
        let problems = unknown(given.as_object().expect("an object"), &["command", "cwd"], "it", "input");
        let found: Vec<Diagnostic> =
            problems.into_iter().map(|problem| problem.into_diagnostic("c", &["nodes", "0"])).collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].path, "/nodes/0/comand");
        assert_eq!(found[0].help.as_deref(), Some("did you mean `command`?"));
        assert_eq!(found[1].path, "/nodes/0/a~1b");
        assert_eq!(found[1].help.as_deref(), Some("it has command, cwd"));
    }

    #[test]
    fn every_node_and_the_defaults_are_asked() {
        let workflow = serde_json::from_value(json!({
            "id": "w",
            "defaults": {"task": "mine", "hints": {"own": {"bad": 1}}},
            "nodes": [
                {"id": "a", "inputs": {"bad": 1}},
                {"id": "b", "task": "other", "inputs": {"bad": 1}, "hints": {"own": {"bad": 1}, "others": {"bad": 1}}},
                {"id": "g", "inputs": {"bad": 1}, "group": {"nodes": [{"id": "x", "task": "mine", "inputs": {"bad": 1}}]}},
            ],
        }))
        .expect("a workflow");
        fn bad(given: &Map<String, Value>) -> Vec<Problem> {
            unknown(given, &["good"], "it", "key")
        }
        let rules = NodeRules {
            inputs: |handler: &str, inputs: &Map<String, Value>| {
                if handler == "mine" { bad(inputs) } else { Vec::new() }
            },
            input_code: "i",
            hints_name: "own",
            hints: |hints: &Map<String, Value>| {
                hints.get("own").and_then(Value::as_object).map(bad).unwrap_or_default()
            },
            hint_code: "h",
        };
        let found: Vec<_> = rules.diagnose(&workflow).into_iter().map(|found| (found.code, found.path)).collect();
        let told = [
            ("i", "/nodes/0/inputs/bad"),
            ("h", "/nodes/1/hints/own/bad"),
            ("i", "/nodes/2/group/nodes/0/inputs/bad"),
            ("h", "/defaults/hints/own/bad"),
        ];
        assert_eq!(found, told.map(|(code, path)| (code.to_owned(), path.to_owned())));
    }
}
