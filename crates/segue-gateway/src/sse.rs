//! Server-sent events: cut out of a stream of bytes, and written.

use hyper::body::Bytes;
use serde_json::Value;

/// Of a stream.
pub(crate) const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";
/// The longest event; what is longer is no answer of a model.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// An event that carries this document.
pub(crate) fn frame(data: &Value) -> Bytes {
    Bytes::from(format!("data: {data}\n\n"))
}

/// An event with a name.
pub(crate) fn named_frame(name: &str, data: &Value) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}

/// The end of a stream, as the protocol of chats wants it.
pub(crate) fn done() -> Bytes {
    Bytes::from_static(b"data: [DONE]\n\n")
}

/// Cuts a stream of bytes into events.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    rest: Vec<u8>,
    /// What was looked at before without finding an end.
    seen: usize,
}

/// One event as it came, with the blank line at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) raw: Bytes,
}

impl Splitter {
    /// Takes the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
    }

    /// The next event that is whole.
    pub(crate) fn next(&mut self) -> Option<Event> {
        let from = self.seen.saturating_sub(3);
        let Some(end) = end_of_event(&self.rest, from) else {
            self.seen = self.rest.len();
            return None;
        };
        self.seen = 0;
        let raw = self.rest.drain(..end).collect::<Vec<u8>>();
        Some(Event { raw: raw.into() })
    }

    /// Is the event that is being read longer than any should be?
    pub(crate) fn is_too_long(&self) -> bool {
        self.rest.len() > EVENT_BYTES_MAX
    }

    /// What came after the last whole event.
    pub(crate) fn into_rest(self) -> Vec<u8> {
        self.rest
    }
}

impl Event {
    /// Its data, its lines joined; none of a comment.
    pub(crate) fn data(&self) -> Option<String> {
        let text = std::str::from_utf8(&self.raw).ok()?;
        let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
        let lines: Vec<&str> = lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    }
}

/// The events of a whole body.
pub(crate) fn events(body: &[u8]) -> Vec<Event> {
    let mut splitter = Splitter::default();
    splitter.push(body);
    std::iter::from_fn(|| splitter.next()).collect()
}

/// Where the first event ends, behind its blank line.
fn end_of_event(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while let Some(found) = bytes[at..].iter().position(|&byte| byte == b'\n') {
        let line_end = at + found + 1;
        match &bytes[line_end..] {
            [b'\n', ..] => return Some(line_end + 1),
            [b'\r', b'\n', ..] => return Some(line_end + 2),
            _ => at = line_end,
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let text =
            b"data: {\"a\":1}\n\n: a comment\n\nevent: x\r\ndata: b\r\ndata: c\r\n\r\ndata: [DONE]\n\ndata: rest";
        for size in 1..=text.len() {
            let mut splitter = Splitter::default();
            let mut found = Vec::new();
            for piece in text.chunks(size) {
                splitter.push(piece);
                found.extend(std::iter::from_fn(|| splitter.next()));
            }
            let data: Vec<_> = found.iter().map(Event::data).collect();
            let wanted = [Some("{\"a\":1}"), None, Some("b\nc"), Some("[DONE]")];
            assert_eq!(data, wanted.map(|text| text.map(str::to_owned)), "in pieces of {size}");
            assert_eq!(splitter.into_rest(), b"data: rest");
        }
    }
}
