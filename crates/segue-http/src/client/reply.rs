//! An answer: its head, and its body as far as it may be read.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{CONTENT_ENCODING, HeaderMap},
};
use serde_json::Value;

use super::{HttpError, Policy, in_time, understood};

/// An answer whose body has not been read yet. Dropping it closes the connection.
#[derive(Debug)]
pub struct Reply {
    response: reqwest::Response,
    host: String,
    read_timeout: Duration,
    body_bytes_max: usize,
}

impl Reply {
    pub(super) fn new(response: reqwest::Response, host: String, policy: &Policy) -> Result<Self, HttpError> {
        let encoding = response.headers().get(CONTENT_ENCODING);
        if encoding.is_some_and(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
            return Err(HttpError::Unreadable(format!("{host} answers in an encoding that was not asked for")));
        }
        Ok(Self { response, host, read_timeout: policy.read_timeout, body_bytes_max: policy.body_bytes_max })
    }

    /// Its status.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// A header as text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next piece of the body; `None` at its end. The caller bounds what it keeps.
    pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        let host = &self.host;
        let next = async { self.response.chunk().await.map_err(|error| understood(host, &error)) };
        Ok(in_time(host, self.read_timeout, next).await?.map(Vec::from))
    }

    /// The whole body.
    pub async fn bytes(mut self) -> Result<Vec<u8>, HttpError> {
        let limit = self.body_bytes_max;
        if let Some(size) = self.response.content_length().filter(|size| *size > limit as u64) {
            return Err(HttpError::TooLarge { limit, announced: Some(size) });
        }
        let mut body = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if body.len() + piece.len() > limit {
                return Err(HttpError::TooLarge { limit, announced: None });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The first bytes of the body, for a person; what is wrong with it does not matter any more.
    pub async fn start(mut self, bytes_max: usize) -> String {
        let mut body = Vec::new();
        while body.len() < bytes_max {
            match self.chunk().await {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
        }
        body.truncate(bytes_max);
        String::from_utf8_lossy(&body).into_owned()
    }

    /// The whole body as JSON.
    pub async fn json(self) -> Result<Value, HttpError> {
        let host = self.host.clone();
        let body = self.bytes().await?;
        serde_json::from_slice(&body)
            .map_err(|error| HttpError::Unreadable(format!("{host} does not answer in JSON: {error}")))
    }
}
