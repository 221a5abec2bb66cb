//! The graph of a document as it is declared, right or wrong. Nodes depend on nodes of their own block only.

use std::collections::BTreeMap;

use super::layout::Layout;

/// What each node depends on.
pub(super) struct Graph {
    /// The dependencies of each node that exist, once each, in the order of the document. Loop edges are none.
    pub(super) dependencies: Vec<Vec<u32>>,
    /// Does the document name a dependency of the node, existing or not?
    pub(super) declared: Vec<bool>,
    /// The nodes in an order in which every node comes after its dependencies. Nodes in circles, and those that depend on
    /// one, are not in it.
    pub(super) order: Vec<u32>,
    /// Is the node in `order`?
    pub(super) in_order: Vec<bool>,
    /// Has the node a condition, or something that it depends on?
    pub(super) conditional: Vec<bool>,
}

/// Nodes that are looked for in one sweep over the graph.
pub(super) const SWEEP: usize = 256;
/// A set of them.
pub(super) type Mask = [u64; SWEEP / 64];

impl Graph {
    pub(super) fn of(layout: &Layout<'_>) -> Self {
        let count = layout.nodes.len();
        let mut graph = Self {
            dependencies: vec![Vec::new(); count],
            declared: vec![false; count],
            order: Vec::new(),
            in_order: vec![false; count],
            conditional: vec![false; count],
        };
        for (number, member) in layout.nodes.iter().enumerate() {
            for dependency in &member.node.depends_on {
                graph.depend(number, layout.find(member.block, dependency.as_str()));
            }
        }
        for (block, members) in layout.blocks.iter().enumerate() {
            for edge in members.edges.iter().filter(|edge| edge.loop_bound().is_none()) {
                if let Some(to) = layout.find(block, edge.to().as_str()) {
                    graph.depend(to, layout.find(block, edge.from().as_str()));
                }
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
        graph.spread_conditions(layout);
        graph
    }

    fn spread_conditions(&mut self, layout: &Layout<'_>) {
        for (block, members) in layout.blocks.iter().enumerate() {
            for edge in members.edges.iter().filter(|edge| edge.when().is_some()) {
                if let Some(to) = layout.find(block, edge.to().as_str()) {
                    self.conditional[to] = true;
                }
            }
        }
        for node in self.order.iter().map(|node| *node as usize) {
            let own = layout.nodes[node].node;
            let inherited = self.dependencies[node].iter().any(|on| self.conditional[*on as usize]);
            self.conditional[node] |= own.when.is_some() || own.foreach.is_some() || inherited;
        }
    }

    fn depend(&mut self, node: usize, on: Option<usize>) {
        self.declared[node] = true;
        if let Some(on) = on.filter(|on| *on != node) {
            self.dependencies[node].push(narrow(on));
        }
    }

    pub(super) fn depends_directly(&self, node: usize, on: usize) -> bool {
        self.dependencies[node].binary_search(&narrow(on)).is_ok()
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
    pub(super) fn circles(&self) -> Vec<Vec<usize>> {
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
            let below = self.below(batch);
            for (bit, other) in batch.iter().enumerate() {
                for number in &by_other[other] {
                    let node = pairs[*number].0;
                    if self.in_order[node] && (node == *other || !has(&below[node], bit)) {
                        wrong.push(*number);
                    }
                }
            }
        }
        wrong.sort_unstable();
        wrong
    }

    /// For each node: which of these (at most [`SWEEP`]) it is, or depends on.
    pub(super) fn below(&self, starts: &[usize]) -> Vec<Mask> {
        let mut found = self.marked(starts);
        for node in &self.order {
            let mut mask = found[*node as usize];
            for dependency in &self.dependencies[*node as usize] {
                unite(&mut mask, &found[*dependency as usize]);
            }
            found[*node as usize] = mask;
        }
        found
    }

    /// For each node: which of these (at most [`SWEEP`]) it is, or is depended on by.
    pub(super) fn above(&self, starts: &[usize]) -> Vec<Mask> {
        let mut found = self.marked(starts);
        for node in self.order.iter().rev() {
            let mask = found[*node as usize];
            for dependency in &self.dependencies[*node as usize] {
                unite(&mut found[*dependency as usize], &mask);
            }
        }
        found
    }

    fn marked(&self, starts: &[usize]) -> Vec<Mask> {
        let mut found: Vec<Mask> = vec![[0; SWEEP / 64]; self.dependencies.len()];
        for (bit, start) in starts.iter().enumerate().take(SWEEP) {
            found[*start][bit / 64] |= 1 << (bit % 64);
        }
        found
    }
}

fn unite(mask: &mut Mask, more: &Mask) {
    for (part, more) in mask.iter_mut().zip(more) {
        *part |= more;
    }
}

/// Is the node of that number in the set?
pub(super) const fn has(mask: &Mask, bit: usize) -> bool {
    mask[bit / 64] & (1 << (bit % 64)) != 0
}

/// The numbers in a set.
pub(super) fn bits(mask: Mask) -> impl Iterator<Item = usize> {
    mask.into_iter().enumerate().flat_map(|(part, mut left)| {
        std::iter::from_fn(move || {
            let bit = left.trailing_zeros() as usize;
            (left != 0).then(|| {
                left &= left - 1;
                part * 64 + bit
            })
        })
    })
}

/// Node numbers fit: documents are bounded far below four billion nodes.
fn narrow(node: usize) -> u32 {
    u32::try_from(node).unwrap_or(u32::MAX)
}
