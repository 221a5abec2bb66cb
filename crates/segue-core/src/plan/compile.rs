//! From the specification to the plan.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    Approval, Block, BlockIx, CHILD_HANDLER, Cache, Dependent, Foreach, Incoming, Items, LoopBack, NodeIx, NodeLimit,
    Outputs, OwnLimit, Plan, PlanNode, Repeat, RetryRule, Wait, Work, loops, version_json,
};
use crate::{
    expr::{ExprError, Expression, References, Template, TemplateError},
    ids::{HandlerId, NodeId, TaskId},
    spec::{
        Backoff, CacheSpec, Defaults, EdgeSpec, FailureAction, FailurePolicy, LimitSpec, OnFailure, OutputSchema,
        RepeatSpec, RetryPolicy, Seconds, TaskNode, WorkflowOnFailure, WorkflowSpec,
    },
};

/// Why a specification cannot become a plan. [`crate::spec::check`] finds all of this, and more, with places for a
/// person; this is the last line, for specifications that were never checked.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// Two nodes with one id.
    #[error("two nodes are called `{0}`")]
    DuplicateNode(NodeId),
    /// An edge or `depends_on` names no node.
    #[error("`{0}` depends on `{1}`, which does not exist")]
    UnknownNode(NodeId, NodeId),
    /// The dependencies go in a circle.
    #[error("the dependencies of `{0}` lead back to it")]
    Cycle(NodeId),
    /// A condition cannot be read.
    #[error("in `{place}`: {source}")]
    Condition {
        /// The node, and which of its conditions.
        place: String,
        /// Why.
        source: ExprError,
    },
    /// An `output_schema` is none.
    #[error("in `{node}.output_schema{pointer}`: {why}")]
    Schema {
        /// The node.
        node: NodeId,
        /// JSON Pointer into the schema.
        pointer: String,
        /// Why.
        why: String,
    },
    /// A template cannot be read.
    #[error("in `{place}`: {}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Template {
        /// The node, and which of its values.
        place: String,
        /// Why.
        errors: Vec<TemplateError>,
    },
}

impl Plan {
    /// Compiles a checked specification. Nodes without a handler of their own get the workflow's default, else
    /// `default_handler`.
    pub fn compile(spec: &WorkflowSpec, default_handler: &HandlerId) -> Result<Self, PlanError> {
        let drafts = number(spec);
        let mut by_id = BTreeMap::new();
        let mut nodes = Vec::new();
        let compiler =
            Compiler { defaults: spec.defaults.clone().unwrap_or_default(), default_handler, limits: &spec.limits };
        for (block, draft) in drafts.iter().enumerate() {
            for (at, node) in draft.nodes.iter().enumerate() {
                if by_id.insert(node.id.clone(), ix(draft.first + at)).is_some() {
                    return Err(PlanError::DuplicateNode(node.id.clone()));
                }
                let inner = draft.inner.get(&at).copied();
                let is_later_stage = block > 0 && draft.owner.is_none();
                nodes.push(compiler.node(node, block_ix(block), inner, is_later_stage)?);
            }
        }
        let mut blocks = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            let range = draft.first..draft.first + draft.nodes.len();
            connect(draft, &by_id, &mut nodes)?;
            reject_cycles(&nodes, range.clone())?;
            close_loops(draft, &by_id, &mut nodes)?;
            let outputs = outputs_of(draft, &nodes[range.clone()])?;
            blocks.push(Block { first: ix(draft.first), len: range.len(), owner: draft.owner, outputs });
        }
        let (failure, finally) = later_stages(spec);
        let mut plan = Self {
            workflow_id: spec.id.clone(),
            hash: version_json(spec).0,
            labels: labels(spec),
            budget: spec.budget,
            max_parallel: spec.max_parallel_nodes.map(|n| n.max(1) as usize),
            timeout: spec.timeout_seconds.map(Seconds::as_duration),
            cancel_on_failure: spec.on_failure == Some(WorkflowOnFailure::Policy(FailurePolicy::Cancel)),
            failure,
            finally,
            readers: vec![0; nodes.len()],
            nodes,
            by_id,
            blocks,
        };
        plan.count_readers();
        Ok(plan)
    }

    /// A node of a group that reads a value from outside does so in the name of its group: the value is needed until
    /// the group has ended.
    fn count_readers(&mut self) {
        let mut reads = vec![BTreeSet::new(); self.nodes.len()];
        for at in 0..self.nodes.len() {
            for read in self.reads_of(&self.nodes[at]) {
                if let Some(reader) = self.reader_beside(ix(at), read) {
                    reads[reader.index()].insert(read);
                }
            }
        }
        for block in &self.blocks {
            let at_the_end = match (&block.outputs, block.owner) {
                (Outputs::Sinks(sinks), _) => sinks.iter().copied().collect(),
                (Outputs::Declared(template), _) => self.resolve(template.references()),
            };
            for read in at_the_end {
                match (self.node(read).block == self.node(block.first).block, block.owner) {
                    (true, _) => self.readers[read.index()] += 1,
                    (false, Some(owner)) => {
                        if let Some(reader) = self.reader_beside(owner, read) {
                            reads[reader.index()].insert(read);
                        }
                    }
                    (false, None) => {}
                }
            }
        }
        for (node, reads) in self.nodes.iter_mut().zip(reads) {
            for read in &reads {
                self.readers[read.index()] += 1;
            }
            node.reads = reads.into_iter().collect();
        }
    }

    /// `node`, or the group around it, that stands in the block of `read`; of a later stage the one that reads the
    /// workflow's own nodes.
    fn reader_beside(&self, mut node: NodeIx, read: NodeIx) -> Option<NodeIx> {
        let target = self.node(read).block;
        while self.node(node).block != target {
            match self.block(self.node(node).block).owner {
                Some(owner) => node = owner,
                None => return (target == BlockIx::ROOT).then_some(node),
            }
        }
        Some(node)
    }

    fn reads_of(&self, node: &PlanNode) -> BTreeSet<NodeIx> {
        let edges = node.dependents.iter().filter_map(|edge| edge.when.as_ref());
        let back = node.loop_back.iter().filter_map(|back| back.when.as_ref());
        let until = node.repeat.iter().filter_map(|repeat| repeat.until.as_ref());
        let mut expressions: Vec<&Expression> = edges.chain(back).chain(until).chain(&node.when).collect();
        expressions.extend(node.limits.iter().filter_map(|limit| limit.own.as_ref()?.key.as_ref()));
        let key = node.cache.as_ref().and_then(|cache| cache.key.as_ref());
        let mut templates: Vec<&Template> = node.continue_with.iter().chain(key).chain([&node.inputs]).collect();
        match node.foreach.as_ref().map(|foreach| &foreach.items) {
            Some(Items::Expression(items)) => expressions.push(items),
            Some(Items::List(items)) => templates.push(items),
            None => {}
        }
        match &node.work {
            Work::Attempts | Work::Child(_) | Work::Group(_) | Work::Wait(Wait::Seconds(_)) => {}
            Work::Approval(approval) => templates.extend(approval.message.iter().chain([&approval.title])),
            Work::Wait(Wait::Until(until)) => templates.push(until),
            Work::Wait(Wait::Event { name, matches }) => {
                templates.push(name);
                expressions.extend(matches);
            }
        }
        let expressions = expressions.into_iter().map(Expression::references);
        let references = expressions.chain(templates.into_iter().map(Template::references));
        let mut reads: BTreeSet<NodeIx> = references.flat_map(|references| self.resolve(references)).collect();
        if node.takes_material {
            reads.extend(node.incoming.iter().map(|edge| edge.from));
        }
        reads
    }

    fn resolve(&self, references: &References) -> BTreeSet<NodeIx> {
        references.nodes.iter().filter_map(|id| self.by_id.get(id).copied()).collect()
    }
}

/// A block before it is compiled.
struct Draft<'a> {
    first: usize,
    nodes: &'a [TaskNode],
    edges: &'a [EdgeSpec],
    outputs: Option<Value>,
    owner: Option<NodeIx>,
    /// The blocks of its groups, by the group's place in it.
    inner: BTreeMap<usize, BlockIx>,
}

/// Numbers the nodes block by block, the workflow's own first.
fn number(spec: &WorkflowSpec) -> Vec<Draft<'_>> {
    let outputs = spec.outputs.clone().map(Value::Object);
    let root = Draft { first: 0, nodes: &spec.nodes, edges: &spec.edges, outputs, owner: None, inner: BTreeMap::new() };
    let mut drafts = vec![root];
    let mut next = spec.nodes.len();
    for nodes in [failure_nodes(spec), &spec.finally].into_iter().filter(|nodes| !nodes.is_empty()) {
        drafts.push(Draft { first: next, nodes, edges: &[], outputs: None, owner: None, inner: BTreeMap::new() });
        next += nodes.len();
    }
    let mut at = 0;
    while at < drafts.len() {
        let (first, nodes) = (drafts[at].first, drafts[at].nodes);
        for (place, node) in nodes.iter().enumerate() {
            let Some(group) = &node.group else { continue };
            let block = block_ix(drafts.len());
            drafts[at].inner.insert(place, block);
            let (owner, outputs) = (Some(ix(first + place)), group.output.clone());
            let inner = BTreeMap::new();
            drafts.push(Draft { first: next, nodes: &group.nodes, edges: &group.edges, outputs, owner, inner });
            next += group.nodes.len();
        }
        at += 1;
    }
    drafts
}

fn failure_nodes(spec: &WorkflowSpec) -> &[TaskNode] {
    match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => nodes,
        _ => &[],
    }
}

/// The blocks of `on_failure` and `finally`, as [`number`] numbers them.
fn later_stages(spec: &WorkflowSpec) -> (Option<BlockIx>, Option<BlockIx>) {
    let failure = (!failure_nodes(spec).is_empty()).then(|| block_ix(1));
    let finally = (!spec.finally.is_empty()).then(|| block_ix(1 + usize::from(failure.is_some())));
    (failure, finally)
}

fn ix(at: usize) -> NodeIx {
    NodeIx(u32::try_from(at).expect("a document has fewer than 2^32 nodes"))
}

fn block_ix(at: usize) -> BlockIx {
    BlockIx(u32::try_from(at).expect("a document has fewer than 2^32 groups"))
}

struct Compiler<'a> {
    defaults: Defaults,
    limits: &'a BTreeMap<String, LimitSpec>,
    default_handler: &'a HandlerId,
}

impl Compiler<'_> {
    fn node(
        &self,
        node: &TaskNode,
        block: BlockIx,
        inner: Option<BlockIx>,
        is_later_stage: bool,
    ) -> Result<PlanNode, PlanError> {
        let defaults = &self.defaults;
        let named = match node.workflow {
            Some(_) => Some(HandlerId::from(CHILD_HANDLER)),
            None => node.spec.task.clone(),
        };
        let work = work(node, inner)?;
        let makes_attempts = matches!(work, Work::Attempts | Work::Child(_));
        let takes_material = makes_attempts && named.is_none() && !node.spec.inputs.contains_key("prompt");
        let on_failure = node.on_failure.clone().or_else(|| defaults.on_failure.clone()).unwrap_or_default();
        let place = |what: &'static str| move || format!("{}.{what}", node.id);
        let timeout = node.timeout_seconds.or(defaults.timeout_seconds.filter(|_| makes_attempts));
        Ok(PlanNode {
            id: node.id.clone(),
            task_id: TaskId::from(&node.id),
            name: node.name.clone(),
            description: node.description.clone(),
            handler: named.or_else(|| defaults.task.clone()).unwrap_or_else(|| self.default_handler.clone()),
            hints: merge_hints(&defaults.hints, &node.spec.hints),
            timeout: timeout.map(Seconds::as_duration),
            deadline: node.deadline_seconds.map(Seconds::as_duration),
            retry: retry_rule(node.retry_policy.as_ref(), defaults.retry_policy.as_ref()),
            block,
            work,
            foreach: node.foreach.as_ref().map(|items| foreach(node, items)).transpose()?,
            repeat: node.repeat.as_ref().map(|spec| repeat(node, spec)).transpose()?,
            loop_back: None,
            loop_end: None,
            reads_again: is_later_stage,
            inputs: template(&Value::Object(node.spec.inputs.clone()), place("inputs"))?,
            takes_material,
            incoming: Vec::new(),
            dependents: Vec::new(),
            join: node.join,
            when: node.when.as_deref().map(|text| condition(text, place("when"))).transpose()?,
            schema: node.output_schema.as_ref().map(|schema| output_schema(node, schema)).transpose()?,
            budget: node.budget,
            pauses: on_failure.action == FailureAction::Pause,
            continue_with: stand_in(&on_failure, &node.id)?,
            reads: Vec::new(),
            cache: node.cache.as_ref().map(|spec| cache(node, spec)).transpose()?,
            limits: if node.has_handler() { self.limits(node)? } else { Vec::new() },
        })
    }

    /// Those that the node names, or the defaults; each once, whatever it is called there.
    fn limits(&self, node: &TaskNode) -> Result<Vec<NodeLimit>, PlanError> {
        let names = node.limits.as_ref().or(self.defaults.limits.as_ref()).into_iter().flatten();
        let names: BTreeSet<&String> = names.collect();
        let limits = names.into_iter().map(|name| {
            let own = self.limits.get(name).map(|spec| -> Result<_, PlanError> {
                let key = spec.key.as_deref().map(|key| condition(key, || format!("limits.{name}.key")));
                Ok(OwnLimit { bounds: spec.bounds(), key: key.transpose()? })
            });
            Ok(NodeLimit { name: name.clone(), own: own.transpose()? })
        });
        limits.collect()
    }
}

fn work(node: &TaskNode, inner: Option<BlockIx>) -> Result<Work, PlanError> {
    let text = |text: &str, what: &'static str| template(&Value::from(text), || format!("{}.{what}", node.id));
    if let Some(block) = inner {
        return Ok(Work::Group(block));
    }
    if let Some(child) = &node.workflow {
        return Ok(Work::Child(child.clone()));
    }
    if let Some(approval) = &node.approval {
        return Ok(Work::Approval(Approval {
            title: text(&approval.title, "approval.title")?,
            message: approval.message.as_deref().map(|message| text(message, "approval.message")).transpose()?,
            form: approval.form.clone(),
            approvers: approval.approvers.clone(),
            on_timeout: approval.on_timeout.unwrap_or_default(),
            on_reject: approval.on_reject.unwrap_or_default(),
        }));
    }
    let Some(wait) = &node.wait else { return Ok(Work::Attempts) };
    Ok(Work::Wait(match (&wait.event, &wait.until) {
        (Some(event), _) => {
            let matches = wait.matches.as_deref();
            let matches = matches.map(|text| condition(text, || format!("{}.wait.match", node.id))).transpose()?;
            Wait::Event { name: text(event, "wait.event")?, matches }
        }
        (None, Some(until)) => Wait::Until(text(until, "wait.until")?),
        (None, None) => Wait::Seconds(wait.seconds.map_or(Duration::ZERO, Seconds::as_duration)),
    }))
}

fn foreach(node: &TaskNode, items: &Value) -> Result<Foreach, PlanError> {
    let place = || format!("{}.foreach", node.id);
    let items = match items {
        Value::String(text) => Items::Expression(condition(text, place)?),
        list => Items::List(template(list, place)?),
    };
    Ok(Foreach { items, parallelism: node.parallelism.unwrap_or(1).max(1) as usize })
}

fn output_schema(node: &TaskNode, schema: &Value) -> Result<OutputSchema, PlanError> {
    OutputSchema::compile(schema).map_err(|wrong| {
        let first = wrong.into_iter().next();
        let (pointer, why) = first.map_or_else(Default::default, |first| (first.pointer, first.message));
        PlanError::Schema { node: node.id.clone(), pointer, why }
    })
}

fn cache(node: &TaskNode, spec: &CacheSpec) -> Result<Cache, PlanError> {
    let key = spec.key.as_deref().map(|key| template(&Value::from(key), || format!("{}.cache.key", node.id)));
    Ok(Cache { key: key.transpose()?, ttl: spec.ttl_seconds.map(Seconds::as_duration) })
}

fn repeat(node: &TaskNode, spec: &RepeatSpec) -> Result<Repeat, PlanError> {
    let until = spec.until.as_deref();
    Ok(Repeat {
        until: until.map(|text| condition(text, || format!("{}.repeat.until", node.id))).transpose()?,
        most: spec.max_iterations.max(1),
        delay: spec.delay_seconds.map_or(Duration::ZERO, Seconds::as_duration),
        on_exhausted: spec.on_exhausted,
    })
}

fn stand_in(on_failure: &OnFailure, node: &NodeId) -> Result<Option<Template>, PlanError> {
    match on_failure.action {
        FailureAction::Fail | FailureAction::Pause => Ok(None),
        FailureAction::Continue => {
            let output = on_failure.output.clone().unwrap_or_default();
            template(&output, || format!("{node}.on_failure.output")).map(Some)
        }
    }
}

fn template(value: &Value, place: impl FnOnce() -> String) -> Result<Template, PlanError> {
    Template::compile(value).map_err(|errors| PlanError::Template { place: place(), errors })
}

fn condition(text: &str, place: impl FnOnce() -> String) -> Result<Expression, PlanError> {
    Expression::compile(text).map_err(|source| PlanError::Condition { place: place(), source })
}

/// The node's hints over the defaults, adapter by adapter and key by key.
fn merge_hints(defaults: &Map<String, Value>, own: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = defaults.clone();
    for (adapter, hints) in own {
        match (merged.get_mut(adapter), hints) {
            (Some(Value::Object(under)), Value::Object(over)) => {
                under.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
            }
            _ => {
                merged.insert(adapter.clone(), hints.clone());
            }
        }
    }
    merged
}

fn retry_rule(own: Option<&RetryPolicy>, defaults: Option<&RetryPolicy>) -> RetryRule {
    fn pick<T>(
        own: Option<&RetryPolicy>,
        defaults: Option<&RetryPolicy>,
        get: impl Fn(&RetryPolicy) -> Option<T>,
    ) -> Option<T> {
        own.and_then(&get).or_else(|| defaults.and_then(&get))
    }
    let basis = Backoff::default();
    let seconds = |get: fn(&RetryPolicy) -> Option<Seconds>, otherwise: Duration| {
        pick(own, defaults, get).map_or(otherwise, Seconds::as_duration)
    };
    RetryRule {
        backoff: Backoff {
            attempts_max: pick(own, defaults, |p| p.max_attempts).unwrap_or(basis.attempts_max).max(1),
            initial: seconds(|p| p.initial_interval_seconds, basis.initial),
            coefficient: pick(own, defaults, |p| p.backoff_coefficient).unwrap_or(basis.coefficient),
            longest: seconds(|p| p.max_interval_seconds, basis.longest),
            jitter: pick(own, defaults, |p| p.jitter).unwrap_or(basis.jitter),
        },
        retry_on: pick(own, defaults, |p| p.retry_on.clone()),
        do_not_retry_on: pick(own, defaults, |p| p.do_not_retry_on.clone()).unwrap_or_default(),
    }
}

/// Unites `depends_on` and `edges`. A dependency that is named twice is one; a condition, wherever given, holds.
fn connect(draft: &Draft<'_>, by_id: &BTreeMap<NodeId, NodeIx>, nodes: &mut [PlanNode]) -> Result<(), PlanError> {
    let mut edges: BTreeMap<(NodeIx, NodeIx), Option<Expression>> = BTreeMap::new();
    for node in draft.nodes {
        let to = draft.find(by_id, &node.id, &node.id)?;
        for dependency in &node.depends_on {
            edges.entry((draft.find(by_id, &node.id, dependency)?, to)).or_default();
        }
    }
    for edge in draft.edges.iter().filter(|edge| edge.loop_bound().is_none()) {
        let (from, to, when) = draft.ends(by_id, edge)?;
        let known = edges.entry((from, to)).or_default();
        *known = when.or(known.take());
    }
    for ((from, to), when) in edges {
        nodes[to.index()].incoming.push(Incoming { from });
        nodes[from.index()].dependents.push(Dependent { to, when });
    }
    Ok(())
}

/// Loop edges take no part in the order; each is kept at the node it comes from.
fn close_loops(draft: &Draft<'_>, by_id: &BTreeMap<NodeId, NodeIx>, nodes: &mut [PlanNode]) -> Result<(), PlanError> {
    for edge in draft.edges {
        let Some((most, on_exhausted)) = edge.loop_bound() else { continue };
        let (from, to, when) = draft.ends(by_id, edge)?;
        let body = loops::body(nodes, to, from);
        for inside in &body {
            nodes[inside.index()].reads_again = true;
        }
        nodes[from.index()].loop_back = Some(LoopBack { when, most: most.max(1), on_exhausted, body });
    }
    // Of two loops around a node the inner one has the smaller body.
    let mut loops: Vec<(NodeIx, Vec<NodeIx>)> = (draft.first..draft.first + draft.nodes.len())
        .filter_map(|at| Some((ix(at), nodes[at].loop_back.as_ref()?.body.clone())))
        .collect();
    loops.sort_by_key(|(_, body)| std::cmp::Reverse(body.len()));
    for (end, body) in loops {
        for inside in body {
            nodes[inside.index()].loop_end = Some(end);
        }
    }
    Ok(())
}

impl Draft<'_> {
    /// The node called `what`, of this block; `who` names it.
    fn find(&self, by_id: &BTreeMap<NodeId, NodeIx>, who: &NodeId, what: &NodeId) -> Result<NodeIx, PlanError> {
        let own = self.first..self.first + self.nodes.len();
        let found = by_id.get(what).copied().filter(|ix| own.contains(&ix.index()));
        found.ok_or_else(|| PlanError::UnknownNode(who.clone(), what.clone()))
    }

    fn ends(
        &self,
        by_id: &BTreeMap<NodeId, NodeIx>,
        edge: &EdgeSpec,
    ) -> Result<(NodeIx, NodeIx, Option<Expression>), PlanError> {
        let (from, to) = (edge.from(), edge.to());
        let when = edge.when().map(|text| condition(text, || format!("edge {from} -> {to}"))).transpose()?;
        Ok((self.find(by_id, to, from)?, self.find(by_id, from, to)?, when))
    }
}

/// Kahn's algorithm: whatever cannot be removed is on a cycle or behind one.
fn reject_cycles(nodes: &[PlanNode], block: Range<usize>) -> Result<(), PlanError> {
    let first = block.start;
    let mut open: Vec<usize> = nodes[block].iter().map(|node| node.incoming.len()).collect();
    let mut free: Vec<usize> = (0..open.len()).filter(|&at| open[at] == 0).collect();
    while let Some(at) = free.pop() {
        for edge in &nodes[first + at].dependents {
            let to = edge.to.index() - first;
            open[to] -= 1;
            if open[to] == 0 {
                free.push(to);
            }
        }
    }
    match open.iter().position(|&left| left > 0) {
        Some(at) => Err(PlanError::Cycle(nodes[first + at].id.clone())),
        None => Ok(()),
    }
}

fn outputs_of(draft: &Draft<'_>, nodes: &[PlanNode]) -> Result<Outputs, PlanError> {
    match &draft.outputs {
        Some(outputs) => template(outputs, || "outputs".to_owned()).map(Outputs::Declared),
        None => {
            let sinks = nodes.iter().enumerate().filter(|(_, node)| node.dependents.is_empty());
            Ok(Outputs::Sinks(sinks.map(|(at, _)| ix(draft.first + at)).collect()))
        }
    }
}

/// A number or a truth value is a label as its text; anything else is none.
fn labels(spec: &WorkflowSpec) -> BTreeMap<String, String> {
    let declared = spec.metadata.get("labels").and_then(Value::as_object).into_iter().flatten();
    let labels = declared.filter_map(|(name, value)| match value {
        Value::String(text) => Some((name.clone(), text.clone())),
        Value::Number(_) | Value::Bool(_) => Some((name.clone(), value.to_string())),
        _ => None,
    });
    labels.collect()
}
