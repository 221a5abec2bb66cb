//! A small HTTP server on loopback that answers as a test tells it, and sees clients hang up.
//!
//! It runs on a thread of its own, as the stub provider does. Every connection carries one request. While an answer is made or
//! sent, the connection is watched: a client that closes it drops the handler's future.
//!
//! ```
//! use segue_testkit::web::{Answer, WebServer};
//!
//! let server = WebServer::start(|call| async move {
//!     match call.path.as_str() {
//!         "/hello" => Answer::json(200, &serde_json::json!({"hello": call.body})),
//!         _ => Answer::text(404, "no such place"),
//!     }
//! });
//! assert!(server.url("/hello").starts_with("http://127.0.0.1:"));
//! assert_eq!(server.open(), 0);
//! ```

mod wire;

use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot, watch};

/// After this long a test that waits for something that does not happen fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that has arrived.
#[derive(Debug, Clone, Default)]
pub struct Call {
    /// In capitals.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// What follows the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body: JSON where it is some, else a text; `null` without one.
    pub body: Value,
}

impl Call {
    /// A header; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

/// What is sent back.
pub struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Body,
}

enum Body {
    Whole(Vec<u8>),
    Stream(mpsc::UnboundedReceiver<Piece>),
    /// The connection is closed without an answer.
    None,
}

/// A piece of a streamed body. The end of the channel is the end of the body.
#[derive(Debug, Clone)]
pub enum Piece {
    /// Some bytes.
    Bytes(Vec<u8>),
    /// The connection breaks here.
    Cut,
}

impl Answer {
    /// A body of this type.
    pub fn new(status: u16, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        Self { status, headers, body: Body::Whole(body.into()) }
    }

    /// JSON.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// A text.
    pub fn text(status: u16, body: &str) -> Self {
        Self::new(status, "text/plain; charset=utf-8", body)
    }

    /// A body that comes in pieces, and the end that sends them. The body ends when that is dropped.
    pub fn stream(status: u16, content_type: &str) -> (mpsc::UnboundedSender<Piece>, Self) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let headers = vec![("content-type".to_owned(), content_type.to_owned())];
        (sender, Self { status, headers, body: Body::Stream(receiver) })
    }

    /// Closes the connection without a word.
    pub const fn hang_up() -> Self {
        Self { status: 0, headers: Vec::new(), body: Body::None }
    }

    /// With one more header.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

type Handler = Arc<dyn Fn(Call) -> BoxFuture<'static, Answer> + Send + Sync>;

/// A running server. Dropping it ends it and breaks its connections.
pub struct WebServer {
    address: SocketAddr,
    seen: Arc<watch::Sender<Seen>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    open: usize,
    hang_ups: usize,
}

impl WebServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn start<F, Fut>(handler: F) -> Self
    where
        F: Fn(Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Answer> + Send + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let seen = Arc::new(watch::Sender::default());
        let handler: Handler = Arc::new(move |call| Box::pin(handler(call)));
        let (stop, stopped) = oneshot::channel::<()>();
        let for_thread = seen.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Dropping the runtime drops every connection.
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for this runtime");
                tokio::select! {
                    _ = stopped => {}
                    () = wire::serve(listener, handler, for_thread) => {}
                }
            });
        });
        Self { address, seen, stop: Some(stop), thread: Some(thread) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The address of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All requests so far, in the order of their arrival.
    pub fn calls(&self) -> Vec<Call> {
        self.seen.borrow().calls.clone()
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.seen.borrow().open
    }

    /// How many clients closed their connection before they had the whole answer.
    pub fn hang_ups(&self) -> usize {
        self.seen.borrow().hang_ups
    }

    /// Waits until `count` requests have arrived. Panics after a minute.
    pub async fn wait_for_calls(&self, count: usize) {
        self.wait("requests", |seen| seen.calls.len() >= count).await;
    }

    /// Waits until `count` clients have hung up. Panics after a minute.
    pub async fn wait_for_hang_ups(&self, count: usize) {
        self.wait("hang-ups", |seen| seen.hang_ups >= count).await;
    }

    /// Are all connections closed, or are they in a moment? For what a client has closed already and this thread has not
    /// noticed yet. Blocks.
    pub fn is_quiet(&self) -> bool {
        let end = Instant::now() + Duration::from_secs(10);
        while self.open() > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.open() == 0
    }

    async fn wait(&self, what: &str, holds: impl Fn(&Seen) -> bool) {
        let mut seen = self.seen.subscribe();
        let waited = tokio::time::timeout(PATIENCE, seen.wait_for(|seen| holds(seen))).await;
        assert!(waited.is_ok_and(|seen| seen.is_ok()), "waited in vain for {what}");
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the server's own thread has been printed; a second one here would hide the test's.
            let _ = thread.join();
        }
    }
}
