//! What expressions read: is it there, and is it there in time?

use std::ops::Range;

use super::{
    Checks,
    expressions::{Pending, Reader, Who},
    layout::Part,
};
use crate::{
    expr::{Expression, NODE_FIELDS, PathUse, RUN_FIELDS, Step},
    spec::{
        codes,
        decode::UNREADABLE,
        problem::{PROBLEMS_MAX, Problem},
    },
};

impl Checks<'_> {
    /// Looks at every name that an expression uses.
    pub(super) fn uses(&mut self, expression: &Expression, start: usize, path: &str, reader: Reader) {
        for PathUse { path: used, offset } in expression.uses() {
            let inside = offset.start + start..offset.end + start;
            let first = used.steps.first().map(Step::as_name);
            let problem = match (used.root, first) {
                ("params", Some(name)) => self.param_use(&name, path),
                ("nodes", Some(id)) => self.node_use(&id, &used.steps, path, &inside, reader),
                ("nodes", None) => {
                    let message = "which nodes are read must be written out";
                    Some(Problem::new(&codes::DYNAMIC_REFERENCE, path, message).help("write `nodes.ID.output`"))
                }
                ("run", Some(field)) => self.run_use(&field, path),
                ("params" | "run", None) => None,
                (name, _) if reader.names.has(name) => None,
                (name, _) => Some(Self::out_of_place(name, path, reader.names)),
            };
            if let Some(problem) = problem {
                self.add(problem.inside(inside));
            }
        }
    }

    fn param_use(&mut self, name: &str, path: &str) -> Option<Problem> {
        let params = &self.spec.params;
        if params.contains_key(name) {
            return None;
        }
        let help = self
            .nearest
            .help(name, params.keys().map(String::as_str))
            .unwrap_or_else(|| format!("declare it: `params: {{ {name}: {{ type: string }} }}`"));
        let message = format!("the workflow declares no param `{name}`");
        Some(Problem::new(&codes::UNKNOWN_PARAM, path, message).help(help))
    }

    fn run_use(&mut self, field: &str, path: &str) -> Option<Problem> {
        if RUN_FIELDS.contains(&field) {
            return None;
        }
        if field == "cost" {
            let message = "`run.cost` is part of the language but not built in this version";
            return Some(Problem::new(&codes::NOT_AVAILABLE, path, message).help(codes::NOT_AVAILABLE.cure));
        }
        let help = self.nearest.help(field, RUN_FIELDS);
        let message = format!("`run` has no field `{field}`");
        let help = help.unwrap_or_else(|| "it has `id`, `workflow_id` and `status`".to_owned());
        Some(Problem::new(&codes::UNKNOWN_NAME, path, message).help(help))
    }

    fn node_use(
        &mut self,
        id: &str,
        steps: &[Step],
        path: &str,
        inside: &Range<usize>,
        reader: Reader,
    ) -> Option<Problem> {
        let layout = self.layout;
        let Some(target) = layout.index_of(id) else {
            let help = match layout.beginning_with(&format!("{id}.")) {
                Some(known) => Some(format!("an id with a dot is written `nodes[\"{known}\"]`")),
                None => self.nearest.help(id, layout.ids()),
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
        // From where it is read: a node, or the end of a block.
        let (node, block) = match reader.who {
            Who::Edge(None) => return None,
            Who::Edge(Some(from)) if from == target => return None,
            Who::Edge(Some(node)) | Who::Node(node) => (Some(node), layout.nodes[node].block),
            Who::Block(block) => (None, block),
            Who::AnyNode => {
                let message = "the defaults of all nodes cannot read one of them";
                let help = "write the `on_failure` of the node that is meant";
                return Some(Problem::new(&codes::NOT_AN_ANCESTOR, path, message).help(help));
            }
        };
        self.place_in_time(node, block, target, path, inside)
    }

    /// The node, or the group around it, that stands beside the target must come after it. The graph decides, later.
    fn place_in_time(
        &mut self,
        node: Option<usize>,
        mut block: usize,
        target: usize,
        path: &str,
        inside: &Range<usize>,
    ) -> Option<Problem> {
        let layout = self.layout;
        let (own_block, target_block) = (block, layout.nodes[target].block);
        let mut beside = node;
        while block != target_block {
            let Some(owner) = layout.blocks[block].owner else {
                let is_after_main = layout.blocks[block].part != Part::Main;
                if is_after_main && target_block == 0 {
                    return None;
                }
                return Some(self.out_of_sight(own_block, target, path));
            };
            (beside, block) = (Some(owner), layout.nodes[owner].block);
        }
        // What comes at the end of a block sees all of it.
        let beside = beside?;
        if layout.id(beside) != UNREADABLE && !self.graph.depends_directly(beside, target) {
            let (path, inside) = (path.to_owned(), inside.clone());
            self.pending.push(Pending { pair: (beside, target), reader: node.unwrap_or(beside), path, inside });
        }
        None
    }

    /// A node that cannot be seen from this block: inside a group, or of a part that comes later or not at all.
    fn out_of_sight(&self, block: usize, target: usize, path: &str) -> Problem {
        let layout = self.layout;
        let id = layout.id(target);
        let (part, other) = (layout.blocks[block].part, layout.block_of(target).part);
        let reaches = part == other || other == Part::Main;
        let from = if part == other { block } else { 0 };
        let group = if reaches { self.group_around(target, from) } else { None };
        let (message, help) = match group {
            Some(group) => {
                let group = layout.id(group);
                let message = format!("`{id}` is inside the group `{group}`, and cannot be seen from outside");
                let help = format!(
                    "read `nodes.{group}.output`, which holds the outputs of its final nodes or what its `output` says"
                );
                (message, help)
            }
            None => {
                let name = other.name();
                let message = format!("`{id}` is one of the nodes of `{name}`, and nothing else can read them");
                (message, "read nodes of `nodes`".to_owned())
            }
        };
        Problem::new(&codes::NOT_AN_ANCESTOR, path, message).help(help)
    }

    /// Reports the references to nodes that are not ancestors.
    pub(super) fn judge(&mut self, in_loop: &[bool]) {
        let pending = std::mem::take(&mut self.pending);
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
            let Pending { pair: (beside, target), reader, path, inside } = &pending[number];
            let (message, help) = self.not_in_time(*reader, *beside, *target, runs_after, in_loop);
            let problem = Problem::new(&codes::NOT_AN_ANCESTOR, path, message).maybe_help(help);
            self.add(problem.inside(inside.clone()));
        }
    }

    fn not_in_time(
        &self,
        reader: usize,
        beside: usize,
        target: usize,
        runs_after: bool,
        in_loop: &[bool],
    ) -> (String, Option<String>) {
        let (who, whole, what) = (self.layout.id(reader), self.layout.id(beside), self.layout.id(target));
        if beside == target && reader != beside {
            let message =
                format!("`{who}` is inside the group `{what}`, which has no output before all that is in it has ended");
            return (message, Some("read a node of the group that comes before".to_owned()));
        }
        if beside == target {
            let message = format!("`{who}` cannot read its own output: it has none before it runs");
            let help = "in a node with `repeat`, the output of the iteration before is `previous`".to_owned();
            return (message, Some(help));
        }
        if runs_after {
            let message = format!("`{who}` cannot read `{what}`, which runs after it");
            let help = if in_loop[beside] && in_loop[target] {
                "a loop edge runs all of its nodes anew; to read what came before, put them into a group with `repeat` and \
                 read `previous`"
                    .to_owned()
            } else {
                format!("let `{whole}` run after `{what}`, or read another node")
            };
            return (message, Some(help));
        }
        let message = format!("`{who}` does not depend on `{what}`, so its output may not be there yet");
        (message, Some(format!("add `{what}` to the `depends_on` of `{whole}`")))
    }
}
