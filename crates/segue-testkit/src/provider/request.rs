//! What reached the stub.

use std::collections::BTreeMap;

use serde_json::Value;

/// One request, as it came.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// `POST`.
    pub method: String,
    /// `/v1/chat/completions`.
    pub path: String,
    /// By lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The body; `null` if there was none, a string if it was no JSON.
    pub body: Value,
}

impl Request {
    /// The model that was asked for; empty if none was named.
    pub fn model(&self) -> &str {
        self.body["model"].as_str().unwrap_or_default()
    }

    /// The key that was sent as `Authorization: Bearer …`.
    pub fn key(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ")
    }

    /// Was a streamed answer asked for?
    pub fn is_stream(&self) -> bool {
        self.body["stream"] == true
    }

    pub(super) fn wants_close(&self) -> bool {
        self.headers.get("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    pub(super) fn wants_usage(&self) -> bool {
        self.body["stream_options"]["include_usage"] == true
    }
}
