//! One node of the plan: what it says itself, and what the defaults say for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    super::{
        Approval, BlockIx, CHILD_HANDLER, Cache, Foreach, Items, NodeLimit, OwnLimit, PlanNode, Repeat, RetryRule,
        Wait, Work,
    },
    PlanError, condition, template,
};
use crate::{
    expr::Template,
    ids::{HandlerId, NodeId, TaskId},
    spec::{
        Backoff, CacheSpec, Defaults, FailureAction, LimitSpec, OnFailure, OutputSchema, RepeatSpec, RetryPolicy,
        Seconds, TaskNode,
    },
};

/// What holds for all nodes of a workflow.
pub(super) struct Compiler<'a> {
    pub(super) defaults: Defaults,
    pub(super) limits: &'a BTreeMap<String, LimitSpec>,
    pub(super) default_handler: &'a HandlerId,
}

impl Compiler<'_> {
    pub(super) fn node(
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
