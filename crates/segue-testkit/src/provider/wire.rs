//! The stub's end of a connection: as much of HTTP/1.1 as the clients of model providers use.

use std::{collections::BTreeMap, io, sync::Arc, time::Instant};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::{
    Reply, Request, Shared,
    reply::{End, Hold},
};

/// Accepts until it is dropped.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        let connection = Connection { stream, buffer: Vec::new(), shared: shared.clone() };
        // A connection that breaks is the client's affair; what matters of it is recorded.
        tokio::spawn(async move { connection.run().await.ok() });
    }
}

struct Connection {
    stream: TcpStream,
    /// What was read and not used yet.
    buffer: Vec<u8>,
    shared: Arc<Shared>,
}

impl Connection {
    async fn run(mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        while let Some((request, body)) = self.read_request().await? {
            let reply = match request.path.trim_end_matches('/') {
                "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings" if request.method == "POST" => {
                    self.shared.reply_to(&body)
                }
                _ => Reply::status(404),
            };
            self.shared.record(|seen| {
                seen.requests.push(request.clone());
                seen.arrivals.push(Instant::now());
                seen.under_way += 1;
                seen.most_at_once = seen.most_at_once.max(seen.under_way);
            });
            let answered = self.answer(&request, &reply).await;
            self.shared.record(|seen| seen.under_way -= 1);
            if !answered? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// `false`: the connection is over.
    async fn answer(&mut self, request: &Request, reply: &Reply) -> io::Result<bool> {
        let rendered = reply.render(request);
        if reply.hold == Hold::Before && !self.hold().await {
            return Ok(false);
        }
        self.shared.record(|seen| seen.usage += rendered.usage);
        let middle = rendered.pieces.len().div_ceil(2);
        for (at, piece) in rendered.pieces.iter().enumerate() {
            if reply.hold == Hold::Midway && at == middle && !self.hold().await {
                return Ok(false);
            }
            self.stream.write_all(piece).await?;
        }
        Ok(reply.end == End::Whole && !request.wants_close())
    }

    /// Waits to be released. `false`: the client hung up.
    async fn hold(&mut self) -> bool {
        // Subscribed before a test can know that something is held: no release is missed.
        let mut released = self.shared.released.subscribe();
        self.shared.record(|seen| seen.held += 1);
        let goes_on = loop {
            tokio::select! {
                _ = released.changed() => break true,
                read = self.stream.read_buf(&mut self.buffer) => if matches!(read, Ok(0) | Err(_)) { break false },
            }
        };
        self.shared.record(|seen| {
            seen.held -= 1;
            seen.hang_ups += usize::from(!goes_on);
        });
        goes_on
    }

    /// The next request and its body as text; `None`: the client has closed.
    async fn read_request(&mut self) -> io::Result<Option<(Request, String)>> {
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).into_owned();
        self.buffer.drain(..head_end + 4);
        let (line, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = line.split(' ').map(str::to_owned);
        let headers: BTreeMap<String, String> = lines
            .split("\r\n")
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
        let text = String::from_utf8_lossy(&self.buffer.drain(..length).collect::<Vec<_>>()).into_owned();
        let body =
            if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::from(&*text)) };
        let method = words.next().unwrap_or_default();
        Ok(Some((Request { method, path: words.next().unwrap_or_default(), headers, body }, text)))
    }
}
