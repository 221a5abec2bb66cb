//! What every [`LimitStore`] must keep: each promise of the port, as one case.
//!
//! A backend's test file says how a fresh database is made, and calls [`limit_store_suite!`](crate::limit_store_suite):
//!
//! ```
//! # use std::sync::Arc;
//! use segue_core::{memory::MemoryStore, ports::{LimitStore, RunStore}};
//! use segue_testkit::conformance::limit_store::Limited;
//!
//! struct Memory(MemoryStore);
//!
//! impl Limited for Memory {
//!     fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>) {
//!         (Arc::new(self.0.clone()), Arc::new(self.0.clone()))
//!     }
//! }
//!
//! fn fresh() -> Memory {
//!     Memory(MemoryStore::new(Arc::new(segue_testkit::conformance::now)))
//! }
//!
//! segue_testkit::limit_store_suite!(fresh);
//! ```

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::SeqCst},
    },
    time::Duration,
};

use futures_util::{StreamExt, future::join_all};
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    ports::{
        Acquire, Admission, Bounds, Charge, Freed, LimitAsk, LimitRequest, LimitStore, LimitWait, RunStore, WaitReason,
    },
};

use super::run_store::engine;
use crate::conformance::{PATIENCE, eventually};

/// One database of the backend under test, empty at first.
pub trait Limited: Send + Sync {
    /// Opens a store on it, as the keeper of runs (and so of engines) and of limits. Several may be open at once, as if by
    /// several processes.
    fn open(&self) -> (Arc<dyn RunStore>, Arc<dyn LimitStore>);
}

/// Makes one `#[test]` of each case of the suite. `$fresh` is a function that makes a fresh [`Limited`].
#[macro_export]
macro_rules! limit_store_suite {
    (@ $fresh:expr; $($case:ident)*) => {
        $(
            #[test]
            fn $case() {
                $crate::conformance::block_on($crate::conformance::limit_store::$case(&$fresh()));
            }
        )*
    };
    ($fresh:expr) => {
        $crate::limit_store_suite! { @ $fresh;
            as_many_go_as_may_and_no_more
            a_slot_of_each_limit_or_of_none
            each_key_is_a_limit_of_its_own
            a_slot_is_granted_once
            a_slot_that_is_given_back_is_anothers
            slots_outlive_the_store
            slots_of_a_lease_that_ended_are_free
            slots_of_an_engine_that_is_gone_are_free_at_once
            an_engine_without_a_lease_gets_nothing
            who_lost_a_slot_can_tell
            a_rate_spreads_what_begins
            tokens_are_counted_as_they_were_taken
            a_pause_is_for_everybody_and_ends
            workflows_take_turns
            who_leaves_holds_up_nobody
            who_insists_is_let_in
            what_is_given_back_is_signalled
            what_another_store_gives_back_is_signalled_in_time
            a_limit_tells_how_it_stands
            many_at_once_never_hold_more
        }
    };
}

const LONG: Duration = Duration::from_secs(3_600);
/// Short enough to wait for its end, long enough for a few calls before.
const SHORT: Duration = Duration::from_millis(300);

/// So many at once.
pub fn concurrent(most: u32) -> Bounds {
    Bounds { concurrent: Some(most), ..Bounds::default() }
}

/// Asks for one slot of each of these limits.
pub fn request(slot: &str, party: &str, limits: &[(&str, Bounds)]) -> LimitRequest {
    let ask = |(key, bounds): &(&str, Bounds)| LimitAsk {
        key: LimitKey::from(*key),
        bounds: *bounds,
        tokens: None,
        more: false,
        keeps_minutes: false,
    };
    LimitRequest {
        slot: TaskRunId::from(slot),
        party: party.into(),
        insists: false,
        asks: limits.iter().map(ask).collect(),
    }
}

async fn ask(store: &Arc<dyn LimitStore>, by: &EngineId, requests: Vec<LimitRequest>) -> Vec<Admission> {
    let acquire = Acquire { engine: by.clone(), dead: Vec::new(), requests };
    store.acquire(acquire).await.expect("an answer")
}

async fn ask_one(store: &Arc<dyn LimitStore>, by: &EngineId, request: LimitRequest) -> Admission {
    ask(store, by, vec![request]).await.pop().expect("one answer a request")
}

async fn is_granted(store: &Arc<dyn LimitStore>, by: &EngineId, request: LimitRequest) -> bool {
    matches!(ask_one(store, by, request).await, Admission::Granted(_))
}

async fn refusal(store: &Arc<dyn LimitStore>, by: &EngineId, request: LimitRequest) -> LimitWait {
    match ask_one(store, by, request).await {
        Admission::Wait(wait) => wait,
        Admission::Granted(_) => panic!("it was granted"),
    }
}

/// What gives a request's slot back.
pub fn freed(request: &LimitRequest, tokens: u64) -> Freed {
    let charge = |ask: &LimitAsk| Charge { key: ask.key.clone(), bounds: ask.bounds, charged: ask.tokens.unwrap_or(0) };
    Freed { slot: request.slot.clone(), charges: request.asks.iter().map(charge).collect(), tokens }
}

async fn give_back(store: &Arc<dyn LimitStore>, by: &EngineId, request: &LimitRequest) {
    store.release(by, vec![freed(request, 0)]).await.expect("it is given back");
}

/// Three of twenty, asked for one by one and at once, by two engines through two stores.
pub async fn as_many_go_as_may_and_no_more(db: &dyn Limited) {
    let ((runs, one), (_, two)) = (db.open(), db.open());
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |n: u32| request(&format!("t{n}"), "w", &[("/m", concurrent(3))]);
    let mut granted = 0;
    for n in 0..6 {
        let (store, by) = if n % 2 == 0 { (&one, &a) } else { (&two, &b) };
        granted += u32::from(is_granted(store, by, of(n)).await);
    }
    assert_eq!(granted, 3);
    let at_once = ask(&one, &a, (6..20).map(of).collect()).await;
    assert!(at_once.iter().all(|answer| matches!(answer, Admission::Wait(wait) if wait.why == WaitReason::Full)));
}

/// The second limit is full: nothing of the first is taken.
pub async fn a_slot_of_each_limit_or_of_none(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    let both = |slot: &str| request(slot, "w", &[("/a", concurrent(2)), ("/b", concurrent(1))]);
    assert!(is_granted(&store, &a, both("t1")).await);
    let wait = refusal(&store, &a, both("t2")).await;
    assert_eq!((wait.on.as_str(), wait.why), ("/b", WaitReason::Full));
    assert!(is_granted(&store, &a, request("t3", "v", &[("/a", concurrent(2))])).await, "nobody holds that slot");
    give_back(&store, &a, &both("t1")).await;
    assert!(is_granted(&store, &a, both("t2")).await);
}

/// Limits of other keys have nothing to do with each other.
pub async fn each_key_is_a_limit_of_its_own(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    for key in ["w/c=\"x\"", "w/c=\"y\"", "/c", "v/c"] {
        assert!(
            is_granted(&store, &a, request(&format!("first of {key}"), "w", &[(key, concurrent(1))])).await,
            "{key}"
        );
        assert!(
            !is_granted(&store, &a, request(&format!("next of {key}"), "w", &[(key, concurrent(1))])).await,
            "{key}"
        );
    }
}

/// Asking again for what is held is not asking for more.
pub async fn a_slot_is_granted_once(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(2))]);
    for _ in 0..5 {
        assert!(is_granted(&store, &a, of("t1")).await);
    }
    assert!(is_granted(&store, &a, of("t2")).await);
    assert!(!is_granted(&store, &a, of("t3")).await);
    give_back(&store, &a, &of("t1")).await;
    give_back(&store, &a, &of("t1")).await;
    assert!(is_granted(&store, &a, of("t3")).await);
    assert!(!is_granted(&store, &a, of("t4")).await, "what is given back twice is one slot");
}

/// And only the owner gives it back.
pub async fn a_slot_that_is_given_back_is_anothers(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(1))]);
    assert!(is_granted(&store, &a, of("t1")).await);
    give_back(&store, &b, &of("t1")).await;
    assert!(!is_granted(&store, &b, of("t2")).await, "it was not theirs to give back");
    give_back(&store, &a, &of("t1")).await;
    assert!(is_granted(&store, &b, of("t2")).await);
    assert_eq!(store.held(&b).await.expect("a list"), [(TaskRunId::from("t2"), LimitKey::from("/m"))]);
    assert_eq!(store.held(&a).await.expect("a list"), []);
}

/// Another handle sees them, and one that is opened later.
pub async fn slots_outlive_the_store(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    assert!(is_granted(&store, &a, request("t1", "w", &[("/m", concurrent(1))])).await);
    drop((runs, store));
    let (runs, store) = db.open();
    let b = engine(&runs, "b", LONG).await;
    let wait = refusal(&store, &b, request("t2", "w", &[("/m", concurrent(1))])).await;
    assert_eq!(wait.holders.iter().map(|holder| holder.engine_id.as_str()).collect::<Vec<_>>(), ["a"]);
    assert!(wait.again_in.is_some_and(|again| again <= LONG + Duration::from_secs(1)), "a lease ends: {wait:?}");
}

/// Without anybody's doing.
pub async fn slots_of_a_lease_that_ended_are_free(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", SHORT).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(1))]);
    if is_granted(&store, &a, of("t1")).await {
        let (store, b) = (&store, &b);
        eventually("the lease ends", || async move { is_granted(store, b, of("t2")).await.then_some(()) }).await;
    }
    assert_eq!(store.held(&a).await.expect("a list"), []);
}

/// Whatever its lease says.
pub async fn slots_of_an_engine_that_is_gone_are_free_at_once(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(2))]);
    assert!(is_granted(&store, &a, of("t1")).await && is_granted(&store, &a, of("t2")).await);
    assert!(!is_granted(&store, &b, of("t3")).await);
    let acquire = Acquire { engine: b.clone(), dead: vec![a], requests: vec![of("t3"), of("t4"), of("t5")] };
    let answers = store.acquire(acquire).await.expect("an answer");
    let granted: Vec<_> = answers.iter().map(|answer| matches!(answer, Admission::Granted(_))).collect();
    assert_eq!(granted, [true, true, false]);
}

/// Not registered, or its lease has ended.
pub async fn an_engine_without_a_lease_gets_nothing(db: &dyn Limited) {
    let (runs, store) = db.open();
    let lapsed = engine(&runs, "lapsed", Duration::ZERO).await;
    for nobody in [lapsed, EngineId::from("unknown")] {
        let wait = refusal(&store, &nobody, request("t1", "w", &[("/m", concurrent(1))])).await;
        assert_eq!(wait.why, WaitReason::NoLease);
    }
    let a = engine(&runs, "a", LONG).await;
    assert!(is_granted(&store, &a, request("t2", "w", &[("/m", concurrent(1))])).await);
}

/// An engine that slept too long finds that its slot is another's.
pub async fn who_lost_a_slot_can_tell(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(1))]);
    assert!(is_granted(&store, &a, of("t1")).await);
    engine(&runs, "a", Duration::ZERO).await;
    assert!(is_granted(&store, &b, of("t2")).await);
    engine(&runs, "a", LONG).await;
    assert_eq!(store.held(&a).await.expect("a list"), []);
    assert!(!is_granted(&store, &a, of("t1")).await);
    give_back(&store, &a, &of("t1")).await;
    assert!(!is_granted(&store, &a, of("t1")).await, "what was lost cannot be given back");
    assert_eq!(store.held(&b).await.expect("a list").len(), 1);
}

/// A tenth at once, the others evenly.
pub async fn a_rate_spreads_what_begins(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    let bounds = Bounds { per_minute: Some(20), ..Bounds::default() };
    let answers = ask(&store, &a, (0..10).map(|n| request(&format!("t{n}"), "w", &[("/m", bounds)])).collect()).await;
    let granted = answers.iter().filter(|answer| matches!(answer, Admission::Granted(_))).count();
    assert_eq!(granted, 3, "a tenth of twenty, and one");
    let Some(Admission::Wait(wait)) = answers.last() else { panic!("ten do not go at once") };
    let again = wait.again_in.expect("time goes by");
    assert!(wait.why == WaitReason::Rate && again <= Duration::from_millis(3_400) && again > SHORT, "{wait:?}");
}

/// Estimated when they go, corrected when they end.
pub async fn tokens_are_counted_as_they_were_taken(db: &dyn Limited) {
    let (runs, store) = db.open();
    let a = engine(&runs, "a", LONG).await;
    let bounds = Bounds { tokens_per_minute: Some(60_000), ..Bounds::default() };
    let of = |slot: &str, tokens| {
        let mut request = request(slot, "w", &[("/m", bounds)]);
        request.asks[0].tokens = Some(tokens);
        request
    };
    assert_eq!(ask_one(&store, &a, of("t1", 30_000)).await, Admission::Granted(vec![30_000]));
    let wait = refusal(&store, &a, of("t2", 30_000)).await;
    assert_eq!(wait.why, WaitReason::Tokens);
    store.release(&a, vec![freed(&of("t1", 30_000), 10)]).await.expect("it is given back");
    assert!(is_granted(&store, &a, of("t3", 1_000)).await, "it took ten only");
    store.release(&a, vec![freed(&of("t3", 1_000), 50_000)]).await.expect("it is given back");
    let wait = refusal(&store, &a, of("t4", 1)).await;
    assert!(wait.why == WaitReason::Tokens && wait.again_in.is_some_and(|again| again > Duration::from_secs(20)));
}

/// In all engines, for as long as was asked.
pub async fn a_pause_is_for_everybody_and_ends(db: &dyn Limited) {
    let ((runs, one), (_, two)) = (db.open(), db.open());
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str| request(slot, "w", &[("/m", concurrent(5))]);
    assert!(is_granted(&one, &a, of("t1")).await);
    one.pause(vec![LimitKey::from("/m")], LONG / 4).await.expect("a pause");
    for (store, by) in [(&one, &a), (&two, &b)] {
        let wait = refusal(store, by, of("t2")).await;
        assert!(wait.why == WaitReason::Paused && wait.again_in.is_some_and(|again| again <= LONG / 4), "{wait:?}");
    }
    assert!(is_granted(&two, &b, request("t3", "w", &[("/other", concurrent(5))])).await);
    one.pause(vec![LimitKey::from("/short")], SHORT).await.expect("a pause");
    let (two, b) = (&two, &b);
    let of_short = || request("t4", "w", &[("/short", concurrent(5))]);
    eventually("the pause ends", || async move { is_granted(two, b, of_short()).await.then_some(()) }).await;
}

/// One with a thousand tasks does not hold up one with a few.
pub async fn workflows_take_turns(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: String, party: &str| {
        let mut request = request(&slot, party, &[("/m", concurrent(1))]);
        request.asks[0].more = true;
        request
    };
    let mut holder = (a.clone(), of("first".to_owned(), "large"));
    assert!(is_granted(&store, &a, holder.1.clone()).await);
    let mut order = Vec::new();
    for round in 0..12 {
        // All ask while it is full, the large one first, and ask in this order again when it is free.
        let asked = [(&a, "large"), (&b, "small"), (&b, "other")];
        for (by, party) in asked {
            assert!(!is_granted(&store, by, of(format!("{party}{round}"), party)).await);
        }
        give_back(&store, &holder.0, &holder.1).await;
        for (by, party) in asked {
            let request = of(format!("{party}{round}"), party);
            if is_granted(&store, by, request.clone()).await {
                order.push(party);
                holder = (by.clone(), request);
            }
        }
    }
    let mut turns: BTreeMap<&str, usize> = BTreeMap::new();
    order.iter().for_each(|party| *turns.entry(party).or_default() += 1);
    assert_eq!(turns, BTreeMap::from([("large", 4), ("other", 4), ("small", 4)]), "{order:?}");
}

/// A task that was cancelled while it waited; and a turn that nobody takes.
pub async fn who_leaves_holds_up_nobody(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let of = |slot: &str, party: &str| request(slot, party, &[("/m", concurrent(1))]);
    assert!(is_granted(&store, &a, of("t1", "w")).await);
    assert!(!is_granted(&store, &a, of("t2", "left")).await);
    assert!(!is_granted(&store, &b, of("t3", "w")).await);
    store.leave(&a, vec![of("t2", "left")]).await.expect("it leaves");
    give_back(&store, &a, &of("t1", "w")).await;
    assert!(is_granted(&store, &b, of("t3", "w")).await);
    // This one does not leave, and does not come.
    assert!(!is_granted(&store, &a, of("t4", "absent")).await);
    assert!(!is_granted(&store, &b, of("t5", "w")).await);
    give_back(&store, &b, &of("t3", "w")).await;
    let wait = refusal(&store, &b, of("t5", "w")).await;
    assert_eq!(wait.why, WaitReason::Turn);
    assert!(wait.again_in.is_some());
    let (store, b) = (&store, &b);
    eventually("it is passed over", || async move { is_granted(store, b, of("t5", "w")).await.then_some(()) }).await;
}

/// Two limits that are never free at one time: for one that insists they become free.
pub async fn who_insists_is_let_in(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let only = |slot: &str, key: &str| request(slot, "single", &[(key, concurrent(1))]);
    let both =
        LimitRequest { insists: true, ..request("both", "both", &[("/a", concurrent(1)), ("/b", concurrent(1))]) };
    assert!(is_granted(&store, &a, only("a1", "/a")).await && is_granted(&store, &a, only("b1", "/b")).await);
    assert!(!is_granted(&store, &b, both.clone()).await);
    give_back(&store, &a, &only("a1", "/a")).await;
    let wait = refusal(&store, &a, only("a2", "/a")).await;
    assert_eq!(wait.why, WaitReason::Turn, "it holds back");
    assert!(!is_granted(&store, &b, both.clone()).await);
    give_back(&store, &a, &only("b1", "/b")).await;
    assert!(is_granted(&store, &b, both.clone()).await);
    give_back(&store, &b, &both).await;
    assert!(is_granted(&store, &a, only("a2", "/a")).await);
}

/// Who waits hears of it.
pub async fn what_is_given_back_is_signalled(db: &dyn Limited) {
    let (runs, store) = db.open();
    signalled(&runs, &store, &store).await;
}

/// Within 250 ms, from whatever process; here as much time is given as a loaded machine takes.
pub async fn what_another_store_gives_back_is_signalled_in_time(db: &dyn Limited) {
    let ((runs, one), (_, two)) = (db.open(), db.open());
    signalled(&runs, &one, &two).await;
}

async fn signalled(runs: &Arc<dyn RunStore>, here: &Arc<dyn LimitStore>, there: &Arc<dyn LimitStore>) {
    let (a, b) = (engine(runs, "a", LONG).await, engine(runs, "b", LONG).await);
    let mut signals = here.limit_signals();
    for round in 0..3 {
        let of = |slot: &str| request(&format!("{slot}{round}"), "w", &[("/m", concurrent(1))]);
        assert!(is_granted(there, &b, of("t1")).await);
        assert!(!is_granted(here, &a, of("t2")).await);
        give_back(there, &b, &of("t1")).await;
        let heard = async { while signals.next().await.is_some_and(|key| key.as_str() != "/m") {} };
        tokio::time::timeout(PATIENCE, heard).await.expect("a signal");
        assert!(is_granted(here, &a, of("t2")).await);
        give_back(here, &a, &of("t2")).await;
    }
}

/// For people.
pub async fn a_limit_tells_how_it_stands(db: &dyn Limited) {
    let (runs, store) = db.open();
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let bounds = Bounds { concurrent: Some(1), per_minute: Some(6), tokens_per_minute: None };
    assert!(is_granted(&store, &a, request("t1", "w", &[("/m", bounds)])).await);
    assert!(!is_granted(&store, &b, request("t2", "v", &[("/m", bounds)])).await);
    store.pause(vec![LimitKey::from("/p")], LONG / 4).await.expect("a pause");
    let keys = ["/m", "/p", "/unused"].map(LimitKey::from).to_vec();
    let views = store.look(keys.clone()).await.expect("a look");
    assert_eq!(views.iter().map(|view| view.key.clone()).collect::<Vec<_>>(), keys);
    assert_eq!((views[0].held, views[1].held, views[2].held), (1, 0, 0));
    assert!(views[0].requests_for > Duration::ZERO && views[0].paused_for.is_none());
    assert_eq!(views[0].waiting.iter().map(|party| &**party).collect::<Vec<_>>(), ["v"]);
    assert!(views[1].paused_for.is_some_and(|left| left > LONG / 5));
    assert!(views[2].paused_for.is_none() && views[2].waiting.is_empty());
}

/// Whatever comes in between, never more than three; and everybody has its turn.
pub async fn many_at_once_never_hold_more(db: &dyn Limited) {
    let ((runs, one), (_, two)) = (db.open(), db.open());
    let (a, b) = (engine(&runs, "a", LONG).await, engine(&runs, "b", LONG).await);
    let holding = Arc::new(AtomicI64::new(0));
    let tasks = (0..40).map(|n| {
        let (store, by) = if n % 2 == 0 { (one.clone(), a.clone()) } else { (two.clone(), b.clone()) };
        let holding = holding.clone();
        let mut request = request(&format!("t{n}"), &format!("w{}", n % 5), &[("/m", concurrent(3))]);
        request.asks[0].more = true;
        tokio::spawn(async move {
            let (store, by, again) = (&store, &by, &request);
            eventually("a turn", || async move { is_granted(store, by, again.clone()).await.then_some(()) }).await;
            assert!(holding.fetch_add(1, SeqCst) < 3, "more than three hold a slot");
            tokio::task::yield_now().await;
            holding.fetch_sub(1, SeqCst);
            give_back(store, by, &request).await;
        })
    });
    for task in join_all(tasks).await {
        task.expect("no task fails");
    }
    assert_eq!(one.look(vec![LimitKey::from("/m")]).await.expect("a look")[0].held, 0);
}
