//! Joins that can never hold.

use super::Checks;
use crate::spec::{
    FailureAction, Join, codes,
    problem::{At, Problem},
};

impl Checks<'_> {
    pub(super) fn joins(&mut self) {
        let root = At::ROOT;
        let nodes = root.key("nodes");
        let spec = self.spec;
        for (index, node) in spec.nodes.iter().enumerate() {
            if node.join == Join::NoFailure {
                continue;
            }
            let node_at = nodes.index(index);
            let at = node_at.key("join");
            let name = node.join.as_str();
            let declared = !node.depends_on.is_empty() || spec.edges.iter().any(|edge| edge.to() == &node.id);
            let dependencies = &self.graph.dependencies[index];
            if !declared {
                let message = format!("`join: {name}` has nothing to join: `{}` depends on no node", node.id);
                let code = match node.join {
                    Join::AnyFailure | Join::AnySuccess => &codes::JOIN_NEVER_FIRES,
                    _ => &codes::JOIN_WITHOUT_DEPENDENCIES,
                };
                self.add(Problem::new(code, at, message).help(codes::JOIN_WITHOUT_DEPENDENCIES.cure));
                continue;
            }
            if dependencies.is_empty() {
                continue;
            }
            match node.join {
                Join::AnyFailure if dependencies.iter().all(|on| self.never_fails(*on as usize)) => {
                    let message = format!(
                        "`{}` runs only when a dependency fails, but all of them have `on_failure: continue`, \
                         which counts as success",
                        node.id
                    );
                    self.add(
                        Problem::new(&codes::JOIN_NEVER_FIRES, at, message)
                            .help("remove `on_failure: continue` from a dependency, or use another join"),
                    );
                }
                Join::AllSuccess => {
                    let handler =
                        dependencies.iter().map(|on| *on as usize).find(|on| self.is_handler_of(*on, dependencies));
                    if let Some(handler) = handler {
                        let message = format!(
                            "`{}` needs all its dependencies to succeed, but `{}` runs only when one of the others fails",
                            node.id, spec.nodes[handler].id
                        );
                        self.add(
                            Problem::new(&codes::JOIN_NEVER_FIRES, at, message)
                                .help("use `join: any_success`, or `all_done`"),
                        );
                    }
                }
                _ => {}
            }
        }
    }

    /// Do dependents see the node as succeeded even if it fails?
    fn never_fails(&self, node: usize) -> bool {
        let own = self.spec.nodes[node].on_failure.as_ref();
        let default = || self.spec.defaults.as_ref().and_then(|defaults| defaults.on_failure.as_ref());
        own.or_else(default).is_some_and(|on_failure| on_failure.action == FailureAction::Continue)
    }

    /// Does the node run only if one of `others` fails?
    fn is_handler_of(&self, node: usize, others: &[u32]) -> bool {
        let own = &self.graph.dependencies[node];
        self.spec.nodes[node].join == Join::AnyFailure
            && !own.is_empty()
            && own.iter().all(|on| others.binary_search(on).is_ok())
    }
}
