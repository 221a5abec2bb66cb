//! Answers in pieces: given on as they come, counted, and kept before their end is given.

use std::{collections::VecDeque, io, time::Duration};

use axum::{
    body::Body,
    response::{IntoResponse as _, Response},
};
use futures_util::{StreamExt as _, stream};
use hyper::body::Bytes;

use super::{Call, Ending, Meter, given_back, record};
use crate::{
    convert::{Look, look, shown},
    lane::Slot,
    sse::Splitter,
    upstream::{BodyStream, Caller, UpstreamReply},
};

/// A longer answer is given on, but not kept.
const RECORD_BYTES_MAX: usize = 32 * 1024 * 1024;
/// How long a provider's connection may take to end after the last word.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Gives the answer on as it comes.
pub(super) fn answer(call: Call, reply: UpstreamReply, meter: Meter) -> Response {
    let UpstreamReply { status, headers, body } = reply;
    let relay = Relay {
        call,
        meter,
        body: Some(body),
        splitter: Splitter::default(),
        record: Vec::new(),
        finished_choices: 0,
        is_sound: true,
        has_answer: false,
        is_at_end: false,
        out: VecDeque::new(),
        held: Vec::new(),
    };
    let pieces = stream::unfold(relay, |mut relay| async move { relay.next().await.map(|piece| (piece, relay)) });
    (status, given_back(&headers), Body::from_stream(pieces)).into_response()
}

struct Relay {
    call: Call,
    meter: Meter,
    /// None once the answer is over.
    body: Option<BodyStream>,
    splitter: Splitter,
    /// The answer as it came.
    record: Vec<u8>,
    finished_choices: usize,
    /// Can it be kept, if it comes to its end?
    is_sound: bool,
    /// Has the model come to an end of what it says, for one choice at least?
    has_answer: bool,
    /// Has the model said its last word? What follows is held back until the answer is kept.
    is_at_end: bool,
    /// To be given now.
    out: VecDeque<Bytes>,
    /// To be given when the answer is kept.
    held: Vec<Bytes>,
}

impl Relay {
    async fn next(&mut self) -> Option<Result<Bytes, io::Error>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Some(Ok(piece));
            }
            let body = self.body.as_mut()?;
            let piece = tokio::select! {
                biased;
                () = self.call.account.ended.cancelled() => {
                    self.body = None;
                    return Some(Err(io::ErrorKind::ConnectionAborted.into()));
                }
                piece = body.next() => piece,
            };
            match piece {
                Some(Ok(bytes)) => self.take(&bytes).await,
                Some(Err(error)) => {
                    self.body = None;
                    let trouble = format!("the provider {error}");
                    let Caller { run_id, task, attempt, .. } = &self.call.account.caller;
                    tracing::warn!(%run_id, task_id = %task, attempt, model = self.call.ask.model, "{trouble}");
                    self.call.account.had_trouble(trouble);
                    self.meter.close(Ending::Broken);
                    return Some(Err(io::ErrorKind::ConnectionReset.into()));
                }
                None => {
                    self.body = None;
                    self.finish().await;
                }
            }
        }
    }

    /// Takes bytes of the provider.
    async fn take(&mut self, bytes: &[u8]) {
        self.splitter.push(bytes);
        if self.record.len() + bytes.len() <= RECORD_BYTES_MAX {
            self.record.extend_from_slice(bytes);
        } else {
            (self.is_sound, self.record) = (false, Vec::new());
        }
        if self.splitter.is_too_long() {
            self.is_sound = false;
            self.out.push_back(Bytes::from(std::mem::take(&mut self.splitter).into_rest()));
        }
        let mut now = Vec::new();
        while let Some(event) = self.splitter.next() {
            let Look { figures, output_bytes, finished, is_error, is_last_word, is_done } =
                look(self.call.ask.endpoint, &event);
            self.meter.says(figures);
            self.meter.has_come(output_bytes);
            self.finished_choices += finished;
            self.is_sound &= !is_error;
            self.has_answer |= is_last_word || finished > 0;
            self.is_at_end |= is_done || is_last_word || self.finished_choices >= self.call.ask.choices;
            if let Some(shown) = shown(&self.call.ask, &event) {
                if self.is_at_end { self.held.push(shown) } else { now.push(shown) }
            }
            if is_done {
                let body = self.body.take();
                self.finish().await;
                let slot = self.meter.take_place();
                tokio::spawn(let_end(body, slot));
                break;
            }
        }
        if !now.is_empty() {
            self.out.push_front(Bytes::from(now.concat()));
        }
    }

    /// The answer is over: keeps and counts it, then lets the rest of it go.
    async fn finish(&mut self) {
        let rest = std::mem::take(&mut self.splitter).into_rest();
        let is_whole = self.is_sound && self.has_answer;
        if is_whole {
            let record = std::mem::take(&mut self.record);
            record::keep(&self.call, "text/event-stream", record, self.meter.usage()).await;
            self.call.place.keep();
        }
        if !is_whole {
            self.call.account.had_trouble("the provider's answer was not whole".to_owned());
        }
        self.meter.close_but_hold_place(if is_whole { Ending::Answered } else { Ending::Broken });
        self.out.extend(std::mem::take(&mut self.held));
        if !rest.is_empty() {
            self.out.push_back(rest.into());
        }
    }
}

/// Lets a connection come to its end, so that it can be used again and the provider counts the call as over; the place in
/// the lane is held until then.
async fn let_end(body: Option<BodyStream>, slot: Option<Slot>) {
    let Some(mut body) = body else { return };
    let end = async { while let Some(Ok(_)) = body.next().await {} };
    let _ = tokio::time::timeout(LAST_WORD, end).await;
    drop((body, slot));
}
