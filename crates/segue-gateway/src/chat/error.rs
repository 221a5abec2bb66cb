//! Refusals, in the shape that OpenAI's clients read.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// `{"error": {"message", "type", "param", "code"}}` with an HTTP status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    message: String,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, message: impl Into<String>, code: Option<&'static str>) -> Self {
        Self { status, kind: "invalid_request_error", message: message.into(), param: None, code }
    }

    /// 400: the request is wrong, at `param` if that is known.
    pub(crate) fn bad_request(message: impl Into<String>, param: Option<&'static str>) -> Self {
        Self { param, ..Self::new(StatusCode::BAD_REQUEST, message, None) }
    }

    /// 401: no token, or that of an attempt that is over.
    pub(crate) fn no_token() -> Self {
        let message = "This key is not one of a running attempt. Segue gives each attempt its own key in \
                       OPENAI_API_KEY, and it ends with the attempt.";
        Self::new(StatusCode::UNAUTHORIZED, message, Some("invalid_api_key"))
    }

    /// 403: called under a name that is not this machine's.
    pub(crate) fn foreign_host() -> Self {
        let message = "The model gateway answers only under 127.0.0.1 and localhost.";
        Self { kind: "permission_error", ..Self::new(StatusCode::FORBIDDEN, message, Some("foreign_host")) }
    }

    /// 404.
    pub(crate) fn unknown_path(method: &Method, path: &str) -> Self {
        let message = format!("Unknown request URL: {method} {}.", shown(path));
        Self::new(StatusCode::NOT_FOUND, message, Some("unknown_url"))
    }

    /// 405.
    pub(crate) fn wrong_method(method: &Method, path: &str) -> Self {
        let message = format!("Not allowed to {method} on {}.", shown(path));
        Self::new(StatusCode::METHOD_NOT_ALLOWED, message, Some("method_not_supported"))
    }

    /// 408.
    pub(crate) fn slow_body() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "The body of the request took too long.", None)
    }

    /// 413.
    pub(crate) fn too_large(bytes_max: usize) -> Self {
        let message = format!("The body of the request is longer than {bytes_max} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, message, Some("request_too_large"))
    }

    /// 402: the run may consume no more. A status that no client asks again for.
    pub(crate) fn budget(why: &str) -> Self {
        let message = format!("{}{}.", why[..1].to_uppercase(), &why[1..]);
        Self { kind: "budget_error", ..Self::new(StatusCode::PAYMENT_REQUIRED, message, Some("segue_budget")) }
    }

    /// 402: money is to be counted, and what this model costs is not known.
    pub(crate) fn no_price(model: &str) -> Self {
        let message = format!(
            "The run has a budget in dollars, and what the model '{model}' costs is not known: give it a price in \
             segue.toml, under [models.\"{model}\".price].",
            model = shown(model)
        );
        Self { kind: "budget_error", ..Self::new(StatusCode::PAYMENT_REQUIRED, message, Some("segue_budget")) }
    }

    /// 404: no provider has this model.
    pub(crate) fn no_provider(model: &str) -> Self {
        let message = format!(
            "No provider serves the model '{}': none of those in segue.toml names it under 'models'.",
            shown(model)
        );
        Self::new(StatusCode::NOT_FOUND, message, Some("model_not_found"))
    }

    /// 401: the provider takes a key, and there is none.
    pub(crate) fn no_provider_key(provider: &str, why: &str) -> Self {
        let message = format!("The provider '{provider}' has no key: {why}.");
        Self {
            kind: "authentication_error",
            ..Self::new(StatusCode::UNAUTHORIZED, message, Some("segue_provider_key"))
        }
    }

    /// 400: the cassette that is replayed does not hold this call.
    pub(crate) fn no_recording(model: &str, why: &str) -> Self {
        let message = format!("There is no recording of this call of the model '{}': {why}.", shown(model));
        Self::new(StatusCode::BAD_REQUEST, message, Some("segue_no_recording"))
    }

    /// 502.
    pub(crate) fn answer_too_long(bytes_max: usize) -> Self {
        let message = format!("The provider's answer is longer than {bytes_max} bytes.");
        Self { kind: "api_error", ..Self::new(StatusCode::BAD_GATEWAY, message, Some("segue_limit")) }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({ "error": { "message": self.message, "type": self.kind, "param": self.param, "code": self.code } })
    }
}

/// A path as an error repeats it: bounded.
fn shown(path: &str) -> String {
    path.chars().take(200).collect()
}
