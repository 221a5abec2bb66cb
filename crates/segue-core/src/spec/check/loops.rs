//! Loop edges: does each close a loop, which nothing leaves but at its end, and which overlaps with no other?

use std::collections::BTreeMap;

use super::{
    Checks,
    graph::{Mask, SWEEP, bits, has},
};
use crate::spec::{codes, decode::UNREADABLE, problem::Problem};

/// The deepest nesting of loops.
const LOOPS_DEPTH_MAX: usize = 16;

/// A loop edge whose ends exist.
struct Loop {
    from: usize,
    to: usize,
    path: String,
}

impl Checks<'_> {
    /// Looks at all loop edges; says of each node whether it runs again in one.
    pub(super) fn loops(&mut self) -> Vec<bool> {
        let mut in_loop = vec![false; self.layout.nodes.len()];
        let mut bodies: Vec<Vec<usize>> = Vec::new();
        let mut depth = vec![0_usize; self.layout.nodes.len()];
        let mut too_deep = false;
        let loops = self.closed_by_one();
        for batch in loops.chunks(SWEEP) {
            let ends: Vec<usize> = batch.iter().map(|one| one.from).collect();
            let starts: Vec<usize> = batch.iter().map(|one| one.to).collect();
            let (below, above) = (self.graph.below(&starts), self.graph.above(&ends));
            let inside: Vec<Mask> = below
                .iter()
                .zip(&above)
                .map(|(below, above)| std::array::from_fn(|part| below[part] & above[part]))
                .collect();
            let mut found = vec![Vec::new(); batch.len()];
            for (node, mask) in inside.iter().enumerate() {
                for bit in bits(*mask) {
                    in_loop[node] = true;
                    depth[node] += 1;
                    if depth[node] > LOOPS_DEPTH_MAX && !too_deep {
                        too_deep = true;
                        let message = format!("loops may be nested {LOOPS_DEPTH_MAX} deep at most");
                        self.add(Problem::new(&codes::TOO_DEEP, &batch[bit].path, message).help(codes::TOO_DEEP.cure));
                    }
                    if depth[node] <= LOOPS_DEPTH_MAX {
                        found[bit].push(node);
                    }
                }
            }
            self.left_open(batch, &inside);
            self.escapes(batch, &inside);
            bodies.extend(found);
        }
        if !too_deep {
            self.overlaps(&loops, &bodies);
        }
        in_loop
    }

    /// The loop edges, of which each node may have one.
    fn closed_by_one(&mut self) -> Vec<Loop> {
        let mut loops: Vec<Loop> = Vec::new();
        let mut closed_by = BTreeMap::new();
        let layout = self.layout;
        for (number, block) in layout.blocks.iter().enumerate() {
            for (index, edge) in block.edges.iter().enumerate().filter(|(_, edge)| edge.loop_bound().is_some()) {
                let ends = (layout.find(number, edge.from().as_str()), layout.find(number, edge.to().as_str()));
                let (Some(from), Some(to)) = ends else { continue };
                let path = format!("{}/{index}", block.edges_path);
                if closed_by.insert(from, path.clone()).is_some() {
                    let message = format!("`{}` ends two loops; which one goes round is not said", edge.from());
                    let help = "keep one loop edge, or give each loop a last node of its own";
                    self.add(Problem::new(&codes::LOOP_OVERLAP, path, message).help(help));
                    continue;
                }
                loops.push(Loop { from, to, path });
            }
        }
        loops
    }

    /// Loop edges from which no path leads back.
    fn left_open(&mut self, batch: &[Loop], inside: &[Mask]) {
        for (bit, one) in batch.iter().enumerate() {
            let judged = self.graph.in_order[one.from] && self.graph.in_order[one.to];
            if judged && !has(&inside[one.from], bit) {
                let (from, to) = (self.layout.id(one.from), self.layout.id(one.to));
                let message = format!("no dependencies lead from `{to}` to `{from}`, so this edge closes no loop");
                let help = if self.graph.depends_directly(one.to, one.from) || to == UNREADABLE {
                    format!(
                        "a loop edge leads back: `from` is the last node of the loop, `to` the first; swap them (`{to}` → `{from}`)"
                    )
                } else {
                    format!("let `{from}` depend on `{to}`, directly or through others; or drop `max_iterations`")
                };
                self.add(Problem::new(&codes::LOOP_NOT_CLOSED, &one.path, message).help(help));
            }
        }
    }

    /// Nodes outside of a loop that depend on another of its nodes than its last: they would start in the first round.
    fn escapes(&mut self, batch: &[Loop], inside: &[Mask]) {
        let mut ends: BTreeMap<usize, usize> = BTreeMap::new();
        for (bit, one) in batch.iter().enumerate() {
            ends.insert(one.from, bit);
        }
        for (node, dependencies) in self.graph.dependencies.iter().enumerate() {
            for on in dependencies.iter().map(|on| *on as usize) {
                let left: Mask = std::array::from_fn(|part| inside[on][part] & !inside[node][part]);
                if left == [0; SWEEP / 64] {
                    continue;
                }
                let own = ends.get(&on).copied();
                if let Some(bit) = bits(left).find(|bit| own != Some(*bit)) {
                    let (who, what, last) = (self.layout.id(node), self.layout.id(on), self.layout.id(batch[bit].from));
                    let message = format!(
                        "`{who}` depends on `{what}`, which runs again in the loop that `{last}` ends; it would start before \
                         the loop has ended"
                    );
                    let at = self.place_of(node, on);
                    let help = format!("let `{who}` depend on `{last}`, or put it into the loop");
                    self.problems.add(Problem::new(&codes::LOOP_ESCAPE, at, message).help(help));
                }
            }
        }
    }

    /// Loops that share nodes without one being inside the other. From the smallest to the largest: `holder` says of each
    /// node which is the largest loop so far that it is in.
    fn overlaps(&mut self, loops: &[Loop], bodies: &[Vec<usize>]) {
        let mut by_size: Vec<usize> = (0..loops.len()).collect();
        by_size.sort_by_key(|number| (bodies[*number].len(), *number));
        let mut holder: Vec<Option<usize>> = vec![None; self.layout.nodes.len()];
        for number in by_size {
            let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
            for node in &bodies[number] {
                if let Some(smaller) = holder[*node] {
                    *shared.entry(smaller).or_default() += 1;
                }
            }
            if let Some((other, _)) = shared.into_iter().find(|(other, count)| *count < bodies[*other].len()) {
                let ends = [number.min(other), number.max(other)].map(|one| self.layout.id(loops[one].from));
                let message = format!(
                    "the loops that `{}` and `{}` end share some nodes, but neither is inside the other",
                    ends[0], ends[1]
                );
                let at = &loops[number.max(other)].path;
                self.problems.add(Problem::new(&codes::LOOP_OVERLAP, at, message).help(codes::LOOP_OVERLAP.cure));
                continue;
            }
            for node in &bodies[number] {
                holder[*node] = Some(number);
            }
        }
    }
}
