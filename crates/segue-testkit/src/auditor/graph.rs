//! The document as the auditor reads it: nodes with their incoming edges, defaults merged.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    ids::NodeId,
    outcome::{ErrorKind, TaskError},
    spec::{
        Backoff, FailureAction, FailurePolicy, Jitter, Join, OnFailure, RetryPolicy, Seconds, TaskNode,
        WorkflowOnFailure, WorkflowSpec,
    },
};
use serde_json::{Map, Value};

#[derive(Debug, Clone)]
pub(super) struct Graph {
    pub(super) nodes: Vec<Node>,
    pub(super) max_parallel: Option<usize>,
    pub(super) timeout: Option<Duration>,
    pub(super) cancel_on_failure: bool,
    pub(super) outputs: Option<Map<String, Value>>,
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) join: Join,
    pub(super) when: Option<String>,
    /// One a dependency: a pair that is named twice is one edge, with the condition that either gives.
    pub(super) incoming: Vec<Edge>,
    pub(super) timeout: Option<Duration>,
    pub(super) deadline: Option<Duration>,
    pub(super) retry: Retry,
    pub(super) inputs: Map<String, Value>,
    /// It is given the outputs of its dependencies: it names neither a handler nor a prompt.
    pub(super) takes_material: bool,
    /// `on_failure: continue`: the stand-in output.
    pub(super) continue_with: Option<Value>,
}

#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) from: usize,
    pub(super) when: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) struct Retry {
    pub(super) backoff: Backoff,
    only: Option<Vec<ErrorKind>>,
    never: Vec<ErrorKind>,
}

impl Graph {
    pub(super) fn of(spec: &WorkflowSpec) -> Self {
        let position: BTreeMap<&NodeId, usize> = spec.nodes.iter().enumerate().map(|(ix, n)| (&n.id, ix)).collect();
        let mut nodes: Vec<Node> = spec.nodes.iter().map(|node| Node::of(spec, node)).collect();
        for node in &spec.nodes {
            for from in &node.depends_on {
                nodes[position[&node.id]].depend_on(position[from], None);
            }
        }
        for edge in &spec.edges {
            nodes[position[edge.to()]].depend_on(position[edge.from()], edge.when());
        }
        for node in &mut nodes {
            node.incoming.sort_by_key(|edge| edge.from);
        }
        Self {
            nodes,
            max_parallel: spec.max_parallel_nodes.map(|n| n as usize),
            timeout: spec.timeout_seconds.map(Seconds::as_duration),
            cancel_on_failure: spec.on_failure == Some(WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
            outputs: spec.outputs.clone(),
        }
    }

    /// The edges that leave a node: `(target, place among the target's edges)`.
    pub(super) fn leaving(&self, from: usize) -> impl Iterator<Item = (usize, usize)> {
        self.nodes.iter().enumerate().flat_map(move |(to, node)| {
            node.incoming.iter().enumerate().filter(move |(_, edge)| edge.from == from).map(move |(at, _)| (to, at))
        })
    }
}

impl Node {
    fn of(spec: &WorkflowSpec, node: &TaskNode) -> Self {
        let defaults = spec.defaults.clone().unwrap_or_default();
        let on_failure: OnFailure = node.on_failure.clone().or(defaults.on_failure).unwrap_or_default();
        let own = node.retry_policy.clone().unwrap_or_default();
        Self {
            id: node.id.clone(),
            join: node.join,
            when: node.when.clone(),
            incoming: Vec::new(),
            timeout: node.timeout_seconds.or(defaults.timeout_seconds).map(Seconds::as_duration),
            deadline: node.deadline_seconds.map(Seconds::as_duration),
            inputs: node.spec.inputs.clone(),
            takes_material: node.spec.task.is_none() && !node.spec.inputs.contains_key("prompt"),
            retry: Retry::of(&own, &defaults.retry_policy.unwrap_or_default()),
            continue_with: match on_failure.action {
                FailureAction::Fail | FailureAction::Pause => None,
                FailureAction::Continue => Some(on_failure.output.unwrap_or(Value::Null)),
            },
        }
    }

    fn depend_on(&mut self, from: usize, when: Option<&str>) {
        match self.incoming.iter_mut().find(|edge| edge.from == from) {
            Some(edge) => edge.when = when.map(str::to_owned).or(edge.when.take()),
            None => self.incoming.push(Edge { from, when: when.map(str::to_owned) }),
        }
    }
}

impl Retry {
    fn of(own: &RetryPolicy, defaults: &RetryPolicy) -> Self {
        let seconds = |own: Option<Seconds>, other: Option<Seconds>, last: Duration| {
            own.or(other).map_or(last, Seconds::as_duration)
        };
        let last = Backoff::default();
        Self {
            backoff: Backoff {
                attempts_max: own.max_attempts.or(defaults.max_attempts).unwrap_or(last.attempts_max),
                initial: seconds(own.initial_interval_seconds, defaults.initial_interval_seconds, last.initial),
                coefficient: own.backoff_coefficient.or(defaults.backoff_coefficient).unwrap_or(last.coefficient),
                longest: seconds(own.max_interval_seconds, defaults.max_interval_seconds, last.longest),
                jitter: own.jitter.or(defaults.jitter).unwrap_or(last.jitter),
            },
            only: own.retry_on.clone().or_else(|| defaults.retry_on.clone()),
            never: own.do_not_retry_on.clone().or_else(|| defaults.do_not_retry_on.clone()).unwrap_or_default(),
        }
    }

    /// Is this an error that another attempt may mend?
    pub(super) fn is_for(&self, error: &TaskError) -> bool {
        let wanted = match &self.only {
            Some(kinds) => kinds.contains(&error.kind),
            None => error.retryable,
        };
        wanted && !self.never.contains(&error.kind)
    }

    /// The shortest and the longest pause after the `failures`-th failure; jitter comes in between.
    pub(super) fn pause(&self, failures: u32, error: &TaskError) -> (Duration, Duration) {
        if let Some(seconds) = error.retry_after {
            let exactly = Duration::from_secs_f64(seconds);
            return (exactly, exactly);
        }
        let mut pause = self.backoff.initial.as_secs_f64();
        for _ in 1..failures {
            pause *= self.backoff.coefficient;
        }
        let pause = Duration::from_secs_f64(pause.min(self.backoff.longest.as_secs_f64()));
        match self.backoff.jitter {
            Jitter::None => (pause, pause),
            Jitter::Full => (Duration::ZERO, pause),
        }
    }
}
