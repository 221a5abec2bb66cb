//! Events about tasks of several parts: instances, iterations, groups, rounds of a loop; and what their parts give.

use segue_core::{
    outcome::{ErrorKind, TaskError},
    spec::OnExhausted,
    status::Status,
};
use serde_json::{Map, Value};

use super::{
    Auditor, Rule, Violation,
    condition::Scope,
    graph::Work,
    join::Decision,
    step::{Round, Step},
    tree::Parts,
};

/// A result that a task may have: its output, or the kind and the words of its error.
pub(super) type Outcome = Result<Value, (ErrorKind, Option<String>)>;

impl Auditor {
    /// The items of a `foreach`, if they can be known.
    pub(super) fn items(&self, ix: usize) -> Result<Vec<Value>, String> {
        let value = match &self.node(ix).foreach {
            Some(Value::String(expression)) => self.scope_of(ix).value(expression)?.unwrap_or_default(),
            Some(list) => self.scope_of(ix).render(list)?,
            None => Value::Null,
        };
        match value {
            Value::Array(items) => Ok(items),
            other => Err(format!("{other} is no list")),
        }
    }

    pub(super) fn task_mapped(&mut self, ix: usize, n: u32) -> Result<(), Violation> {
        let id = self.tasks[ix].id.clone();
        let step = self.step(ix);
        self.check(step == Step::Map, Rule::Ready, || format!("`{id}` is mapped: {step:?}"))?;
        let items = self.tasks[ix].items.take().unwrap_or_else(|| Err("nothing".into()));
        self.check(items.as_ref().is_ok_and(|items| items.len() == n as usize), Rule::Mapped, || {
            format!("`{id}` has {n} instances; its items are {items:?}")
        })?;
        self.begin(ix);
        let parts = (0..n).map(|number| self.add_part(ix, format!("{id}[{number}]"), number, Decision::Open));
        let tasks = parts.collect();
        self.tasks[ix].parts = Parts::Instances { items: items.unwrap_or_default(), tasks };
        Ok(())
    }

    pub(super) fn loop_iterated(&mut self, ix: usize, number: u32) -> Result<(), Violation> {
        let id = self.tasks[ix].id.clone();
        match self.step(ix) {
            Step::Again => return self.go_round(ix, number),
            Step::Iterate => {}
            Step::IterateAt(due) => self.check(due <= self.time, Rule::Iteration, || {
                format!("iteration {number} of `{id}` begins before its pause is over, at {due}")
            })?,
            step => return self.broken(Rule::Iteration, format!("`{id}` begins iteration {number}: {step:?}")),
        }
        let (last, previous) = match self.tasks[ix].parts {
            Parts::Iteration { current, .. } => (self.tasks[current].number, self.output(current)),
            _ => (0, Value::Null),
        };
        self.check(number == last + 1, Rule::Iteration, || format!("iteration {number} of `{id}` follows {last}"))?;
        let most = self.node(ix).repeat.as_ref().map_or(0, |repeat| repeat.max_iterations);
        self.check(number <= most, Rule::Iteration, || format!("iteration {number} of `{id}`, of {most} at most"))?;
        if last == 0 {
            self.begin(ix);
        } else {
            self.forget_parts(ix);
        }
        let current = self.add_part(ix, format!("{id}#{number}"), number, Decision::Run);
        self.tasks[ix].parts = Parts::Iteration { current, previous };
        Ok(())
    }

    /// Every task of the body starts over.
    fn go_round(&mut self, ix: usize, round: u32) -> Result<(), Violation> {
        let (id, last, node) = (self.tasks[ix].id.clone(), self.tasks[ix].round, self.tasks[ix].node);
        let Some(back) = self.node(ix).back.clone() else { return Ok(()) };
        self.check(round == last + 1, Rule::Iteration, || format!("round {round} of `{id}` follows {last}"))?;
        self.check(round <= back.most, Rule::Iteration, || format!("round {round} of `{id}`, of {}", back.most))?;
        let body: Vec<usize> = back.body.iter().map(|&at| self.member(self.tasks[ix].scope, at)).collect();
        let open = body.iter().find(|&&inside| !self.tasks[inside].status.is_terminal());
        self.check(open.is_none(), Rule::Outlived, || {
            format!("`{}` outlives its round", self.tasks[*open.unwrap_or(&0)].id)
        })?;
        for &inside in &body {
            self.forget_parts(inside);
            self.tasks[inside].reset();
            self.tasks[inside].child = None;
            let at = self.node(inside);
            // A loop inside this one begins again.
            self.tasks[inside].round = if at.innermost == Some(node) { round } else { 1 };
            let incoming = self.node(inside).incoming.clone();
            self.tasks[inside].edges.retain(|at, _| !back.body.contains(&incoming[*at].from));
        }
        Ok(())
    }

    pub(super) fn group_started(&mut self, ix: usize) -> Result<(), Violation> {
        let step = self.step(ix);
        self.check(step == Step::Open, Rule::Ready, || format!("`{}` begins: {step:?}", self.tasks[ix].id))?;
        let Work::Group(block) = self.node(ix).work else { return Ok(()) };
        self.begin(ix);
        let scope = self.open_scope(block, Some(ix), self.stage_of(ix));
        self.tasks[ix].parts = Parts::Group(scope);
        Ok(())
    }

    pub(super) fn begin(&mut self, ix: usize) {
        let now = self.time;
        let task = &mut self.tasks[ix];
        task.status = Status::Running;
        task.started = now;
        task.first_started.get_or_insert(now);
        task.deadline_from.get_or_insert(now);
    }

    /// What a task has come to that no adapter carries out; none if it has not come to anything.
    pub(super) fn result(&self, ix: usize) -> Option<Outcome> {
        let result = match &self.tasks[ix].parts {
            _ if self.tasks[ix].is_paused() => return None,
            Parts::None if self.tasks[ix].status == Status::Waiting => self.result_of_waiting(ix)?,
            _ if self.step(ix) != Step::Conclude => return None,
            Parts::None => return None,
            Parts::Group(scope) => self.result_of_group(*scope),
            Parts::Instances { tasks, .. } => match tasks.iter().find(|&&part| !self.tasks[part].is_kept()) {
                Some(&failed) => Err(self.error_of_part(failed)),
                None => Ok(tasks.iter().map(|&part| self.output(part)).collect()),
            },
            Parts::Iteration { current, .. } => self.result_of_iterations(ix, *current),
        };
        Some(result.and_then(|output| match self.round(ix, &output) {
            _ if self.misfit(ix, &output).is_some() => Err((ErrorKind::ModelOutput, None)),
            Round::Over | Round::Again => Ok(output),
            Round::Exhausted => Err((ErrorKind::Limit, None)),
            Round::Broken => Err((ErrorKind::InvalidInput, None)),
        }))
    }

    fn result_of_group(&self, scope: usize) -> Outcome {
        match self.first_failure(scope) {
            Some(failed) => Err(match &self.tasks[failed].error {
                Some(error) => (error.kind, Some(error.message.clone())),
                None => (ErrorKind::Join, None),
            }),
            None => self.outputs(scope).map_err(|_| (ErrorKind::InvalidInput, None)),
        }
    }

    fn result_of_iterations(&self, ix: usize, last: usize) -> Outcome {
        let Some(repeat) = &self.node(ix).repeat else { return Err((ErrorKind::Limit, None)) };
        if !self.tasks[last].is_kept() {
            return Err(self.error_of_part(last));
        }
        match self.is_enough(last) {
            Err(_) => Err((ErrorKind::InvalidInput, None)),
            Ok(false) if repeat.until.is_some() && repeat.on_exhausted == OnExhausted::Fail => {
                Err((ErrorKind::Limit, None))
            }
            Ok(_) => Ok(self.output(last)),
        }
    }

    fn error_of_part(&self, part: usize) -> (ErrorKind, Option<String>) {
        match &self.tasks[part].error {
            Some(TaskError { kind, message, .. }) => (*kind, Some(format!("{}: {message}", self.tasks[part].id))),
            None => (ErrorKind::Cancelled, None),
        }
    }

    /// What the tasks of a scope give together.
    pub(super) fn outputs(&self, scope: usize) -> Result<Value, String> {
        let block = &self.graph.blocks[self.scopes[scope].block];
        if let Some(declared) = &block.outputs {
            let names = Scope { auditor: self, scope, task: None, result: None, extra: Vec::new() };
            return names.render(declared);
        }
        let members = self.scopes[scope].tasks.iter();
        let sinks = members.filter(|&&ix| self.graph.leaving(self.tasks[ix].node).next().is_none());
        let outputs =
            sinks.filter_map(|&ix| Some((self.node_id(ix).to_string(), (**self.tasks[ix].output.as_ref()?).clone())));
        Ok(Value::Object(outputs.collect::<Map<_, _>>()))
    }
}
