//! `limits`: declared, in range, named where there is something to limit, with keys that can be evaluated.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Checks,
    expressions::{Reader, Who},
    names::NodeNames,
};
use crate::{
    expr::Expression,
    spec::{
        LIMITS_OF_A_NODE_MAX, codes,
        decode::UNREADABLE,
        is_limit_name,
        problem::{At, Problem},
    },
};

impl<'s> Checks<'s> {
    /// Everything but the keys.
    pub(super) fn named_limits(&mut self) {
        let (spec, layout) = (self.spec, self.layout);
        let limits_at = At::ROOT.key("limits");
        for (name, limit) in &spec.limits {
            let at = limits_at.key(name);
            if !is_limit_name(name) {
                let message = format!("`{name}` cannot name a limit");
                let help = "1 to 128 of A-Z a-z 0-9 _ . - : / @, beginning with a letter, a digit or _";
                self.add(Problem::new(&codes::BAD_ID, at, message).help(help).on_key());
            }
            for (field, message) in limit.out_of_range() {
                self.add(Problem::new(&codes::OUT_OF_RANGE, at.key(field), message));
            }
        }
        let mut used: BTreeSet<&'s str> = BTreeSet::new();
        if let Some(names) = spec.defaults.as_ref().and_then(|defaults| defaults.limits.as_ref()) {
            self.names_of_limits(names, &At::ROOT.key("defaults").key("limits"), &mut used);
        }
        for member in &layout.nodes {
            if let Some(names) = &member.node.limits {
                self.names_of_limits(names, &member.at().key("limits"), &mut used);
            }
        }
        for name in spec.limits.keys().filter(|name| !used.contains(name.as_str())) {
            let message = format!("the limit `{name}` is named by no node");
            let problem = Problem::new(&codes::UNUSED_LIMIT, limits_at.key(name), message);
            self.add(problem.help(codes::UNUSED_LIMIT.cure).on_key());
        }
    }

    fn names_of_limits(&mut self, names: &'s [String], at: &At<'_>, used: &mut BTreeSet<&'s str>) {
        if names.len() > LIMITS_OF_A_NODE_MAX {
            let message = format!("a node names {LIMITS_OF_A_NODE_MAX} limits at most; this has {}", names.len());
            self.add(Problem::new(&codes::OUT_OF_RANGE, at, message));
        }
        for (index, name) in names.iter().enumerate() {
            used.insert(name);
            if name != UNREADABLE && !self.spec.limits.contains_key(name) {
                self.maybe_unknown(name, &at.index(index));
            }
        }
    }

    /// What the document does not declare may be one of the configuration, as far as that is known here.
    fn maybe_unknown(&mut self, name: &str, at: &At<'_>) {
        let Some(configured) = &self.options.limits else { return };
        if configured.iter().any(|known| known == name) {
            return;
        }
        let known = self.spec.limits.keys().chain(configured).map(String::as_str);
        let help = self.nearest.help(name, known).unwrap_or_else(|| {
            format!("declare it: `limits: {{ {name}: {{ concurrent: 1 }} }}`; for all workflows: `[limits.\"{name}\"]` in segue.toml")
        });
        let message = format!("neither the workflow nor the configuration has a limit `{name}`");
        self.add(Problem::new(&codes::UNKNOWN_LIMIT, at, message).help(help));
    }

    /// The keys, as each node that names them reads them.
    pub(super) fn limit_keys(&mut self, names: &[NodeNames]) {
        let (spec, layout) = (self.spec, self.layout);
        let limits_at = At::ROOT.key("limits");
        let defaults = spec.defaults.as_ref().and_then(|defaults| defaults.limits.as_ref());
        let mut keys: BTreeMap<&str, Option<Expression>> = BTreeMap::new();
        for (name, limit) in &spec.limits {
            let Some(key) = &limit.key else { continue };
            let at = limits_at.key(name);
            keys.insert(name, self.expression(key, &at.key("key")));
        }
        let mut done: BTreeSet<&str> = BTreeSet::new();
        for (number, member) in layout.nodes.iter().enumerate().filter(|(_, member)| member.node.has_handler()) {
            for name in member.node.limits.as_ref().or(defaults).into_iter().flatten() {
                let Some(Some(key)) = keys.get(name.as_str()) else { continue };
                // What depends on no node is as right or wrong for the next one.
                let references = key.references();
                let is_common = references.nodes.is_empty() && references.names.is_empty();
                if is_common && !done.insert(name) {
                    continue;
                }
                let at = limits_at.key(name);
                self.uses(
                    key,
                    0,
                    &at.key("key").to_string(),
                    Reader { who: Who::Node(number), names: names[number].work },
                );
            }
        }
    }
}
