//! One answer in two forms: in one piece and in pieces.

pub(crate) mod chat;
pub(crate) mod responses;

use hyper::body::Bytes;
use serde_json::Value;

use crate::{
    ask::{Ask, Endpoint},
    figures::Figures,
    sse::{self, Event},
};

/// What an event of a stream says, as far as it matters here.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Look {
    pub(crate) figures: Option<Figures>,
    /// About how much the model says in it.
    pub(crate) output_bytes: usize,
    /// How many choices end with it.
    pub(crate) finished: usize,
    pub(crate) is_error: bool,
    /// All that follows says something about the answer, and is none of it.
    pub(crate) is_last_word: bool,
    /// The end of the protocol.
    pub(crate) is_done: bool,
}

/// Looks at an event.
pub(crate) fn look(endpoint: Endpoint, event: &Event) -> Look {
    let Some(data) = event.data() else { return Look::default() };
    if data == "[DONE]" {
        return Look { is_done: true, ..Look::default() };
    }
    let Ok(data) = serde_json::from_str::<Value>(&data) else { return Look { is_error: true, ..Look::default() } };
    if data.get("error").is_some_and(|error| !error.is_null()) {
        return Look { is_error: true, ..Look::default() };
    }
    match endpoint {
        Endpoint::Responses => responses::look(&data),
        Endpoint::Chat | Endpoint::Embeddings => chat::look(&data),
    }
}

/// The event as this client wants it: usage that it has not asked for is left out. None: nothing is left.
pub(crate) fn shown(ask: &Ask, event: &Event) -> Option<Bytes> {
    if ask.wants_usage || ask.endpoint != Endpoint::Chat || !contains(&event.raw, b"\"usage\"") {
        return Some(event.raw.clone());
    }
    let Some(Ok(mut data)) = event.data().map(|data| serde_json::from_str::<Value>(&data)) else {
        return Some(event.raw.clone());
    };
    let has_choices = data["choices"].as_array().is_some_and(|choices| !choices.is_empty());
    if data.as_object_mut().and_then(|fields| fields.shift_remove("usage")).is_none() {
        return Some(event.raw.clone());
    }
    has_choices.then(|| sse::frame(&data))
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}
