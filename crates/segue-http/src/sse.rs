//! Events out of a stream (server-sent events).

/// The longest event; what is longer is none.
const EVENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id, with which the stream can be taken up behind it.
    pub id: Option<String>,
    /// Its name; empty without one.
    pub name: String,
    /// Its data, its lines joined.
    pub data: String,
}

/// Cuts a stream of bytes into events, wherever the bytes are cut.
#[derive(Debug, Default)]
pub struct Events {
    rest: Vec<u8>,
    /// What was looked at before without finding the end of a line.
    seen: usize,
    open: Event,
    has_data: bool,
}

impl Events {
    /// Takes the next bytes; `false`: an event is too long to be one.
    #[must_use]
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.rest.extend_from_slice(bytes);
        self.rest.len() + self.open.data.len() <= EVENT_BYTES_MAX
    }

    /// The next event that is whole and has data.
    pub fn next_event(&mut self) -> Option<Event> {
        while let Some(line) = self.line() {
            if line.is_empty() {
                let event = std::mem::take(&mut self.open);
                if std::mem::take(&mut self.has_data) {
                    return Some(event);
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "data" => {
                    if self.has_data {
                        self.open.data.push('\n');
                    }
                    self.has_data = true;
                    self.open.data.push_str(value);
                }
                "event" => value.clone_into(&mut self.open.name),
                "id" => self.open.id = Some(value.to_owned()),
                _ => {}
            }
        }
        None
    }

    /// The next whole line. (No server ends its lines with a bare carriage return.)
    fn line(&mut self) -> Option<String> {
        let Some(end) = self.rest[self.seen..].iter().position(|&byte| byte == b'\n') else {
            self.seen = self.rest.len();
            return None;
        };
        let line: Vec<u8> = self.rest.drain(..=self.seen + end).collect();
        self.seen = 0;
        let line = String::from_utf8_lossy(&line);
        Some(line.trim_end_matches(['\n', '\r']).to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_found_wherever_the_bytes_are_cut() {
        let text = "id: 1\nevent: metadata\ndata: {\"a\":1}\n\n: ping\n\nevent: only a name\n\nid: 2\r\nevent: x\r\ndata: b\r\ndata:ü\r\n\r\ndata: rest";
        let event = |id: &str, name: &str, data: &str| Event {
            id: Some(id.to_owned()),
            name: name.to_owned(),
            data: data.to_owned(),
        };
        for size in 1..=text.len() {
            let (mut events, mut found) = (Events::default(), Vec::new());
            for piece in text.as_bytes().chunks(size) {
                assert!(events.push(piece));
                found.extend(std::iter::from_fn(|| events.next_event()));
            }
            assert_eq!(found, [event("1", "metadata", "{\"a\":1}"), event("2", "x", "b\nü")], "pieces of {size}");
        }
    }
}
