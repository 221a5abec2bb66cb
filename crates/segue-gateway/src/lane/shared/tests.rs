//! Two engines, one lane, and a store whose answers a test may lose.
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use segue_core::{
    ids::EngineId,
    memory::MemoryStore,
    ports::{Bounds, EngineRecord, LimitStore, OwnerProof, RunStore},
    time::Timestamp,
};
use segue_testkit::faults::{Fault, FaultLimits, Faults, Weather, unavailable};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::Instant,
};

use super::{SharedLane, SharedSlot};
use crate::options::SharedLimits;

const LONG: Duration = Duration::from_secs(3_600);

struct World {
    store: MemoryStore,
    faults: Arc<Faults>,
    bounds: Bounds,
}

impl World {
    fn new(concurrent: u32) -> Self {
        let began = Instant::now();
        let now = move || Timestamp::from_micros(1_700_000_000_000_000).plus(began.elapsed());
        let bounds = Bounds { concurrent: Some(concurrent), ..Bounds::default() };
        Self { store: MemoryStore::new(Arc::new(now)), faults: Arc::new(Faults::calm()), bounds }
    }

    /// The lane as an engine has it.
    async fn lane(&self, name: &str) -> SharedLane {
        self.lane_for(name, LONG).await
    }

    async fn lane_for(&self, name: &str, lease: Duration) -> SharedLane {
        let engine = EngineId::new(name);
        let proof = OwnerProof { boot_id: name.to_owned(), pid: 1, started_ticks: 1 };
        self.store.renew_engine(&EngineRecord { engine_id: engine.clone(), proof }, lease).await.unwrap();
        let store = Arc::new(FaultLimits::new(Arc::new(self.store.clone()), self.faults.clone()));
        SharedLane::new(SharedLimits { store, engine }, "m", self.bounds)
    }

    /// Slots that are held, and engines that stand in line.
    async fn seen(&self) -> (u32, usize) {
        let view = self.store.look(vec!["//m".into()]).await.unwrap().remove(0);
        (view.held, view.waiting.len())
    }
}

fn enters(lane: &SharedLane) -> JoinHandle<SharedSlot> {
    let lane = lane.clone();
    tokio::spawn(async move { lane.enter(1).await })
}

/// Everything that can happen now happens; time stands still.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

async fn gives_up(waits: JoinHandle<SharedSlot>) {
    waits.abort();
    drop(waits.await);
}

/// Whenever it was that they gave up: before they asked, while they did, when they were refused or were granted.
#[tokio::test(start_paused = true)]
async fn who_gives_up_keeps_nobody_waiting() {
    for steps in 0..30 {
        let world = World::new(1);
        let (here, there) = (world.lane("here").await, world.lane("there").await);
        let slot = here.enter(1).await;
        let given_up: Vec<_> = (0..3).map(|_| enters(&here)).collect();
        let stays = enters(&there);
        if steps % 3 == 0 {
            settle().await;
        }
        let held = (steps % 2 == 0).then_some(slot);
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        for waits in given_up {
            gives_up(waits).await;
        }
        drop(held);
        let began = Instant::now();
        let slot = stays.await.unwrap();
        assert!(began.elapsed() < Duration::from_millis(100), "after {steps} steps it waited {:?}", began.elapsed());
        assert_eq!((here.waiting(), there.waiting()), (0, 0));
        drop(slot);
        here.flushed().await;
        there.flushed().await;
        assert_eq!(world.seen().await, (0, 0), "after {steps} steps");
    }
}

/// One that stays keeps its engine's place when others of the engine give up theirs.
#[tokio::test(start_paused = true)]
async fn who_stays_keeps_the_place_of_its_engine() {
    for steps in 0..12 {
        let world = World::new(1);
        let (here, there) = (world.lane("here").await, world.lane("there").await);
        let slot = there.enter(1).await;
        let leaves = enters(&here);
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        let stays = enters(&here);
        gives_up(leaves).await;
        settle().await;
        assert_eq!(world.seen().await, (1, 1), "after {steps} steps");
        let began = Instant::now();
        drop(slot);
        drop(stays.await.unwrap());
        assert!(began.elapsed() < Duration::from_millis(100), "after {steps} steps it waited {:?}", began.elapsed());
    }
}

/// What was given back while the first one asked is heard of.
#[tokio::test(start_paused = true)]
async fn nothing_is_missed_between_the_question_and_the_wait() {
    for steps in 0..12 {
        let world = World::new(1);
        let (here, there) = (world.lane("here").await, world.lane("there").await);
        let slot = there.enter(1).await;
        let waits = enters(&here);
        for _ in 0..steps {
            tokio::task::yield_now().await;
        }
        drop(slot);
        let began = Instant::now();
        drop(waits.await.unwrap());
        assert!(began.elapsed() < Duration::from_millis(100), "after {steps} steps it waited {:?}", began.elapsed());
    }
}

/// Granted, and nobody heard it: whoever asked gives up, or asks again and goes.
#[tokio::test(start_paused = true)]
async fn a_grant_whose_answer_is_lost_is_found_again() {
    for fault in [Fault::Before(unavailable), Fault::After(unavailable), Fault::Late(Duration::from_secs(2))] {
        for stays in [true, false] {
            let world = World::new(1);
            let lane = world.lane("here").await;
            world.faults.fail_next([fault]);
            let waits = enters(&lane);
            settle().await;
            if stays {
                drop(waits.await.unwrap());
            } else {
                gives_up(waits).await;
            }
            tokio::time::sleep(Duration::from_secs(35)).await;
            assert_eq!(world.seen().await, (0, 0), "{fault:?}, stays: {stays}");
        }
    }
}

/// An engine that dies gives nothing back: what it held is free when its lease ends, and its place in line is nobody's.
#[tokio::test(start_paused = true)]
async fn the_slots_of_an_engine_that_dies_are_free_when_its_lease_ends() {
    let world = World::new(2);
    let (dies, lives) = (world.lane_for("dies", Duration::from_secs(15)).await, world.lane("lives").await);
    let began = Instant::now();
    std::mem::forget((dies.enter(1).await, dies.enter(1).await));
    std::mem::forget(enters(&dies));
    let first = lives.enter(1).await;
    assert!((15..17).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let second = lives.enter(1).await;
    assert!(began.elapsed() < Duration::from_secs(17), "{:?}", began.elapsed());
    drop((first, second));
    lives.flushed().await;
    assert_eq!(world.store.look(vec!["//m".into()]).await.unwrap()[0].held, 0);
}

/// Signals that have ended, and nobody who gives anything back: the store is not asked without a pause.
#[tokio::test(start_paused = true)]
async fn without_signals_time_helps() {
    let world = World::new(1);
    let weather = Weather { signal_lost: 1_000, ..Weather::CALM };
    let (here, there) = (world.lane("here").await, world.lane("there").await);
    let slot = there.enter(1).await;
    world.faults.set_weather(weather);
    let waits = enters(&here);
    tokio::time::sleep(Duration::from_secs(1)).await;
    drop(slot);
    let began = Instant::now();
    drop(waits.await.unwrap());
    assert!(began.elapsed() <= Duration::from_secs(10), "{:?}", began.elapsed());
}

/// Three engines in any weather, with callers who give up: never more at once than may, whoever stays goes, and in the
/// end nothing is held and nobody stands in line.
#[tokio::test(start_paused = true)]
async fn nothing_leaks_in_any_weather() {
    for seed in 1..=40 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let most = rng.u32(1..=4);
        let mut world = World::new(most);
        let weather = if seed % 4 == 0 { Weather::CALM } else { Weather::drawn(&mut rng).mild() };
        world.faults = Arc::new(Faults::seeded(seed, weather));
        let lanes = [world.lane("one").await, world.lane("two").await, world.lane("three").await];
        let at_once = Arc::new(tokio::sync::Semaphore::new(most as usize));
        let mut callers = JoinSet::new();
        for number in 0..60 {
            let (lane, at_once) = (lanes[rng.usize(..3)].clone(), at_once.clone());
            let [comes, stays, holds] = [2_000, 4_000, 1_000].map(|most| Duration::from_millis(rng.u64(..most)));
            callers.spawn(async move {
                tokio::time::sleep(comes).await;
                // Every third one may give up, at any moment.
                let patience = if number % 3 == 0 { stays } else { LONG };
                let entered = tokio::time::timeout(patience, lane.enter(1)).await;
                let is_in = entered.is_ok();
                if let Ok(slot) = entered {
                    let _permit = at_once.try_acquire().expect("no more at once than may");
                    tokio::time::sleep(holds).await;
                    drop(slot);
                }
                is_in || number % 3 == 0
            });
        }
        let began = Instant::now();
        while let Some(went) = callers.join_next().await {
            assert!(went.unwrap(), "seed {seed}: somebody waited for an hour");
        }
        // All of them one after the other would take half a minute.
        let took = began.elapsed();
        assert!(weather != Weather::CALM || took < Duration::from_secs(60 / u64::from(most) + 5), "{seed}: {took:?}");
        world.faults.set_weather(Weather::CALM);
        tokio::time::sleep(Duration::from_secs(40)).await;
        assert_eq!(world.seen().await, (0, 0), "seed {seed}");
    }
}
