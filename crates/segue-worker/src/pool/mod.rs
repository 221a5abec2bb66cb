//! The pool of Python workers.
//!
//! One *zygote* for each Python environment and framework imports the framework once ([`crate::protocol`]). In mode
//! [`Mode::Process`] it forks one process an attempt: only the death of a process is a real cancel or timeout of a crew,
//! and a fork of a warm parent costs a tenth of a fresh import. In mode [`Mode::Shared`] it is a *host*, whose attempts are
//! tasks of its asyncio loop: hundreds at a time, each at the cost of some milliseconds.
//!
//! * An attempt answers once. What ends without an answer, breaks the protocol, falls silent or cannot be started is
//!   [`TaskOutcome::Lost`]; its neighbours go on.
//! * A zygote that dies takes its attempts with it; the next attempt starts another, with a growing pause when that
//!   happens again and again. It is replaced when it has become old or large, and ended when nobody needs it.
//! * A host whose loop is blocked or silent is killed. One in which an attempt does not end is *dirty*: it takes no more,
//!   its other attempts finish, within a limit, and it is killed; meanwhile another one takes its place.
//! * [`Pool::execute`] returns when everything the attempt had started is over; dropping it kills. [`Pool::shutdown`],
//!   or dropping the pool, leaves no process, no socket and no folder.

mod attempt;
mod calls;
mod door;
mod streams;
mod supervisor;
mod wire;
mod zygote;

use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    ports::{CheckpointStore, Invocation},
};
use tokio::{sync::Semaphore, time::Instant};
use tokio_util::sync::CancellationToken;

use self::{
    door::Door,
    zygote::{Ready, Zygote, ZygoteEnd},
};
pub use crate::protocol::Mode;
use crate::protocol::{Start, ZygoteHello};

/// How often an attempt that was not even forked is given to another zygote.
const SPAWN_TRIES_MAX: u32 = 3;
/// The longest pause before a zygote that keeps dying is started again.
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Which zygote: a Python, what it runs, and how.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ZygoteSpec {
    /// The interpreter of the environment.
    pub python: PathBuf,
    /// The worker's `main.py`.
    pub program: PathBuf,
    /// The framework: `crewai`.
    pub adapter: String,
    /// How it carries attempts.
    pub mode: Mode,
    /// Over the short list of variables that every process gets. May hold secrets: it is not shown.
    pub env: BTreeMap<String, String>,
    /// The folder it starts in; without one, a folder of the pool's.
    pub cwd: Option<PathBuf>,
}

impl ZygoteSpec {
    /// One that forks its attempts.
    pub fn process(python: PathBuf, program: PathBuf, adapter: impl Into<String>) -> Self {
        Self { python, program, adapter: adapter.into(), mode: Mode::Process, env: BTreeMap::new(), cwd: None }
    }
}

impl std::fmt::Debug for ZygoteSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ZygoteSpec")
            .field("python", &self.python)
            .field("adapter", &self.adapter)
            .field("mode", &self.mode)
            .field("cwd", &self.cwd)
            .finish_non_exhaustive()
    }
}

/// An attempt for the pool.
#[derive(Clone)]
pub struct AttemptOrder {
    /// What it is to do.
    pub start: Start,
    /// Its environment, over the short list that every process gets; `None` removes a variable. `TMPDIR`, if absent, is a
    /// folder of this attempt alone, removed after it. In a host it has none of its own.
    pub env: BTreeMap<String, Option<String>>,
    /// The folder it starts in. In a host: the host's.
    pub cwd: PathBuf,
    /// The variable that is to name a folder of this attempt alone, removed after it. In a host there is none.
    pub storage_variable: Option<&'static str>,
    /// Keeps the checkpoints of its task.
    pub checkpoints: Option<Arc<dyn CheckpointStore>>,
}

/// Bounds of the pool.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Attempts with processes of their own that may live at once; further ones wait.
    pub attempts_max: usize,
    /// Attempts in hosts that may live at once; further ones wait.
    pub guests_max: usize,
    /// How long a zygote may take to import its framework.
    pub hello_within: Duration,
    /// How long an attempt may take from its order to its connection.
    pub connect_within: Duration,
    /// How long an attempt may give no sign of life. Its heartbeats come every 5 seconds.
    pub silence_max: Duration,
    /// An attempt whose process has more resident memory than this is killed, before the machine has none left. It tells
    /// with its heartbeats.
    pub attempt_bytes_max: u64,
    /// How long a zygote may take to report the end of an attempt that was killed.
    pub report_within: Duration,
    /// A zygote that nobody has used for so long is ended.
    pub idle_max: Duration,
    /// A zygote that is older is replaced when it is idle.
    pub age_max: Duration,
    /// A zygote with more resident memory is replaced when it is idle.
    pub memory_bytes_max: u64,
    /// A host that has begun so many attempts is replaced.
    pub guests_total_max: u64,
    /// What an attempt in a host has at least to end by itself when it is cancelled: it needs a moment of the loop, and its
    /// host is replaced if it does not.
    pub guest_grace_min: Duration,
    /// How long a host may give no sign of life. Its beats come every second.
    pub beat_within: Duration,
    /// A host whose loop has been blocked for so long gets no more attempts.
    pub lag_leave: Duration,
    /// A host whose loop has been blocked for so long is killed.
    pub lag_max: Duration,
    /// How long a dirty host may live for the sake of its other attempts.
    pub dirty_max: Duration,
}

impl Default for PoolOptions {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            // They wait for models most of the time; each costs 30 to 50 MB.
            attempts_max: (8 * cores).max(16),
            guests_max: 512,
            hello_within: Duration::from_secs(120),
            connect_within: Duration::from_secs(60),
            silence_max: Duration::from_secs(120),
            attempt_bytes_max: memory_of_the_machine() / 4 * 3,
            report_within: Duration::from_secs(15),
            idle_max: Duration::from_secs(300),
            age_max: Duration::from_secs(3_600),
            memory_bytes_max: 1 << 30,
            guests_total_max: 20_000,
            guest_grace_min: Duration::from_secs(5),
            beat_within: Duration::from_secs(30),
            lag_leave: Duration::from_secs(10),
            lag_max: Duration::from_secs(30),
            dirty_max: Duration::from_secs(60),
        }
    }
}

/// In bytes; without a bound where it cannot be told.
fn memory_of_the_machine() -> u64 {
    let told = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = told.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    kib.map_or(u64::MAX, |kib| kib.saturating_mul(1024))
}

/// The worker processes of a pool, by what they do. Those that carry one attempt each are their zygotes' and not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Workers {
    /// They import their framework.
    pub starting: usize,
    /// They could take an attempt, and have none.
    pub idle: usize,
    /// They have attempts.
    pub busy: usize,
    /// They take no more attempts.
    pub leaving: usize,
}

impl Workers {
    /// Their numbers, each with its state's name.
    pub const fn by_state(self) -> [(&'static str, usize); 4] {
        [("starting", self.starting), ("idle", self.idle), ("busy", self.busy), ("leaving", self.leaving)]
    }
}

/// The pool. Starts nothing before it is needed.
pub struct Pool {
    shared: Arc<Shared>,
    _stop: tokio_util::sync::DropGuard,
}

struct Shared {
    options: PoolOptions,
    door: Mutex<Option<Arc<Door>>>,
    seats: Mutex<HashMap<ZygoteSpec, Seat>>,
    permits: Semaphore,
    guests: Semaphore,
    stop: CancellationToken,
    attempts: AtomicU64,
}

/// The place of one zygote, and what became of its predecessors.
#[derive(Default)]
struct Seat {
    current: Option<Arc<Zygote>>,
    /// Hosts that take no more attempts and are not over yet.
    leaving: Vec<Arc<Zygote>>,
    deaths_in_a_row: u32,
    not_before: Option<Instant>,
}

impl Pool {
    /// A pool with these bounds.
    pub fn new(options: PoolOptions) -> Self {
        let stop = CancellationToken::new();
        let shared = Shared {
            permits: Semaphore::new(options.attempts_max),
            guests: Semaphore::new(options.guests_max),
            options,
            door: Mutex::default(),
            seats: Mutex::default(),
            stop: stop.clone(),
            attempts: AtomicU64::new(0),
        };
        Self { shared: Arc::new(shared), _stop: stop.drop_guard() }
    }

    /// Carries out one attempt. Returns when everything it started is over.
    pub async fn execute(&self, spec: &ZygoteSpec, order: AttemptOrder, invocation: &Invocation) -> TaskOutcome {
        let cancelled = TaskOutcome::Cancelled { usage: Usage::default() };
        let prepare = async {
            let permits = match spec.mode {
                Mode::Process => &self.shared.permits,
                Mode::Shared => &self.shared.guests,
            };
            let permit = permits.acquire().await.expect("the semaphore is never closed");
            (permit, self.shared.ready(spec).await)
        };
        let (_permit, mut ready) = tokio::select! {
            biased;
            () = invocation.cancel.cancelled() => return cancelled,
            prepared = prepare => prepared,
        };
        let mut tries = 0;
        loop {
            let (zygote, door) = match ready {
                Ok(prepared) => prepared,
                Err(outcome) => return outcome,
            };
            let name = format!("s-{}", self.shared.attempts.fetch_add(1, Ordering::Relaxed));
            match attempt::run(&zygote, &door, &self.shared.options, name, &order, invocation).await {
                Ok(outcome) => {
                    self.shared.has_worked(spec);
                    return outcome;
                }
                Err(attempt::NotForked(reason)) => {
                    tries += 1;
                    if tries == SPAWN_TRIES_MAX {
                        return lost(reason);
                    }
                }
            }
            ready = tokio::select! {
                biased;
                () = invocation.cancel.cancelled() => return cancelled,
                ready = self.shared.ready(spec) => ready,
            };
        }
    }

    /// Starts the zygote if it does not run, and tells what it is. For `segue doctor`, and to warm up.
    pub async fn probe(&self, spec: &ZygoteSpec) -> Result<ZygoteHello, TaskError> {
        match self.shared.ready(spec).await {
            Ok((zygote, _)) => Ok(zygote.hello().expect("it is ready, so it has said hello")),
            Err(TaskOutcome::Failed { error, .. }) => Err(error),
            Err(TaskOutcome::Lost { message, .. }) => Err(TaskError::new(ErrorKind::WorkerLost, message)),
            Err(_) => unreachable!("a zygote fails or is lost, nothing else"),
        }
    }

    /// What its workers do at this moment.
    pub fn workers(&self) -> Workers {
        let mut workers = Workers::default();
        let seats = lock(&self.shared.seats);
        for zygote in seats.values().flat_map(|seat| seat.leaving.iter().chain(&seat.current)) {
            zygote.count(&mut workers);
        }
        workers
    }

    /// Ends every process, and removes the socket and its folder. Attempts that run are lost. To be called once; further
    /// attempts are lost at once.
    pub async fn shutdown(&self) {
        self.shared.stop.cancel();
        let seats = std::mem::take(&mut *lock(&self.shared.seats));
        for zygote in seats.into_values().flat_map(|seat| seat.leaving.into_iter().chain(seat.current)) {
            zygote.over().await;
        }
        lock(&self.shared.door).take();
    }
}

type Prepared = (Arc<Zygote>, Arc<Door>);

impl Shared {
    /// A zygote that takes attempts, started if need be.
    async fn ready(&self, spec: &ZygoteSpec) -> Result<Prepared, TaskOutcome> {
        loop {
            let (zygote, door) = self.seated(spec).await?;
            match zygote.ready().await {
                Ready::Yes => return Ok((zygote, door)),
                Ready::Over(ZygoteEnd::Retired) => {}
                Ready::Over(ZygoteEnd::Load(error)) => {
                    return Err(TaskOutcome::Failed { error, usage: Usage::default() });
                }
                Ready::Over(ZygoteEnd::Lost(message)) => return Err(lost(message)),
            }
        }
    }

    /// The zygote in its seat, or a new one in the place of one that is over.
    async fn seated(&self, spec: &ZygoteSpec) -> Result<Prepared, TaskOutcome> {
        loop {
            if self.stop.is_cancelled() {
                return Err(lost("the worker pool is shut down".to_owned()));
            }
            let door = self.door().map_err(|error| lost(format!("the workers' socket cannot be made: {error}")))?;
            let wait_until = {
                let mut seats = lock(&self.seats);
                let seat = seats.entry(spec.clone()).or_default();
                if let Some(zygote) = seat.current.as_ref().filter(|zygote| !zygote.is_leaving()) {
                    return Ok((zygote.clone(), door));
                }
                if let Some(last) = seat.current.take() {
                    seat.remember_end(&last);
                    seat.leaving.push(last);
                }
                seat.leaving.retain(|zygote| zygote.end().is_none());
                match seat.not_before.filter(|time| *time > Instant::now()) {
                    Some(time) => time,
                    None => {
                        let zygote = Zygote::start(spec, &door, self.options.clone(), self.stop.child_token());
                        let zygote = zygote.map_err(|error| TaskOutcome::Failed { error, usage: Usage::default() })?;
                        seat.current = Some(zygote.clone());
                        return Ok((zygote, door));
                    }
                }
            };
            tokio::select! {
                () = tokio::time::sleep_until(wait_until) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    fn door(&self) -> io::Result<Arc<Door>> {
        let mut door = lock(&self.door);
        match &*door {
            Some(door) => Ok(door.clone()),
            None => Ok(door.insert(Arc::new(Door::open(self.options.hello_within)?)).clone()),
        }
    }

    fn has_worked(&self, spec: &ZygoteSpec) {
        if let Some(seat) = lock(&self.seats).get_mut(spec).filter(|seat| seat.current.is_some()) {
            seat.deaths_in_a_row = 0;
        }
    }
}

impl Seat {
    /// The first replacement comes at once, further ones after a growing pause.
    fn remember_end(&mut self, last: &Zygote) {
        if !matches!(last.end(), Some(ZygoteEnd::Lost(_))) {
            self.deaths_in_a_row = 0;
            return;
        }
        let pause = match self.deaths_in_a_row {
            0 => Duration::ZERO,
            deaths => (Duration::from_millis(100) * 2_u32.saturating_pow(deaths.min(10))).min(BACKOFF_MAX),
        };
        self.deaths_in_a_row += 1;
        self.not_before = Some(Instant::now() + pause);
    }
}

fn lost(message: String) -> TaskOutcome {
    TaskOutcome::lost(Loss::Worker, message)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
