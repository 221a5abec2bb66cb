//! Recording: what an upstream answers is written down on its way to the caller.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use axum::http::header;
use futures_util::{StreamExt as _, stream};
use hyper::body::Bytes;

use super::{
    CassetteError,
    entry::{Entry, EntryKey, Header, VERSION, parts},
};
use crate::{
    retry_after,
    upstream::{BodyStream, Upstream, UpstreamError, UpstreamReply, UpstreamRequest},
};

/// A longer answer is not recorded.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A cassette that is being written.
pub(super) struct Recorder {
    tape: Mutex<Tape>,
}

struct Tape {
    file: File,
    counts: HashMap<EntryKey, usize>,
    calls: usize,
    trouble: Option<String>,
}

impl Recorder {
    pub(super) fn create(path: &Path) -> Result<Self, CassetteError> {
        let failed = |source| CassetteError::File { path: path.to_owned(), what: "written", source };
        if !may_be_replaced(path).map_err(failed)? {
            let why = "it holds something else, and is not overwritten".to_owned();
            return Err(CassetteError::NotACassette { path: path.to_owned(), why });
        }
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path).map_err(failed)?;
        let header = serde_json::to_string(&Header { segue_cassette: VERSION }).expect("a header is JSON");
        file.write_all(format!("{header}\n").as_bytes()).map_err(failed)?;
        Ok(Self { tape: Mutex::new(Tape { file, counts: HashMap::new(), calls: 0, trouble: None }) })
    }

    pub(super) fn calls(&self) -> usize {
        self.tape().calls
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.tape().trouble.clone()
    }

    fn tape(&self) -> MutexGuard<'_, Tape> {
        self.tape.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes one line. What goes wrong is remembered: the run goes on, its recording is not complete.
    fn keep(&self, mut entry: Entry) {
        let mut tape = self.tape();
        let count = tape.counts.entry(entry.key.clone()).or_default();
        entry.nth = *count;
        *count += 1;
        let line = serde_json::to_string(&entry).expect("an entry is JSON") + "\n";
        match tape.file.write_all(line.as_bytes()) {
            Ok(()) => tape.calls += 1,
            Err(error) => tape.note(format!("a call could not be written: {error}")),
        }
    }
}

impl Tape {
    fn note(&mut self, trouble: String) {
        tracing::warn!("the recording is not complete: {trouble}");
        self.trouble.get_or_insert(trouble);
    }
}

/// Is there nothing, or an older cassette?
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Ok(false),
        Ok(found) if found.len() == 0 => Ok(true),
        Ok(_) => {
            let mut line = Vec::new();
            io::Read::take(BufReader::new(File::open(path)?), 200).read_until(b'\n', &mut line)?;
            Ok(serde_json::from_slice::<Header>(&line).is_ok())
        }
    }
}

/// An upstream whose answers are recorded.
pub(super) struct Recorded {
    inner: Arc<dyn Upstream>,
    recorder: Arc<Recorder>,
}

impl Recorded {
    pub(super) fn new(inner: Arc<dyn Upstream>, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder }
    }
}

#[async_trait]
impl Upstream for Recorded {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError> {
        let reply = self.inner.send(request.clone()).await?;
        let text_of = |name| reply.headers.get(name).and_then(|value| value.to_str().ok());
        // Of what goes well, such headers say when the limits are fresh again.
        let pause = retry_after::of(&reply.headers).filter(|_| !reply.status.is_success());
        let entry = Entry {
            key: EntryKey::of(&request),
            nth: 0,
            model: request.model,
            endpoint: request.endpoint.path().to_owned(),
            status: reply.status.as_u16(),
            retry_after: pause.map(|pause| pause.as_secs_f64()),
            streamed: text_of(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/event-stream")),
            asked: parts(&request.body),
            body: String::new(),
        };
        let listener = Listener {
            entry: Some(entry),
            heard: Vec::new(),
            secret: self.inner.secret().map(str::to_owned),
            recorder: self.recorder.clone(),
        };
        Ok(UpstreamReply { body: listener.listen(reply.body), ..reply })
    }

    fn secret(&self) -> Option<&str> {
        self.inner.secret()
    }
}

/// Hears a body as it passes.
struct Listener {
    /// Written when the body is whole.
    entry: Option<Entry>,
    heard: Vec<u8>,
    secret: Option<String>,
    recorder: Arc<Recorder>,
}

impl Listener {
    fn listen(self, body: BodyStream) -> BodyStream {
        let pieces = stream::unfold((body, self), |(mut body, mut listener)| async move {
            let piece = body.next().await;
            match &piece {
                Some(Ok(bytes)) => listener.hear(bytes),
                // What breaks off is no answer.
                Some(Err(_)) => listener.entry = None,
                None => listener.write(),
            }
            Some((piece?, (body, listener)))
        });
        pieces.boxed()
    }

    fn hear(&mut self, bytes: &Bytes) {
        if self.entry.is_none() {
            return;
        }
        self.heard.extend_from_slice(bytes);
        if self.heard.len() > BODY_BYTES_MAX {
            self.entry = None;
            self.recorder.tape().note(format!("an answer is longer than {BODY_BYTES_MAX} bytes"));
        } else if self.heard.trim_ascii_end().ends_with(b"data: [DONE]") {
            // The end of a stream: nobody may ask for more.
            self.write();
        }
    }

    fn write(&mut self) {
        let Some(mut entry) = self.entry.take() else { return };
        match String::from_utf8(std::mem::take(&mut self.heard)) {
            Ok(body) => {
                entry.body = match &self.secret {
                    Some(secret) => body.replace(secret, "***"),
                    None => body,
                };
                self.recorder.keep(entry);
            }
            Err(_) => self.recorder.tape().note("an answer is not UTF-8".to_owned()),
        }
    }
}
