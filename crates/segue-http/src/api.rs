//! A server's JSON interface below one address, for the adapters of remote servers.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use segue_core::{
    outcome::TaskError,
    problems::{Problem, is_template, kind_of},
};
use serde_json::{Map, Value};

use crate::{
    client::{HttpClient, HttpError, Reply, Request, check_form},
    request::status_kind,
    retry_after,
};

/// Of a server's own words, as much is told.
const SAID_CHARS_MAX: usize = 300;

/// What every call of one attempt shares.
#[derive(Debug, Clone)]
pub struct Api {
    client: HttpClient,
    base: String,
    headers: HeaderMap,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body; a text where it is no JSON, `null` where it is empty.
    pub body: Value,
    /// The pause that the server asks for.
    pub retry_after: Option<Duration>,
}

impl Api {
    /// Calls go below `base`, with these headers.
    pub fn new(client: HttpClient, base: &Url, headers: HeaderMap) -> Self {
        let mut base = base.clone();
        base.set_query(None);
        base.set_fragment(None);
        Self { client, base: base.as_str().trim_end_matches('/').to_owned(), headers }
    }

    /// One call, its answer read to the end. `path` begins with a slash.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, HttpError> {
        let reply = self.open(method, path, body, HeaderMap::new()).await?;
        let (status, retry_after) = (reply.status(), retry_after::of(reply.headers(), Timestamp::now()));
        let bytes = reply.bytes().await?;
        let body = if bytes.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&bytes).unwrap_or_else(|_| String::from_utf8_lossy(&bytes).into_owned().into())
        };
        Ok(Answer { status, body, retry_after })
    }

    /// One call, whose answer is read by the caller.
    pub async fn open(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        further: HeaderMap,
    ) -> Result<Reply, HttpError> {
        let url = Url::parse(&format!("{}{path}", self.base))
            .map_err(|error| HttpError::Refused(format!("the server's address is none ({error})")))?;
        let mut request = Request::new(method, url);
        request.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        request.headers.extend(self.headers.clone());
        request.headers.extend(further);
        if let Some(body) = body {
            request.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            request.body = Some(body.to_string().into_bytes());
        }
        self.client.send(request).await
    }
}

impl Answer {
    /// Its body, if its status means success. `what`: "the kickoff".
    pub fn success(self, what: &str) -> Result<Value, TaskError> {
        if self.status.is_success() { Ok(self.body) } else { Err(self.failure(what)) }
    }

    /// The error that its status means.
    pub fn failure(&self, what: &str) -> TaskError {
        let (kind, retryable) = status_kind(self.status);
        let said = said(&self.body).map_or_else(String::new, |said| format!(": {said}"));
        let message = format!("the server answers {what} with {}{said}", self.status);
        let error = TaskError { retryable, ..TaskError::new(kind, message) };
        match self.retry_after.filter(|_| retryable) {
            Some(pause) => error.with_retry_after(pause),
            None => error,
        }
    }

    /// Is it the server's passing trouble, so that the same call may be made again?
    pub fn is_passing(&self) -> bool {
        status_kind(self.status).1
    }
}

/// A server's own words.
fn said(body: &Value) -> Option<String> {
    let told = |value: &Value| match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Object(_) | Value::Array(_) => Some(value.to_string()),
        _ => None,
    };
    let found = ["message", "detail", "error"].iter().find_map(|key| told(body.get(key)?)).or_else(|| told(body))?;
    Some(found.chars().take(SAID_CHARS_MAX).collect())
}

/// How calls are made again while a server cannot be reached, and how it is asked again for news.
#[derive(Debug, Clone, Copy)]
pub struct Pauses {
    /// The first one; each is twice as long as the one before.
    pub first: Duration,
    /// The longest.
    pub longest: Duration,
    /// As many calls in a row may fail.
    pub tries_max: u32,
}

impl Default for Pauses {
    fn default() -> Self {
        Self { first: Duration::from_millis(250), longest: Duration::from_secs(5), tries_max: 12 }
    }
}

impl Pauses {
    /// The pause after the `count`-th time (from 0).
    pub fn after(&self, count: u32) -> Duration {
        self.first.saturating_mul(1 << count.min(16)).min(self.longest)
    }

    /// Makes a call that may be repeated, until it is answered otherwise than by a passing trouble, or too often not.
    pub async fn insist<F>(&self, mut call: impl FnMut() -> F) -> Result<Answer, HttpError>
    where
        F: Future<Output = Result<Answer, HttpError>>,
    {
        let mut count = 0;
        loop {
            let pause = match call().await {
                Ok(answer) if answer.is_passing() && count + 1 < self.tries_max => answer.retry_after,
                Err(error) if error.may_pass() && count + 1 < self.tries_max => None,
                end => return end,
            };
            let pause = pause.map_or_else(|| self.after(count), |asked| asked.min(self.longest.max(self.after(count))));
            tokio::time::sleep(pause).await;
            count += 1;
        }
    }
}

/// The headers of a remote server's calls: names and texts from the inputs; none is ever shown.
pub fn headers_of(given: Option<&Value>) -> Result<HeaderMap, TaskError> {
    let mut headers = HeaderMap::new();
    for (name, value) in given.and_then(Value::as_object).into_iter().flatten() {
        let header = HeaderName::try_from(name)
            .map_err(|_| Problem::new(&[], format!("`{name}` cannot be the name of a header")).into_error())?;
        headers.insert(header, secret_value(&format!("headers.{name}"), value.as_str().unwrap_or_default())?);
    }
    Ok(headers)
}

/// The value of a header, marked as one that is never shown. `place` names the input.
pub fn secret_value(place: &str, text: &str) -> Result<HeaderValue, TaskError> {
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        let message = format!("`{place}` holds a line break or another character that a header cannot hold");
        Problem::new(&[], message).into_error()
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// `{ $secret: NAME }`: a text, once the attempt is dispatched.
pub fn is_secret(value: &Value) -> bool {
    value.as_object().is_some_and(|object| object.len() == 1 && object.contains_key("$secret"))
}

/// What is wrong with the inputs that every remote server has: `url`, `headers`. With `templates`, a text with `{{` may
/// become anything.
pub fn server_problems(inputs: &Map<String, Value>, handler: &str, templates: bool) -> Vec<Problem> {
    let open = |value: &Value| templates && (is_template(value) || is_secret(value));
    let mut found = Vec::new();
    match inputs.get("url") {
        None => found.push(Problem::new(&[], format!("`{handler}` needs `url`, the server's address"))),
        Some(value) if open(value) => {}
        Some(Value::String(text)) => {
            let form = Url::parse(text).map_err(|error| format!("`url` is no address ({error})"));
            found.extend(form.and_then(|url| check_form(&url)).err().map(|wrong| Problem::new(&["url"], wrong)));
        }
        Some(value) => found.push(Problem::new(&["url"], format!("`url` is {}, not a text", kind_of(value)))),
    }
    match inputs.get("headers") {
        None => {}
        Some(value) if open(value) => {}
        Some(Value::Object(headers)) => {
            for (name, value) in headers.iter().filter(|(_, value)| !value.is_string() && !open(value)) {
                let message = format!("`headers.{name}` is {}, not a text", kind_of(value));
                found.push(Problem::new(&["headers", name], message));
            }
        }
        Some(value) => {
            found.push(Problem::new(&["headers"], format!("`headers` is {}, not an object", kind_of(value))))
        }
    }
    found
}
