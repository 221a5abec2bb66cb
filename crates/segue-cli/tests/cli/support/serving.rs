//! An engine that serves, and raw HTTP with it: what a client may send wrong is sent wrong.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, ChildStdout, Stdio},
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{PATIENCE, Place, signal, until};

/// `segue serve`, ready.
pub struct Serving {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: PathBuf,
    pub address: SocketAddr,
    pub engine: String,
}

/// What has come of it.
#[derive(Debug)]
pub struct Served {
    pub code: i32,
    /// The lines on stdout after the first.
    pub told: Vec<Value>,
    pub stderr: String,
}

impl Serving {
    /// Starts it on a free port, with these arguments besides, and waits until it is ready.
    pub fn start(place: &Place, args: &[&str]) -> Self {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let stderr = place.file(&format!("serve-{number}.err"));
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--json", "--log-format", "json"]);
        command.args(args).stdout(Stdio::piped()).stderr(File::create(&stderr).unwrap());
        let mut child = command.spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let told = || fs::read_to_string(&stderr).unwrap_or_default();
        let ready: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("not ready: {line} {}", told()));
        assert_eq!(ready["event"], "ready", "{ready}");
        let address = ready["url"].as_str().unwrap().strip_prefix("http://").unwrap().parse().unwrap();
        let engine = ready["engine_id"].as_str().unwrap().to_owned();
        Self { child, stdout, stderr, address, engine }
    }

    /// The status and the body.
    pub fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        answer_of(&self.send(&request))
    }

    /// Sends this as it is, and reads until the other end has had enough.
    pub fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// `/readyz`: the status, and the document.
    pub fn ready(&self) -> (u16, Value) {
        let (status, body) = self.get("/readyz");
        (status, serde_json::from_str(&body).unwrap())
    }

    /// `/metrics`: every sample with its labels.
    pub fn samples(&self) -> Vec<(String, f64)> {
        let (status, text) = self.get("/metrics");
        assert_eq!(status, 200, "{text}");
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        lines
            .map(|line| line.rsplit_once(' ').map(|(name, value)| (name.to_owned(), value.parse().unwrap())).unwrap())
            .collect()
    }

    pub fn sample(&self, name: &str) -> f64 {
        self.samples().iter().find(|(own, _)| own == name).map_or(0.0, |(_, value)| *value)
    }

    pub fn signal(&self, what: Signal) {
        signal(&self.child, what);
    }

    /// The log lines so far.
    pub fn log(&self) -> Vec<Value> {
        let text = fs::read_to_string(&self.stderr).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Served {
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = until("the engine has left", || self.child.try_wait().unwrap());
        let told = rest.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Served { code: status.code().unwrap_or(-1), told, stderr: fs::read_to_string(&self.stderr).unwrap_or_default() }
    }

    /// Tells it to leave, and waits until it has.
    pub fn leave(self) -> Served {
        self.signal(Signal::SIGTERM);
        self.wait()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// The status and the body of an answer.
pub fn answer_of(text: &str) -> (u16, String) {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no status: {head}")), body.to_owned())
}

/// Records a run, and gives its id.
pub fn submit(place: &Place, args: &[&str]) -> String {
    let ran = place.segue(&[&["submit"], args].concat());
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.stdout.trim().to_owned()
}

/// Waits until a run has ended; gives its document.
pub fn ended(place: &Place, run: &str) -> Value {
    until("the run has ended", || {
        let shown = place.json(&["runs", "show", run, "--json"]);
        ["SUCCEEDED", "FAILED", "CANCELLED"].contains(&shown["status"].as_str().unwrap()).then_some(shown)
    })
}
