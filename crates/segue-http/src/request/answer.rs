//! What a server's answer means.

use jiff::Timestamp;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, LOCATION, SET_COOKIE},
};
use segue_core::outcome::{ErrorKind, TaskError};
use serde_json::{Map, Value, json};

use super::inputs::{Expected, Form};
use crate::{client::Reply, retry_after};

/// Of an answer that means failure, this much is kept.
const BODY_START_BYTES: usize = 2 * 1024;

/// The answer as the task's output.
pub(super) async fn output(reply: Reply, form: Form) -> Result<Value, TaskError> {
    let (status, headers) = (reply.status(), reply.headers().clone());
    let body = reply.bytes().await?;
    let media = Media::of(&headers);
    let value = match form {
        Form::Json if body.is_empty() => Value::Null,
        Form::Json => json_of(&body, &media)?,
        Form::Text => Value::String(text_of(body, &media)?),
        Form::Either | Form::Full if body.is_empty() => Value::Null,
        Form::Either | Form::Full if media.is_json => json_of(&body, &media)?,
        Form::Either | Form::Full => Value::String(text_of(body, &media)?),
    };
    Ok(match form {
        Form::Full => json!({ "status": status.as_u16(), "headers": headers_of(&headers), "body": value }),
        _ => value,
    })
}

/// The error of a status that does not mean success.
pub(super) async fn failure(reply: Reply, expected: &Expected) -> TaskError {
    let status = reply.status();
    let (kind, retryable) = kind_of(status);
    let pause = retry_after::of(reply.headers(), Timestamp::now()).filter(|_| retryable);
    let mut message = format!("the server answered {}, expected was {}", told(status), expected.told());
    if status.is_redirection() && reply.headers().contains_key(LOCATION) {
        message += "; it is redirected, and `hints.http.redirects` allows none to be followed";
    }
    let mut detail = json!({ "status": status.as_u16(), "content_type": reply.header("content-type") });
    detail["body_start"] = Value::String(reply.start(BODY_START_BYTES).await);
    let error = TaskError { retryable, ..TaskError::new(kind, message).with_detail(detail) };
    match pause {
        Some(pause) => error.with_retry_after(pause),
        None => error,
    }
}

/// What a status is about, and whether another attempt may go better.
pub(crate) const fn kind_of(status: StatusCode) -> (ErrorKind, bool) {
    match status.as_u16() {
        401 | 403 | 407 => (ErrorKind::Auth, false),
        402 => (ErrorKind::Quota, false),
        408 => (ErrorKind::Timeout, true),
        425 | 500..=599 => (ErrorKind::Provider, true),
        429 => (ErrorKind::RateLimited, true),
        300..=499 => (ErrorKind::InvalidInput, false),
        _ => (ErrorKind::Output, false),
    }
}

fn told(status: StatusCode) -> String {
    status
        .canonical_reason()
        .map_or_else(|| status.as_str().to_owned(), |reason| format!("{} {reason}", status.as_str()))
}

/// What a body is said to be.
struct Media {
    is_json: bool,
    is_latin: bool,
}

impl Media {
    fn of(headers: &HeaderMap) -> Self {
        let text = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let text = text.to_ascii_lowercase();
        let (essence, rest) = text.split_once(';').unwrap_or((&text, ""));
        let essence = essence.trim();
        let is_latin =
            ["iso-8859-1", "latin1", "us-ascii"].iter().any(|name| rest.contains(&format!("charset={name}")));
        Self { is_json: essence == "application/json" || essence.ends_with("+json"), is_latin }
    }
}

fn json_of(body: &[u8], media: &Media) -> Result<Value, TaskError> {
    serde_json::from_slice(body).map_err(|error| {
        let why = if media.is_json { "as it says it is" } else { "as `output: json` asks for" };
        let start = String::from_utf8_lossy(&body[..body.len().min(BODY_START_BYTES)]).into_owned();
        TaskError::new(ErrorKind::Output, format!("the answer is not JSON, {why}: {error}"))
            .with_detail(json!({ "body_start": start }))
    })
}

fn text_of(body: Vec<u8>, media: &Media) -> Result<String, TaskError> {
    String::from_utf8(body).or_else(|error| {
        if media.is_latin {
            return Ok(error.as_bytes().iter().map(|&byte| char::from(byte)).collect());
        }
        let message = format!("the answer is no text in UTF-8 (byte {})", error.utf8_error().valid_up_to());
        Err(TaskError::new(ErrorKind::Output, message))
    })
}

/// Names in lower case; a name that is there several times has a list. Cookies are credentials and stay out.
fn headers_of(headers: &HeaderMap) -> Value {
    let mut all = Map::new();
    for name in headers.keys().filter(|name| **name != SET_COOKIE) {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        let mut values: Vec<String> = values.collect();
        let value = if values.len() == 1 { json!(values.remove(0)) } else { json!(values) };
        all.insert(name.as_str().to_owned(), value);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_status_is_about() {
        for (status, kind, retryable) in [
            (408, ErrorKind::Timeout, true),
            (425, ErrorKind::Provider, true),
            (429, ErrorKind::RateLimited, true),
            (500, ErrorKind::Provider, true),
            (503, ErrorKind::Provider, true),
            (401, ErrorKind::Auth, false),
            (403, ErrorKind::Auth, false),
            (400, ErrorKind::InvalidInput, false),
            (404, ErrorKind::InvalidInput, false),
            (409, ErrorKind::InvalidInput, false),
            (422, ErrorKind::InvalidInput, false),
            (302, ErrorKind::InvalidInput, false),
            (204, ErrorKind::Output, false),
        ] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(kind_of(status), (kind, retryable), "{status}");
        }
    }
}
