//! The graph of a workflow as it is declared, right or wrong.

use std::collections::BTreeMap;

use super::Checks;
use crate::spec::{
    WorkflowSpec, codes,
    decode::UNREADABLE,
    problem::{At, Problem},
};

/// Nodes by number, with what they depend on.
pub(super) struct Graph<'s> {
    index: BTreeMap<&'s str, usize>,
    /// The dependencies of each node that exist, once each, in the order of the document.
    pub(super) dependencies: Vec<Vec<u32>>,
    /// The nodes in an order in which every node comes after its dependencies. Nodes in circles, and those that depend on
    /// one, are not in it.
    pub(super) order: Vec<u32>,
    /// Is the node in `order`?
    pub(super) in_order: Vec<bool>,
}

/// Dependencies as (from, to), each with its condition.
type Seen<'s> = BTreeMap<(&'s str, &'s str), Option<&'s str>>;

/// Targets that are looked for in one sweep over the graph.
const SWEEP: usize = 256;
type Mask = [u64; SWEEP / 64];

impl<'s> Graph<'s> {
    pub(super) fn of(spec: &'s WorkflowSpec) -> Self {
        let mut index = BTreeMap::new();
        for (number, node) in spec.nodes.iter().enumerate() {
            if node.id.as_str() != UNREADABLE {
                index.entry(node.id.as_str()).or_insert(number);
            }
        }
        let mut graph = Self {
            index,
            dependencies: vec![Vec::new(); spec.nodes.len()],
            order: Vec::new(),
            in_order: vec![false; spec.nodes.len()],
        };
        for (number, node) in spec.nodes.iter().enumerate() {
            for dependency in &node.depends_on {
                graph.depend(number, graph.index_of(dependency.as_str()));
            }
        }
        for edge in spec.edges.iter().filter(|edge| edge.loop_bound().is_none()) {
            if let Some(to) = graph.index_of(edge.to().as_str()) {
                graph.depend(to, graph.index_of(edge.from().as_str()));
            }
        }
        for dependencies in &mut graph.dependencies {
            dependencies.sort_unstable();
            dependencies.dedup();
        }
        graph.order = graph.sorted();
        for node in &graph.order {
            graph.in_order[*node as usize] = true;
        }
        graph
    }

    fn depend(&mut self, node: usize, on: Option<usize>) {
        if let Some(on) = on.filter(|on| *on != node) {
            self.dependencies[node].push(narrow(on));
        }
    }

    pub(super) fn index_of(&self, id: &str) -> Option<usize> {
        self.index.get(id).copied()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = &'s str> {
        self.index.keys().copied()
    }

    fn sorted(&self) -> Vec<u32> {
        let mut waiting: Vec<usize> = self.dependencies.iter().map(Vec::len).collect();
        let mut dependents = vec![Vec::new(); waiting.len()];
        for (node, dependencies) in self.dependencies.iter().enumerate() {
            for dependency in dependencies {
                dependents[*dependency as usize].push(narrow(node));
            }
        }
        let mut order: Vec<u32> = (0..waiting.len()).filter(|node| waiting[*node] == 0).map(narrow).collect();
        let mut next = 0;
        while let Some(&node) = order.get(next) {
            next += 1;
            for dependent in &dependents[node as usize] {
                waiting[*dependent as usize] -= 1;
                if waiting[*dependent as usize] == 0 {
                    order.push(*dependent);
                }
            }
        }
        order
    }

    /// Circles, each as the nodes along the dependencies; a few of them if there are many.
    fn circles(&self) -> Vec<Vec<usize>> {
        let mut open: Vec<bool> = self.in_order.iter().map(|done| !done).collect();
        let mut circles = Vec::new();
        for start in 0..open.len() {
            if !open[start] || circles.len() == 20 {
                continue;
            }
            // Every node that is left depends on another that is left, so the walk must come back to itself, or to a
            // node of an earlier walk.
            let mut walk = Vec::new();
            let mut step_of = BTreeMap::new();
            let mut node = start;
            while open[node] && !step_of.contains_key(&node) {
                step_of.insert(node, walk.len());
                walk.push(node);
                let waits_for = |on: &&u32| open[**on as usize];
                match self.dependencies[node].iter().find(waits_for) {
                    Some(on) => node = *on as usize,
                    None => break,
                }
            }
            for walked in &walk {
                open[*walked] = false;
            }
            if let Some(first) = step_of.get(&node).filter(|_| walk.len() > 1) {
                let circle = &walk[*first..];
                if self.dependencies[circle[circle.len() - 1]].contains(&narrow(circle[0])) {
                    circles.push(circle.to_vec());
                }
            }
        }
        circles
    }

    /// Which of the `(node, other)` pairs are such that `node` does not depend on `other`, directly or through others?
    /// Pairs with nodes in circles are not judged. Costs one sweep over the graph for every 256 different `other`s.
    pub(super) fn not_ancestors(&self, pairs: &[(usize, usize)]) -> Vec<usize> {
        let mut by_other: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (number, (_, other)) in pairs.iter().enumerate() {
            by_other.entry(*other).or_default().push(number);
        }
        let mut wrong = Vec::new();
        let others: Vec<usize> = by_other.keys().copied().collect();
        for batch in others.chunks(SWEEP) {
            let mut bit_of = vec![usize::MAX; self.dependencies.len()];
            for (bit, other) in batch.iter().enumerate() {
                bit_of[*other] = bit;
            }
            let mut above: Vec<Mask> = vec![[0; SWEEP / 64]; self.dependencies.len()];
            for node in &self.order {
                let mut mask = [0; SWEEP / 64];
                for dependency in &self.dependencies[*node as usize] {
                    let dependency = *dependency as usize;
                    for (part, more) in mask.iter_mut().zip(&above[dependency]) {
                        *part |= more;
                    }
                    if let bit @ 0..SWEEP = bit_of[dependency] {
                        mask[bit / 64] |= 1 << (bit % 64);
                    }
                }
                above[*node as usize] = mask;
            }
            for (bit, other) in batch.iter().enumerate() {
                for number in &by_other[other] {
                    let node = pairs[*number].0;
                    if self.in_order[node] && above[node][bit / 64] & (1 << (bit % 64)) == 0 {
                        wrong.push(*number);
                    }
                }
            }
        }
        wrong.sort_unstable();
        wrong
    }
}

/// Node numbers fit: documents are bounded far below four billion nodes.
fn narrow(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}

impl Checks<'_> {
    /// Dependencies that do not exist, on the node itself, or given twice.
    pub(super) fn dependencies(&mut self) {
        let mut seen = Seen::new();
        let root = At::ROOT;
        let nodes = root.key("nodes");
        let spec = self.spec;
        for (index, node) in spec.nodes.iter().enumerate() {
            let node_at = nodes.index(index);
            let list_at = node_at.key("depends_on");
            for (position, dependency) in node.depends_on.iter().enumerate() {
                let at = list_at.index(position);
                if self.end_exists(dependency.as_str(), &at) {
                    self.pair(&mut seen, (dependency.as_str(), node.id.as_str()), None, &at);
                }
            }
        }
        let edges = root.key("edges");
        for (index, edge) in spec.edges.iter().enumerate() {
            let at = edges.index(index);
            let is_pair = matches!(edge, crate::spec::EdgeSpec::Pair(..));
            let (from_at, to_at) = if is_pair { (at.index(0), at.index(1)) } else { (at.key("from"), at.key("to")) };
            let (from, to) = (edge.from().as_str(), edge.to().as_str());
            let from_exists = self.end_exists(from, &from_at);
            if self.end_exists(to, &to_at) && from_exists {
                self.pair(&mut seen, (from, to), edge.when(), &at);
            }
        }
    }

    fn end_exists(&mut self, id: &str, at: &At<'_>) -> bool {
        if self.graph.index_of(id).is_some() {
            return true;
        }
        if id != UNREADABLE {
            let help = self.nearest.help(id, self.graph.ids());
            let message = format!("there is no node `{id}`");
            self.add(Problem::new(&codes::UNKNOWN_DEPENDENCY, at, message).maybe_help(help));
        }
        false
    }

    /// `seen`: the dependencies so far, each with the first condition that was given for it.
    fn pair<'s>(&mut self, seen: &mut Seen<'s>, (from, to): (&'s str, &'s str), when: Option<&'s str>, at: &At<'_>) {
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
            let id = |node: usize| self.spec.nodes[node].id.as_str();
            // Along the dependencies the walk goes against the arrows; people read them forwards.
            let mut path: Vec<&str> = circle.iter().rev().map(|node| id(*node)).collect();
            path.push(path[0]);
            if path.len() > 24 {
                let left_out = path.len() - 20;
                path.splice(12..12 + left_out, ["…"]);
            }
            let message = format!("these nodes wait for each other: {}", path.join(" → "));
            let last = circle[circle.len() - 1];
            let at = self.place_of(last, circle[0]);
            self.add(Problem::new(&codes::CYCLE, at, message).help("remove one of these dependencies"));
        }
    }

    /// Where the document says that `node` depends on `on`.
    fn place_of(&self, node: usize, on: usize) -> String {
        let (node_id, on_id) = (&self.spec.nodes[node].id, &self.spec.nodes[on].id);
        if let Some(position) = self.spec.nodes[node].depends_on.iter().position(|id| id == on_id) {
            return format!("/nodes/{node}/depends_on/{position}");
        }
        match self.spec.edges.iter().position(|edge| edge.from() == on_id && edge.to() == node_id) {
            Some(edge) => format!("/edges/{edge}"),
            None => format!("/nodes/{node}"),
        }
    }
}
