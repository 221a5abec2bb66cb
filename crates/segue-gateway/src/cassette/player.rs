//! Replaying: every call is answered from the cassette, or refused.

use std::{
    collections::HashMap,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use futures_util::{StreamExt as _, stream};
use hyper::body::Bytes;

use super::{
    CassetteError,
    entry::{Entry, EntryKey, Header, VERSION, parts},
};
use crate::{
    ask::Ask,
    call::in_the_form_of,
    chat::ApiError,
    sse,
    upstream::{Upstream, UpstreamError, UpstreamReply, UpstreamRequest},
};

/// A cassette that was read.
pub(super) struct Player {
    entries: HashMap<EntryKey, Vec<Entry>>,
    /// How often each has been asked.
    asked: Mutex<HashMap<EntryKey, usize>>,
    calls: AtomicUsize,
}

impl Player {
    pub(super) fn load(path: &Path) -> Result<Self, CassetteError> {
        let failed = |source| CassetteError::File { path: path.to_owned(), what: "read", source };
        let wrong = |why: String| CassetteError::NotACassette { path: path.to_owned(), why };
        let mut reader = BufReader::new(File::open(path).map_err(failed)?);
        let mut entries: HashMap<EntryKey, Vec<Entry>> = HashMap::new();
        let mut line = Vec::new();
        for number in 1.. {
            line.clear();
            if reader.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                if number == 1 {
                    return Err(wrong("it is empty".to_owned()));
                }
                break;
            }
            let is_whole = line.ends_with(b"\n");
            if number == 1 {
                let header: Header = serde_json::from_slice(&line)
                    .map_err(|_| wrong("its first line is not `{\"segue_cassette\": 1}`".to_owned()))?;
                if header.segue_cassette != VERSION {
                    let version = header.segue_cassette;
                    return Err(wrong(format!("it is of version {version}, and this program reads {VERSION}")));
                }
                continue;
            }
            match serde_json::from_slice::<Entry>(&line) {
                Ok(entry) => entries.entry(entry.key.clone()).or_default().push(entry),
                // The line that was being written when the process died.
                Err(_) if !is_whole => break,
                Err(error) => return Err(wrong(format!("line {number}: {error}"))),
            }
        }
        entries.values_mut().for_each(|same| same.sort_by_key(|entry| entry.nth));
        Ok(Self { entries, asked: Mutex::default(), calls: AtomicUsize::new(0) })
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    /// The recording of this call: the next one of what its task has asked.
    fn next(&self, request: &UpstreamRequest) -> Result<&Entry, String> {
        let key = EntryKey::of(request);
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let nth = asked.entry(key.clone()).or_default();
        let recorded = self.entries.get(&key).map_or(&[][..], Vec::as_slice);
        match recorded.get(*nth) {
            Some(entry) => {
                *nth += 1;
                Ok(entry)
            }
            None if recorded.is_empty() => Err(self.unknown(request)),
            None => {
                let times = recorded.len();
                Err(format!("it was asked {times} times when this was recorded, and now once more"))
            }
        }
    }

    /// How a call that is not known differs from the one that is most like it.
    fn unknown(&self, request: &UpstreamRequest) -> String {
        let task = request.caller.task.as_str();
        let parts = parts(&request.body);
        let of_task = self.entries.values().flatten().filter(|entry| entry.key.task == task);
        let likeness =
            |entry: &Entry| entry.asked.iter().filter(|(path, print)| parts.get(*path) == Some(*print)).count();
        // Of equals the first in the order of their hashes: always the same one.
        let Some(like) = of_task.max_by_key(|entry| (likeness(entry), entry.key.hash, entry.nth)) else {
            return format!("the cassette holds no call of the task `{task}`");
        };
        let differs = parts.iter().find(|(path, print)| like.asked.get(*path) != Some(*print)).map(|(path, _)| path);
        match differs.or_else(|| like.asked.keys().find(|path| !parts.contains_key(*path))) {
            Some(path) => format!("the recorded call that is most like it differs in `{path}`"),
            None => "the recorded call that is most like it went to another endpoint".to_owned(),
        }
    }
}

#[async_trait]
impl Upstream for Player {
    fn name(&self) -> &str {
        "cassette"
    }

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError> {
        let entry = match self.next(&request) {
            Ok(entry) => entry,
            Err(why) => {
                let error = ApiError::no_recording(&request.model, &why);
                return Ok(reply(error.status(), false, Bytes::from(error.to_json().to_string())));
            }
        };
        self.calls.fetch_add(1, Ordering::Relaxed);
        let status = StatusCode::from_u16(entry.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let (streamed, body) = match Ask::parse(request.endpoint, request.body) {
            // A listener may be there now and not then, or the other way round.
            Ok(ask) if status.is_success() && ask.stream != entry.streamed => {
                in_the_form_of(&ask, entry.streamed, entry.body.as_bytes())
            }
            _ => (entry.streamed, Bytes::from(entry.body.clone())),
        };
        let mut reply = reply(status, streamed, body);
        if entry.retry_after.is_some() {
            // What was waited for then need not be waited for again.
            reply.headers.insert(header::RETRY_AFTER, HeaderValue::from_static("0"));
        }
        Ok(reply)
    }
}

fn reply(status: StatusCode, streamed: bool, body: Bytes) -> UpstreamReply {
    let kind = if streamed { sse::CONTENT_TYPE } else { "application/json" };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
    UpstreamReply { status, headers, body: stream::iter([Ok(body)]).boxed() }
}
