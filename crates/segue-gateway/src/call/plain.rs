//! Answers in one piece.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use hyper::body::Bytes;
use serde_json::Value;

use super::{Call, Ending, Meter, Stop, given_back, record};
use crate::{
    chat::ApiError,
    figures::Figures,
    gateway::Route,
    upstream::{BodyStream, UpstreamError, UpstreamReply},
};

/// The longest answer in one piece.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why a body is not whole.
enum Unread {
    TooLong,
    Broken(UpstreamError),
}

/// Reads the answer, counts it, keeps it, and gives it on as it came.
pub(super) async fn answer(
    mut call: Call,
    route: &Route,
    reply: UpstreamReply,
    mut meter: Meter,
) -> Result<Response, Stop> {
    let UpstreamReply { status, headers, body } = reply;
    let mut body = match read(body).await {
        Ok(body) => body,
        Err(Unread::Broken(error)) => return Err(call.broken(route, &mut meter, &error)),
        Err(Unread::TooLong) => {
            meter.close(Ending::Broken);
            return Err(ApiError::answer_too_long(BODY_BYTES_MAX).into());
        }
    };
    if status.is_success() {
        let parsed: Value = serde_json::from_slice(&body).unwrap_or_default();
        let figures = Figures::of(&parsed["usage"]);
        let is_answer = record::is_answer(call.ask.endpoint, status, &parsed);
        if is_answer || figures.is_some() {
            meter.has_come(body.len());
            meter.says(figures);
        } else {
            // What it is nobody can tell, nor what it costs.
            meter.is_worthless();
        }
        if is_answer {
            record::keep(&call, "application/json", body.clone(), meter.usage()).await;
            call.place.keep();
        }
        if !is_answer {
            call.account.had_trouble("the provider's answer cannot be read".to_owned());
        }
        meter.close(if is_answer { Ending::Answered } else { Ending::Broken });
    } else {
        // A provider that repeats the key it refuses must not tell it to a worker.
        if let Some(secret) = route.upstream.secret() {
            body = without(body, secret.as_bytes());
        }
        call.account.had_trouble(format!("the provider answered with status {}", status.as_u16()));
        meter.close(Ending::Refused);
    }
    Ok((status, given_back(&headers), Body::from(body)).into_response())
}

/// Looks at a body, and gives the reply back as if nobody had.
pub(super) async fn look(reply: UpstreamReply, at: impl Fn(&[u8]) -> bool) -> (UpstreamReply, bool) {
    let UpstreamReply { status, headers, body } = reply;
    let (pieces, seen) = match read(body).await {
        Ok(body) => {
            let seen = at(&body);
            (vec![Ok(Bytes::from(body))], seen)
        }
        Err(Unread::Broken(error)) => (vec![Err(error)], false),
        Err(Unread::TooLong) => (Vec::new(), false),
    };
    (UpstreamReply { status, headers, body: stream::iter(pieces).boxed() }, seen)
}

async fn read(mut body: BodyStream) -> Result<Vec<u8>, Unread> {
    let mut whole = Vec::new();
    while let Some(piece) = body.next().await {
        whole.extend_from_slice(&piece.map_err(Unread::Broken)?);
        if whole.len() > BODY_BYTES_MAX {
            return Err(Unread::TooLong);
        }
    }
    Ok(whole)
}

/// The text with stars in the place of a secret.
fn without(body: Vec<u8>, secret: &[u8]) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut rest = &body[..];
    while let Some(at) = rest.windows(secret.len()).position(|part| part == secret) {
        clean.extend_from_slice(&rest[..at]);
        clean.extend_from_slice(b"***");
        rest = &rest[at + secret.len()..];
    }
    if clean.is_empty() {
        return body;
    }
    clean.extend_from_slice(rest);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_wherever_it_stands() {
        for (text, clean) in [("sk-1", "***"), ("a sk-1 b sk-1", "a *** b ***"), ("sk-", "sk-"), ("", "")] {
            assert_eq!(without(text.as_bytes().to_vec(), b"sk-1"), clean.as_bytes());
        }
    }
}
