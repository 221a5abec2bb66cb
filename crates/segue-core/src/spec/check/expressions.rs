//! Conditions and templates: where they stand, and whether they compile.

use std::ops::Range;

use serde_json::Value;

use super::{
    Checks,
    names::{Names, NodeNames},
};
use crate::{
    expr::{ExprError, ExprErrorKind, Expression, Scope, Template},
    spec::{
        FailureAction, TaskNode, codes,
        decode::kind_of,
        problem::{At, Problem},
    },
};

/// Whose expression it is: decides what it may read.
#[derive(Clone, Copy)]
pub(super) struct Reader {
    pub(super) who: Who,
    pub(super) names: Names,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Who {
    /// A node: what it depends on, and what the groups around it depend on.
    Node(usize),
    /// An edge: the node that it leaves, and what that may read.
    Edge(Option<usize>),
    /// What comes when all nodes of a block have ended: the outputs of the run, or of a group.
    Block(usize),
    /// Any node (the workflow's defaults): no node.
    AnyNode,
}

/// A reference to be judged against the graph.
pub(super) struct Pending {
    /// Does the first depend on the second?
    pub(super) pair: (usize, usize),
    /// The node that reads.
    pub(super) reader: usize,
    pub(super) path: String,
    pub(super) inside: Range<usize>,
}

impl Checks<'_> {
    pub(super) fn expressions(&mut self, in_loop: &[bool]) {
        let names = self.names(in_loop);
        let (spec, layout) = (self.spec, self.layout);
        let root = At::ROOT;
        if let Some(output) = spec.defaults.as_ref().and_then(|defaults| defaults.on_failure.as_ref()?.output.as_ref())
        {
            let reader = Reader { who: Who::AnyNode, names: Names::ERROR };
            self.template(output, "/defaults/on_failure/output", reader);
        }
        for (number, member) in layout.nodes.iter().enumerate() {
            self.node_expressions(number, member.node, &member.at(), &names[number]);
            if let (Some(block), Some(group)) = (member.inner, &member.node.group)
                && let Some(output) = &group.output
            {
                let reader = Reader { who: Who::Block(block), names: names[number].work };
                self.template(output, &member.at().key("group").key("output").to_string(), reader);
            }
        }
        for (number, block) in layout.blocks.iter().enumerate() {
            let edges = At::pointer(&block.edges_path);
            for (index, edge) in block.edges.iter().enumerate() {
                let Some(when) = edge.when() else { continue };
                let from = layout.find(number, edge.from().as_str());
                let names = from.map_or(Names::NONE, |from| names[from].outer);
                self.condition(when, &edges.index(index).key("when"), Reader { who: Who::Edge(from), names });
            }
        }
        for (name, value) in spec.outputs.iter().flatten() {
            let reader = Reader { who: Who::Block(0), names: Names::NONE };
            self.template(value, &root.key("outputs").key(name).to_string(), reader);
        }
        self.limit_keys(&names);
        self.judge(in_loop);
    }

    fn node_expressions(&mut self, number: usize, node: &TaskNode, at: &At<'_>, names: &NodeNames) {
        let reader = |names| Reader { who: Who::Node(number), names };
        let work = reader(names.work);
        if let Some(when) = &node.when {
            self.condition(when, &at.key("when"), reader(names.outer));
        }
        match &node.foreach {
            Some(Value::String(items)) => self.items(items, &at.key("foreach"), reader(names.outer)),
            Some(list) => self.template(list, &at.key("foreach").to_string(), reader(names.outer)),
            None => {}
        }
        for (name, value) in &node.spec.inputs {
            if may_hold_expressions(value) {
                self.template(value, &at.key("inputs").key(name).to_string(), work);
            }
        }
        if let Some(until) = node.repeat.as_ref().and_then(|repeat| repeat.until.as_ref()) {
            let names = names.work.and(Names::OUTPUT);
            self.condition(until, &at.key("repeat").key("until"), reader(names));
        }
        if let Some(approval) = &node.approval {
            let at = at.key("approval");
            self.text(&approval.title, &at.key("title"), work);
            self.text(approval.message.as_deref().unwrap_or_default(), &at.key("message"), work);
        }
        if let Some(wait) = &node.wait {
            let at = at.key("wait");
            self.text(wait.until.as_deref().unwrap_or_default(), &at.key("until"), work);
            self.text(wait.event.as_deref().unwrap_or_default(), &at.key("event"), work);
            if let Some(matches) = &wait.matches {
                let names = names.work.and(Names::OUTPUT);
                self.condition(matches, &at.key("match"), reader(names));
            }
        }
        if let Some(key) = node.cache.as_ref().and_then(|cache| cache.key.as_ref()) {
            self.text(key, &at.key("cache").key("key"), work);
        }
        if let Some(on_failure) = &node.on_failure
            && let Some(output) = &on_failure.output
            && on_failure.action != FailureAction::Pause
        {
            let names = names.instance.and(Names::ERROR);
            self.template(output, &at.key("on_failure").key("output").to_string(), reader(names));
        }
    }

    /// `foreach`: an expression that gives a list. One that reads nothing can be asked now.
    fn items(&mut self, source: &str, at: &At<'_>, reader: Reader) {
        let Some(expression) = self.condition(source, at, reader) else { return };
        if !expression.references().is_empty() {
            return;
        }
        let message = match expression.evaluate(&Scope::default()) {
            Ok(Value::Array(_)) => return,
            Ok(other) => format!("`foreach` needs a list; this gives {}", kind_of(&other)),
            Err(error) => format!("`foreach` needs a list; this gives none: {}", error.message),
        };
        let help = "write `foreach: nodes.ID.output.items`, or a list: `foreach: [a, b]`";
        self.add(Problem::new(&codes::WRONG_TYPE, at, message).help(help));
    }

    fn condition(&mut self, source: &str, at: &At<'_>, reader: Reader) -> Option<Expression> {
        let expression = self.expression(source, at)?;
        self.uses(&expression, 0, &at.to_string(), reader);
        Some(expression)
    }

    /// An expression without braces, as such.
    pub(super) fn expression(&mut self, source: &str, at: &At<'_>) -> Option<Expression> {
        let trimmed = source.trim();
        if trimmed.len() >= 4 && trimmed.starts_with("{{") && trimmed.ends_with("}}") {
            let bare = trimmed[2..trimmed.len() - 2].trim();
            let problem = Problem::new(&codes::BRACES_IN_CONDITION, at, "this is an expression, which has no braces");
            self.add(problem.help(format!("write `{bare}`")));
            return None;
        }
        match Expression::compile(source) {
            Ok(expression) => Some(expression),
            Err(error) => {
                self.broken(error, at.to_string());
                None
            }
        }
    }

    fn text(&mut self, text: &str, at: &At<'_>, reader: Reader) {
        if text.contains('{') {
            self.template(&Value::from(text), &at.to_string(), reader);
        }
    }

    fn template(&mut self, value: &Value, path: &str, reader: Reader) {
        match Template::compile(value) {
            Ok(template) => {
                for (pointer, start, expression) in template.expressions() {
                    self.uses(expression, start, &format!("{path}{pointer}"), reader);
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
}

fn may_hold_expressions(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('{'),
        Value::Array(_) | Value::Object(_) => true,
        _ => false,
    }
}
