//! One attempt: finds or makes its run, follows it to its end, and tells what came of it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use segue_core::{
    ids::ContentHash,
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    payload::Payload,
    ports::{Invocation, Progress},
};
use segue_http::{Api, HttpClient, HttpOptions, Pauses, Policy, sse::Events};
use serde_json::{Value, json};
use uuid::Builder;

use super::{
    inputs::RemoteTask,
    server::{Made, RunInfo, Server},
    state,
};

/// A run that is no longer wanted is ended in this time, also where the grace is shorter.
const ENDING_TAKES: Duration = Duration::from_secs(5);

/// An attempt, and what it works on.
pub(super) struct Attempt<'a> {
    invocation: &'a Invocation,
    task: RemoteTask,
    server: Server,
    turn: Turn,
    ending: Ending,
}

/// Where the work begins: at the input, or at the answers to what an earlier attempt asked.
enum Turn {
    First { thread: String },
    Resumed(Box<Asked>),
}

/// The run that asked, and what it was answered.
struct Asked {
    thread: String,
    run: String,
    checkpoint: Value,
    /// What the thread had consumed by then.
    used: Usage,
    answers: Value,
}

impl Turn {
    fn of(invocation: &Invocation) -> Result<Self, TaskError> {
        let context = &invocation.context;
        let Some(resume) = &invocation.resume else {
            return Ok(Self::First { thread: thread_id(&context.effect_key, context.answers_since) });
        };
        let text = |name: &str| resume.token[name].as_str().map(str::to_owned);
        let (Some(thread), Some(run)) = (text("thread"), text("run")) else {
            return Err(TaskError::new(
                ErrorKind::InvalidInput,
                "what it is to go on from is no question of a graph's",
            ));
        };
        Ok(Self::Resumed(Box::new(Asked {
            thread,
            run,
            checkpoint: resume.token["checkpoint"].clone(),
            used: usage_of(&resume.token["used"]),
            answers: json!(*resume.answers),
        })))
    }

    fn thread(&self) -> &str {
        match self {
            Self::First { thread } => thread,
            Self::Resumed(asked) => &asked.thread,
        }
    }

    /// Tells this turn's runs from those before it: the run that had asked.
    fn mark(&self) -> &str {
        match self {
            Self::First { .. } => "",
            Self::Resumed(asked) => &asked.run,
        }
    }
}

/// The thread of those attempts that share what has been achieved: the same wherever it is computed.
fn thread_id(effect_key: &str, since: u32) -> String {
    let hash = ContentHash::of(format!("segue thread\n{effect_key}\n{since}").as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_bytes()[..16]);
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}

fn usage_of(value: &Value) -> Usage {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

/// Why an attempt stops before the run's end was understood.
enum Stop {
    Failed(TaskError),
    Lost(String),
}

impl From<TaskError> for Stop {
    fn from(error: TaskError) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Attempt<'a> {
    pub(super) fn new(options: &HttpOptions, pauses: Pauses, invocation: &'a Invocation) -> Result<Self, TaskError> {
        let task = RemoteTask::read(invocation)?;
        let policy = Policy { redirects: Some(0), ..Policy::of(options, &invocation.hints, invocation.timeout) };
        let client = HttpClient::new(options, policy)?;
        let server = Server::new(Api::new(client, &task.url, task.headers.clone()), pauses);
        let turn = Turn::of(invocation)?;
        let ending = Ending {
            server: server.clone(),
            thread: turn.thread().to_owned(),
            key: invocation.context.effect_key.clone(),
            is_due: Arc::default(),
        };
        Ok(Self { invocation, task, server, turn, ending })
    }

    pub(super) async fn carry_out(self) -> TaskOutcome {
        // An engine that is torn down drops this future: its run is ended all the same.
        let mut guard = Guard(Some(self.ending.clone()));
        let outcome = tokio::select! {
            biased;
            () = self.invocation.cancel.cancelled() => {
                let takes = self.invocation.grace.max(ENDING_TAKES);
                let usage = tokio::time::timeout(takes, self.ending.end()).await.unwrap_or_default();
                TaskOutcome::Cancelled { usage }
            }
            outcome = self.work() => outcome,
        };
        guard.0 = None;
        outcome
    }

    async fn work(&self) -> TaskOutcome {
        match self.find_or_make().await {
            Ok(outcome) => outcome,
            Err(Stop::Failed(error)) => TaskOutcome::Failed { error, usage: Usage::default() },
            Err(Stop::Lost(message)) => TaskOutcome::lost(Loss::Worker, message),
        }
    }

    async fn find_or_make(&self) -> Result<TaskOutcome, Stop> {
        let (thread, pauses) = (self.turn.thread(), self.server.pauses());
        let mut failed = 0;
        loop {
            if let Turn::First { .. } = self.turn {
                self.server.thread(thread, &json!({ "segue_key": self.invocation.context.effect_key })).await?;
            }
            let runs = self.server.runs(thread).await?.ok_or_else(|| self.no_thread())?;
            if self.was_answered(&runs) {
                self.server.forget(thread).await?;
                continue;
            }
            let own: Vec<&RunInfo> = runs.iter().filter(|run| self.is_of_this_turn(run)).collect();
            if let Some(run) = own.iter().find(|run| run.is_open()) {
                self.ending.is_due.store(true, Ordering::SeqCst);
                return self.follow(run).await;
            }
            if let Some(run) = own.first().filter(|run| run.status == "success") {
                return self.finish(run).await;
            }
            let body = self.request(!own.is_empty()).await?;
            self.ending.is_due.store(true, Ordering::SeqCst);
            let trouble = match self.server.make_run(thread, &body).await? {
                Made::Run(run) => return self.follow(&run).await,
                Made::NoThread => self.no_thread().into_error(),
                Made::Unknown(error) => error,
                Made::Busy => {
                    // A run of ours that is of no use any more may still go on: its end did not get through.
                    for run in runs.iter().filter(|run| run.is_open() && self.ending.is_ours(run)) {
                        self.server.cancel(thread, &run.id).await?;
                    }
                    TaskError::new(ErrorKind::Provider, "another run goes on in this task's thread")
                }
            };
            failed += 1;
            if failed >= pauses.tries_max {
                return Err(trouble.into());
            }
            tokio::time::sleep(pauses.after(failed - 1)).await;
        }
    }

    /// Did the thread ask, was it answered, and is this attempt to begin at the input all the same? What the thread holds is
    /// of no use then.
    fn was_answered(&self, runs: &[RunInfo]) -> bool {
        let goes_on = |run: &RunInfo| run.metadata["segue_turn"].as_str().is_some_and(|turn| !turn.is_empty());
        matches!(self.turn, Turn::First { .. }) && runs.iter().any(|run| self.ending.is_ours(run) && goes_on(run))
    }

    /// Is it this piece of work's, and good for this attempt?
    fn is_of_this_turn(&self, run: &RunInfo) -> bool {
        let since = u64::from(self.invocation.context.answers_since);
        self.ending.is_ours(run)
            && run.metadata["segue_turn"].as_str() == Some(self.turn.mark())
            && run.metadata["segue_attempt"].as_u64().is_some_and(|attempt| attempt >= since)
    }

    fn no_thread(&self) -> Stop {
        match self.turn {
            Turn::First { .. } => Stop::Lost("the server has lost the task's thread".to_owned()),
            Turn::Resumed(_) => Stop::Failed(TaskError::new(
                ErrorKind::Load,
                "the server does not know the thread any more that asked; run the task again from its beginning",
            )),
        }
    }

    /// What is sent to make the run. `goes_on`: a run of this turn has been there, and ended without success.
    async fn request(&self, goes_on: bool) -> Result<Value, Stop> {
        let now = self.server.state(self.turn.thread()).await?.ok_or_else(|| self.no_thread())?;
        let head = &now["checkpoint"]["checkpoint_id"];
        let has_next = now["next"].as_array().is_some_and(|next| !next.is_empty());
        let mut before = state::usage(&now["values"]);
        let mut body = json!({
            "assistant_id": self.task.assistant,
            "multitask_strategy": "reject",
            "stream_resumable": true,
            "stream_mode": if self.task.streams { json!(["tasks", "messages-tuple"]) } else { json!(["tasks"]) },
        });
        match &self.turn {
            // From the last checkpoint: what was achieved is kept.
            Turn::First { .. } if goes_on && has_next => body["input"] = Value::Null,
            Turn::Resumed(asked) if goes_on && has_next && *head != asked.checkpoint => body["input"] = Value::Null,
            Turn::First { .. } => body["input"] = self.task.input.clone(),
            Turn::Resumed(asked) => {
                body["command"] = json!({ "resume": asked.answers });
                body["checkpoint"] = json!({ "checkpoint_id": asked.checkpoint });
                before = asked.used;
            }
        }
        for (name, value) in [("config", &self.task.config), ("context", &self.task.context)] {
            if let Some(value) = value {
                body[name] = value.clone();
            }
        }
        let context = &self.invocation.context;
        body["metadata"] = json!({
            "segue_key": context.effect_key, "segue_attempt": context.attempt, "segue_turn": self.turn.mark(),
            "segue_before": before,
        });
        Ok(body)
    }

    /// Reads the run's events until it has ended, over as many connections as it takes.
    async fn follow(&self, run: &RunInfo) -> Result<TaskOutcome, Stop> {
        let (thread, pauses) = (self.turn.thread(), self.server.pauses());
        let (mut last_seen, mut quiet) = (None, 0);
        loop {
            // Whatever ends a stream: how the run stands is told by the run.
            let came = self.stream(&run.id, &mut last_seen).await;
            let Some(now) = self.server.run(thread, &run.id).await? else {
                return Err(Stop::Lost(
                    "the server has lost the run, as one without a database does when it ends".to_owned(),
                ));
            };
            if !now.is_open() {
                return self.finish(&now).await;
            }
            quiet = if came { 0 } else { quiet + 1 };
            tokio::time::sleep(pauses.after(quiet)).await;
        }
    }

    /// One connection's worth of events. Did any come?
    async fn stream(&self, run: &str, last_seen: &mut Option<String>) -> bool {
        let Ok(mut reply) = self.server.stream(self.turn.thread(), run, last_seen.as_deref()).await else {
            return false;
        };
        if !reply.status().is_success() {
            return false;
        }
        let (mut events, mut came) = (Events::default(), false);
        while let Ok(Some(bytes)) = reply.chunk().await {
            if !events.push(&bytes) {
                break;
            }
            while let Some(event) = events.next_event() {
                came = true;
                if let Ok(data) = serde_json::from_str(&event.data) {
                    self.tell(&event.name, &data);
                }
                if event.id.is_some() {
                    *last_seen = event.id;
                }
            }
        }
        came
    }

    fn tell(&self, name: &str, data: &Value) {
        let progress = match name {
            "tasks" => {
                let state = if data.get("result").is_some() { "ended" } else { "started" };
                Progress { name: "task.progress", data: json!({ "node": data["name"], "state": state }) }
            }
            "messages" => {
                let text = state::text_of(&data[0]["content"]);
                if text.is_empty() {
                    return;
                }
                Progress { name: "task.token", data: json!({ "text": text, "node": data[1]["langgraph_node"] }) }
            }
            _ => return,
        };
        self.invocation.progress.emit(progress);
    }

    /// What a run that has ended means. Its answer alone says nothing: its status, its thread and the state do.
    async fn finish(&self, run: &RunInfo) -> Result<TaskOutcome, Stop> {
        let thread = self.turn.thread();
        let now = self.server.state(thread).await?.ok_or_else(|| self.no_thread())?;
        let used = state::usage(&now["values"]);
        let usage = state::beyond(used, usage_of(&run.metadata["segue_before"]));
        let error = match run.status.as_str() {
            "success" => {
                let items = state::interrupts(&now);
                if !items.is_empty() {
                    let checkpoint = &now["checkpoint"]["checkpoint_id"];
                    let resume = json!({ "thread": thread, "run": run.id, "checkpoint": checkpoint, "used": used });
                    return Ok(TaskOutcome::Waiting { question: state::question(items, resume), usage });
                }
                match stopped_before(&now) {
                    Some(error) => error,
                    None => match state::output(&now["values"], &self.task.form) {
                        Ok(output) => {
                            let output = Payload::new(output);
                            return Ok(TaskOutcome::Succeeded { output, usage, warnings: Vec::new() });
                        }
                        Err(error) => error,
                    },
                }
            }
            "error" => {
                let info = self.server.thread_info(thread).await?.unwrap_or_default();
                state::failure(&info["error"])
            }
            "timeout" => TaskError::new(ErrorKind::Timeout, "the run took longer than its server allows"),
            "interrupted" => TaskError::new(ErrorKind::Cancelled, "somebody else cancelled the run on its server"),
            other => {
                TaskError::new(ErrorKind::Provider, format!("the run ended as `{other}`, which is not known here"))
            }
        };
        Ok(TaskOutcome::Failed { error, usage })
    }
}

/// A breakpoint that nobody can answer.
fn stopped_before(state: &Value) -> Option<TaskError> {
    let next: Vec<&str> = state["next"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let message =
        format!("the graph stopped before {} at a breakpoint; let it call interrupt() to ask", next.join(", "));
    (!next.is_empty()).then(|| TaskError::new(ErrorKind::InvalidInput, message))
}

impl Stop {
    fn into_error(self) -> TaskError {
        match self {
            Self::Failed(error) => error,
            Self::Lost(message) => TaskError::new(ErrorKind::WorkerLost, message),
        }
    }
}

/// How the runs of a piece of work are ended.
#[derive(Clone)]
struct Ending {
    server: Server,
    thread: String,
    key: String,
    /// Might there be one?
    is_due: Arc<AtomicBool>,
}

impl Ending {
    fn is_ours(&self, run: &RunInfo) -> bool {
        run.metadata["segue_key"].as_str() == Some(&self.key)
    }

    /// Ends what goes on; tells what it consumed, as far as that can be found out.
    async fn end(&self) -> Usage {
        if !self.is_due.load(Ordering::SeqCst) {
            return Usage::default();
        }
        let runs = self.server.runs(&self.thread).await.ok().flatten().unwrap_or_default();
        let mut before = None;
        for run in runs.iter().filter(|run| run.is_open() && self.is_ours(run)) {
            if let Err(error) = self.server.cancel(&self.thread, &run.id).await {
                tracing::warn!(run = run.id, %error, "a run could not be ended on its server");
            }
            before = Some(usage_of(&run.metadata["segue_before"]));
        }
        let Some(before) = before else { return Usage::default() };
        let now = self.server.state(&self.thread).await.ok().flatten().unwrap_or_default();
        state::beyond(state::usage(&now["values"]), before)
    }
}

/// Ends the runs of an attempt that was dropped.
struct Guard(Option<Ending>);

impl Drop for Guard {
    fn drop(&mut self) {
        let Some(ending) = self.0.take().filter(|ending| ending.is_due.load(Ordering::SeqCst)) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { tokio::time::timeout(ENDING_TAKES, ending.end()).await });
        }
    }
}
