//! What processes print: bounded, in memory as in the log.

use std::{
    collections::VecDeque,
    io,
    time::{Duration, Instant},
};

use segue_core::ports::{Progress, ProgressSink};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt};

/// A longer line is cut into several.
const LINE_BYTES_MAX: usize = 8 * 1024;
/// Lines and bytes that one stream may log in [`WINDOW`]; the rest is counted and dropped.
const WINDOW_LINES_MAX: u32 = 1_000;
const WINDOW_BYTES_MAX: usize = 512 * 1024;
const WINDOW: Duration = Duration::from_secs(1);
const CHUNK_BYTES: usize = 64 * 1024;

/// The output is longer than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// The limit in bytes.
    pub limit: usize,
}

/// Reads a stream to its end into `into`; stops with an error when it holds more than `limit` bytes. `seen` is shown each piece
/// as it comes.
pub async fn read_to_limit(
    mut stream: impl AsyncRead + Unpin,
    into: &mut Vec<u8>,
    limit: usize,
    mut seen: impl FnMut(&[u8]),
) -> Result<(), TooLarge> {
    loop {
        into.reserve(4 * 1024);
        let before = into.len();
        match stream.read_buf(into).await {
            // A pipe does not fail; if it does, there is nothing more to read from it.
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) if into.len() > limit => return Err(TooLarge { limit }),
            Ok(_) => seen(&into[before..]),
        }
    }
}

/// Forwards a stream's lines to `flow` until its end, keeping the last bytes in `tail`.
pub async fn forward_lines(
    mut stream: impl AsyncRead + Unpin,
    flow: &mut LogFlow,
    tail: &mut Tail,
    sink: &dyn ProgressSink,
) -> io::Result<()> {
    let mut chunk = vec![0; 4 * 1024];
    loop {
        let length = stream.read(&mut chunk).await?;
        if length == 0 {
            flow.finish(sink);
            return Ok(());
        }
        tail.push(&chunk[..length]);
        flow.push(&chunk[..length], sink);
        // Much at once: read in larger pieces.
        if length == chunk.len() && length < CHUNK_BYTES {
            chunk.resize(CHUNK_BYTES, 0);
        }
    }
}

/// The last bytes of a stream.
#[derive(Debug)]
pub struct Tail {
    bytes: VecDeque<u8>,
    limit: usize,
    is_cut: bool,
}

impl Tail {
    /// Keeps at most `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, is_cut: false }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let keep = &bytes[bytes.len().saturating_sub(self.limit)..];
        let excess = (self.bytes.len() + keep.len()).saturating_sub(self.limit);
        self.is_cut |= excess > 0 || keep.len() < bytes.len();
        self.bytes.drain(..excess);
        self.bytes.extend(keep);
    }

    /// As text, whole lines where there is room for one; `…` in front if it is not all.
    pub fn text(&self) -> String {
        let bytes: Vec<u8> = self.bytes.iter().copied().collect();
        let text = String::from_utf8_lossy(&bytes);
        let text = text.trim_end();
        match (self.is_cut, text.split_once('\n')) {
            (false, _) => text.to_owned(),
            (true, Some((_, rest))) => format!("…\n{rest}"),
            (true, None) => format!("…{text}"),
        }
    }
}

/// Cuts a stream into lines and emits them as `task.log` with `{"stream", "line"}`, within limits of length and rate.
#[derive(Debug)]
pub struct LogFlow {
    stream: &'static str,
    line: Vec<u8>,
    window_start: Instant,
    window_lines: u32,
    window_bytes: usize,
    dropped: u64,
}

impl LogFlow {
    /// For the stream of this name: `stdout` or `stderr`.
    pub fn new(stream: &'static str) -> Self {
        Self { stream, line: Vec::new(), window_start: Instant::now(), window_lines: 0, window_bytes: 0, dropped: 0 }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8], sink: &dyn ProgressSink) {
        while !bytes.is_empty() {
            let room = LINE_BYTES_MAX - self.line.len();
            let piece = &bytes[..bytes.len().min(room)];
            if let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
                self.line.extend_from_slice(&piece[..end]);
                bytes = &bytes[end + 1..];
                self.emit(sink);
            } else {
                self.line.extend_from_slice(piece);
                bytes = &bytes[piece.len()..];
                if self.line.len() == LINE_BYTES_MAX {
                    self.emit(sink);
                }
            }
        }
    }

    /// Emits what is left: a last line without an end, the count of what was dropped.
    pub fn finish(&mut self, sink: &dyn ProgressSink) {
        if !self.line.is_empty() {
            self.emit(sink);
        }
        self.tell_dropped(sink);
    }

    fn emit(&mut self, sink: &dyn ProgressSink) {
        if self.window_start.elapsed() > WINDOW {
            self.tell_dropped(sink);
            (self.window_start, self.window_lines, self.window_bytes) = (Instant::now(), 0, 0);
        }
        self.window_lines += 1;
        self.window_bytes += self.line.len();
        if self.window_lines > WINDOW_LINES_MAX || self.window_bytes > WINDOW_BYTES_MAX {
            self.dropped += 1;
        } else {
            let line = String::from_utf8_lossy(&self.line);
            let line = line.trim_end_matches('\r');
            sink.emit(Progress { name: "task.log", data: json!({ "stream": self.stream, "line": line }) });
        }
        self.line.clear();
    }

    fn tell_dropped(&mut self, sink: &dyn ProgressSink) {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            let line = format!("[{dropped} more lines came too fast and were left out]");
            let data = json!({ "stream": self.stream, "line": line, "dropped": dropped });
            sink.emit(Progress { name: "task.log", data });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Lines(Mutex<Vec<serde_json::Value>>);

    impl ProgressSink for Lines {
        fn emit(&self, progress: Progress) {
            self.0.lock().expect("no test panics while it holds the lock").push(progress.data);
        }
    }

    fn logged(pieces: &[&[u8]]) -> Vec<serde_json::Value> {
        let (sink, mut flow) = (Lines::default(), LogFlow::new("stderr"));
        for piece in pieces {
            flow.push(piece, &sink);
        }
        flow.finish(&sink);
        sink.0.into_inner().expect("no test panics while it holds the lock")
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let lines: Vec<_> = logged(&[b"a", b"b\r\n\n", b"c"]).into_iter().map(|data| data["line"].clone()).collect();
        assert_eq!(lines, ["ab", "", "c"]);
    }

    #[test]
    fn a_flood_is_dropped_and_counted() {
        let flood = b"x\n".repeat(5_000);
        let lines = logged(&[&flood]);
        let told: u64 = lines.iter().filter_map(|data| data["dropped"].as_u64()).sum();
        let shown = lines.iter().filter(|data| data["dropped"].is_null()).count() as u64;
        assert_eq!(shown + told, 5_000);
        assert!(told >= 2_000, "a few windows at most can have passed: {told}");
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let lines = logged(&[&vec![b'x'; 10 * LINE_BYTES_MAX]]);
        assert!(lines.iter().all(|data| data["line"].as_str().is_some_and(|line| line.len() <= LINE_BYTES_MAX)));
    }

    #[test]
    fn the_tail_is_the_end() {
        let mut tail = Tail::new(10);
        tail.push(b"first\n");
        assert_eq!(tail.text(), "first");
        tail.push(b"second\nthird\n");
        assert_eq!(tail.text(), "…\nthird");
        let mut tail = Tail::new(4);
        tail.push(b"abcdefgh");
        assert_eq!(tail.text(), "…efgh");
    }
}
