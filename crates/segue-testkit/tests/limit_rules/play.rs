//! Engines on a store of limits, as a list of what happens when.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, stream::BoxStream};
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    memory::MemoryStore,
    ports::{
        Acquire, Admission, Bounds, Charge, EngineRecord, Freed, LimitAsk, LimitRequest, LimitStore as _, OwnerProof,
        RunStore as _,
    },
    time::Timestamp,
};

const TTL: Duration = Duration::from_secs(15);
const MINUTE: Duration = Duration::from_secs(60);
/// Refusals by another limit than before, after which a request insists; as an engine does.
const FLIPS_MAX: u32 = 4;
/// After this long whoever waits asks again.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Who plays, and under which limits.
pub(crate) struct Cast {
    pub(crate) engines: usize,
    pub(crate) parties: usize,
    pub(crate) requests: usize,
    pub(crate) limits: Vec<Bounds>,
    /// Engines die, requests are cancelled, and some vanish without a word.
    pub(crate) trouble: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    ToCome,
    Waits,
    Holds,
    Over,
}

struct Request {
    engine: usize,
    party: usize,
    limits: Vec<usize>,
    tokens: Option<u64>,
    holds_for: Duration,
    stage: Stage,
    refused_by: Option<LimitKey>,
    flips: u32,
    charged: Vec<u64>,
    /// Grants to each other party since it waits.
    overtaken_by: BTreeMap<usize, usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Ask(usize),
    Release(usize),
    Cancel(usize),
    Vanish(usize),
    Renew(usize),
    Die(usize),
}

pub(crate) struct Play {
    store: MemoryStore,
    signals: BoxStream<'static, LimitKey>,
    now: Arc<AtomicI64>,
    rng: fastrand::Rng,
    trouble: bool,
    bounds: Vec<Bounds>,
    requests: Vec<Request>,
    lives: Vec<bool>,
    todo: BTreeSet<(Timestamp, Act)>,
    /// When requests began, of each limit.
    begun: Vec<VecDeque<Timestamp>>,
    /// The most often that one party went while another one waited.
    pub(crate) overtaken: usize,
    /// The time of all requests together.
    pub(crate) work: Duration,
    last_over: Timestamp,
}

const START: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

fn engine(number: usize) -> EngineId {
    EngineId::new(format!("engine-{number}"))
}

fn key(number: usize) -> LimitKey {
    LimitKey::new(format!("/limit-{number}"))
}

impl Play {
    pub(crate) fn new(cast: Cast, mut rng: fastrand::Rng) -> Self {
        let now = Arc::new(AtomicI64::new(START.as_micros()));
        let clock = now.clone();
        let store = MemoryStore::new(Arc::new(move || Timestamp::from_micros(clock.load(Ordering::Relaxed))));
        let mut todo = BTreeSet::new();
        let mut moment = |most: u64| START.plus(Duration::from_micros(rng.u64(1..most)));
        for number in 0..cast.engines {
            todo.insert((START, Act::Renew(number)));
            // The last one lives on.
            if cast.trouble && number + 1 < cast.engines {
                todo.insert((moment(120_000_000), Act::Die(number)));
            }
        }
        for number in 0..cast.requests {
            let comes = moment(if cast.trouble { 90_000_000 } else { 1_000_000 });
            todo.insert((comes, Act::Ask(number)));
            if cast.trouble {
                let ends = comes.max(moment(200_000_000));
                match number % 5 {
                    0 => drop(todo.insert((ends, Act::Cancel(number)))),
                    1 => drop(todo.insert((ends, Act::Vanish(number)))),
                    _ => {}
                }
            }
        }
        let requests = (0..cast.requests).map(|_| {
            let mut limits: Vec<usize> = (0..cast.limits.len()).filter(|_| rng.bool()).collect();
            if limits.is_empty() {
                limits.push(rng.usize(..cast.limits.len()));
            }
            Request {
                engine: rng.usize(..cast.engines),
                party: rng.usize(..cast.parties),
                limits,
                tokens: None,
                holds_for: Duration::from_millis(rng.u64(1..2_000)),
                stage: Stage::ToCome,
                refused_by: None,
                flips: 0,
                charged: Vec::new(),
                overtaken_by: BTreeMap::new(),
            }
        });
        let requests: Vec<Request> = requests.collect();
        Self {
            signals: segue_core::ports::LimitStore::limit_signals(&store),
            store,
            now,
            work: requests.iter().map(|request| request.holds_for).sum(),
            requests,
            begun: vec![VecDeque::new(); cast.limits.len()],
            bounds: cast.limits,
            lives: vec![true; cast.engines],
            todo,
            trouble: cast.trouble,
            overtaken: 0,
            last_over: START,
            rng,
        }
    }

    pub(crate) fn wants_tokens(&mut self, of: impl Fn(usize) -> u64) {
        for request in &mut self.requests {
            request.tokens = Some(of(request.party));
        }
    }

    /// This request is alone in its party, asks until it is refused, and never again.
    pub(crate) fn vanishes_at_once(&mut self, number: usize) {
        let (absent, taken) = (usize::MAX, self.requests[number].holds_for);
        self.requests[number].party = absent;
        self.work -= taken;
        self.todo.retain(|(_, act)| *act != Act::Ask(number));
        self.todo.insert((START.plus(Duration::from_millis(1_500)), Act::Ask(number)));
        self.todo.insert((START.plus(Duration::from_millis(1_501)), Act::Vanish(number)));
    }

    pub(crate) fn took(&self) -> Duration {
        self.last_over.since(START)
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::Relaxed))
    }

    /// Until everybody who stays has gone. Panics if it takes longer.
    pub(crate) async fn play_out(&mut self, most: Duration) {
        while self.requests.iter().any(|request| request.stage != Stage::Over) {
            let (time, act) = self.todo.pop_first().expect("who waits asks again");
            assert!(time.since(START) < most, "somebody starves");
            self.now.store(time.as_micros(), Ordering::Relaxed);
            match act {
                Act::Ask(number) => self.ask(number).await,
                Act::Release(number) => self.release(number).await,
                Act::Cancel(number) => self.cancel(number).await,
                Act::Vanish(number) => self.vanish(number),
                Act::Renew(number) if self.lives[number] => {
                    let proof = OwnerProof { boot_id: "boot".to_owned(), pid: 1, started_ticks: 1 };
                    let record = EngineRecord { engine_id: engine(number), proof };
                    self.store.renew_engine(&record, TTL).await.unwrap();
                    self.todo.insert((time.plus(TTL / 3), act));
                }
                Act::Renew(_) => {}
                Act::Die(number) => self.die(number),
            }
            self.hear();
        }
    }

    fn request(&self, number: usize) -> LimitRequest {
        let own = &self.requests[number];
        let asks = own.limits.iter().map(|&limit| LimitAsk {
            key: key(limit),
            bounds: self.bounds[limit],
            tokens: own.tokens,
            more: self.has_others(number, limit),
            keeps_minutes: false,
        });
        LimitRequest {
            slot: TaskRunId::new(format!("slot-{number}")),
            party: format!("party-{}", own.party).into(),
            insists: own.flips >= FLIPS_MAX,
            asks: asks.collect(),
        }
    }

    /// Do others of its party in its engine wait for this limit?
    fn has_others(&self, number: usize, limit: usize) -> bool {
        let own = &self.requests[number];
        self.requests.iter().enumerate().any(|(at, other)| {
            let is_of_it = other.engine == own.engine && other.party == own.party;
            at != number && is_of_it && other.stage == Stage::Waits && other.limits.contains(&limit)
        })
    }

    async fn ask(&mut self, number: usize) {
        if !matches!(self.requests[number].stage, Stage::ToCome | Stage::Waits) {
            return;
        }
        if !self.lives[self.requests[number].engine] {
            self.requests[number].stage = Stage::Over;
            return;
        }
        let by = engine(self.requests[number].engine);
        let acquire = Acquire { engine: by, dead: Vec::new(), requests: vec![self.request(number)] };
        let now = self.now();
        match self.store.acquire(acquire).await.unwrap().remove(0) {
            Admission::Granted(charged) => {
                let party = self.requests[number].party;
                let own = &mut self.requests[number];
                (own.stage, own.charged) = (Stage::Holds, charged);
                self.todo.insert((now.plus(own.holds_for), Act::Release(number)));
                self.count(number);
                self.note_overtaken(party);
            }
            Admission::Wait(wait) => {
                let own = &mut self.requests[number];
                own.stage = Stage::Waits;
                own.flips += u32::from(own.refused_by.as_ref().is_some_and(|before| *before != wait.on));
                own.refused_by = Some(wait.on);
                let again = wait.again_in.unwrap_or(ASK_AGAIN).clamp(Duration::from_micros(1), ASK_AGAIN);
                let late = Duration::from_millis(self.rng.u64(..100));
                self.ask_at(number, now.plus(again + late));
            }
        }
    }

    fn ask_at(&mut self, number: usize, time: Timestamp) {
        self.todo.retain(|(_, act)| *act != Act::Ask(number));
        self.todo.insert((time, Act::Ask(number)));
    }

    /// Never more at once, and never more in any 60 seconds.
    fn count(&mut self, number: usize) {
        let now = self.now();
        for limit in self.requests[number].limits.clone() {
            let holds = |one: &&Request| one.stage == Stage::Holds && one.limits.contains(&limit);
            let held = self.requests.iter().filter(holds).count();
            let Bounds { concurrent, per_minute, .. } = self.bounds[limit];
            assert!(concurrent.is_none_or(|most| held <= most as usize), "{held} at once, {concurrent:?} may");
            let begun = &mut self.begun[limit];
            begun.push_back(now);
            begun.retain(|time| now.since(*time) < MINUTE);
            let count = begun.len();
            assert!(per_minute.is_none_or(|most| count <= most as usize), "{count} in a minute, {per_minute:?} may");
        }
    }

    /// One of this party went: who waits notes it, and its own party waits anew.
    fn note_overtaken(&mut self, party: usize) {
        for other in self.requests.iter_mut().filter(|other| other.stage == Stage::Waits) {
            if other.party == party {
                other.overtaken_by.clear();
            } else {
                let times = other.overtaken_by.entry(party).or_default();
                *times += 1;
                self.overtaken = self.overtaken.max(*times);
            }
        }
    }

    async fn release(&mut self, number: usize) {
        if self.requests[number].stage != Stage::Holds {
            return;
        }
        let own = &mut self.requests[number];
        own.stage = Stage::Over;
        let charges = own.limits.iter().zip(&own.charged).map(|(&limit, &charged)| Charge {
            key: key(limit),
            bounds: self.bounds[limit],
            charged,
        });
        let slot = TaskRunId::new(format!("slot-{number}"));
        let freed = Freed { slot, charges: charges.collect(), tokens: own.tokens.unwrap_or_default() };
        let by = engine(own.engine);
        segue_core::ports::LimitStore::release(&self.store, &by, vec![freed]).await.unwrap();
        self.last_over = self.now();
    }

    async fn cancel(&mut self, number: usize) {
        if self.requests[number].stage == Stage::Waits {
            let request = self.request(number);
            self.store.leave(&engine(self.requests[number].engine), vec![request]).await.unwrap();
        }
        if matches!(self.requests[number].stage, Stage::ToCome | Stage::Waits) {
            self.requests[number].stage = Stage::Over;
        }
    }

    /// As if its leaving had never reached the store.
    fn vanish(&mut self, number: usize) {
        if matches!(self.requests[number].stage, Stage::ToCome | Stage::Waits) {
            self.requests[number].stage = Stage::Over;
        }
    }

    /// Nothing is given back, nobody leaves.
    fn die(&mut self, number: usize) {
        self.lives[number] = false;
        for request in self.requests.iter_mut().filter(|request| request.engine == number) {
            request.stage = Stage::Over;
        }
    }

    /// Those whose limit is named ask again soon, unless the signal is lost.
    fn hear(&mut self) {
        while let Some(Some(named)) = self.signals.next().now_or_never() {
            for number in 0..self.requests.len() {
                let own = &self.requests[number];
                let is_lost = self.trouble && self.rng.u8(..5) == 0;
                if !is_lost && own.stage == Stage::Waits && own.limits.iter().any(|&limit| key(limit) == named) {
                    let time = self.now().plus(Duration::from_millis(self.rng.u64(1..100)));
                    self.ask_at(number, time);
                }
            }
        }
    }

    /// When all leases of the dead have ended, and who vanished has been missed: no slot and no place.
    pub(crate) async fn assert_nothing_is_left(&mut self) {
        let later = self.now().plus(MINUTE);
        self.now.store(later.as_micros(), Ordering::Relaxed);
        for (number, lives) in self.lives.iter().enumerate() {
            if *lives {
                let proof = OwnerProof { boot_id: "boot".to_owned(), pid: 1, started_ticks: 1 };
                self.store.renew_engine(&EngineRecord { engine_id: engine(number), proof }, TTL).await.unwrap();
            }
        }
        let views = self.store.look((0..self.bounds.len()).map(key).collect()).await.unwrap();
        for view in views {
            assert_eq!((view.held, view.waiting.len()), (0, 0), "{view:?}");
        }
    }
}
