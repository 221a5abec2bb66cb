//! Conditions and templates over what a node can see.

use fastrand::Rng;
use serde_json::{Value, json};

/// What the expressions of a node can name beside the params.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    /// The nodes above it, also those of the groups around it.
    pub(super) nodes: Vec<String>,
    /// It is in an instance: `item`, `index`.
    pub(super) item: bool,
    /// It is in an iteration, or in a loop: `iteration`.
    pub(super) iteration: bool,
    /// It is in an iteration: `previous`.
    pub(super) previous: bool,
    /// It handles failures: `error`.
    pub(super) error: bool,
    /// It belongs to the end of the run: `run.status` says what the run will be.
    pub(super) later: bool,
}

impl Names {
    /// For a node with these nodes above it.
    pub(super) fn beside(&self, above: impl Iterator<Item = String>, in_loop: bool) -> Self {
        let nodes = self.nodes.iter().cloned().chain(above).collect();
        Self { nodes, iteration: self.iteration || in_loop, ..*self }
    }

    fn any(&self, rng: &mut Rng) -> Option<&str> {
        (!self.nodes.is_empty()).then(|| &*self.nodes[rng.usize(..self.nodes.len())])
    }

    /// A value of the surroundings, where there are any.
    pub(super) fn around(&self, rng: &mut Rng) -> &'static str {
        match rng.u8(..4) {
            0 if self.item => "{{ item }}",
            1 if self.item => "{{ index }}",
            0..=2 if self.iteration => "{{ iteration }}",
            3 if self.previous => "{{ previous }}",
            _ => "{{ params.p }}",
        }
    }
}

/// A condition over what is seen, and preferably over `from`.
pub(super) fn condition(rng: &mut Rng, names: &Names, from: Option<&str>) -> String {
    let pick = |rng: &mut Rng| match from {
        Some(from) if names.nodes.is_empty() || rng.u8(..3) > 0 => Some(from.to_owned()),
        _ => names.any(rng).map(str::to_owned),
    };
    let (k, p) = (rng.u8(..3), rng.u8(..4));
    match rng.u8(..12) {
        0 if names.iteration => return format!("iteration < {}", k + 1),
        1 if names.item => return format!("index != {k}"),
        2 if names.later => return "run.status != \"SUCCEEDED\"".into(),
        3 if names.later => return "run.status == \"CANCELLED\" or params.flag".into(),
        4 if names.error => return "error.kind == \"user\"".into(),
        _ => {}
    }
    let Some(x) = pick(rng) else {
        return if rng.bool() { "params.flag".into() } else { format!("params.p == {p}") };
    };
    match rng.u8(..24) {
        0..=3 => format!("nodes.{x}.output.n == {k}"),
        4..=6 => format!("nodes.{x}.output.n != {k}"),
        7..=8 => format!("nodes.{x}.output.go"),
        9..=10 => format!("not nodes.{x}.output.go"),
        11..=12 => format!("nodes.{x}.status == \"SUCCEEDED\""),
        13 => format!("nodes.{x}.status != \"SKIPPED\" and params.p < 3"),
        14..=15 => format!("nodes.{x}.output.go or params.p == {p}"),
        16 => format!("nodes.{x}.output.go and nodes.{x}.output.n < 2"),
        17 => match pick(rng) {
            Some(y) => format!("nodes.{x}.output.n == nodes.{y}.output.n"),
            None => "true".into(),
        },
        18 => format!("params.flag and (params.p > 1 or nodes.{x}.output.n == {k})"),
        19 => format!("nodes.{x}.attempts > 1"),
        20 => format!("nodes.{x}.status == \"FAILED\""),
        21..=22 => "true".into(),
        // Has no answer where the output has no `deep`.
        _ => format!("nodes.{x}.output.deep.s == \"x\""),
    }
}

/// When it has been repeated enough.
pub(super) fn until(rng: &mut Rng) -> String {
    match rng.u8(..8) {
        0..=2 => format!("output.n == {}", rng.u8(..3)),
        3..=4 => "output.go".into(),
        5 => format!("iteration > {}", rng.u8(..4)),
        6 => "output.n == previous.n".into(),
        _ => "output.deep.s == \"x\" or params.flag".into(),
    }
}

/// For which signal a wait waits.
pub(super) fn matching(rng: &mut Rng) -> String {
    match rng.u8(..3) {
        0 => format!("output.n == {}", rng.u8(..3)),
        1 => "output.go".into(),
        _ => "output.n == params.p".into(),
    }
}

/// Reads values from all over the part of the graph that is above.
pub(super) fn inputs(rng: &mut Rng, names: &Names) -> Value {
    let around = names.around(rng);
    match rng.u8(..4) {
        0 if names.later => return json!({ "status": "{{ run.status }}", "around": around }),
        1 if names.error => return json!({ "why": "{{ error.kind }}", "who": "{{ error.node }}" }),
        _ => {}
    }
    let Some(x) = names.any(rng).map(str::to_owned) else { return json!({ "prompt": around }) };
    match rng.u8(..5) {
        0 => json!({ "prompt": around, "all": format!("{{{{ nodes.{x}.output }}}}") }),
        1 => json!({ "all": [format!("{{{{ nodes.{x}.output }}}}")], "how": format!("{{{{ nodes.{x}.status }}}}") }),
        2 => json!({ "n": format!("{{{{ nodes.{x}.output.n }}}}") }),
        3 => json!({ "around": around }),
        _ => json!({ "fixed": true }),
    }
}

/// The items of a `foreach`: a list, an expression that gives one, or, now and then, something that is none.
pub(super) fn items(rng: &mut Rng, names: &Names) -> Value {
    let x = names.any(rng).map(str::to_owned);
    match (rng.u8(..16), x) {
        (0..=4, _) => json!("params.list"),
        (5..=7, Some(x)) => format!("nodes.{x}.output.list").into(),
        (8, Some(x)) => json!(["{{ params.p }}", format!("{{{{ nodes.{x}.output.n }}}}")]),
        (9, _) => json!("params.p"),
        (10, _) => json!([{ "n": 1 }, { "n": names.around(rng) }]),
        (11, _) => json!([]),
        _ => (0..rng.u8(1..4)).collect::<Vec<u8>>().into(),
    }
}

/// What a node gives in the place of its own output, or a group as its output.
pub(super) fn stand_in(rng: &mut Rng, names: &Names) -> Value {
    match names.any(rng).filter(|_| rng.bool()) {
        Some(x) => json!({ "n": format!("{{{{ nodes.{x}.output.n }}}}"), "go": true }),
        None => json!({ "n": rng.u8(..3), "go": rng.bool(), "p": names.around(rng) }),
    }
}
