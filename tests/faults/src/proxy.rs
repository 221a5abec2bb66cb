//! A TCP proxy between an engine and its database: it cuts, delays, half-closes, and swallows the answer to a commit.

mod pump;
mod wire;

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    sync::watch,
};

/// A proxy on a free port of 127.0.0.1. Dropping it cuts everything.
pub struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    _runtime: Runtime,
}

/// What all connections look at.
pub(crate) struct State {
    target: SocketAddr,
    refuses: AtomicBool,
    delay_us: AtomicU64,
    /// Answers to commits that are still to be swallowed.
    swallows: AtomicUsize,
    /// Those that have been.
    swallowed: AtomicUsize,
    connections: AtomicUsize,
    /// Connections that were ended at once.
    refused: AtomicUsize,
    /// What the commits of the program under test contain.
    marks: Mutex<Vec<String>>,
    order: watch::Sender<Order>,
}

/// What is done to the connections that are there. The number tells one order from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    None,
    /// Both ends see the connection reset or closed.
    Cut(u64),
    /// The client sees the end of what the server sends; the server notices nothing.
    HalfClose(u64),
}

impl Proxy {
    /// Listens, and passes on to `target`.
    pub fn start(target: SocketAddr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            target,
            refuses: AtomicBool::new(false),
            delay_us: AtomicU64::new(0),
            swallows: AtomicUsize::new(0),
            swallowed: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            marks: Mutex::new(vec!["COMMIT".to_owned()]),
            order: watch::Sender::new(Order::None),
        });
        runtime.spawn(listen(listener, state.clone()));
        Self { address, state, _runtime: runtime }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections have been made.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// How many have been ended at once.
    pub fn refused(&self) -> usize {
        self.state.refused.load(Ordering::SeqCst)
    }

    /// How many answers to commits have been swallowed.
    pub fn swallowed(&self) -> usize {
        self.state.swallowed.load(Ordering::SeqCst)
    }

    /// Cuts all connections that there are.
    pub fn cut(&self) {
        self.order(Order::Cut);
    }

    /// Tells all clients that nothing more comes, and goes on listening to them.
    pub fn half_close(&self) {
        self.order(Order::HalfClose);
    }

    fn order(&self, order: impl Fn(u64) -> Order) {
        let number = match *self.state.order.borrow() {
            Order::None => 1,
            Order::Cut(number) | Order::HalfClose(number) => number + 1,
        };
        self.state.order.send_replace(order(number));
    }

    /// Accepts new connections only to end them, or not any more.
    pub fn refuse(&self, refuses: bool) {
        self.state.refuses.store(refuses, Ordering::SeqCst);
    }

    /// Holds everything up for so long, in both directions.
    pub fn delay(&self, delay: Duration) {
        self.state.delay_us.store(u64::try_from(delay.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Of the next `times` commits the answer never arrives: the server has carried them out, and the connection is cut.
    pub fn swallow_commits(&self, times: usize) {
        self.state.swallows.store(times, Ordering::SeqCst);
    }

    /// What else than `COMMIT` a statement contains that commits something.
    pub fn commits_by(&self, text: &str) {
        self.state.marks.lock().unwrap().push(text.to_owned());
    }
}

impl State {
    fn delay(&self) -> Duration {
        Duration::from_micros(self.delay_us.load(Ordering::SeqCst))
    }

    /// Is the answer to this to be swallowed? Counts down.
    fn takes_commit(&self, sql: &str) -> bool {
        let is_commit = self.marks.lock().unwrap().iter().any(|mark| sql.contains(mark));
        let take = |left: usize| left.checked_sub(1);
        is_commit && self.swallows.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok()
    }
}

async fn listen(listener: TcpListener, state: Arc<State>) {
    while let Ok((client, _)) = listener.accept().await {
        if state.refuses.load(Ordering::SeqCst) {
            state.refused.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        let state = state.clone();
        tokio::spawn(async move {
            if let Ok(server) = TcpStream::connect(state.target).await {
                state.connections.fetch_add(1, Ordering::SeqCst);
                pump::both(client, server, state).await;
            }
        });
    }
}
