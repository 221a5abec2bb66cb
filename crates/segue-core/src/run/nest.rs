//! Tasks of several parts: groups, instances of `foreach`, iterations of `repeat`, rounds of a loop.
//!
//! A task with parts runs while they do and ends when they have ended. Its parts are tasks of the arena as any other.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    Run, TaskIx, Timer, index,
    join::Verdict,
    scope::{Scope, ScopeIx},
    task::{Layer, Parts, Task},
};
use crate::{
    event::{Event, EventKind},
    expr::ExprError,
    ids::TaskId,
    outcome::{ErrorKind, TaskError},
    payload::Payload,
    plan::{Items, NodeIx, Work},
    spec::OnExhausted,
    status::Status,
    time::Timestamp,
};

/// The most instances of one `foreach`.
pub(super) const INSTANCES_MAX: usize = 1_000_000;

impl Run {
    /// Is it the task of its node which others depend on, and not a part of one?
    pub(super) fn is_member(&self, ix: TaskIx) -> bool {
        self.task(ix).parent.is_none()
    }

    /// It is the task's turn. A task that an adapter carries out is ready; the others begin by themselves.
    pub(super) fn enter(&mut self, ix: TaskIx) {
        let verdict = match (self.task(ix).layer, &self.node_of(ix).work) {
            (Layer::Map, _) => match self.items(ix) {
                Ok(items) => Verdict::Map(items),
                Err(error) => Verdict::Fail(error),
            },
            (Layer::Repeat, _) => Verdict::Iterate,
            (Layer::Work, Work::Group(_)) => Verdict::Open,
            (Layer::Work, Work::Approval(_) | Work::Wait(_)) => Verdict::Wait,
            (Layer::Work, Work::Attempts | Work::Child(_)) => {
                self.state.ready.insert(ix);
                return;
            }
        };
        self.state.verdicts.insert(ix, verdict);
    }

    fn items(&self, ix: TaskIx) -> Result<Vec<Arc<Value>>, TaskError> {
        let foreach = self.node_of(ix).foreach.as_ref().expect("a mapped task has items");
        let wrong = |why: String| {
            TaskError::new(ErrorKind::InvalidInput, format!("`foreach` of `{}`: {why}", self.task_id(ix)))
        };
        let value = match &foreach.items {
            Items::Expression(items) => {
                items.evaluate(&self.scope_for(ix, items.references())).map_err(|e| wrong(e.to_string()))?
            }
            Items::List(items) => {
                let scope = self.scope_for(ix, items.references());
                items.render(&scope).map(|value| Value::clone(&value)).map_err(|e| wrong(e.to_string()))?
            }
        };
        match value {
            Value::Array(items) if items.len() <= INSTANCES_MAX => Ok(items.into_iter().map(Arc::new).collect()),
            Value::Array(items) => Err(wrong(format!("{} items; the most is {INSTANCES_MAX}", items.len()))),
            other => Err(wrong(format!("a list is needed, not {}", kind_of(&other)))),
        }
    }

    /// `task.mapped`: one instance an item, of which `parallelism` begin.
    pub(super) fn map(&mut self, ix: TaskIx, now: Timestamp) {
        let Some(Verdict::Map(items)) = self.state.verdicts.remove(&ix) else { return };
        self.begin(ix, now);
        let (first, id) = (TaskIx(index(self.state.tasks.len())), self.task_id(ix).clone());
        for number in 0..items.len() {
            self.add_part(ix, TaskId::new(format!("{id}[{number}]")), index(number));
        }
        let queue: VecDeque<TaskIx> = (0..index(items.len())).map(|at| TaskIx(first.0 + at)).collect();
        let open = items.len();
        self.task_mut(ix).parts = Some(Parts::Instances { items, first, len: index(open), queue, live: 0, open });
        self.begin_instances(ix, now);
    }

    /// Begins instances as far as `parallelism` allows; without any left, the task has its result.
    pub(super) fn begin_instances(&mut self, ix: TaskIx, now: Timestamp) {
        let most = self.node_of(ix).foreach.as_ref().map_or(1, |foreach| foreach.parallelism);
        while let Some(next) = self.next_instance(ix, most) {
            match self.task(next).parts {
                None => self.enter(next),
                Some(_) => self.revive(vec![next], now),
            }
        }
        if matches!(self.task(ix).parts, Some(Parts::Instances { open: 0, .. })) {
            self.state.verdicts.insert(ix, Verdict::Conclude);
        }
    }

    fn next_instance(&mut self, ix: TaskIx, most: usize) -> Option<TaskIx> {
        let Some(Parts::Instances { queue, live, .. }) = &mut self.task_mut(ix).parts else { return None };
        if *live >= most && !planted!(ForgetsParallelism) {
            return None;
        }
        let next = queue.pop_front()?;
        *live += 1;
        Some(next)
    }

    pub(super) fn next_iteration(&mut self, events: &mut Vec<Event>, ix: TaskIx, now: Timestamp) {
        let iteration = match &self.task(ix).parts {
            Some(Parts::Iteration { number, .. }) => number + 1 + u32::from(planted!(IterationsLeaveGaps)),
            _ => 1,
        };
        self.record_about(events, now, ix, None, EventKind::LoopIterated { iteration });
    }

    /// `loop.iterated` of a `repeat`: iteration `number` begins.
    pub(super) fn iterate(&mut self, ix: TaskIx, number: u32, now: Timestamp) {
        self.state.verdicts.remove(&ix);
        self.begin(ix, now);
        let previous = match &self.task(ix).parts {
            Some(Parts::Iteration { current, .. }) => {
                let last = self.task(*current);
                let (output, due) =
                    (last.output.clone(), last.finished_at.map(|ended| ended.plus(self.pause_between(ix))));
                let current = *current;
                self.state.timers.remove(&(due.unwrap_or(now), Timer::Iterate(ix)));
                self.task_mut(current).output = None;
                output
            }
            _ => None,
        };
        let id = TaskId::new(format!("{}#{number}", self.task_id(ix)));
        let current = self.add_part(ix, id, number);
        self.task_mut(ix).parts = Some(Parts::Iteration { current, number, previous });
        self.enter(current);
    }

    /// `task.started` of a group: its members begin.
    pub(super) fn open_group(&mut self, ix: TaskIx, now: Timestamp) {
        self.state.verdicts.remove(&ix);
        self.begin(ix, now);
        let plan = self.plan.clone();
        let Work::Group(block) = &plan.node(self.task(ix).node).work else { return };
        let (members, base) = (plan.block(*block), index(self.state.tasks.len()));
        let scope = ScopeIx(index(self.state.scopes.len()));
        self.state.scopes.push(Scope::new(*block, base, members.len, Some(ix)));
        for at in 0..members.len {
            let node = NodeIx(members.first.0 + index(at));
            let id = TaskId::new(format!("{}/{}", self.task_id(ix), plan.node(node).id));
            let mut task = Task::new(id, node, plan.node(node), plan.readers[node.index()]);
            task.scope = scope;
            self.add(task);
        }
        self.task_mut(ix).parts = Some(Parts::Group(scope));
        self.time_group(ix, now);
        self.begin_scope(scope);
        self.close_scope(scope);
    }

    /// The `timeout_seconds` of a group count from its beginning, and again when it goes on after its end.
    pub(super) fn time_group(&mut self, ix: TaskIx, now: Timestamp) {
        let timeout_at = self.node_of(ix).timeout.map(|span| now.plus(span));
        self.task_mut(ix).timeout_at = timeout_at;
        self.state.timers.extend(timeout_at.map(|time| (time, Timer::Attempt(ix))));
    }

    /// A task that has begun begins again: its row changes although the fact is about another.
    pub(super) fn note_restart(&mut self, ix: TaskIx) {
        let now = self.state.version;
        let last = std::mem::replace(&mut self.task_mut(ix).restarted, now);
        self.state.restarts.remove(&(last, ix));
        self.state.restarts.insert((now, ix));
    }

    /// The parts of a task that have begun or may begin; of a `repeat` only the iteration that is under way.
    pub(super) fn parts_of(&self, ix: TaskIx) -> Vec<TaskIx> {
        match &self.task(ix).parts {
            Some(Parts::Group(scope)) => self.scope(*scope).members().collect(),
            Some(Parts::Instances { first, len, .. }) => (first.0..first.0 + len).map(TaskIx).collect(),
            Some(Parts::Iteration { current, .. }) => vec![*current],
            None => Vec::new(),
        }
    }

    /// The result of a task is all that is wanted of its parts.
    pub(super) fn drop_parts(&mut self, ix: TaskIx) {
        for part in self.parts_of(ix) {
            self.task_mut(part).output = None;
        }
        match &mut self.task_mut(ix).parts {
            Some(Parts::Instances { items, .. }) => *items = Vec::new(),
            Some(Parts::Iteration { previous, .. }) => *previous = None,
            _ => {}
        }
    }

    /// Has a part of it not ended?
    pub(super) fn has_open_parts(&self, ix: TaskIx) -> bool {
        match &self.task(ix).parts {
            Some(Parts::Group(scope)) => self.scope(*scope).open > 0,
            Some(Parts::Instances { open, .. }) => *open > 0,
            Some(Parts::Iteration { current, .. }) => !self.task(*current).status.is_terminal(),
            None => false,
        }
    }

    fn add_part(&mut self, ix: TaskIx, id: TaskId, number: u32) -> TaskIx {
        let plan = self.plan.clone();
        let (node, scope, layer) = (self.task(ix).node, self.task(ix).scope, self.task(ix).layer);
        let mut task = Task::new(id, node, plan.node(node), 0);
        task.layer = layer.inner(plan.node(node));
        task.scope = scope;
        task.parent = Some(ix);
        task.number = number;
        // The round is that of the whole.
        task.round = 0;
        self.add(task)
    }

    /// A task that is made again goes on counting the attempts of the one whose place it takes, so that answers to that
    /// one are stale.
    fn add(&mut self, mut task: Task) -> TaskIx {
        let ix = TaskIx(index(self.state.tasks.len()));
        if let Some(old) = self.state.added.insert(task.id.clone(), ix) {
            let old = self.task(old);
            (task.attempt, task.usage) = (old.attempt, old.usage);
            self.state.tasks.push(task);
            self.note_restart(ix);
            return ix;
        }
        self.state.tasks.push(task);
        ix
    }

    /// An instance or an iteration has ended: the next begins, or the whole has ended.
    pub(super) fn part_ended(&mut self, part: TaskIx, now: Timestamp) {
        let parent = self.task(part).parent.expect("a part has a whole");
        if self.task(parent).status != Status::Running {
            return;
        }
        match &mut self.task_mut(parent).parts {
            Some(Parts::Instances { live, .. }) => {
                *live -= 1;
                self.begin_instances(parent, now);
            }
            Some(Parts::Iteration { number, .. }) => {
                let number = *number;
                self.iteration_ended(parent, part, number);
            }
            _ => {}
        }
    }

    pub(super) fn pause_between(&self, ix: TaskIx) -> Duration {
        self.node_of(ix).repeat.as_ref().map_or(Duration::ZERO, |repeat| repeat.delay)
    }

    fn iteration_ended(&mut self, ix: TaskIx, part: TaskIx, number: u32) {
        let plan = self.plan.clone();
        let repeat = plan.node(self.task(ix).node).repeat.as_ref().expect("a repeated task says how");
        let goes_on = match self.is_enough(ix, part) {
            _ if !self.task(part).is_kept() => false,
            Ok(enough) => !enough && number < repeat.most + u32::from(planted!(OneIterationTooMany)),
            Err(_) => false,
        };
        match self.task(part).finished_at {
            Some(ended) if goes_on && !repeat.delay.is_zero() && !planted!(ForgetsThePauseBetween) => {
                self.state.timers.insert((ended.plus(repeat.delay), Timer::Iterate(ix)));
            }
            _ => {
                let verdict = if goes_on { Verdict::Iterate } else { Verdict::Conclude };
                self.state.verdicts.insert(ix, verdict);
            }
        }
    }

    /// Does `until` hold after this iteration? Without it, never.
    fn is_enough(&self, ix: TaskIx, part: TaskIx) -> Result<bool, ExprError> {
        let Some(until) = self.node_of(ix).repeat.as_ref().and_then(|repeat| repeat.until.as_ref()) else {
            return Ok(false);
        };
        let mut scope = self.scope_for(part, until.references());
        scope.extra.push(("output", self.value(part)));
        until.is_true(&scope)
    }

    /// What the parts of a task amount to.
    pub(super) fn result_of(&self, ix: TaskIx) -> Result<Payload, TaskError> {
        match &self.task(ix).parts {
            Some(Parts::Group(scope)) => match self.unhandled_failure(*scope).filter(|_| !planted!(GroupsNeverFail)) {
                Some(error) => Err(error),
                None => self.outputs(*scope),
            },
            Some(Parts::Instances { first, len, .. }) => {
                let parts = (first.0..first.0 + len).map(TaskIx);
                match parts.clone().find(|&part| !self.task(part).is_kept() && !planted!(ForgetsFailedInstances)) {
                    Some(failed) => Err(self.error_of_part(failed)),
                    None if planted!(InstancesInTheWrongOrder) => {
                        Ok(Payload::new(parts.rev().map(|part| Value::clone(&self.value(part))).collect()))
                    }
                    None => Ok(Payload::new(parts.map(|part| Value::clone(&self.value(part))).collect())),
                }
            }
            Some(Parts::Iteration { current, number, .. }) => self.result_of_iterations(ix, *current, *number),
            None => Ok(Payload::new(Value::Null)),
        }
    }

    fn result_of_iterations(&self, ix: TaskIx, last: TaskIx, number: u32) -> Result<Payload, TaskError> {
        if !self.task(last).is_kept() {
            return Err(self.error_of_part(last));
        }
        let repeat = self.node_of(ix).repeat.as_ref().expect("a repeated task says how");
        let enough = self.is_enough(ix, last).map_err(|error| self.no_answer(ix, "`repeat.until`", &error))?;
        if !enough
            && repeat.until.is_some()
            && repeat.on_exhausted == OnExhausted::Fail
            && !planted!(ExhaustedIsSuccess)
        {
            let message = format!("`repeat.until` of `{}` did not hold after {number} iterations", self.task_id(ix));
            return Err(TaskError::new(ErrorKind::Limit, message));
        }
        Ok(self.task(last).output.clone().unwrap_or_else(|| Payload::new(Value::Null)))
    }

    fn error_of_part(&self, part: TaskIx) -> TaskError {
        let mut error =
            self.task(part).error.clone().unwrap_or_else(|| TaskError::new(ErrorKind::Cancelled, "it was cancelled"));
        error.message = format!("{}: {}", self.task_id(part), error.message);
        error.retryable = false;
        error
    }
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
