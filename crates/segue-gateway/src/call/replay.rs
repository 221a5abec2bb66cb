//! Answers of the journal: given again, in the form that this client wants.

use axum::{http::StatusCode, response::Response};
use hyper::body::Bytes;
use segue_core::ports::RecordedCall;
use serde_json::Value;

use super::{Call, Ending, Meter, whole};
use crate::{
    ask::{Ask, Endpoint},
    convert::{self, shown},
    sse,
};

/// Answers from the journal. Nothing is asked, nothing is counted.
pub(super) fn answer(mut call: Call, recorded: &RecordedCall) -> Response {
    let mut meter = Meter::new(&call, "journal", None);
    call.place.keep();
    call.account.was_answered();
    let was_streamed = recorded.content_type.starts_with("text/event-stream");
    let response = match (was_streamed, call.ask.stream && call.ask.endpoint != Endpoint::Embeddings) {
        (false, false) => whole(StatusCode::OK, "application/json", recorded.body.clone()),
        (true, true) => whole(StatusCode::OK, sse::CONTENT_TYPE, as_this_client_wants(&call.ask, &recorded.body)),
        (true, false) => whole(StatusCode::OK, "application/json", in_one_piece(&call.ask, &recorded.body).to_string()),
        (false, true) => whole(StatusCode::OK, sse::CONTENT_TYPE, in_pieces(&call.ask, &recorded.body)),
    };
    meter.close(Ending::Replayed);
    response
}

/// An answer that was streamed or not, in the form that is asked for; says whether that is a stream.
pub(crate) fn in_the_form_of(ask: &Ask, was_streamed: bool, body: &[u8]) -> (bool, Bytes) {
    match (was_streamed, ask.stream && ask.endpoint != Endpoint::Embeddings) {
        (true, false) => (false, Bytes::from(in_one_piece(ask, body).to_string())),
        (false, true) => (true, in_pieces(ask, body)),
        (same, _) => (same, Bytes::copy_from_slice(body)),
    }
}

fn as_this_client_wants(ask: &Ask, body: &[u8]) -> Bytes {
    let shown = sse::events(body).iter().filter_map(|event| shown(ask, event)).collect::<Vec<Bytes>>();
    Bytes::from(shown.concat())
}

fn in_one_piece(ask: &Ask, body: &[u8]) -> Value {
    let events = sse::events(body);
    let data = events.iter().filter_map(sse::Event::data).filter_map(|data| serde_json::from_str(&data).ok());
    let data: Vec<Value> = data.collect();
    match ask.endpoint {
        Endpoint::Responses => convert::responses::whole(&data),
        Endpoint::Chat | Endpoint::Embeddings => convert::chat::whole(&data),
    }
}

fn in_pieces(ask: &Ask, body: &[u8]) -> Bytes {
    let document: Value = serde_json::from_slice(body).unwrap_or_default();
    let frames: Vec<Bytes> = match ask.endpoint {
        Endpoint::Responses => {
            let events = convert::responses::events(&document);
            events.iter().map(|event| sse::named_frame(event["type"].as_str().unwrap_or_default(), event)).collect()
        }
        Endpoint::Chat | Endpoint::Embeddings => {
            let chunks = convert::chat::chunks(&document, ask.wants_usage);
            chunks.iter().map(sse::frame).chain([sse::done()]).collect()
        }
    };
    Bytes::from(frames.concat())
}
