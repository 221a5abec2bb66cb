//! One attempt: finds or makes its kickoff, polls it to its end, and tells what came of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use segue_core::{
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Invocation, Progress},
    question::{ANSWER, Question, QuestionItem},
};
use segue_http::{Api, HttpClient, Policy};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::{
    RemoteOptions,
    inputs::RemoteCrew,
    ledger::{Last, Ledger},
    server::{Kickoff, Server},
    status::Status,
};

/// An execution that is no longer wanted is stopped in this time, also where the grace is shorter.
const STOPPING_TAKES: Duration = Duration::from_secs(10);
/// So often it may still look as if it waited after it was answered.
const SETTLING_POLLS: u32 = 5;
/// Answers that approve, in lower case; any other text is feedback, after which the task is done again.
const APPROVALS: [&str; 6] = ["", "yes", "ok", "approve", "approved", "accept"];

/// An attempt, and what it works on.
pub(super) struct Attempt<'a> {
    invocation: &'a Invocation,
    crew: RemoteCrew,
    server: Server,
    ledger: Ledger,
    stopping: Stopping,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(options: &RemoteOptions, invocation: &'a Invocation) -> Result<Self, TaskError> {
        let crew = RemoteCrew::read(invocation)?;
        let http = &options.http;
        let policy = Policy { redirects: Some(0), ..Policy::of(http, &invocation.hints, invocation.timeout) };
        let api = Api::new(HttpClient::new(http, policy)?, &crew.url, crew.headers.clone());
        let server = Server::new(api, options.pauses);
        let what = json!({ "url": crew.url.as_str(), "inputs": crew.inputs });
        let ledger = Ledger::new(options.journal.clone(), &invocation.context, &what);
        let stopping = Stopping::new(server.clone());
        Ok(Self { invocation, crew, server, ledger, stopping })
    }

    pub(super) async fn carry_out(self) -> TaskOutcome {
        // An engine that is torn down drops this future: its execution is stopped all the same.
        let mut guard = Guard(Some(self.stopping.clone()));
        let mut work = std::pin::pin!(self.work());
        let outcome = tokio::select! {
            biased;
            () = self.invocation.cancel.cancelled() => None,
            outcome = &mut work => Some(outcome),
        };
        let outcome = match outcome {
            Some(outcome) => outcome.unwrap_or_else(|error| TaskOutcome::Failed { error, usage: Usage::default() }),
            None => {
                let takes = self.invocation.grace.max(STOPPING_TAKES);
                let stopped = tokio::time::timeout(takes, async {
                    // What is being kicked off can be stopped when its id is known.
                    tokio::select! {
                        () = self.stopping.known() => {}
                        _ = &mut work => {}
                    }
                    self.stopping.stop().await
                });
                TaskOutcome::Cancelled { usage: stopped.await.unwrap_or_default() }
            }
        };
        guard.0 = None;
        outcome
    }

    async fn work(&self) -> Result<TaskOutcome, TaskError> {
        if let Some(resume) = &self.invocation.resume {
            let text = |name: &str| resume.token[name].as_str();
            let Some(id) = text("kickoff") else {
                let message = "what it is to go on from is no question of a hosted crew's";
                return Err(TaskError::new(ErrorKind::InvalidInput, message));
            };
            let answer = resume.answers.get(ANSWER).unwrap_or(&Value::Null);
            self.stopping.watch(id);
            self.ledger.answered(id).await?;
            self.answer(id, text("task"), answer).await?;
            return self.follow(id, SETTLING_POLLS).await;
        }
        let next = match self.ledger.last().await? {
            Last::Intended => return Err(unknown("an attempt before this one was lost while it kicked off")),
            Last::None { next } => next,
            // It asked and was answered, and this attempt is to begin at the inputs all the same.
            Last::Known { id, next } if self.ledger.was_answered(&id).await? => next,
            Last::Known { id, next } => match self.server.status(&id).await? {
                // A timeout or a cancel stopped it: nothing of it can be used.
                Some(Status::Stopped) => next,
                _ => {
                    self.stopping.watch(&id);
                    return self.follow(&id, 0).await;
                }
            },
        };
        let id = self.kickoff(next).await?;
        self.follow(&id, 0).await
    }

    async fn kickoff(&self, number: u32) -> Result<String, TaskError> {
        let context = &self.invocation.context;
        let meta = json!({
            "segue_run_id": context.run_id, "segue_task_id": context.task_id, "segue_attempt": context.attempt,
            "segue_key": context.effect_key,
        });
        self.ledger.intend(number).await?;
        self.stopping.is_kicking_off.store(true, Ordering::SeqCst);
        match self.server.kickoff(&self.crew.inputs, &meta).await {
            Kickoff::Began(id) => {
                self.stopping.watch(&id);
                // If this cannot be written down the execution goes on all the same; only a restart would not find it.
                if let Err(error) = self.ledger.began(number, &id).await {
                    tracing::warn!(kickoff = id, %error, "a kickoff is not written down");
                }
                Ok(id)
            }
            Kickoff::Nothing(error) => {
                self.ledger.came_to_nothing(number).await?;
                Err(error)
            }
            Kickoff::Unknown(why) => Err(unknown(&why)),
        }
    }

    /// Asks for the status until it has ended. `settling`: so often it may look as if it still waited.
    async fn follow(&self, id: &str, mut settling: u32) -> Result<TaskOutcome, TaskError> {
        let (pauses, mut quiet, mut told) = (self.server.pauses(), 0, None);
        loop {
            let Some(status) = self.server.status(id).await? else {
                return Err(unknown("the server does not know the execution any more"));
            };
            match &status {
                Status::Running { .. } | Status::Strange(_) => {}
                Status::Asks { .. } if settling > 0 => settling -= 1,
                Status::Asks { task, value } => {
                    let question = question(id, task.as_deref(), value.clone());
                    return Ok(TaskOutcome::Waiting { question, usage: Usage::default() });
                }
                Status::Ended { output, usage } => {
                    let (output, usage) = (Payload::new(output.clone()), *usage);
                    return Ok(TaskOutcome::Succeeded { output, usage, warnings: Vec::new() });
                }
                Status::Failed { message } => return Err(TaskError::new(ErrorKind::User, message)),
                Status::Stopped => {
                    return Err(TaskError::new(
                        ErrorKind::Cancelled,
                        "somebody else stopped the execution on its server",
                    ));
                }
            }
            if told.as_ref() != Some(&status) {
                self.tell(id, &status);
                (told, quiet) = (Some(status), 0);
            }
            tokio::time::sleep(pauses.after(quiet)).await;
            quiet += 1;
        }
    }

    fn tell(&self, id: &str, status: &Status) {
        let state = match status {
            Status::Strange(word) => format!("{word} (a status that is not known here)"),
            Status::Asks { .. } => "answered".to_owned(),
            _ => "running".to_owned(),
        };
        let task = if let Status::Running { task } = status { task.as_deref() } else { None };
        let data = json!({ "kickoff_id": id, "state": state, "task": task });
        self.invocation.progress.emit(Progress { name: "task.progress", data });
    }

    /// Gives a person's answer to the execution that waits for it.
    async fn answer(&self, id: &str, asked: Option<&str>, answer: &Value) -> Result<(), TaskError> {
        let named = answer["task_id"].as_str();
        let Some(task) = named.or(asked) else {
            let message = "the server does not say which of its tasks asks; answer with {feedback, approve, task_id}";
            return Err(TaskError::new(ErrorKind::InvalidInput, message));
        };
        let text = answer.as_str().or_else(|| answer["feedback"].as_str()).unwrap_or_default().trim();
        let approves = answer["approve"].as_bool().unwrap_or_else(|| APPROVALS.contains(&text.to_lowercase().as_str()));
        // `human_feedback` is required, also of who has nothing to say.
        let body = json!({ "execution_id": id, "task_id": task, "human_feedback": text, "is_approve": approves });
        self.server.resume(&body).await
    }
}

fn question(id: &str, task: Option<&str>, value: Value) -> Question {
    let about = task.map_or_else(String::new, |task| format!(" about the task {task}"));
    let schema = json!({
        "anyOf": [
            { "type": "string" },
            {
                "type": "object", "additionalProperties": false,
                "properties": {
                    "feedback": { "type": "string" }, "approve": { "type": "boolean" }, "task_id": { "type": "string" },
                },
            },
        ],
    });
    Question {
        prompt: format!("The crew asks for human input{about}: approve (yes), or say what should be done otherwise"),
        items: vec![QuestionItem { id: ANSWER.to_owned(), value, schema: Some(schema) }],
        resume: json!({ "kickoff": id, "task": task }),
    }
}

/// Nobody can tell whether the crew has run, or runs.
fn unknown(why: &str) -> TaskError {
    let message = format!(
        "whether the crew runs is unknown: {why}. Look at the deployment's executions (their `meta` names this run and task); \
         a retry of the task kicks off anew"
    );
    TaskError::new(ErrorKind::Unknown, message)
}

/// How an execution is stopped.
#[derive(Clone)]
struct Stopping {
    server: Server,
    kickoff: Arc<watch::Sender<Option<String>>>,
    is_kicking_off: Arc<AtomicBool>,
}

impl Stopping {
    fn new(server: Server) -> Self {
        Self { server, kickoff: Arc::default(), is_kicking_off: Arc::default() }
    }

    fn watch(&self, id: &str) {
        self.kickoff.send_replace(Some(id.to_owned()));
    }

    fn watched(&self) -> Option<String> {
        self.kickoff.borrow().clone()
    }

    /// Completes when there is something to stop, or will be nothing.
    async fn known(&self) {
        if self.is_kicking_off.load(Ordering::SeqCst) {
            let _ = self.kickoff.subscribe().wait_for(Option::is_some).await;
        }
    }

    /// Stops what goes on, and waits until it does not. It may have ended by itself; then what it consumed may be known.
    async fn stop(&self) -> Usage {
        let Some(id) = self.watched() else { return Usage::default() };
        if let Err(error) = self.server.stop(&id).await {
            tracing::warn!(kickoff = id, %error, "an execution could not be stopped on its server");
        }
        let mut count = 0;
        loop {
            match self.server.status(&id).await {
                Ok(Some(Status::Running { .. })) => {}
                Ok(Some(Status::Ended { usage, .. })) => return usage,
                _ => return Usage::default(),
            }
            tokio::time::sleep(self.server.pauses().after(count)).await;
            count += 1;
        }
    }
}

/// Stops the execution of an attempt that was dropped.
struct Guard(Option<Stopping>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(stopping) = self.0.take().filter(|stopping| stopping.watched().is_some()) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(STOPPING_TAKES, stopping.stop()).await });
        }
    }
}
