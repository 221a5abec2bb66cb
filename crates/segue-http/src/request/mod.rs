//! `http.request`: one request, and its answer.
//!
//! | input | |
//! |---|---|
//! | `url` | where to; `http` or `https` |
//! | `method` | default: GET, or POST where there is a body |
//! | `query` | added to the address; a list gives a name several times |
//! | `headers` | names and values; `{ $secret: NAME }` for what nobody may see |
//! | `bearer` | the token of an `Authorization: Bearer …` |
//! | `json` or `body` | the body: any value as JSON, or a text as it is |
//! | `expect_status` | what means success: a number, `2xx`, or a list of them; default `2xx` |
//! | `output` | `json`, `text`, or `full`: `{status, headers, body}`; default: JSON where the server says so, else text |
//!
//! Every request carries `Idempotency-Key`, the same over attempts and restarts, so that its receiver can tell a repetition.
//! The policy is in `hints.http` ([`Policy`]).

mod answer;
mod inputs;

use async_trait::async_trait;
use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::{Adapter, Invocation, Progress},
    spec::{Diagnostic, TaskNode, WorkflowSpec},
};
use serde_json::{Map, Value, json};

pub(crate) use self::answer::kind_of as status_kind;
use self::inputs::HttpTask;
use crate::client::{HINTS, HttpClient, HttpOptions, Policy};

/// The handler's name.
pub const HANDLER: &str = "http.request";

/// Carries out `http.request`.
#[derive(Debug, Default)]
pub struct HttpAdapter {
    options: HttpOptions,
}

impl HttpAdapter {
    /// An adapter with these options.
    pub const fn new(options: HttpOptions) -> Self {
        Self { options }
    }

    async fn carry_out(&self, invocation: &Invocation) -> Result<Value, TaskError> {
        let HttpTask { request, expected, form } = HttpTask::read(invocation)?;
        let policy = Policy::of(&self.options, &invocation.hints, invocation.timeout);
        let client = HttpClient::new(&self.options, policy)?;
        let reply = client.send(request).await?;
        let told = json!({ "status": reply.status().as_u16(), "content_type": reply.header("content-type") });
        invocation.progress.emit(Progress { name: "task.progress", data: told });
        if !expected.holds(reply.status()) {
            return Err(answer::failure(reply, &expected).await);
        }
        answer::output(reply, form).await
    }
}

#[async_trait]
impl Adapter for HttpAdapter {
    fn name(&self) -> &'static str {
        HINTS
    }

    fn handlers(&self) -> &[&'static str] {
        &[HANDLER]
    }

    fn translate_workflow(&self, workflow: &WorkflowSpec) -> Vec<Diagnostic> {
        inputs::diagnose(workflow)
    }

    fn translate_task(&self, node: &TaskNode) -> Result<Value, TaskError> {
        let problems = inputs::problems(&node.spec.inputs, true).into_iter().chain(Policy::problems(&node.spec.hints));
        if let Some(problem) = { problems }.next() {
            return Err(problem.into_error());
        }
        let fields = ["method", "url", "expect_status", "output"];
        let shown: Map<String, Value> = fields
            .into_iter()
            .filter_map(|name| Some((name.to_owned(), node.spec.inputs.get(name)?.clone())))
            .collect();
        Ok(json!({ HANDLER: shown }))
    }

    async fn execute(&self, invocation: Invocation) -> TaskOutcome {
        if invocation.cancel.is_cancelled() {
            return TaskOutcome::Cancelled { usage: Default::default() };
        }
        tokio::select! {
            biased;
            // What is dropped here closes its connection.
            () = invocation.cancel.cancelled() => TaskOutcome::Cancelled { usage: Default::default() },
            answer = self.carry_out(&invocation) => match answer {
                Ok(output) => TaskOutcome::success(output),
                Err(error) => TaskOutcome::Failed { error, usage: Default::default() },
            },
        }
    }
}
