//! Dependencies: do they exist, once, within their block, and without circles?

use std::collections::BTreeMap;

use super::{Checks, layout::Part};
use crate::spec::{
    EdgeSpec, codes,
    decode::UNREADABLE,
    problem::{At, Problem},
};

/// Dependencies as (from, to), each with its condition.
type Seen<'s> = BTreeMap<(&'s str, &'s str), Option<&'s str>>;

impl<'s> Checks<'s> {
    /// Dependencies that do not exist, lead out of their block, are on the node itself, or given twice.
    pub(super) fn dependencies(&mut self) {
        let mut seen = Seen::new();
        let layout = self.layout;
        for (number, member) in layout.nodes.iter().enumerate() {
            let (node_at, node) = (member.at(), member.node);
            let list_at = node_at.key("depends_on");
            for (position, dependency) in node.depends_on.iter().enumerate() {
                let at = list_at.index(position);
                if self.is_beside(dependency.as_str(), member.block, Some(number), &at) {
                    self.pair(&mut seen, (dependency.as_str(), node.id.as_str()), None, &at);
                }
            }
        }
        for (number, block) in layout.blocks.iter().enumerate() {
            let edges = At::pointer(&block.edges_path);
            for (index, edge) in block.edges.iter().enumerate() {
                self.edge(number, edge, &edges.index(index), &mut seen);
            }
        }
    }

    fn edge(&mut self, block: usize, edge: &'s EdgeSpec, at: &At<'_>, seen: &mut Seen<'s>) {
        let is_pair = matches!(edge, EdgeSpec::Pair(..));
        let (from_at, to_at) = if is_pair { (at.index(0), at.index(1)) } else { (at.key("from"), at.key("to")) };
        let (from, to) = (edge.from().as_str(), edge.to().as_str());
        // Of an edge that leads out of its block, one end is a mistake; the other tells for whom.
        let to_beside = self.layout.find(block, to);
        let from_exists = self.is_beside(from, block, to_beside, &from_at);
        let to_exists = self.is_beside(to, block, self.layout.find(block, from), &to_at);
        if from_exists && to_exists && edge.loop_bound().is_none() {
            self.pair(seen, (from, to), edge.when(), at);
        }
    }

    /// Is there a node of that id in this block? `who` names it.
    fn is_beside(&mut self, id: &str, block: usize, who: Option<usize>, at: &At<'_>) -> bool {
        let layout = self.layout;
        match layout.index_of(id) {
            Some(target) if layout.nodes[target].block == block => true,
            Some(target) => {
                self.foreign(target, block, who, at);
                false
            }
            None => {
                if id != UNREADABLE {
                    let help = self.nearest.help(id, layout.ids());
                    let message = format!("there is no node `{id}`");
                    self.add(Problem::new(&codes::UNKNOWN_DEPENDENCY, at, message).maybe_help(help));
                }
                false
            }
        }
    }

    /// A dependency on a node of another block.
    fn foreign(&mut self, target: usize, block: usize, who: Option<usize>, at: &At<'_>) {
        let layout = self.layout;
        let id = layout.id(target);
        let reader = who.map_or_else(|| "an edge of it".to_owned(), |who| format!("`{}`", layout.id(who)));
        let (own, other) = (&layout.blocks[block], layout.block_of(target));
        let outer = own.owner.and_then(|owner| layout.within(layout.nodes[target].block, owner));
        let (message, help) = if let Some(group) = outer {
            // From inside a group to its outside.
            let group_id = layout.id(group);
            let message = if group == target {
                format!("{reader} is inside the group `{id}`, which waits for it and not the other way round")
            } else {
                format!("{reader} is inside the group `{group_id}`, and `{id}` is not: a group depends as a whole")
            };
            let help = if group == target || self.graph.depends_directly(group, target) {
                format!("remove it: what is inside `{group_id}` runs after what `{group_id}` depends on")
            } else {
                format!("let the group depend on it: add `{id}` to the `depends_on` of `{group_id}`")
            };
            (message, help)
        } else if own.part != other.part {
            let part = own.part.name();
            let message = format!("`{id}` is not in the list `{part}`, whose nodes depend on each other only");
            let help = match own.part {
                Part::Main => format!("`{id}` runs after everything here; move it to `nodes`"),
                _ => format!(
                    "remove it: `{part}` begins when the rest has ended, and may read `nodes.{id}` all the same"
                ),
            };
            (message, help)
        } else {
            let visible = self.group_around(target, block);
            let group_id = visible.map_or("the group around it", |group| layout.id(group));
            let message =
                format!("`{id}` is inside the group `{group_id}`, and {reader} is not: a group is one to others");
            (message, format!("depend on `{group_id}`, which has ended when all that is in it has"))
        };
        self.add(Problem::new(&codes::FOREIGN_DEPENDENCY, at, message).help(help));
    }

    /// The group around `target` that stands in `block`, or in a block around that.
    pub(super) fn group_around(&self, target: usize, mut block: usize) -> Option<usize> {
        loop {
            if let Some(group) = self.layout.within(block, target) {
                return Some(group);
            }
            block = self.layout.nodes[self.layout.blocks[block].owner?].block;
        }
    }

    /// `seen`: the dependencies so far, each with the first condition that was given for it.
    fn pair(&mut self, seen: &mut Seen<'s>, (from, to): (&'s str, &'s str), when: Option<&'s str>, at: &At<'_>) {
        if from == to {
            let message = format!("`{to}` depends on itself and could never start");
            self.add(Problem::new(&codes::SELF_DEPENDENCY, at, message).help("remove the dependency"));
            return;
        }
        if to == UNREADABLE {
            return;
        }
        let Some(known) = seen.get_mut(&(from, to)) else {
            seen.insert((from, to), when);
            return;
        };
        match (*known, when) {
            (Some(first), Some(second)) if first != second => {
                let message = format!("`{to}` depends on `{from}` with two conditions: `{first}` and `{second}`");
                self.add(Problem::new(&codes::CONFLICTING_EDGES, at, message).help(codes::CONFLICTING_EDGES.cure));
            }
            _ => {
                *known = known.or(when);
                let message = format!("`{to}` depends on `{from}` already");
                self.add(Problem::new(&codes::DUPLICATE_EDGE, at, message).help("keep one of them"));
            }
        }
    }

    pub(super) fn cycles(&mut self) {
        for circle in self.graph.circles() {
            // Along the dependencies the walk goes against the arrows; people read them forwards.
            let mut path: Vec<&str> = circle.iter().rev().map(|node| self.layout.id(*node)).collect();
            path.push(path[0]);
            if path.len() > 24 {
                let left_out = path.len() - 20;
                path.splice(12..12 + left_out, ["…"]);
            }
            let message = format!("these nodes wait for each other: {}", path.join(" → "));
            let last = circle[circle.len() - 1];
            let at = self.place_of(last, circle[0]);
            let help = "remove one of these dependencies; or, if it is meant as a loop, make one an edge with \
                        `max_iterations`";
            self.add(Problem::new(&codes::CYCLE, at, message).help(help));
        }
    }

    /// Where the document says that `node` depends on `on`.
    pub(super) fn place_of(&self, node: usize, on: usize) -> String {
        let member = &self.layout.nodes[node];
        let (node_id, on_id) = (&member.node.id, &self.layout.nodes[on].node.id);
        if let Some(position) = member.node.depends_on.iter().position(|id| id == on_id) {
            return format!("{}/depends_on/{position}", member.path);
        }
        let block = &self.layout.blocks[member.block];
        let is_it = |edge: &EdgeSpec| edge.loop_bound().is_none() && edge.from() == on_id && edge.to() == node_id;
        match block.edges.iter().position(is_it) {
            Some(edge) => format!("{}/{edge}", block.edges_path),
            None => member.path.clone(),
        }
    }
}
