//! The calls of a LangGraph server that an attempt needs.

use segue_core::outcome::TaskError;
use segue_http::{
    Answer, Api, HttpError, Method, Pauses, Reply, StatusCode,
    header::{ACCEPT, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// As many of a thread's runs are looked at; an attempt makes a few.
const RUNS_MAX: u32 = 100;

/// The server, as one attempt sees it.
#[derive(Debug, Clone)]
pub(super) struct Server {
    api: Api,
    pauses: Pauses,
}

/// A run, as the server tells of it.
#[derive(Debug, Clone)]
pub(super) struct RunInfo {
    pub(super) id: String,
    pub(super) status: String,
    pub(super) metadata: Value,
}

impl RunInfo {
    fn of(value: &Value) -> Option<Self> {
        Some(Self {
            id: value["run_id"].as_str()?.to_owned(),
            status: value["status"].as_str()?.to_owned(),
            metadata: value["metadata"].clone(),
        })
    }

    /// Has it not ended?
    pub(super) fn is_open(&self) -> bool {
        matches!(self.status.as_str(), "pending" | "running")
    }
}

/// What became of the wish to make a run.
pub(super) enum Made {
    Run(RunInfo),
    /// Another one goes on in this thread.
    Busy,
    /// The thread is gone.
    NoThread,
    /// Nobody knows: the answer was lost, or the server is in trouble.
    Unknown(TaskError),
}

impl Server {
    pub(super) const fn new(api: Api, pauses: Pauses) -> Self {
        Self { api, pauses }
    }

    pub(super) const fn pauses(&self) -> Pauses {
        self.pauses
    }

    async fn insist(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, HttpError> {
        self.pauses.insist(|| self.api.call(method.clone(), path, body)).await
    }

    /// Makes the thread unless it is there.
    pub(super) async fn thread(&self, thread: &str, metadata: &Value) -> Result<Value, TaskError> {
        let body = json!({ "thread_id": thread, "if_exists": "do_nothing", "metadata": metadata });
        self.insist(Method::POST, "/threads", Some(&body)).await?.success("the thread")
    }

    /// The thread's runs, the newest first; `None`: there is no such thread.
    pub(super) async fn runs(&self, thread: &str) -> Result<Option<Vec<RunInfo>>, TaskError> {
        let answer = self.insist(Method::GET, &format!("/threads/{thread}/runs?limit={RUNS_MAX}"), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let list = answer.success("the list of runs")?;
        Ok(Some(list.as_array().into_iter().flatten().filter_map(RunInfo::of).collect()))
    }

    /// Makes a run; asked once.
    pub(super) async fn make_run(&self, thread: &str, body: &Value) -> Result<Made, TaskError> {
        let answer = match self.api.call(Method::POST, &format!("/threads/{thread}/runs"), Some(body)).await {
            Ok(answer) => answer,
            Err(error) if error.may_pass() => return Ok(Made::Unknown(error.into())),
            Err(error) => return Err(error.into()),
        };
        match answer.status {
            StatusCode::CONFLICT => Ok(Made::Busy),
            StatusCode::NOT_FOUND => Ok(Made::NoThread),
            _ if answer.is_passing() => Ok(Made::Unknown(answer.failure("the run"))),
            _ => {
                let run = answer.success("the run")?;
                RunInfo::of(&run).map(Made::Run).ok_or_else(|| unreadable("a run"))
            }
        }
    }

    /// How a run stands; `None`: the server does not know it (any more).
    pub(super) async fn run(&self, thread: &str, run: &str) -> Result<Option<RunInfo>, TaskError> {
        let answer = self.insist(Method::GET, &format!("/threads/{thread}/runs/{run}"), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        RunInfo::of(&answer.success("the run's status")?).map(Some).ok_or_else(|| unreadable("a run"))
    }

    /// The run's events behind this one, or all.
    pub(super) async fn stream(&self, thread: &str, run: &str, last_seen: Option<&str>) -> Result<Reply, HttpError> {
        let seen = HeaderValue::try_from(last_seen.unwrap_or("-1")).unwrap_or(HeaderValue::from_static("-1"));
        let headers = [(ACCEPT, HeaderValue::from_static("text/event-stream")), (LAST_EVENT_ID, seen)];
        let headers = headers.into_iter().collect::<HeaderMap>();
        self.api.open(Method::GET, &format!("/threads/{thread}/runs/{run}/stream"), None, headers).await
    }

    /// The thread's own record (status, error); `None`: it is gone.
    pub(super) async fn thread_info(&self, thread: &str) -> Result<Option<Value>, TaskError> {
        let answer = self.insist(Method::GET, &format!("/threads/{thread}"), None).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { answer.success("the thread").map(Some) }
    }

    /// The thread's state (values, what is next, interrupts, checkpoint); `None`: it is gone.
    pub(super) async fn state(&self, thread: &str) -> Result<Option<Value>, TaskError> {
        let answer = self.insist(Method::GET, &format!("/threads/{thread}/state"), None).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(None) } else { answer.success("the state").map(Some) }
    }

    /// Deletes the thread and its runs.
    pub(super) async fn forget(&self, thread: &str) -> Result<(), TaskError> {
        let answer = self.insist(Method::DELETE, &format!("/threads/{thread}"), None).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(()) } else { answer.success("the deletion").map(|_| ()) }
    }

    /// Ends a run, and returns when it has ended. One that has ended already, or is gone, is fine.
    pub(super) async fn cancel(&self, thread: &str, run: &str) -> Result<(), TaskError> {
        let path = format!("/threads/{thread}/runs/{run}/cancel?wait=1&action=interrupt");
        let answer = self.insist(Method::POST, &path, None).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::CONFLICT => Ok(()),
            _ => answer.success("the cancel").map(|_| ()),
        }
    }
}

fn unreadable(what: &str) -> TaskError {
    HttpError::Unreadable(format!("the server's answer is not {what}, as a LangGraph server would describe it")).into()
}
