//! What becomes of a call.

use std::{
    collections::VecDeque,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use fastrand::Rng;
use segue_core::ports::StoreError;
use tokio::time::Instant;

use super::weather::Weather;

/// A fault that a test plans for a write.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// It does not happen, and the caller is told so, more or less.
    Before(fn() -> StoreError),
    /// It happens, and the caller is told that it did not.
    After(fn() -> StoreError),
    /// The caller is told that it did not happen; then it does, after this time.
    Late(Duration),
    /// It happens twice; the caller hears of the first time.
    Twice,
    /// It happens, and the caller is told.
    None,
}

/// "Not now", as an injected fault says it.
pub fn unavailable() -> StoreError {
    StoreError::Unavailable("injected".to_owned())
}

fn full() -> StoreError {
    StoreError::Full("injected".to_owned())
}

/// What may be done to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    /// A write that may happen twice: never planned, only drawn.
    Upkeep,
    /// A write that must not.
    Claim,
    /// A question for slots: as a claim, and may be planned.
    Slots,
    /// A write of facts: what [`Faults::fail_next`] counts, of a store of runs.
    Write,
}

/// The source of faults; the stores of one test may share it.
#[derive(Debug)]
pub struct Faults {
    planned: Mutex<VecDeque<Fault>>,
    is_away: AtomicBool,
    refuses_renewals: AtomicBool,
    is_full: AtomicBool,
    drawn: Mutex<Drawn>,
    turned_away: Mutex<Vec<Instant>>,
}

#[derive(Debug)]
struct Drawn {
    rng: Rng,
    weather: Weather,
    away_until: Option<Instant>,
}

/// What becomes of one call.
enum Fate {
    Fails(fn() -> StoreError),
    Happens { told: Option<fn() -> StoreError>, times: u8, before: Duration, after: Duration },
    Late(Duration),
}

const WELL: Fate = Fate::Happens { told: None, times: 1, before: Duration::ZERO, after: Duration::ZERO };
/// The longest time for which nothing gets through.
const OUTAGE_MAX_MS: u64 = 40_000;
/// The longest time that a call takes, or is under way after its failure was told.
const SLOW_MAX_MS: u64 = 300;

impl Faults {
    /// Only what the test plans.
    pub fn calm() -> Self {
        Self::seeded(0, Weather::CALM)
    }

    /// What this seed draws in this weather, and what the test plans.
    pub fn seeded(seed: u64, weather: Weather) -> Self {
        Self {
            planned: Mutex::default(),
            is_away: AtomicBool::new(false),
            refuses_renewals: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            turned_away: Mutex::default(),
            drawn: Mutex::new(Drawn { rng: Rng::with_seed(seed), weather, away_until: None }),
        }
    }

    /// The faults of the next writes of facts, creations included.
    pub fn fail_next(&self, faults: impl IntoIterator<Item = Fault>) {
        locked(&self.planned).extend(faults);
    }

    /// Planned faults that have not happened.
    pub fn left(&self) -> usize {
        locked(&self.planned).len()
    }

    /// None of the planned faults happens any more.
    pub fn plan_none(&self) {
        locked(&self.planned).clear();
    }

    /// Is there no room for any write?
    pub fn set_full(&self, is_full: bool) {
        self.is_full.store(is_full, Ordering::Release);
    }

    /// When calls came while nothing got through.
    pub fn turned_away(&self) -> Vec<Instant> {
        locked(&self.turned_away).clone()
    }

    /// Does nothing get through?
    pub fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Ordering::Release);
    }

    /// Nothing gets through until then.
    pub fn set_away_until(&self, until: Instant) {
        locked(&self.drawn).away_until = Some(until);
    }

    /// The lease cannot be renewed; everything else works.
    pub fn refuse_renewals(&self, refuses: bool) {
        self.refuses_renewals.store(refuses, Ordering::Release);
    }

    /// Other weather from now on. Ends an outage.
    pub fn set_weather(&self, weather: Weather) {
        let mut drawn = locked(&self.drawn);
        drawn.weather = weather;
        drawn.away_until = None;
    }

    pub(super) fn refuses_renewal(&self) -> bool {
        self.refuses_renewals.load(Ordering::Acquire)
    }

    pub(super) fn weather(&self) -> Weather {
        locked(&self.drawn).weather
    }

    /// Does what happens so often in a thousand times happen now?
    pub(super) fn strikes(&self, in_thousand: u16) -> bool {
        in_thousand > 0 && locked(&self.drawn).rng.u16(..1_000) < in_thousand
    }

    /// Makes a call and lets happen to it what must. `call` may be made more than once.
    pub(super) async fn around<T, F>(&self, kind: Kind, call: impl Fn() -> F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        match self.fate(kind) {
            Fate::Fails(error) => Err(error()),
            Fate::Late(pause) => {
                let late = call();
                tokio::spawn(async move {
                    tokio::time::sleep(pause).await;
                    // Whoever asked has been told already.
                    let _ = late.await;
                });
                Err(unavailable())
            }
            Fate::Happens { told, times, before, after } => {
                sleep(before).await;
                let result = call().await;
                for _ in 1..times {
                    let _ = call().await;
                }
                sleep(after).await;
                match told {
                    Some(error) => result.and(Err(error())),
                    None => result,
                }
            }
        }
    }

    fn fate(&self, kind: Kind) -> Fate {
        let mut drawn = locked(&self.drawn);
        if self.is_away.load(Ordering::Acquire) || drawn.away_until.is_some_and(|until| Instant::now() < until) {
            locked(&self.turned_away).push(Instant::now());
            return Fate::Fails(unavailable);
        }
        if kind != Kind::Read && self.is_full.load(Ordering::Acquire) {
            return Fate::Fails(full);
        }
        if matches!(kind, Kind::Write | Kind::Slots)
            && let Some(planned) = locked(&self.planned).pop_front()
        {
            return planned.fate();
        }
        drawn.draw(kind)
    }
}

impl Fault {
    const fn fate(self) -> Fate {
        const NO: Duration = Duration::ZERO;
        match self {
            Self::Before(error) => Fate::Fails(error),
            Self::After(error) => Fate::Happens { told: Some(error), times: 1, before: NO, after: NO },
            Self::Late(pause) => Fate::Late(pause),
            Self::Twice => Fate::Happens { told: None, times: 2, before: NO, after: NO },
            Self::None => WELL,
        }
    }
}

impl Drawn {
    fn draw(&mut self, kind: Kind) -> Fate {
        if self.weather == Weather::CALM {
            return WELL;
        }
        let Weather { before, after, late, full: no_room, slow, twice, outage, .. } = self.weather;
        if self.strikes(outage) {
            self.away_until = Some(Instant::now() + Duration::from_millis(self.rng.u64(1..OUTAGE_MAX_MS)));
            return Fate::Fails(unavailable);
        }
        if self.strikes(before) {
            return Fate::Fails(unavailable);
        }
        let is_write = kind != Kind::Read;
        if is_write && self.strikes(no_room) {
            return Fate::Fails(full);
        }
        // A claim that happens later gives an engine what it does not look for any more; so does one whose answer is lost.
        if is_write && self.strikes(late) {
            return Fate::Late(self.moment());
        }
        let told: Option<fn() -> StoreError> = if is_write && self.strikes(after) { Some(unavailable) } else { None };
        let may_be_doubled = is_write && !matches!(kind, Kind::Claim | Kind::Slots);
        let times = 1 + u8::from(may_be_doubled && self.strikes(twice));
        let (mut before, mut after) = (Duration::ZERO, Duration::ZERO);
        if self.strikes(slow) {
            let slow = if self.rng.bool() { &mut before } else { &mut after };
            *slow = self.moment();
        }
        Fate::Happens { told, times, before, after }
    }

    fn strikes(&mut self, in_thousand: u16) -> bool {
        in_thousand > 0 && self.rng.u16(..1_000) < in_thousand
    }

    fn moment(&mut self) -> Duration {
        Duration::from_millis(self.rng.u64(1..SLOW_MAX_MS))
    }
}

async fn sleep(pause: Duration) {
    if !pause.is_zero() {
        tokio::time::sleep(pause).await;
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
