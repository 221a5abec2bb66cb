//! The paths of the API, and the checks that come before any of them.

use std::{sync::Arc, time::Duration};

use axum::{
    Extension, Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures_util::stream;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes};
use serde_json::{Value, json};

use crate::{
    chat::{ApiError, ChatRequest, Completion},
    rehearsal,
    tokens::{Account, Tokens},
};

/// The longest body of a request.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Names under which a client on this machine may call. Others would be a web page that rebinds its own name.
const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The API of the rehearsal model.
pub(crate) fn rehearsal_api(tokens: Arc<Tokens>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        // Names of models may hold slashes.
        .route("/v1/models/{*id}", get(model))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(tokens.clone(), admit))
        .with_state(tokens)
}

/// Lets only requests through that come from this machine and carry the token of a live attempt.
async fn admit(State(tokens): State<Arc<Tokens>>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback_name) {
        return Err(ApiError::foreign_host());
    }
    let account = bearer(request.headers()).and_then(|secret| tokens.account(secret)).ok_or_else(ApiError::no_token)?;
    request.extensions_mut().insert(account);
    Ok(next.run(request).await)
}

fn is_loopback_name(host: &str) -> bool {
    HOSTS.iter().any(|name| match host.strip_prefix(name) {
        Some("") => true,
        Some(port) => port.strip_prefix(':').is_some_and(|port| port.bytes().all(|digit| digit.is_ascii_digit())),
        None => false,
    })
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, secret) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim())
}

async fn chat(
    State(tokens): State<Arc<Tokens>>,
    Extension(account): Extension<Arc<Account>>,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read(body).await?;
    let request = ChatRequest::parse(&body)?;
    let completion = Completion::new(&body, &request, rehearsal::answer(&request)?);
    let usage = completion.usage();
    tokens.book(&account, usage);
    tracing::debug!(
        attempt = account.attempt(),
        input_tokens = usage.input_tokens,
        output_tokens = usage.output_tokens,
        "the rehearsal model answered"
    );
    if request.is_stream() {
        Ok(event_stream(completion.chunks(request.wants_usage())))
    } else {
        Ok(json_body(StatusCode::OK, &completion.to_json()))
    }
}

async fn read(body: Body) -> Result<Bytes, ApiError> {
    if body.size_hint().lower() > BODY_BYTES_MAX as u64 {
        return Err(ApiError::too_large(BODY_BYTES_MAX));
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_BYTES_MAX).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::too_large(BODY_BYTES_MAX)),
        Ok(Err(_)) => Err(ApiError::bad_request("The body of the request broke off.", None)),
        Err(_) => Err(ApiError::slow_body()),
    }
}

async fn models() -> Response {
    json_body(StatusCode::OK, &json!({ "object": "list", "data": [rehearsal::model_card("rehearsal")] }))
}

async fn model(Path(id): Path<String>) -> Response {
    json_body(StatusCode::OK, &rehearsal::model_card(&id))
}

async fn wrong_method(request: Request) -> ApiError {
    ApiError::wrong_method(request.method(), request.uri().path())
}

async fn unknown_path(request: Request) -> ApiError {
    ApiError::unknown_path(request.method(), request.uri().path())
}

fn json_body(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], value.to_string()).into_response()
}

/// Server-sent events, ended by `[DONE]` as the protocol wants it.
fn event_stream(chunks: Vec<Value>) -> Response {
    let frames = chunks.into_iter().map(|chunk| chunk.to_string()).chain(["[DONE]".to_owned()]);
    let frames = frames.map(|data| Ok::<_, std::convert::Infallible>(Bytes::from(format!("data: {data}\n\n"))));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
    ];
    (headers, Body::from_stream(stream::iter(frames))).into_response()
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        json_body(self.status(), &self.to_json())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_served() {
        for own in ["127.0.0.1", "127.0.0.1:80", "localhost:4010", "[::1]:9"] {
            assert!(is_loopback_name(own), "{own}");
        }
        for foreign in ["example.com", "localhost.example.com", "127.0.0.1.example.com:80", "127.0.0.1:80x", ""] {
            assert!(!is_loopback_name(foreign), "{foreign}");
        }
    }
}
