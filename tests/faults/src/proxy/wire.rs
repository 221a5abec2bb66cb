//! As much of Postgres' wire protocol as tells which answers belong to a commit.

use std::collections::BTreeMap;

/// Reads what a client sends, message by message.
#[derive(Debug, Default)]
pub(super) struct FromClient {
    buffer: Vec<u8>,
    has_begun: bool,
    /// What prepared statements say.
    statements: BTreeMap<Vec<u8>, String>,
}

impl FromClient {
    /// Takes bytes in; gives the SQL of the statements that they let the server carry out.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Vec<String> {
        self.buffer.extend_from_slice(bytes);
        let mut executed = Vec::new();
        while let Some((kind, body)) = self.next() {
            let mut texts = body.split(|byte| *byte == 0);
            let first = texts.next().unwrap_or_default();
            let second = texts.next().unwrap_or_default();
            match kind {
                b'Q' => executed.push(String::from_utf8_lossy(first).into_owned()),
                b'P' => {
                    self.statements.insert(first.to_vec(), String::from_utf8_lossy(second).into_owned());
                }
                b'B' => executed.extend(self.statements.get(second).cloned()),
                _ => {}
            }
        }
        executed
    }

    /// The first message has no kind; all others do.
    fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = usize::from(self.has_begun);
        let length: [u8; 4] = self.buffer.get(head..head + 4)?.try_into().ok()?;
        let end = head + usize::try_from(u32::from_be_bytes(length)).ok()?;
        if self.buffer.len() < end {
            return None;
        }
        let message: Vec<u8> = self.buffer.drain(..end).collect();
        // A request for encryption is followed by the real first message.
        let is_request = !self.has_begun && message.len() == 8;
        let kind = if self.has_begun { message[0] } else { 0 };
        self.has_begun |= !is_request;
        Some((kind, message.get(head + 4..).unwrap_or_default().to_vec()))
    }
}

/// Reads what a server sends, and sees when it has answered all of a request.
#[derive(Debug, Default)]
pub(super) struct FromServer {
    buffer: Vec<u8>,
}

impl FromServer {
    /// Takes bytes in. Was the server ready for the next request, outside of a transaction, at the end of one of them?
    pub(super) fn is_ready_after(&mut self, bytes: &[u8]) -> bool {
        self.buffer.extend_from_slice(bytes);
        let mut is_ready = false;
        while let Some(length) = self.buffer.get(1..5) {
            let length: [u8; 4] = length.try_into().unwrap();
            let end = 1 + usize::try_from(u32::from_be_bytes(length)).unwrap();
            if self.buffer.len() < end {
                break;
            }
            let message: Vec<u8> = self.buffer.drain(..end).collect();
            is_ready |= message[0] == b'Z' && message.get(5) == Some(&b'I');
        }
        is_ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap().to_be_bytes();
        [&[kind][..], &length, body].concat()
    }

    #[test]
    fn statements_are_seen_whole_or_in_parts() {
        let mut client = FromClient::default();
        let start = [&16_u32.to_be_bytes()[..], &[0, 3, 0, 0], b"user\0a\0\0"].concat();
        let parse = message(b'P', b"s1\0INSERT INTO events\0\0\0");
        let bind = message(b'B', b"\0s1\0\0\0");
        let all = [start, parse, bind, message(b'Q', b"COMMIT\0")].concat();
        let seen: Vec<String> = all.chunks(3).flat_map(|part| client.take(part)).collect();
        assert_eq!(seen, ["INSERT INTO events", "COMMIT"]);
    }

    #[test]
    fn an_answer_is_whole_when_the_server_is_ready() {
        let mut server = FromServer::default();
        let answer = [message(b'C', b"COMMIT\0"), message(b'Z', b"I")].concat();
        assert!(!server.is_ready_after(&answer[..answer.len() - 1]));
        assert!(server.is_ready_after(b"I"));
        assert!(!server.is_ready_after(&message(b'Z', b"T")), "in the middle of a transaction");
    }
}
