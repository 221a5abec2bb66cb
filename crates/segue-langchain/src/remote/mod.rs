//! `langgraph.remote`: a graph on a LangGraph server.
//!
//! | input | |
//! |---|---|
//! | `url` | the server's address |
//! | `assistant` | the graph's name, or an assistant's id |
//! | `input` | what the graph gets; without it: all other inputs, as an object |
//! | `config`, `context` | the run's, as the server takes them |
//! | `api_key` | sent as `X-Api-Key`; best as `{ $secret: NAME }` |
//! | `headers` | further ones |
//!
//! Hints (`hints.langgraph_remote`): `output` (`full`, the default: the graph's state; `last_message`; `text`, of the last
//! message; or `{key: NAME}`), `stream` (tokens, while somebody listens), `concurrency`. Where requests may go is said by
//! `hints.http`.
//!
//! **One run a piece of work.** The thread's id follows from the task's key, and each run carries whose it is. An attempt
//! first looks for a run that one before it has left behind: it joins it, takes its result, or goes on from its last
//! checkpoint. So nothing is done twice because an engine died, a connection broke or the answer to a creation was lost.
//! **HTTP 200 is no success** there: at the end the run and its thread are read.

mod attempt;
mod inputs;
mod server;
mod state;

use async_trait::async_trait;
use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use segue_http::{HttpOptions, Pauses};
use serde_json::{Map, Value, json};

use self::attempt::Attempt;

/// The handler's name.
pub const REMOTE: &str = "langgraph.remote";
/// The key of its hints.
pub(crate) const HINTS: &str = "langgraph_remote";

/// Carries out `langgraph.remote`.
#[derive(Debug, Default)]
pub struct LanggraphRemote {
    options: HttpOptions,
    pauses: Pauses,
}

impl LanggraphRemote {
    /// An adapter with these options.
    pub const fn new(options: HttpOptions, pauses: Pauses) -> Self {
        Self { options, pauses }
    }
}

#[async_trait]
impl Adapter for LanggraphRemote {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[REMOTE]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let problems = inputs::problems(&node.spec.inputs, true).into_iter();
        if let Some(problem) = problems.chain(inputs::hint_problems(&node.spec.hints)).next() {
            return Err(problem.into_error());
        }
        let shown: Map<String, Value> = ["url", "assistant"]
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), node.spec.inputs.get(name)?.clone())))
            .collect();
        Ok(json!({ REMOTE: shown }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        if invocation.rehearsal {
            let message = "a graph on a server cannot be rehearsed: it would ask its own models, which may cost money";
            return TaskOutcome::failure(ErrorKind::InvalidInput, message);
        }
        match Attempt::new(&self.options, self.pauses, &invocation) {
            Ok(attempt) => attempt.carry_out().await,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }
}
