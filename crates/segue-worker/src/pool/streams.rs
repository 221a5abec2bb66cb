//! What an attempt prints: two FIFOs that become log lines.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::{sys::stat::Mode, unistd::mkfifo};
use segue_core::ports::ProgressSink;
use tokio::net::unix::pipe;

use crate::contain::{LogFlow, Tail, forward_lines};

/// How long output may stay open when everything that could be found of an attempt is over.
const LINGERS_MAX: Duration = Duration::from_secs(1);
const TAIL_BYTES: usize = 4 * 1024;

/// One FIFO, open on both ends: so that it has no end before we say so.
struct Stream {
    path: PathBuf,
    reader: pipe::Receiver,
    holder: Option<pipe::Sender>,
    flow: LogFlow,
    tail: Tail,
}

impl Stream {
    fn open(folder: &Path, file: &str, name: &'static str) -> io::Result<Self> {
        let path = folder.join(file);
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
        let reader = pipe::OpenOptions::new().open_receiver(&path)?;
        let holder = Some(pipe::OpenOptions::new().open_sender(&path)?);
        Ok(Self { path, reader, holder, flow: LogFlow::new(name), tail: Tail::new(TAIL_BYTES) })
    }

    async fn forward(&mut self, sink: &dyn ProgressSink) {
        let _ = forward_lines(&mut self.reader, &mut self.flow, &mut self.tail, sink).await;
    }
}

/// An attempt's stdout and stderr.
pub(super) struct Streams {
    out: Stream,
    err: Stream,
}

impl Streams {
    /// Makes both in `folder`.
    pub(super) fn open(folder: &Path) -> io::Result<Self> {
        Ok(Self { out: Stream::open(folder, "out", "stdout")?, err: Stream::open(folder, "err", "stderr")? })
    }

    pub(super) fn paths(&self) -> (&Path, &Path) {
        (&self.out.path, &self.err.path)
    }

    /// Forwards lines. Has no end while this holds the FIFOs open; may be dropped and begun again.
    pub(super) async fn forward(&mut self, sink: &dyn ProgressSink) {
        tokio::join!(self.out.forward(sink), self.err.forward(sink));
    }

    /// Forwards what is left, when everything that could write is over.
    pub(super) async fn finish(&mut self, sink: &dyn ProgressSink) {
        self.out.holder = None;
        self.err.holder = None;
        let _ = tokio::time::timeout(LINGERS_MAX, self.forward(sink)).await;
    }

    /// The last lines of stderr.
    pub(super) fn last_words(&self) -> String {
        self.err.tail.text()
    }
}
