//! Conditions and templates: do they compile, and may they read what they read?

use std::ops::Range;

use serde_json::Value;

use super::Checks;
use crate::{
    expr::{ExprError, ExprErrorKind, Expression, NODE_FIELDS, PathUse, RUN_FIELDS, Step, Template},
    spec::{
        WorkflowSpec, codes,
        decode::UNREADABLE,
        problem::{At, PROBLEMS_MAX, Problem},
    },
};

/// Whose expression it is: decides what it may read.
#[derive(Clone, Copy)]
enum Reader {
    /// A node: what it depends on.
    Node(usize),
    /// A node that has failed: the same, and `error`.
    FailedNode(usize),
    /// Any node that has failed (the workflow's defaults): `error`, and no node.
    AnyFailedNode,
    /// An edge: the node that it leaves, and what that depends on.
    Edge(Option<usize>),
    /// The run's outputs: every node.
    Run,
}

/// A reference to be judged against the graph.
struct Pending {
    pair: (usize, usize),
    path: String,
    inside: Range<usize>,
}

impl Checks<'_> {
    pub(super) fn expressions(&mut self) {
        let mut pending = Vec::new();
        let root = At::ROOT;
        let spec: &WorkflowSpec = self.spec;
        if let Some(output) = spec.defaults.as_ref().and_then(|defaults| defaults.on_failure.as_ref()?.output.as_ref())
        {
            self.template(output, "/defaults/on_failure/output", Reader::AnyFailedNode, &mut pending);
        }
        let nodes = root.key("nodes");
        for (index, node) in spec.nodes.iter().enumerate() {
            let at = nodes.index(index);
            if let Some(when) = &node.when {
                self.condition(when, &at.key("when"), Reader::Node(index), &mut pending);
            }
            for (name, value) in &node.spec.inputs {
                if may_hold_expressions(value) {
                    let path = at.key("inputs").key(name).to_string();
                    self.template(value, &path, Reader::Node(index), &mut pending);
                }
            }
            if let Some(output) = node.on_failure.as_ref().and_then(|on_failure| on_failure.output.as_ref()) {
                let path = at.key("on_failure").key("output").to_string();
                self.template(output, &path, Reader::FailedNode(index), &mut pending);
            }
        }
        let edges = root.key("edges");
        for (index, edge) in spec.edges.iter().enumerate() {
            if let Some(when) = edge.when() {
                let from = self.graph.index_of(edge.from().as_str());
                self.condition(when, &edges.index(index).key("when"), Reader::Edge(from), &mut pending);
            }
        }
        for (name, value) in spec.outputs.iter().flatten() {
            let path = root.key("outputs").key(name).to_string();
            self.template(value, &path, Reader::Run, &mut pending);
        }
        self.judge(&pending);
    }

    fn condition(&mut self, source: &str, at: &At<'_>, reader: Reader, pending: &mut Vec<Pending>) {
        let trimmed = source.trim();
        if trimmed.starts_with("{{") && trimmed.ends_with("}}") {
            let bare = trimmed[2..trimmed.len() - 2].trim();
            let problem = Problem::new(&codes::BRACES_IN_CONDITION, at, "a condition is an expression without braces");
            self.add(problem.help(format!("write `{bare}`")));
            return;
        }
        match Expression::compile(source) {
            Ok(expression) => self.uses(&expression, 0, &at.to_string(), reader, pending),
            Err(error) => self.broken(error, at.to_string()),
        }
    }

    fn template(&mut self, value: &Value, path: &str, reader: Reader, pending: &mut Vec<Pending>) {
        match Template::compile(value) {
            Ok(template) => {
                for (pointer, start, expression) in template.expressions() {
                    self.uses(expression, start, &format!("{path}{pointer}"), reader, pending);
                }
            }
            Err(errors) => {
                for broken in errors {
                    self.broken(broken.error, format!("{path}{}", broken.pointer));
                }
            }
        }
    }

    fn broken(&mut self, error: ExprError, path: String) {
        let code = match error.kind {
            ExprErrorKind::TooComplex => &codes::EXPRESSION_TOO_COMPLEX,
            ExprErrorKind::UnknownName => &codes::UNKNOWN_NAME,
            ExprErrorKind::Syntax | ExprErrorKind::Evaluation => &codes::BAD_EXPRESSION,
        };
        self.add(Problem::new(code, path, error.message).maybe_help(error.help).inside(error.offset));
    }

    /// Looks at every name that an expression uses.
    fn uses(&mut self, expression: &Expression, start: usize, path: &str, reader: Reader, pending: &mut Vec<Pending>) {
        for PathUse { path: used, offset } in expression.uses() {
            let inside = offset.start + start..offset.end + start;
            let first = used.steps.first().map(Step::as_name);
            let problem = match (used.root, first) {
                ("params", Some(name)) if self.spec.params.contains_key(&name) => None,
                ("params", Some(name)) => {
                    let help = self
                        .nearest
                        .help(&name, self.spec.params.keys().map(String::as_str))
                        .unwrap_or_else(|| format!("declare it: `params: {{ {name}: {{ type: string }} }}`"));
                    let message = format!("the workflow declares no param `{name}`");
                    Some(Problem::new(&codes::UNKNOWN_PARAM, path, message).help(help))
                }
                ("nodes", Some(id)) => self.node_use(&id, &used.steps, path, &inside, reader, pending),
                ("nodes", None) => {
                    let message = "which nodes are read must be written out";
                    Some(Problem::new(&codes::DYNAMIC_REFERENCE, path, message).help("write `nodes.ID.output`"))
                }
                ("run", Some(field)) if !RUN_FIELDS.contains(&field.as_str()) => Some(if field == "cost" {
                    let message = "`run.cost` is part of the language but not built in this version";
                    Problem::new(&codes::NOT_AVAILABLE, path, message)
                } else {
                    let help = self.nearest.help(&field, RUN_FIELDS);
                    let message = format!("`run` has no field `{field}`");
                    Problem::new(&codes::UNKNOWN_NAME, path, message)
                        .help(help.unwrap_or_else(|| "it has `id`, `workflow_id` and `status`".to_owned()))
                }),
                ("error", _) if matches!(reader, Reader::FailedNode(_) | Reader::AnyFailedNode) => None,
                ("params" | "run", _) => None,
                ("error", _) => Some(Self::out_of_place("error", path)),
                _ => None,
            };
            if let Some(problem) = problem {
                self.add(problem.inside(inside));
            }
        }
    }

    fn out_of_place(name: &str, path: &str) -> Problem {
        let help = "`error` is that of the node itself, in `on_failure.output`; of another: `nodes.ID.error`";
        Problem::new(&codes::UNKNOWN_NAME, path, format!("`{name}` has no value in this place")).help(help)
    }

    fn node_use(
        &mut self,
        id: &str,
        steps: &[Step],
        path: &str,
        inside: &Range<usize>,
        reader: Reader,
        pending: &mut Vec<Pending>,
    ) -> Option<Problem> {
        let Some(target) = self.graph.index_of(id) else {
            let dotted = format!("{id}.");
            let longer = self.graph.ids().find(|known| known.starts_with(&dotted));
            let help = match longer {
                Some(known) => Some(format!("an id with a dot is written `nodes[\"{known}\"]`")),
                None => self.nearest.help(id, self.graph.ids()),
            };
            return Some(Problem::new(&codes::UNKNOWN_NODE, path, format!("there is no node `{id}`")).maybe_help(help));
        };
        if let Some(field) = steps.get(1).map(Step::as_name)
            && !NODE_FIELDS.contains(&field.as_str())
        {
            let help = match self.nearest.of(&field, NODE_FIELDS) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => format!("what it produced is in `output`: `nodes.{id}.output.{field}`"),
            };
            return Some(Problem::new(&codes::UNKNOWN_NAME, path, format!("a node has no field `{field}`")).help(help));
        }
        let node = match reader {
            Reader::Run => return None,
            Reader::Edge(Some(from)) if from == target => return None,
            Reader::Edge(Some(node)) | Reader::Node(node) | Reader::FailedNode(node) => node,
            Reader::AnyFailedNode => {
                let message = "the defaults of all nodes cannot read one of them";
                return Some(Problem::new(&codes::NOT_AN_ANCESTOR, path, message));
            }
            Reader::Edge(None) => return None,
        };
        let direct =
            u32::try_from(target).is_ok_and(|target| self.graph.dependencies[node].binary_search(&target).is_ok());
        if !direct && self.spec.nodes[node].id.as_str() != UNREADABLE {
            pending.push(Pending { pair: (node, target), path: path.to_owned(), inside: inside.clone() });
        }
        None
    }

    /// Reports the references to nodes that are not ancestors.
    fn judge(&mut self, pending: &[Pending]) {
        let pairs: Vec<_> = pending.iter().map(|one| one.pair).collect();
        let mut wrong = self.graph.not_ancestors(&pairs);
        wrong.truncate(PROBLEMS_MAX + 1);
        // The other way round: which of them even run after the node that wants to read them?
        let reversed: Vec<_> = wrong.iter().map(|number| (pairs[*number].1, pairs[*number].0)).collect();
        let mut runs_after: Vec<bool> = reversed.iter().map(|(read, _)| self.graph.in_order[*read]).collect();
        for position in self.graph.not_ancestors(&reversed) {
            runs_after[position] = false;
        }
        for (number, runs_after) in wrong.into_iter().zip(runs_after) {
            let Pending { pair: (node, target), path, inside } = &pending[number];
            let (reader, read) = (&self.spec.nodes[*node].id, &self.spec.nodes[*target].id);
            let (message, help) = if node == target {
                (format!("`{reader}` cannot read its own output: it has none before it runs"), None)
            } else if runs_after {
                (format!("`{reader}` cannot read `{read}`, which runs after it"), None)
            } else {
                let message = format!("`{reader}` does not depend on `{read}`, so its output may not be there yet");
                (message, Some(format!("add `{read}` to the `depends_on` of `{reader}`")))
            };
            let problem = Problem::new(&codes::NOT_AN_ANCESTOR, path, message).maybe_help(help);
            self.add(problem.inside(inside.clone()));
        }
    }
}

fn may_hold_expressions(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('{'),
        Value::Array(_) | Value::Object(_) => true,
        _ => false,
    }
}
