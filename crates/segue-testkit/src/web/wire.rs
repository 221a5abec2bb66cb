//! The server's end of a connection: one request and its answer over HTTP/1.1.

use std::{io, sync::Arc};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

use super::{Answer, Body, Call, Handler, Piece, Seen};

/// Accepts until it is dropped.
pub(super) async fn serve(listener: TcpListener, handler: Handler, seen: Arc<watch::Sender<Seen>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let open = Open::new(seen.clone());
        let (handler, seen) = (handler.clone(), seen.clone());
        // A connection that breaks is the client's affair; what matters of it is recorded.
        tokio::spawn(async move {
            let _open = open;
            carry(stream, handler, &seen).await.ok();
        });
    }
}

/// Counts as open while it lives.
struct Open(Arc<watch::Sender<Seen>>);

impl Open {
    fn new(seen: Arc<watch::Sender<Seen>>) -> Self {
        seen.send_modify(|seen| seen.open += 1);
        Self(seen)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|seen| seen.open -= 1);
    }
}

async fn carry(stream: TcpStream, handler: Handler, seen: &watch::Sender<Seen>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut reader, mut writer) = stream.into_split();
    let Some(call) = read_call(&mut reader).await? else { return Ok(()) };
    seen.send_modify(|seen| seen.calls.push(call.clone()));
    let is_head = call.method == "HEAD";
    let answering = async {
        let answer = handler(call).await;
        send(&mut writer, answer, is_head).await
    };
    tokio::select! {
        biased;
        sent = answering => sent?,
        () = closed(&mut reader) => {
            seen.send_modify(|seen| seen.hang_ups += 1);
            return Ok(());
        }
    }
    writer.shutdown().await
}

/// Completes when the client has closed.
async fn closed(reader: &mut OwnedReadHalf) {
    let mut rest = [0; 256];
    while !matches!(reader.read(&mut rest).await, Ok(0) | Err(_)) {}
}

async fn send(writer: &mut OwnedWriteHalf, answer: Answer, is_head: bool) -> io::Result<()> {
    let Answer { status, headers, body } = answer;
    let mut head = format!("HTTP/1.1 {status} Told\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    match body {
        Body::None => Ok(()),
        Body::Whole(body) => {
            let length = if (100..200).contains(&status) || matches!(status, 204 | 304) {
                String::new()
            } else {
                format!("Content-Length: {}\r\n", body.len())
            };
            writer.write_all(format!("{head}{length}\r\n").as_bytes()).await?;
            if is_head { Ok(()) } else { writer.write_all(&body).await }
        }
        Body::Stream(mut pieces) => {
            writer.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await?;
            while let Some(piece) = pieces.recv().await {
                let Piece::Bytes(bytes) = piece else { return Ok(()) };
                writer.write_all(format!("{:x}\r\n", bytes.len()).as_bytes()).await?;
                writer.write_all(&bytes).await?;
                writer.write_all(b"\r\n").await?;
            }
            writer.write_all(b"0\r\n\r\n").await
        }
    }
}

/// The request; `None`: the client has closed.
async fn read_call(reader: &mut OwnedReadHalf) -> io::Result<Option<Call>> {
    let mut buffer = Vec::new();
    let head_end = loop {
        if let Some(at) = buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break at;
        }
        if reader.read_buf(&mut buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..head_end]).into_owned();
    let mut body = buffer.split_off(head_end + 4);
    let (line, lines) = head.split_once("\r\n").unwrap_or((&head, ""));
    let mut words = line.split(' ');
    let mut call = Call { method: words.next().unwrap_or_default().to_owned(), ..Call::default() };
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    (call.path, call.query) = (path.to_owned(), query.to_owned());
    let headers = lines.split("\r\n").filter_map(|line| line.split_once(':'));
    call.headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let length = call.header("content-length").parse().unwrap_or(0);
    while body.len() < length {
        if reader.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    let text = String::from_utf8_lossy(&body);
    if !text.is_empty() {
        call.body = serde_json::from_str(&text).unwrap_or_else(|_| Value::from(&*text));
    }
    Ok(Some(call))
}
