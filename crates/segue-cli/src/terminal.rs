//! The two streams: data on stdout, everything else on stderr, with a live frame at its end where there is a terminal.
//!
//! All writing to stderr goes through here, log lines too, so that nothing tears the frame apart.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Mutex, MutexGuard, PoisonError},
};

use clap::builder::styling::{AnsiColor, Style};
use segue_core::status::Status;

/// The live frame at the bottom of stderr: what it shows now, and how many lines of the terminal that takes.
struct Frame {
    lines: Vec<String>,
}

static FRAME: Mutex<Frame> = Mutex::new(Frame { lines: Vec::new() });

fn frame() -> MutexGuard<'static, Frame> {
    FRAME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes a line of data to stdout. A reader that has gone (`| head`) ends the process without a complaint.
pub(crate) fn print(line: impl AsRef<str>) {
    let mut out = io::stdout().lock();
    let written =
        out.write_all(line.as_ref().as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => {
            say(format!(
                "error: stdout cannot be written: {error}; the store has what was to be shown: segue runs show"
            ));
            std::process::exit(1);
        }
    }
}

/// Writes a line for people to stderr, above the frame if there is one.
pub(crate) fn say(line: impl AsRef<str>) {
    let mut text = line.as_ref().to_owned();
    text.push('\n');
    write_above_frame(text.as_bytes());
}

fn write_above_frame(bytes: &[u8]) {
    let frame = frame();
    let mut out = io::stderr().lock();
    // Nobody can be told that stderr cannot be written.
    let _ = out.write_all(erase(&frame.lines).as_bytes());
    let _ = out.write_all(bytes);
    let _ = out.write_all(drawn(&frame.lines).as_bytes());
    let _ = out.flush();
}

/// Shows `lines`, each shorter than the terminal is wide, in the place of those shown before.
pub(crate) fn draw(lines: Vec<String>) {
    let mut frame = frame();
    let text = erase(&frame.lines) + &drawn(&lines);
    frame.lines = lines;
    let mut out = io::stderr().lock();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Leaves what the frame shows where it is; what follows is written below it.
pub(crate) fn keep_frame() {
    frame().lines.clear();
}

fn erase(lines: &[String]) -> String {
    if lines.is_empty() { String::new() } else { format!("\r\x1b[{}A\x1b[J", lines.len()) }
}

fn drawn(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

/// For log lines.
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write_above_frame(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Is there a terminal that can show a live frame?
pub(crate) fn is_live() -> bool {
    io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// One of the two streams, as far as colour goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    on: bool,
}

impl Paint {
    /// For stdout.
    pub(crate) fn stdout() -> Self {
        Self { on: io::stdout().is_terminal() && colour_is_welcome() }
    }

    /// For stderr.
    pub(crate) fn stderr() -> Self {
        Self { on: io::stderr().is_terminal() && colour_is_welcome() }
    }

    /// No colour.
    #[cfg(test)]
    pub(crate) const fn none() -> Self {
        Self { on: false }
    }

    /// Is colour on?
    pub(crate) const fn is_on(self) -> bool {
        self.on
    }

    fn with(self, style: Style, text: &str) -> String {
        if self.on { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// For what is of little weight.
    pub(crate) fn dim(self, text: &str) -> String {
        self.with(Style::new().dimmed(), text)
    }

    /// For names and headings.
    pub(crate) fn bold(self, text: &str) -> String {
        self.with(Style::new().bold(), text)
    }

    /// For errors.
    pub(crate) fn bad(self, text: &str) -> String {
        self.with(AnsiColor::Red.on_default().bold(), text)
    }

    /// For help.
    pub(crate) fn help(self, text: &str) -> String {
        self.with(AnsiColor::Cyan.on_default().bold(), text)
    }

    /// In the colour of a status.
    pub(crate) fn status(self, status: Status, text: &str) -> String {
        let style = match status {
            Status::Succeeded => AnsiColor::Green.on_default(),
            Status::Failed => AnsiColor::Red.on_default(),
            Status::Running => AnsiColor::Cyan.on_default(),
            Status::Cancelled => AnsiColor::Yellow.on_default(),
            Status::Waiting => AnsiColor::Magenta.on_default(),
            Status::Pending | Status::Skipped => Style::new().dimmed(),
        };
        self.with(style, text)
    }
}

fn colour_is_welcome() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
