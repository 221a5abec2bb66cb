//! A stub of a model provider: speaks the OpenAI-compatible protocol on loopback, does what a test tells it, and
//! records what reached it.
//!
//! It runs on a thread of its own, so a test may block its own thread while a program under test talks to it. Nothing
//! here depends on time: a test waits for requests ([`StubProvider::wait_for_request`]), holds answers back
//! ([`Reply::held`]), lets them go ([`StubProvider::release`]), and sees a client hang up
//! ([`StubProvider::wait_for_hang_up`]).
//!
//! ```
//! use segue_testkit::provider::{Reply, StubProvider};
//!
//! let provider = StubProvider::start();
//! provider.push(Reply::rate_limited(Some(2))); // the first request
//! provider.push(Reply::text("A fine day.").with_usage(12, 4)); // the second
//! provider.always(Reply::status(503)); // all that follow
//! provider.when("haiku", Reply::text("…").held()); // whenever the body holds this word; comes first
//! let env = [("OPENAI_BASE_URL", provider.base_url()), ("OPENAI_API_KEY", "sk-stub".to_owned())];
//! // … run with `env` what is to be tested …
//! # let _ = env;
//! assert_eq!(provider.requests().len(), 0);
//! assert_eq!(provider.usage().total_tokens(), 0);
//! ```

mod reply;
mod request;
mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

pub use reply::Reply;
pub use request::Request;
use segue_core::outcome::Usage;
use tokio::sync::{oneshot, watch};

use self::wire::serve;

/// After this long a test that waits for something that does not happen fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running stub. Dropping it ends it and breaks its connections.
pub struct StubProvider {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the stub and its connections share.
struct Shared {
    script: Mutex<Script>,
    /// What has happened so far; every change wakes the tests that wait.
    seen: watch::Sender<Seen>,
    /// Counts the calls of [`StubProvider::release`].
    released: watch::Sender<u64>,
}

#[derive(Default)]
struct Script {
    queue: std::collections::VecDeque<Reply>,
    patterns: Vec<(String, Reply)>,
    always: Option<Reply>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Request>,
    arrivals: Vec<Instant>,
    held: usize,
    hang_ups: usize,
    usage: Usage,
    under_way: usize,
    most_at_once: usize,
}

impl StubProvider {
    /// Listens on a free port of 127.0.0.1. Until it is told otherwise it answers every request with a short text.
    pub fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback can be listened on");
        listener.set_nonblocking(true).expect("a listener can be made non-blocking");
        let address = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared {
            script: Mutex::default(),
            seen: watch::Sender::default(),
            released: watch::Sender::default(),
        });
        let (stop, stopped) = oneshot::channel();
        let for_thread = shared.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            // Dropping the runtime drops every connection.
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener for this runtime");
                tokio::select! {
                    _ = stopped => {}
                    () = serve(listener, for_thread) => {}
                }
            });
        });
        Self { address, shared, stop: Some(stop), thread: Some(thread) }
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds a reply to the queue: each answers one request, in order.
    pub fn push(&self, reply: Reply) {
        self.script().queue.push_back(reply);
    }

    /// Answers every request whose body holds `text`, before the queue is asked. The first pattern that fits counts.
    pub fn when(&self, text: &str, reply: Reply) {
        self.script().patterns.push((text.to_owned(), reply));
    }

    /// Answers all requests for which neither a pattern nor the queue has a reply.
    pub fn always(&self, reply: Reply) {
        self.script().always = Some(reply);
    }

    /// Lets every reply go on that is held back now. Those that come later are held anew.
    pub fn release(&self) {
        self.shared.released.send_modify(|count| *count += 1);
    }

    /// All requests so far, in the order of their arrival.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen.borrow().requests.clone()
    }

    /// When each of [`StubProvider::requests`] arrived.
    pub fn arrivals(&self) -> Vec<Instant> {
        self.shared.seen.borrow().arrivals.clone()
    }

    /// How many clients hung up while their request was being held back.
    pub fn hang_ups(&self) -> usize {
        self.shared.seen.borrow().hang_ups
    }

    /// The sum of what was billed: every answer with status 200 that was sent, if only in part.
    pub fn usage(&self) -> Usage {
        self.shared.seen.borrow().usage
    }

    /// The most requests that were being answered at one time.
    pub fn most_at_once(&self) -> usize {
        self.shared.seen.borrow().most_at_once
    }

    /// Waits until `nth` requests (counted from 1) have arrived; answers with that one. Panics after a minute.
    pub async fn wait_for_request(&self, nth: usize) -> Request {
        self.wait("requests", nth, |seen| seen.requests.len()).await;
        self.requests().swap_remove(nth - 1)
    }

    /// Waits until `count` replies are held back at once. Panics after a minute.
    pub async fn wait_for_held(&self, count: usize) {
        self.wait("held replies", count, |seen| seen.held).await;
    }

    /// Waits until `count` clients have hung up while their request was held back. Panics after a minute.
    pub async fn wait_for_hang_up(&self, count: usize) {
        self.wait("hang-ups", count, |seen| seen.hang_ups).await;
    }

    async fn wait(&self, what: &str, wanted: usize, count: impl Fn(&Seen) -> usize) {
        let mut seen = self.shared.seen.subscribe();
        // What was seen is let go of at once: whoever looks again while it is held, and somebody writes, waits for itself.
        let has_come = async { seen.wait_for(|seen| count(seen) >= wanted).await.is_ok() };
        let has_come = tokio::time::timeout(PATIENCE, has_come).await;
        let so_far = count(&self.shared.seen.borrow());
        assert_eq!(has_come, Ok(true), "waited for {wanted} {what}, saw {so_far}");
    }

    fn script(&self) -> MutexGuard<'_, Script> {
        self.shared.script()
    }
}

impl Drop for StubProvider {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of the stub's own thread has been printed; a second one here would hide the test's.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reply to a request with this body.
    fn reply_to(&self, body: &str) -> Reply {
        let mut script = self.script();
        let pattern = script.patterns.iter().find(|(text, _)| body.contains(text)).map(|(_, reply)| reply.clone());
        pattern.or_else(|| script.queue.pop_front()).or_else(|| script.always.clone()).unwrap_or_default()
    }

    fn record(&self, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(change);
    }
}
