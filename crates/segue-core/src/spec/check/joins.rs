//! Joins that can never hold.

use serde_json::Value;

use super::Checks;
use crate::spec::{
    FailureAction, Join, codes,
    problem::{At, Problem},
};

impl Checks<'_> {
    pub(super) fn joins(&mut self) {
        for (number, member) in self.layout.nodes.iter().enumerate() {
            if member.node.join != Join::NoFailure {
                self.join(number, member.node.join, &member.at().key("join"));
            }
        }
    }

    fn join(&mut self, number: usize, join: Join, at: &At<'_>) {
        let (id, name) = (self.layout.id(number), join.as_str());
        let dependencies = &self.graph.dependencies[number];
        if !self.graph.declared[number] {
            let message = format!("`join: {name}` has nothing to join: `{id}` depends on no node");
            let code = match join {
                Join::AnyFailure | Join::AnySuccess => &codes::JOIN_NEVER_FIRES,
                _ => &codes::JOIN_WITHOUT_DEPENDENCIES,
            };
            self.add(Problem::new(code, at, message).help(codes::JOIN_WITHOUT_DEPENDENCIES.cure));
            return;
        }
        if dependencies.is_empty() {
            return;
        }
        match join {
            Join::AnyFailure if dependencies.iter().all(|on| self.never_fails(*on as usize)) => {
                let waits = dependencies.iter().any(|on| self.only_waits(*on as usize));
                let (why, help) = if waits {
                    ("a wait for a time does not fail", "use another join")
                } else {
                    (
                        "`on_failure: continue` counts as success",
                        "remove `on_failure: continue` from a dependency, or use another join",
                    )
                };
                let message = format!("`{id}` runs only when a dependency fails, but none of them can: {why}");
                self.add(Problem::new(&codes::JOIN_NEVER_FIRES, at, message).help(help));
            }
            Join::AllSuccess => {
                let handler =
                    dependencies.iter().map(|on| *on as usize).find(|on| self.is_handler_of(*on, dependencies));
                if let Some(handler) = handler {
                    let message = format!(
                        "`{id}` needs all its dependencies to succeed, but `{}` runs only when one of the others fails",
                        self.layout.id(handler)
                    );
                    let help = "use `join: any_success`, or `all_done`";
                    self.add(Problem::new(&codes::JOIN_NEVER_FIRES, at, message).help(help));
                }
            }
            _ => {}
        }
    }

    /// Do dependents see the node as succeeded even if it fails?
    fn never_fails(&self, number: usize) -> bool {
        let node = self.layout.nodes[number].node;
        // With `foreach`, `continue` is for the instances: the list itself may still be none.
        let has_list = matches!(&node.foreach, None | Some(Value::Array(_)));
        let default = || self.spec.defaults.as_ref().and_then(|defaults| defaults.on_failure.as_ref());
        let on_failure = node.on_failure.as_ref().or_else(default);
        let continues = on_failure.is_some_and(|on_failure| on_failure.action == FailureAction::Continue);
        (continues && has_list) || self.only_waits(number)
    }

    /// Does the node nothing but let time pass, with nothing that could go wrong?
    fn only_waits(&self, number: usize) -> bool {
        let node = self.layout.nodes[number].node;
        let plain = node.when.is_none() && node.foreach.is_none() && node.repeat.is_none();
        plain && node.deadline_seconds.is_none() && node.wait.as_ref().is_some_and(|wait| wait.seconds.is_some())
    }

    /// Does the node run only if one of `others` fails?
    fn is_handler_of(&self, number: usize, others: &[u32]) -> bool {
        let own = &self.graph.dependencies[number];
        self.layout.nodes[number].node.join == Join::AnyFailure
            && !own.is_empty()
            && own.iter().all(|on| others.binary_search(on).is_ok())
    }
}
