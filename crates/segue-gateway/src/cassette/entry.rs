//! A line of a cassette.

use std::collections::BTreeMap;

use hyper::body::Bytes;
use segue_core::ids::ContentHash;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{ask::ASIDE, upstream::UpstreamRequest};

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Header {
    /// The version of the format.
    pub(super) segue_cassette: u32,
}

/// The version that is written and read.
pub(super) const VERSION: u32 = 1;
/// Parts of a request that are told apart; in what is longer the rest is one.
const PARTS_MAX: usize = 400;
/// `messages`, its item, the field of that.
const DEPTH_MAX: usize = 3;
/// Digits of a part's fingerprint.
const DIGITS: usize = 12;

/// A call and its answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(flatten)]
    pub(super) key: EntryKey,
    /// The same was asked so often before.
    pub(super) nth: usize,
    /// The model that was asked.
    pub(super) model: String,
    /// Where: `/chat/completions`.
    pub(super) endpoint: String,
    pub(super) status: u16,
    /// For how many seconds the provider asked to wait, in whichever header.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<f64>,
    /// Is the body a stream of events?
    pub(super) streamed: bool,
    /// The fingerprint of each part of the request.
    pub(super) asked: BTreeMap<String, String>,
    /// The answer, as it came.
    pub(super) body: String,
}

/// What a call is known by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct EntryKey {
    pub(super) task: String,
    /// Of what is asked.
    pub(super) hash: ContentHash,
}

impl EntryKey {
    pub(super) fn of(request: &UpstreamRequest) -> Self {
        Self { task: request.caller.task.to_string(), hash: request.hash }
    }
}

/// The fingerprint of each part of a request: `messages[2].content`.
pub(super) fn parts(body: &Bytes) -> BTreeMap<String, String> {
    let mut parts = BTreeMap::new();
    if let Ok(Value::Object(fields)) = serde_json::from_slice(body) {
        for (name, value) in fields.iter().filter(|(name, _)| !ASIDE.contains(&name.as_str())) {
            collect(name, value, 1, &mut parts);
        }
    }
    parts
}

fn collect(path: &str, value: &Value, depth: usize, parts: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if depth < DEPTH_MAX && parts.len() < PARTS_MAX => {
            fields.iter().for_each(|(name, value)| collect(&format!("{path}.{name}"), value, depth + 1, parts));
        }
        Value::Array(items) if depth < DEPTH_MAX && parts.len() < PARTS_MAX => {
            let items = items.iter().enumerate();
            items.for_each(|(at, value)| collect(&format!("{path}[{at}]"), value, depth + 1, parts));
        }
        leaf => {
            let hash = ContentHash::of(leaf.to_string().as_bytes()).to_string();
            parts.insert(path.to_owned(), hash[..DIGITS].to_owned());
        }
    }
}
