//! Adapters carry out tasks. They translate and forward; they never decide about retries, order or state.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_core::future::BoxFuture;
use serde_json::{Map, Value};

use crate::{
    ids::{HandlerId, NodeId},
    outcome::{TaskError, TaskOutcome, Usage},
    ports::ExecutionContext,
    question::Resume,
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};

/// Tells an adapter that its attempt is no longer wanted. Made by the shell; cheap to ask.
pub trait CancelSignal: Send + Sync {
    /// Has it been cancelled?
    fn is_cancelled(&self) -> bool;
    /// Completes when it is.
    fn cancelled(&self) -> BoxFuture<'static, ()>;
}

/// Takes an attempt's progress. Never blocks; what nobody listens to is dropped.
pub trait ProgressSink: Send + Sync {
    /// Forwards one piece of progress, in order.
    fn emit(&self, progress: Progress);
    /// Does anybody listen? Lets an adapter leave out what is costly (token streams).
    fn is_wanted(&self) -> bool {
        true
    }
}

/// Progress that is not state: it travels on the bus, marked transient.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// `task.log`, `task.progress`, `task.token` or `model.call`.
    pub name: &'static str,
    /// Its data.
    pub data: Value,
}

/// One attempt to carry out, complete: an adapter needs nothing else.
pub struct Invocation {
    /// The handler that the node names, or the default one.
    pub handler: HandlerId,
    /// The node's name for people.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// The inputs, rendered: always an object.
    pub inputs: Arc<Value>,
    /// The outputs of the node's dependencies, where the node has no prompt of its own and takes them as material.
    pub material: Vec<(NodeId, Arc<Value>)>,
    /// All hints of the node, one object an adapter.
    pub hints: Map<String, Value>,
    /// Facts about the run.
    pub context: ExecutionContext,
    /// The folder in which relative paths are resolved.
    pub base_dir: Option<PathBuf>,
    /// The answers to what an earlier attempt asked; this one takes up its work.
    pub resume: Option<Resume>,
    /// What it may consume of models: with the rest of its run, and by itself.
    pub budgets: Vec<Budget>,
    /// Does the run rehearse, with the built-in model in the place of every other?
    pub rehearsal: bool,
    /// The attempt's own time limit, enforced by the engine too; here so that a worker can give up by itself.
    pub timeout: Option<Duration>,
    /// How long after a cancel the attempt may take to end by itself.
    pub grace: Duration,
    /// Tells when it is no longer wanted.
    pub cancel: Arc<dyn CancelSignal>,
    /// Takes its progress.
    pub progress: Arc<dyn ProgressSink>,
}

/// Whose budget it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetScope {
    /// The run's: all its live attempts draw on it.
    Run,
    /// The task's: its attempts alone.
    Task,
}

/// What may be consumed, and has been.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Who draws on it.
    pub scope: BudgetScope,
    /// Input and output tokens together.
    pub tokens: Option<u64>,
    /// By the price table, in billionths of a US dollar.
    pub cost_nanousd: Option<u64>,
    /// How often it has been granted again; a higher number is a budget anew.
    pub grants: u32,
    /// By attempts that had ended when this one was dispatched, since the budget was last granted.
    pub spent: Usage,
}

impl Invocation {
    /// The input called `key`.
    pub fn input(&self, key: &str) -> Option<&Value> {
        self.inputs.get(key)
    }
}

/// Carries out the tasks of one or more handlers.
#[async_trait]
pub trait Adapter: Send + Sync {
    /// The key of this adapter's hints: `crewai`, `process`.
    fn name(&self) -> &'static str;

    /// The handlers it carries out: `crewai.agent`, `crewai.crew`.
    fn handlers(&self) -> &[&'static str];

    /// What this adapter finds wrong with a workflow, as diagnostics with JSON Pointers into it; checked by `validate`
    /// and at deployment. Pure: reads nothing but the workflow.
    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        let _ = workflow;
        Vec::new()
    }

    /// What this adapter will run for a node, as JSON for people (`segue graph --format json`, logs). Fails as the
    /// attempt would. Pure.
    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError>;

    /// Attempts of this node that may run at once, from its hints; `None`: as many as there are.
    fn concurrency(&self, hints: &Map<String, Value>) -> Option<u32> {
        hints
            .get(self.name())
            .and_then(|own| own.get("concurrency"))
            .and_then(Value::as_u64)
            .and_then(|n| u32::try_from(n).ok())
    }

    /// Is an attempt so short that the engine may await it in place, without a task of its own? (`pass`.)
    fn is_immediate(&self) -> bool {
        false
    }

    /// Carries out one attempt and gives exactly one answer. Returns only when everything it started is truly over,
    /// after a cancel within `grace` and a moment. Never panics; if it does, the attempt counts as lost.
    async fn execute(&self, invocation: Invocation) -> TaskOutcome;

    /// Ends what the adapter keeps (worker processes). Called once, when nothing runs any more.
    async fn shutdown(&self) {}
}
