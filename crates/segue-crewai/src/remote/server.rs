//! The calls of the hosted interface.

use segue_core::outcome::{ErrorKind, TaskError};
use segue_http::{Api, Method, Pauses, StatusCode};
use serde_json::{Value, json};

use super::status::Status;

/// The deployment, as one attempt sees it.
#[derive(Clone)]
pub(super) struct Server {
    api: Api,
    pauses: Pauses,
}

/// What became of a kickoff.
pub(super) enum Kickoff {
    /// It has begun.
    Began(String),
    /// It is certain that nothing has begun.
    Nothing(TaskError),
    /// Nobody knows.
    Unknown(String),
}

impl Server {
    pub(super) const fn new(api: Api, pauses: Pauses) -> Self {
        Self { api, pauses }
    }

    pub(super) const fn pauses(&self) -> Pauses {
        self.pauses
    }

    /// Asked once.
    pub(super) async fn kickoff(&self, inputs: &Value, meta: &Value) -> Kickoff {
        let body = json!({ "inputs": inputs, "meta": meta });
        let answer = match self.api.call(Method::POST, "/kickoff", Some(&body)).await {
            Ok(answer) => answer,
            Err(error) if error.is_unsent() => return Kickoff::Nothing(error.into()),
            Err(error) => return Kickoff::Unknown(error.to_string()),
        };
        if answer.status.is_success() {
            return match answer.body["kickoff_id"].as_str() {
                Some(id) if is_id(id) => Kickoff::Began(id.to_owned()),
                _ => Kickoff::Unknown("the server's answer names no kickoff".to_owned()),
            };
        }
        match answer.status.as_u16() {
            // Who has not taken the request has begun nothing.
            408 | 500..=502 | 504..=599 => Kickoff::Unknown(format!("the server answers with {}", answer.status)),
            _ => Kickoff::Nothing(answer.failure("the kickoff")),
        }
    }

    /// How it stands; `None`: the server does not know it (any more).
    pub(super) async fn status(&self, id: &str) -> Result<Option<Status>, TaskError> {
        let path = format!("/status/{id}");
        let answer = self.pauses.insist(|| self.api.call(Method::GET, &path, None)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        answer.success("the status").map(|body| Some(Status::read(&body)))
    }

    /// Tells an execution that waits what a person said. One that does not wait (any more) has been told before.
    pub(super) async fn resume(&self, body: &Value) -> Result<(), TaskError> {
        let answer = self.pauses.insist(|| self.api.call(Method::POST, "/resume", Some(body))).await?;
        match answer.status {
            StatusCode::BAD_REQUEST => Ok(()),
            StatusCode::NOT_FOUND => Err(TaskError {
                retryable: false,
                ..TaskError::new(ErrorKind::Load, "the server does not know the execution any more that asked")
            }),
            _ => answer.success("the resume").map(|_| ()),
        }
    }

    /// Stops it. One that has ended by itself meanwhile is fine.
    pub(super) async fn stop(&self, id: &str) -> Result<(), TaskError> {
        let path = format!("/stop/{id}");
        let answer = self.pauses.insist(|| self.api.call(Method::POST, &path, None)).await?;
        match answer.status {
            StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND => Ok(()),
            _ => answer.success("the stop").map(|_| ()),
        }
    }
}

/// It becomes part of an address.
fn is_id(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}
