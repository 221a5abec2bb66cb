//! Which node depends on which, and where loops can be closed.

use fastrand::Rng;

/// The dependencies of each node: all of them come before it.
pub(super) fn dependencies(rng: &mut Rng, size: usize) -> Vec<Vec<usize>> {
    let density = rng.u8(10..80);
    let layer = rng.usize(1..4);
    let kind = rng.u8(..5);
    let edge = |rng: &mut Rng, from: usize, to: usize| match kind {
        0 => from + 1 == to,
        1 => from == 0 || to + 1 == size,
        2 => from / layer + 1 == to / layer && rng.u8(..100) < density,
        _ => rng.u8(..100) < density / 2,
    };
    (0..size).map(|to| (0..to).filter(|&from| edge(rng, from, to)).collect()).collect()
}

/// One after the other, and sometimes past one another.
pub(super) fn chain(rng: &mut Rng, size: usize) -> Vec<Vec<usize>> {
    (0..size).map(|to| (0..to).filter(|from| from + 1 == to || rng.u8(..6) == 0).collect()).collect()
}

pub(super) fn ancestors(dependencies: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut all: Vec<Vec<usize>> = Vec::with_capacity(dependencies.len());
    for from in dependencies {
        let mut above: Vec<usize> = from.iter().flat_map(|&ix| all[ix].iter().copied().chain([ix])).collect();
        above.sort_unstable();
        above.dedup();
        all.push(above);
    }
    all
}

/// A loop edge and the nodes that it runs again.
pub(super) struct Loop {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) body: Vec<usize>,
}

/// Up to two loops that the language allows: nothing outside depends on the body but on its end, and two bodies are one
/// inside the other, or apart.
pub(super) fn loops(rng: &mut Rng, dependencies: &[Vec<usize>]) -> Vec<Loop> {
    let above = ancestors(dependencies);
    let mut found: Vec<Loop> = Vec::new();
    for _ in 0..8 {
        let from = rng.usize(..dependencies.len());
        if above[from].is_empty() || found.len() == 2 || found.iter().any(|other| other.from == from) {
            continue;
        }
        let to = above[from][rng.usize(..above[from].len())];
        let is_between =
            |at: &usize| (*at == to || above[*at].contains(&to)) && (*at == from || above[from].contains(at));
        let body: Vec<usize> = (0..dependencies.len()).filter(is_between).collect();
        let escapes = (0..dependencies.len())
            .filter(|at| !body.contains(at))
            .any(|at| dependencies[at].iter().any(|needed| *needed != from && body.contains(needed)));
        let tangled = found.iter().any(|other| {
            let shared = body.iter().filter(|at| other.body.contains(at)).count();
            shared > 0 && shared < body.len().min(other.body.len())
        });
        let same = found.iter().any(|other| other.body == body);
        if !escapes && !tangled && !same {
            found.push(Loop { from, to, body });
        }
    }
    found
}
