//! The rules of meaning, on the types: the same for a document and for a specification built in Rust.
//!
//! Linear in the size of the workflow, whatever it refers to.

mod expressions;
mod graph;
mod joins;
mod limits;
mod params;

use graph::Graph;

use super::{
    Diagnostic, WorkflowSpec, codes,
    decode::{Decoder, UNREADABLE},
    problem::{At, Problem, Problems},
};
use crate::{
    expr::Nearest,
    ids::{HandlerId, is_valid_name},
};

/// What the checks know of their surroundings.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// The handlers that exist. Empty: handlers are not checked.
    pub handlers: Vec<HandlerId>,
    /// What carries out nodes that name no handler.
    pub default_handler: Option<HandlerId>,
}

/// The handlers that the language knows, whether or not they are there.
const LANGUAGE_HANDLERS: [&str; 12] = [
    "crewai.agent",
    "crewai.crew",
    "crewai.flow",
    "crewai.remote",
    "langchain.runnable",
    "langgraph.graph",
    "langgraph.remote",
    "python.call",
    "llm.chat",
    "http.request",
    "process.run",
    "pass",
];

/// What is wrong with `spec`, all at once, in the order of the document's fields. Empty: it can run, as far as the core
/// can tell; adapters look at their own nodes.
pub fn check(spec: &WorkflowSpec, options: &CheckOptions) -> Vec<Diagnostic> {
    let mut problems = Problems::default();
    run(spec, options, &mut problems);
    let mut diagnostics: Vec<_> = problems.list.into_iter().map(Problem::into_diagnostic).collect();
    if problems.overflow {
        diagnostics.push(too_many());
    }
    diagnostics
}

/// Says that some problems are not listed.
pub(crate) fn too_many() -> Diagnostic {
    let message = format!("there are more than {} problems; the rest is not listed", super::problem::PROBLEMS_MAX);
    Problem::new(&codes::TOO_MANY_PROBLEMS, "", message).help(codes::TOO_MANY_PROBLEMS.cure).into_diagnostic()
}

/// All checks.
pub(crate) fn run(spec: &WorkflowSpec, options: &CheckOptions, problems: &mut Problems) {
    let graph = Graph::of(spec);
    let mut checks = Checks { spec, options, graph: &graph, problems, nearest: Nearest::default() };
    checks.ids();
    checks.handlers();
    checks.limits();
    checks.dependencies();
    checks.cycles();
    checks.joins();
    let params = At::ROOT.key("params");
    let mut decoder = Decoder::new(checks.problems);
    for (name, param) in &spec.params {
        decoder.param(param, &params.key(name));
    }
    checks.expressions();
}

/// What the checks share.
struct Checks<'s> {
    spec: &'s WorkflowSpec,
    options: &'s CheckOptions,
    graph: &'s Graph<'s>,
    problems: &'s mut Problems,
    nearest: Nearest,
}

impl Checks<'_> {
    fn add(&mut self, problem: Problem) {
        self.problems.add(problem);
    }

    fn ids(&mut self) {
        let root = At::ROOT;
        self.id(self.spec.id.as_str(), "workflow", &root.key("id"));
        if self.spec.nodes.is_empty() {
            self.add(Problem::new(&codes::NO_NODES, "/nodes", "the workflow has no nodes"));
        }
        let nodes = root.key("nodes");
        for (index, node) in self.spec.nodes.iter().enumerate() {
            let at = nodes.index(index);
            let id = node.id.as_str();
            self.id(id, "node", &at.key("id"));
            if let Some(first) = self.graph.index_of(id).filter(|first| *first != index) {
                let message = format!("the id `{id}` is taken: it is that of node {} of the list already", first + 1);
                self.add(Problem::new(&codes::DUPLICATE_ID, at.key("id"), message));
            }
        }
    }

    fn id(&mut self, id: &str, what: &str, at: &At<'_>) {
        if id == UNREADABLE || is_valid_name(id) {
            return;
        }
        let shown: String = id.chars().take(40).collect();
        let suggestion = suggest(id);
        let help = if suggestion.is_empty() { codes::BAD_ID.cause.to_owned() } else { format!("write `{suggestion}`") };
        let message = format!(
            "`{shown}` is not a {what} id: 1 to 128 characters of A-Z a-z 0-9 _ . - and not starting with . or -"
        );
        self.add(Problem::new(&codes::BAD_ID, at, message).help(help));
    }

    fn handlers(&mut self) {
        if self.options.handlers.is_empty() {
            return;
        }
        let root = At::ROOT;
        if let Some(handler) = self.spec.defaults.as_ref().and_then(|defaults| defaults.task.as_ref()) {
            self.handler(handler, &root.key("defaults").key("task"));
        }
        let nodes = root.key("nodes");
        for (index, node) in self.spec.nodes.iter().enumerate() {
            if let Some(handler) = &node.spec.task {
                self.handler(handler, &nodes.index(index).key("task"));
            }
        }
        let has_default = self.spec.defaults.as_ref().is_some_and(|defaults| defaults.task.is_some());
        if let (Some(handler), false) = (&self.options.default_handler, has_default)
            && let Some(index) = self.spec.nodes.iter().position(|node| node.spec.task.is_none())
        {
            self.handler(handler, &nodes.index(index));
        }
    }

    fn handler(&mut self, handler: &HandlerId, at: &At<'_>) {
        let known = &self.options.handlers;
        if known.contains(handler) {
            return;
        }
        let name = handler.as_str();
        if LANGUAGE_HANDLERS.contains(&name) {
            let message = format!("the handler `{name}` is part of the language but not built in this version");
            self.add(Problem::new(&codes::NOT_AVAILABLE, at, message));
            return;
        }
        let help = self.nearest.help(name, known.iter().map(HandlerId::as_str)).unwrap_or_else(|| {
            let names: Vec<_> = known.iter().map(HandlerId::as_str).collect();
            format!("there are {}", names.join(", "))
        });
        self.add(Problem::new(&codes::UNKNOWN_HANDLER, at, format!("there is no handler `{name}`")).help(help));
    }
}

/// The id that was probably meant by one that is not allowed.
fn suggest(id: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-') { c } else { '_' };
    let id: String = id.trim().chars().take(128).map(allowed).collect();
    id.trim_start_matches(['.', '-']).trim_end_matches('_').to_owned()
}
