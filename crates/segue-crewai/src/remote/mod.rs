//! `crewai.remote`: a crew that is hosted (CrewAI's platform, or whoever speaks its interface).
//!
//! | input | |
//! |---|---|
//! | `url` | the deployment's address |
//! | `token` | its bearer token; best as `{ $secret: NAME }` |
//! | `inputs` | what the crew gets; without it: all other inputs. Numbers and booleans become texts |
//! | `headers` | further ones |
//!
//! Hints: `hints.crewai_remote.concurrency`, and `hints.http` for where requests may go.
//!
//! **A kickoff cannot be repeated safely:** the interface has no key for it, and no list of executions in which one could be
//! found. So the attempt writes down that it is about to kick off, kicks off, and writes down the id. Whoever comes after a
//! crash finds the id and goes on with that execution; who finds only the intention cannot know whether there is one, and ends
//! as `unknown`, which nothing repeats by itself. The status is polled; that is the truth here.

mod attempt;
mod inputs;
mod ledger;
mod server;
mod status;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation, ModelJournal},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use segue_http::{HttpOptions, Pauses};
use serde_json::{Value, json};

use self::attempt::Attempt;

/// The handler's name.
pub const REMOTE: &str = "crewai.remote";
/// The key of its hints.
pub(crate) const HINTS: &str = "crewai_remote";

/// What the adapter is made with.
#[derive(Clone, Default)]
pub struct RemoteOptions {
    /// What holds for all requests.
    pub http: HttpOptions,
    /// Where kickoffs are written down. Without it an attempt that follows a lost one knows nothing of its kickoff, and makes
    /// another.
    pub journal: Option<Arc<dyn ModelJournal>>,
    /// How often a status is asked for.
    pub pauses: Pauses,
}

impl fmt::Debug for RemoteOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteOptions").field("http", &self.http).field("pauses", &self.pauses).finish_non_exhaustive()
    }
}

/// Carries out `crewai.remote`.
#[derive(Debug, Default)]
pub struct CrewaiRemote {
    options: RemoteOptions,
}

impl CrewaiRemote {
    /// An adapter with these options.
    pub const fn new(options: RemoteOptions) -> Self {
        Self { options }
    }
}

#[async_trait]
impl Adapter for CrewaiRemote {
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
        match problems.chain(inputs::hint_problems(&node.spec.hints)).next() {
            Some(problem) => Err(problem.into_error()),
            None => Ok(json!({ REMOTE: { "url": node.spec.inputs.get("url") } })),
        }
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Usage::default() };
        }
        if invocation.rehearsal {
            let message = "a hosted crew cannot be rehearsed: it would ask its own models, which cost money";
            return TaskOutcome::failure(ErrorKind::InvalidInput, message);
        }
        match Attempt::new(&self.options, &invocation) {
            Ok(attempt) => attempt.carry_out().await,
            Err(error) => TaskOutcome::Failed { error, usage: Usage::default() },
        }
    }
}
