//! A workflow made ready to run.
//!
//! The user's [`WorkflowSpec`](crate::spec::WorkflowSpec) names things; the plan numbers them. `depends_on` and `edges`
//! become one list of incoming edges a node, defaults are merged, expressions are compiled once, and each node knows
//! which values it reads, so that the run can drop a value that nobody can read any more. A plan never changes.

mod compile;
mod loops;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use serde_json::{Map, Value};

pub use self::compile::PlanError;
use crate::{
    expr::{Expression, Template},
    ids::{ContentHash, HandlerId, NodeId, TaskId, WorkflowId},
    outcome::{ErrorKind, TaskError},
    ports::Bounds,
    spec::{
        ApprovalRejection, ApprovalTimeout, Backoff, BudgetSpec, ChildSpec, Jitter, Join, OnExhausted, OutputSchema,
    },
};

/// The handler of nodes that run another workflow. No adapter has it.
pub const CHILD_HANDLER: &str = "segue.workflow";

/// A node's number in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeIx(pub(crate) u32);

impl NodeIx {
    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A workflow at one version, ready to run. Cheap to share: the run holds it in an [`Arc`].
pub struct Plan {
    pub(crate) workflow_id: WorkflowId,
    pub(crate) hash: ContentHash,
    /// `metadata.labels`.
    pub(crate) labels: BTreeMap<String, String>,
    /// All nodes: those of the workflow first, then those of its later stages, then those of each group.
    pub(crate) nodes: Vec<PlanNode>,
    pub(crate) by_id: BTreeMap<NodeId, NodeIx>,
    /// The workflow itself, its `on_failure` and `finally` nodes, then its groups: each a range of `nodes`.
    pub(crate) blocks: Vec<Block>,
    /// The nodes of the workflow's `on_failure`.
    pub(crate) failure: Option<BlockIx>,
    /// The nodes of its `finally`.
    pub(crate) finally: Option<BlockIx>,
    pub(crate) max_parallel: Option<usize>,
    pub(crate) budget: Option<BudgetSpec>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) cancel_on_failure: bool,
    /// How many nodes of its block read each node's value; the outputs of the block count as one reader more.
    pub(crate) readers: Vec<u32>,
}

/// Nodes that run side by side: those of the workflow, of one of its later stages, or of one group.
pub(crate) struct Block {
    pub(crate) first: NodeIx,
    pub(crate) len: usize,
    /// The group whose block it is.
    pub(crate) owner: Option<NodeIx>,
    pub(crate) outputs: Outputs,
}

/// A block's place in its plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BlockIx(pub(crate) u32);

impl BlockIx {
    /// The workflow itself.
    pub(crate) const ROOT: Self = Self(0);

    pub(crate) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A node, with everything that the workflow's defaults add to it.
pub struct PlanNode {
    /// The node's id.
    pub id: NodeId,
    /// Its address as a task of the root scope.
    pub task_id: TaskId,
    /// A name for people.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// Who carries it out.
    pub handler: HandlerId,
    /// Tuning, one object an adapter; the workflow's defaults under the node's own.
    pub hints: Map<String, Value>,
    /// The longest an attempt may take.
    pub timeout: Option<Duration>,
    /// The longest the task may take, from the start of its first attempt.
    pub deadline: Option<Duration>,
    /// How attempts are repeated.
    pub retry: RetryRule,
    pub(crate) block: BlockIx,
    pub(crate) work: Work,
    pub(crate) foreach: Option<Foreach>,
    pub(crate) repeat: Option<Repeat>,
    /// It ends a loop, and may send it round again.
    pub(crate) loop_back: Option<LoopBack>,
    /// It is in the body of the loop that ends at this node, and in no smaller one.
    pub(crate) loop_end: Option<NodeIx>,
    /// What it has read it may read again: in a further round, or at the next end of a run that was reopened.
    pub(crate) reads_again: bool,
    pub(crate) inputs: Template,
    pub(crate) takes_material: bool,
    pub(crate) incoming: Vec<Incoming>,
    pub(crate) dependents: Vec<Dependent>,
    pub(crate) join: Join,
    pub(crate) when: Option<Expression>,
    /// What its output must be.
    pub(crate) schema: Option<OutputSchema>,
    pub(crate) budget: Option<BudgetSpec>,
    /// `on_failure: pause`.
    pub(crate) pauses: bool,
    /// `on_failure: continue`, with the output that stands in.
    pub(crate) continue_with: Option<Template>,
    /// The nodes whose values it may read: in inputs, conditions, its dependents' edges, its stand-in output.
    pub(crate) reads: Vec<NodeIx>,
    pub(crate) cache: Option<Cache>,
    /// The limits that its attempts run under.
    pub limits: Vec<NodeLimit>,
}

/// A limit that a node names.
pub struct NodeLimit {
    /// Its name.
    pub name: String,
    /// As the document declares it; none: it is one of the configuration.
    pub own: Option<OwnLimit>,
}

/// A limit of the document.
pub struct OwnLimit {
    /// What it allows.
    pub bounds: Bounds,
    /// Each of its values has a limit of its own.
    pub key: Option<Expression>,
}

/// Its result is used again, by this and by other runs.
pub struct Cache {
    /// Results with one key are one; without it the rendered inputs are the key.
    pub(crate) key: Option<Template>,
    /// How long a result is used; for ever if absent.
    pub ttl: Option<Duration>,
}

impl PlanNode {
    /// The workflow that it runs, if that is what it does.
    pub const fn child(&self) -> Option<&ChildSpec> {
        match &self.work {
            Work::Child(child) => Some(child),
            _ => None,
        }
    }

    /// How its result is used again, if it may be.
    pub const fn cache(&self) -> Option<&Cache> {
        self.cache.as_ref()
    }
}

/// What a node does when it is its turn.
pub(crate) enum Work {
    /// An adapter makes attempts.
    Attempts,
    /// Its block runs.
    Group(BlockIx),
    /// Another workflow runs.
    Child(ChildSpec),
    /// A person is asked.
    Approval(Approval),
    /// Time passes, or a signal comes.
    Wait(Wait),
}

/// A question to a person.
pub(crate) struct Approval {
    pub(crate) title: Template,
    pub(crate) message: Option<Template>,
    pub(crate) form: Map<String, Value>,
    pub(crate) approvers: Vec<String>,
    pub(crate) on_timeout: ApprovalTimeout,
    pub(crate) on_reject: ApprovalRejection,
}

/// What a node waits for.
pub(crate) enum Wait {
    Seconds(Duration),
    Until(Template),
    Event { name: Template, matches: Option<Expression> },
}

/// One instance an item.
pub(crate) struct Foreach {
    pub(crate) items: Items,
    pub(crate) parallelism: usize,
}

/// Where the items come from.
pub(crate) enum Items {
    Expression(Expression),
    List(Template),
}

/// Iteration after iteration.
pub(crate) struct Repeat {
    pub(crate) until: Option<Expression>,
    pub(crate) most: u32,
    pub(crate) delay: Duration,
    pub(crate) on_exhausted: OnExhausted,
}

/// A loop edge, at the node that it comes from.
pub(crate) struct LoopBack {
    pub(crate) when: Option<Expression>,
    pub(crate) most: u32,
    pub(crate) on_exhausted: OnExhausted,
    /// Every node on a path from the edge's target to its source, both included, in the order of the plan.
    pub(crate) body: Vec<NodeIx>,
}

/// An edge as its target sees it.
pub(crate) struct Incoming {
    pub(crate) from: NodeIx,
}

/// An edge as its source sees it.
pub(crate) struct Dependent {
    pub(crate) to: NodeIx,
    pub(crate) when: Option<Expression>,
}

/// Where the outputs of a block come from.
pub(crate) enum Outputs {
    /// The workflow, or the group, declares them.
    Declared(Template),
    /// The outputs of the nodes on which no other depends.
    Sinks(Vec<NodeIx>),
}

/// A node's retry policy, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryRule {
    /// Attempts and pauses.
    pub backoff: Backoff,
    /// Only these kinds; `None`: every error that says it is retryable.
    pub retry_on: Option<Vec<ErrorKind>>,
    /// Never these kinds. Wins over everything else.
    pub do_not_retry_on: Vec<ErrorKind>,
}

impl RetryRule {
    /// Does the policy allow another attempt after this error, leaving aside how many there were?
    pub fn allows(&self, error: &TaskError) -> bool {
        if self.do_not_retry_on.contains(&error.kind) {
            return false;
        }
        match &self.retry_on {
            Some(kinds) => kinds.contains(&error.kind),
            None => error.retryable,
        }
    }

    /// The pause after the `failures`-th failure (from 1). `jitter` in `[0, 1)` is drawn by the caller. A provider's
    /// Retry-After takes the place of the computed pause, and is not shortened by jitter.
    pub fn pause(&self, failures: u32, error: &TaskError, jitter: f64) -> Duration {
        if let Some(seconds) = error.retry_after {
            return Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(self.backoff.longest);
        }
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let initial = self.backoff.initial.as_secs_f64();
        // Nothing grows to nothing, however large the power: zero times infinity would not be a number.
        let grown = if initial > 0.0 { initial * self.backoff.coefficient.powi(exponent) } else { 0.0 };
        let seconds = grown.min(self.backoff.longest.as_secs_f64());
        let drawn = match self.backoff.jitter {
            Jitter::Full => seconds * jitter.clamp(0.0, 1.0),
            Jitter::None => seconds,
        };
        Duration::try_from_secs_f64(drawn.max(0.0)).unwrap_or(self.backoff.longest)
    }
}

impl Plan {
    /// The workflow's id.
    pub const fn workflow_id(&self) -> &WorkflowId {
        &self.workflow_id
    }

    /// The workflow's version.
    pub const fn hash(&self) -> ContentHash {
        self.hash
    }

    /// `metadata.labels` of the workflow: texts, by which runs are found.
    pub const fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    /// All nodes: those of the workflow in the order of the document, those of its `on_failure` and `finally`, then those
    /// of its groups.
    pub fn nodes(&self) -> &[PlanNode] {
        &self.nodes
    }

    /// The workflows that it may start, each once.
    pub fn children(&self) -> BTreeSet<&WorkflowId> {
        self.nodes.iter().filter_map(|node| node.child().map(|child| &child.id)).collect()
    }

    /// The blocks that are no group's.
    pub(crate) fn top_blocks(&self) -> impl Iterator<Item = BlockIx> + use<> {
        let later = self.failure.into_iter().chain(self.finally);
        [BlockIx::ROOT].into_iter().chain(later)
    }

    /// Is it a node of the workflow itself, and not of a group?
    pub(crate) fn is_top(&self, ix: NodeIx) -> bool {
        self.block(self.node(ix).block).owner.is_none()
    }

    pub(crate) fn node(&self, ix: NodeIx) -> &PlanNode {
        &self.nodes[ix.index()]
    }

    pub(crate) fn block(&self, ix: BlockIx) -> &Block {
        &self.blocks[ix.index()]
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan")
            .field("workflow_id", &self.workflow_id)
            .field("hash", &self.hash)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// The hash that names a workflow's version: that of its specification's JSON.
pub fn version_json(spec: &crate::spec::WorkflowSpec) -> (ContentHash, Arc<str>) {
    let json = serde_json::to_string(spec).expect("a specification can be written as JSON");
    (ContentHash::of(json.as_bytes()), json.into())
}
