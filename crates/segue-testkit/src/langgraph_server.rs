//! A LangGraph server with scripted graphs, and the ways in which a real one surprises.
//!
//! Its shapes are those of `langgraph dev` (langgraph-api 0.16). Graphs, by the assistant's name:
//!
//! | | |
//! |---|---|
//! | `echo` | ends with the input as its state, and one AI message with usage |
//! | `fails:NAME` | fails with an error of this class |
//! | `flaky` | fails with `RateLimitError` behind its first node; continued from there it ends |
//! | `ask` | interrupts twice at once, ids `i1` and `i2`; resumed it ends with the answers |
//! | `endless` | tells of a node `ready`, and runs until it is cancelled |
//! | `held` | the same, until [`LanggraphServer::finish`] |
//! | `times_out`, `stolen` | ended by the server, or by somebody else: the stream ends without a word |
//! | `stops` | stops before a node, as a breakpoint makes it |

mod play;
mod routes;

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde_json::Value;
use tokio::sync::watch;

use crate::web::WebServer;

/// A running server.
pub struct LanggraphServer {
    web: WebServer,
    shared: Arc<Shared>,
}

struct Shared {
    world: Mutex<World>,
    /// Counts changes; wakes streams and tests.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct World {
    threads: BTreeMap<String, Thread>,
    runs: Vec<Run>,
    /// How many runs there ever were.
    made: u32,
    /// After how many events the next streams are cut.
    cuts: VecDeque<usize>,
    lost_creations: usize,
    refusals: usize,
    key: Option<String>,
}

#[derive(Default)]
struct Thread {
    status: &'static str,
    values: Value,
    error: Value,
    interrupts: Vec<(String, Value)>,
    next: Vec<&'static str>,
    /// 0: none.
    checkpoint: u32,
    metadata: Value,
}

/// One run, as it was asked for and as it went.
#[derive(Debug, Clone)]
pub struct Run {
    /// Its id.
    pub id: String,
    /// Its thread.
    pub thread: String,
    /// What was sent to create it.
    pub request: Value,
    /// `pending`, `running`, `success`, `error`, `timeout`, `interrupted`.
    pub status: &'static str,
    events: Vec<(&'static str, Value)>,
}

impl LanggraphServer {
    /// Listens on a free port of 127.0.0.1.
    pub fn start() -> Self {
        let shared = Arc::new(Shared { world: Mutex::default(), changed: watch::Sender::default() });
        let for_calls = shared.clone();
        let web = WebServer::start(move |call| routes::answer(for_calls.clone(), call));
        Self { web, shared }
    }

    /// Its address.
    pub fn url(&self) -> String {
        self.web.url("")
    }

    /// The server as it is seen from the wire.
    pub const fn web(&self) -> &WebServer {
        &self.web
    }

    /// All runs, in the order in which they were made.
    pub fn runs(&self) -> Vec<Run> {
        self.shared.world().runs.clone()
    }

    /// Runs that have not ended.
    pub fn running(&self) -> usize {
        self.shared.world().runs.iter().filter(|run| run.is_open()).count()
    }

    /// The next streams are cut after so many events, one number a stream.
    pub fn cut_streams(&self, after: impl IntoIterator<Item = usize>) {
        self.shared.world().cuts.extend(after);
    }

    /// The answers of the next so many creations of runs are lost; the runs are made.
    pub fn lose_creations(&self, count: usize) {
        self.shared.world().lost_creations = count;
    }

    /// The next so many calls are answered with 503.
    pub fn refuse(&self, count: usize) {
        self.shared.world().refusals = count;
    }

    /// From now on calls need this `x-api-key`.
    pub fn require_key(&self, key: &str) {
        self.shared.world().key = Some(key.to_owned());
    }

    /// Forgets all threads and runs, as a development server that is killed does.
    pub fn restart(&self) {
        self.shared.change(|world| {
            world.threads.clear();
            world.runs.clear();
        });
    }

    /// Lets the run of a `held` graph end.
    pub fn finish(&self) {
        self.shared.change(|world| {
            for at in 0..world.runs.len() {
                if world.runs[at].is_open() {
                    play::succeed(world, at);
                }
            }
        });
    }

    /// Waits until so many runs have been made.
    pub async fn wait_for_runs(&self, count: u32) {
        let mut changed = self.shared.changed.subscribe();
        let made = async {
            while self.shared.world().made < count {
                changed.changed().await.expect("the server holds the sender");
            }
        };
        let waited = tokio::time::timeout(std::time::Duration::from_secs(60), made).await;
        assert!(waited.is_ok(), "waited in vain for {count} runs");
    }
}

impl Run {
    fn is_open(&self) -> bool {
        matches!(self.status, "pending" | "running")
    }
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        let done = change(&mut self.world());
        self.changed.send_modify(|count| *count += 1);
        done
    }
}
