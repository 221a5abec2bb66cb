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
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body as _, Bytes};
use serde_json::{Value, json};

use crate::{
    account::Account,
    ask::Endpoint,
    call,
    chat::{ApiError, CREATED},
    gateway::Shared,
};

/// The longest body of a request.
pub(crate) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Names under which a client on this machine may call. Others would be a web page that rebinds its own name.
const HOSTS: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// The paths.
pub(crate) fn api(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/responses", post(responses))
        .route("/v1/embeddings", post(embeddings))
        .route("/v1/models", get(models))
        // Names of models may hold slashes.
        .route("/v1/models/{*id}", get(model))
        .method_not_allowed_fallback(wrong_method)
        .fallback(unknown_path)
        .layer(middleware::from_fn_with_state(shared.clone(), admit))
        .with_state(shared)
}

/// Lets only requests through that come from this machine and carry the token of a live attempt.
async fn admit(State(shared): State<Arc<Shared>>, mut request: Request, next: Next) -> Result<Response, ApiError> {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_loopback_name) {
        return Err(ApiError::foreign_host());
    }
    let account =
        bearer(request.headers()).and_then(|secret| shared.accounts.of(secret)).ok_or_else(ApiError::no_token)?;
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

/// What a handler is given of a call.
type Caller = (State<Arc<Shared>>, Extension<Arc<Account>>);

async fn chat(caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    ask(caller, Endpoint::Chat, headers, body).await
}

async fn responses(caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    ask(caller, Endpoint::Responses, headers, body).await
}

async fn embeddings(caller: Caller, headers: HeaderMap, body: Body) -> Result<Response, ApiError> {
    ask(caller, Endpoint::Embeddings, headers, body).await
}

async fn ask(
    (State(shared), Extension(account)): Caller,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let body = read(body).await?;
    Ok(call::answer(shared, account, endpoint, headers, body).await)
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

/// The models that the configuration names; patterns are none.
async fn models((State(shared), Extension(account)): Caller) -> Response {
    let mut names: Vec<&str> = match account.rehearsal {
        true => vec!["rehearsal"],
        false => {
            let served = shared.providers.iter().flat_map(|provider| &provider.models);
            served.chain(shared.models.iter().map(|entry| &entry.pattern)).map(String::as_str).collect()
        }
    };
    names.retain(|name| !name.contains('*'));
    names.sort_unstable();
    names.dedup();
    let cards: Vec<Value> = names.into_iter().map(model_card).collect();
    json_body(StatusCode::OK, &json!({ "object": "list", "data": cards }))
}

async fn model((State(shared), Extension(account)): Caller, Path(id): Path<String>) -> Result<Response, ApiError> {
    shared.route(&id, account.rehearsal)?;
    Ok(json_body(StatusCode::OK, &model_card(&id)))
}

fn model_card(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "segue" })
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
