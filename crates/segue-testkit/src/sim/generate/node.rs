//! One node: what it does, and the rules for it.

use fastrand::Rng;
use segue_core::{
    ids::NodeId,
    spec::{
        ApprovalRejection, ApprovalSpec, ApprovalTimeout, BudgetSpec, ChildSpec, FailureAction, GroupSpec, Jitter,
        Join, OnFailure, RepeatSpec, RetryPolicy, Seconds, TaskNode, TaskSpec, WaitSpec,
    },
};
use serde_json::{Map, Value, json};

use super::{
    CHILD, Draft, KINDS, exhausted,
    expressions::{Names, condition, inputs, items, matching, stand_in, until},
    rarely,
};

/// The names of the events that are waited for.
pub(in crate::sim) const EVENTS: [&str; 2] = ["paid", "sent"];
/// Nodes of one case, all groups together.
const NODES_MAX: usize = 24;

impl Draft<'_> {
    pub(super) fn node(&mut self, id: &str, depends_on: Vec<NodeId>, has_dependencies: bool, seen: &Names) -> TaskNode {
        let rng = &mut *self.rng;
        let joins = [Join::NoFailure, Join::AllSuccess, Join::AnySuccess, Join::AllDone, Join::AnyFailure];
        let join = if rng.bool() { Join::NoFailure } else { joins[rng.usize(..joins.len())] };
        let mut node = TaskNode {
            depends_on,
            join: if has_dependencies { join } else { Join::NoFailure },
            retry_policy: rarely(rng, 2, retry_policy),
            timeout_seconds: rarely(rng, 3, |rng| Seconds(rng.u32(1..15).into())),
            deadline_seconds: rarely(rng, 5, |rng| Seconds(rng.u32(2..40).into())),
            on_failure: rarely(rng, 5, |rng| on_failure(rng, seen)),
            when: rarely(rng, 5, |rng| condition(rng, seen, None)),
            budget: rarely(rng, 12, budget),
            ..TaskNode::new(NodeId::new(id))
        };
        let mut inside = seen.clone();
        inside.error |= node.join == Join::AnyFailure;
        if self.draws() {
            node.output_schema = Some(output_schema(self.rng));
        }
        if self.draws() {
            node.foreach = Some(items(self.rng, seen));
            node.parallelism = rarely(self.rng, 2, |rng| rng.u32(1..4));
            inside.item = true;
        }
        if self.draws() {
            node.repeat = Some(repeat(self.rng));
            (inside.iteration, inside.previous) = (true, true);
        }
        self.work(&mut node, &inside);
        node
    }

    fn work(&mut self, node: &mut TaskNode, inside: &Names) {
        if self.draws() && self.nodes < NODES_MAX {
            let size = self.rng.usize(1..4);
            let (nodes, edges) = self.block(size, inside);
            let mut within = inside.clone();
            within.nodes = nodes.iter().map(|node| node.id.to_string()).collect();
            let output = rarely(self.rng, 2, |rng| stand_in(rng, &within));
            node.group = Some(GroupSpec { nodes, edges, output });
        } else if self.draws() {
            node.approval = Some(approval(self.rng, inside));
            node.timeout_seconds = Some(Seconds(self.rng.u32(1..15).into())).filter(|_| self.rng.u8(..4) > 0);
        } else if self.draws() {
            node.wait = Some(wait(self.rng));
        } else if self.draws() {
            let detach = self.rng.u8(..5) == 0;
            node.workflow = Some(ChildSpec { id: CHILD.into(), version: None, detach });
            node.spec.inputs = inputs(self.rng, inside).as_object().cloned().unwrap_or_default();
        } else {
            let inputs = rarely(self.rng, 2, |rng| inputs(rng, inside));
            node.spec = TaskSpec {
                task: Some("pass".into()).filter(|_| self.rng.bool()),
                inputs: inputs.and_then(|inputs| inputs.as_object().cloned()).unwrap_or_default(),
                hints: Map::new(),
            };
            // Without a draw: the seeds of before stay what they were.
            let letters: u32 = node.id.as_str().bytes().map(u32::from).sum();
            node.limits = letters.is_multiple_of(3).then(|| vec!["slow".to_owned()]);
        }
    }
}

fn repeat(rng: &mut Rng) -> RepeatSpec {
    RepeatSpec {
        until: Some(until(rng)).filter(|_| rng.u8(..5) > 0),
        max_iterations: rng.u32(1..4),
        delay_seconds: rarely(rng, 3, |rng| Seconds(f64::from(rng.u8(..6)) / 2.0)),
        on_exhausted: exhausted(rng),
    }
}

fn approval(rng: &mut Rng, names: &Names) -> ApprovalSpec {
    let form = json!({ "note": { "type": "string", "default": "-" }, "n": { "type": "integer" } });
    ApprovalSpec {
        title: if rng.bool() { "Go on?".into() } else { names.around(rng).into() },
        message: rarely(rng, 4, |rng| names.around(rng).into()),
        form: rarely(rng, 2, |_| form.as_object().cloned()).flatten().unwrap_or_default(),
        approvers: rarely(rng, 3, |_| vec!["ada".into()]).unwrap_or_default(),
        on_timeout: rarely(rng, 2, |rng| {
            [ApprovalTimeout::Fail, ApprovalTimeout::Approve, ApprovalTimeout::Reject][rng.usize(..3)]
        }),
        on_reject: rarely(rng, 2, |rng| if rng.bool() { ApprovalRejection::Continue } else { ApprovalRejection::Fail }),
    }
}

fn wait(rng: &mut Rng) -> WaitSpec {
    match rng.u8(..6) {
        0..=1 => WaitSpec { seconds: Some(Seconds(rng.u8(..12).into())), ..WaitSpec::default() },
        2 => {
            let until = if rng.u8(..8) == 0 { "soon" } else { "{{ params.when }}" };
            WaitSpec { until: Some(until.into()), ..WaitSpec::default() }
        }
        _ => WaitSpec {
            event: Some(EVENTS[rng.usize(..EVENTS.len())].into()),
            matches: rarely(rng, 2, matching),
            ..WaitSpec::default()
        },
    }
}

/// What happens when it is used up; how much that is, the simulated workers decide.
pub(super) fn budget(rng: &mut Rng) -> BudgetSpec {
    let actions = [FailureAction::Fail, FailureAction::Continue, FailureAction::Pause];
    BudgetSpec { usd: None, tokens: Some(1), on_exceeded: actions[rng.usize(..3)] }
}

/// What a result must look like: most do, and some never.
fn output_schema(rng: &mut Rng) -> Value {
    match rng.u8(..8) {
        0..=4 => json!({ "type": "object", "properties": { "n": { "type": "integer", "maximum": 1 } } }),
        5 => json!({ "type": "object", "required": ["n", "go"], "properties": { "go": { "type": "boolean" } } }),
        6 => json!({ "properties": { "deep": { "properties": { "s": { "type": "integer" } } } } }),
        _ => json!({ "type": "array" }),
    }
}

pub(super) fn retry_policy(rng: &mut Rng) -> RetryPolicy {
    let kinds = |rng: &mut Rng| KINDS.into_iter().filter(|_| rng.bool()).collect::<Vec<_>>();
    RetryPolicy {
        max_attempts: rarely(rng, 2, |rng| rng.u32(1..5)),
        initial_interval_seconds: rarely(rng, 2, |rng| Seconds(f64::from(rng.u8(..8)) / 2.0)),
        backoff_coefficient: rarely(rng, 2, |rng| [0.5, 1.0, 1.7, 3.0, 1e200][rng.usize(..5)]),
        max_interval_seconds: rarely(rng, 3, |rng| Seconds(rng.u8(1..10).into())),
        jitter: rarely(rng, 2, |rng| if rng.bool() { Jitter::Full } else { Jitter::None }),
        retry_on: rarely(rng, 5, kinds),
        do_not_retry_on: rarely(rng, 5, kinds),
    }
}

pub(super) fn on_failure(rng: &mut Rng, names: &Names) -> OnFailure {
    let action = match rng.u8(..6) {
        0 => FailureAction::Fail,
        1..=2 => FailureAction::Pause,
        _ => FailureAction::Continue,
    };
    let output = match rng.u8(..6) {
        _ if action != FailureAction::Continue => None,
        0..=2 => None,
        3 => Some(json!({ "n": 1, "go": true, "why": "{{ error.kind }}" })),
        _ => Some(stand_in(rng, names)),
    };
    OnFailure { action, output }
}
