//! The least of an HTTP client, for tests of servers: bytes out, bytes in, nothing hidden.

use std::time::Duration;

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// After this long without an end of the reply a test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The status line and the headers.
    pub head: String,
    /// The body, its chunks joined.
    pub body: String,
    /// Did the body end as its head had said?
    pub is_whole: bool,
}

impl Reply {
    /// The body as JSON. Panics if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A header's value; empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The events of a model's stream. Panics if it does not end with `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let frames = self.body.split_terminator("\n\n").map(|frame| frame.strip_prefix("data: ").expect("an event"));
        let mut data: Vec<&str> = frames.collect();
        assert_eq!(data.pop(), Some("[DONE]"), "{}", self.body);
        data.into_iter().map(|data| serde_json::from_str(data).expect("an event in JSON")).collect()
    }
}

/// A request with a JSON body (none for `null`) and a bearer token, as it goes over the wire.
pub fn request(port: u16, method: &str, path: &str, token: &str, body: &Value) -> Vec<u8> {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends [`request`] and reads the reply. Panics if there is none.
pub async fn call(port: u16, method: &str, path: &str, token: &str, body: &Value) -> Reply {
    send(port, &request(port, method, path, token, body)).await.expect("a reply")
}

/// Sends bytes to 127.0.0.1 and reads until the server closes. `None`: it answered nothing.
pub async fn send(port: u16, request: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("a server on this port");
    stream.write_all(request).await.expect("a server that reads");
    let mut bytes = Vec::new();
    let read_all = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    // A reset after the last byte ends the reply as well as an orderly end.
    assert!(read_all.is_ok(), "the server neither answers nor closes");
    read(&bytes)
}

/// Understands the bytes of one reply.
fn read(bytes: &[u8]) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1)?.parse().ok()?;
    let mut reply = Reply { status, head: head.to_owned(), body: body.to_owned(), is_whole: true };
    if reply.header("transfer-encoding") == "chunked" {
        (reply.body, reply.is_whole) = joined(body);
    } else if let Ok(length) = reply.header("content-length").parse::<usize>() {
        reply.is_whole = body.len() == length;
    }
    Some(reply)
}

/// The chunks of a body together, and whether the last, empty one is among them.
fn joined(mut rest: &str) -> (String, bool) {
    let mut body = String::new();
    while let Some((length, tail)) = rest.split_once("\r\n") {
        match usize::from_str_radix(length, 16) {
            Ok(0) => return (body, true),
            Ok(length) if tail.len() >= length + 2 => {
                body.push_str(&tail[..length]);
                rest = &tail[length + 2..];
            }
            _ => break,
        }
    }
    (body, false)
}
