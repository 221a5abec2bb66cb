//! The rules of meaning, on the types: the same for a document and for a specification built in Rust.
//!
//! All nodes of a document, those inside groups and those of `on_failure` and `finally` too, stand in one [`Layout`], and
//! what depends on what in one [`Graph`]; the rules walk these. Linear in the size of the workflow, whatever it refers to.

mod dependencies;
mod expressions;
mod graph;
mod ids;
mod joins;
mod layout;
mod limits;
mod loops;
mod named_limits;
mod names;
mod params;
mod references;
mod secrets;
mod work;

use std::collections::BTreeMap;

use expressions::Pending;
use graph::Graph;
use layout::Layout;

use super::{
    Diagnostic, Mismatch, WorkflowSpec, codes,
    decode::Decoder,
    problem::{At, Problem, Problems},
};
use crate::{expr::Nearest, ids::HandlerId};

/// What the checks know of their surroundings.
#[derive(Debug, Clone, Default)]
pub struct CheckOptions {
    /// The handlers that exist. Empty: handlers are not checked.
    pub handlers: Vec<HandlerId>,
    /// What carries out nodes that name no handler.
    pub default_handler: Option<HandlerId>,
    /// The limits of the configuration. None: it is not known here, and names that the document does not declare are not
    /// checked.
    pub limits: Option<Vec<String>>,
}

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
    let layout = Layout::of(spec);
    let graph = Graph::of(&layout);
    let mut checks = Checks {
        spec,
        options,
        layout: &layout,
        graph: &graph,
        problems,
        nearest: Nearest::default(),
        pending: Vec::new(),
        schemas: BTreeMap::new(),
    };
    checks.ids();
    checks.handlers();
    checks.work();
    checks.limits();
    checks.named_limits();
    checks.dependencies();
    checks.cycles();
    checks.joins();
    let in_loop = checks.loops();
    let params = At::ROOT.key("params");
    let mut decoder = Decoder::new(checks.problems);
    for (name, param) in &spec.params {
        decoder.param(param, &params.key(name));
    }
    checks.secrets();
    checks.expressions(&in_loop);
}

/// What the checks share.
struct Checks<'s> {
    spec: &'s WorkflowSpec,
    options: &'s CheckOptions,
    layout: &'s Layout<'s>,
    graph: &'s Graph,
    problems: &'s mut Problems,
    nearest: Nearest,
    /// References that are still to be judged against the graph.
    pending: Vec<Pending>,
    /// The output schemas so far, by their text, each with what is wrong with it.
    schemas: BTreeMap<String, Vec<Mismatch>>,
}

impl Checks<'_> {
    fn add(&mut self, problem: Problem) {
        self.problems.add(problem);
    }
}
