//! The one task of a lane that talks to the store.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt as _, StreamExt as _};
use segue_core::{
    ids::LimitKey,
    ports::{Acquire, Admission, LimitAsk, LimitRequest, LimitWait, StoreError, WaitReason},
};
use tokio::time::Instant;

use super::{
    Inner, PAUSE, SharedSlot,
    line::{Ears, Round, Ticket},
};

/// Whoever waits asks again after this long, whatever was lost meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(10);

/// Runs as long as there is something to do or to wait for.
pub(super) async fn keep(lane: Arc<Inner>) {
    let ears = std::mem::take(&mut lane.line().ears);
    let mut keeper = Keeper { lane, ears, is_done: false, has_failed: false };
    while let Some(round) = keeper.next() {
        if round.is_empty() {
            keeper.wait().await;
        } else if !keeper.carry_out(round).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

struct Keeper {
    lane: Arc<Inner>,
    ears: Ears,
    is_done: bool,
    /// The store did not answer last time: that is said once.
    has_failed: bool,
}

impl Keeper {
    fn next(&mut self) -> Option<Round> {
        let mut line = self.lane.line();
        let round = line.next(Instant::now(), |name| self.lane.freed(name, None, 0));
        line.has_news = round.as_ref().is_some_and(|round| !round.is_empty());
        if round.is_none() {
            (line.is_kept, line.ears) = (false, std::mem::take(&mut self.ears));
            self.is_done = true;
        }
        if !line.has_news {
            self.lane.told.notify_waiters();
        }
        round
    }

    /// Until somebody comes or goes, until the store says something, or until it is time to ask again.
    async fn wait(&mut self) {
        let Self { lane, ears, .. } = self;
        let at = lane.line().next_time();
        tokio::select! {
            biased;
            () = lane.work.notified() => {}
            () = ears.hear(&lane.key) => lane.line().ask_again(),
            () = tokio::time::sleep_until(at.unwrap_or_else(Instant::now)), if at.is_some() => {}
        }
    }

    /// `false`: the store did not answer all of it.
    async fn carry_out(&mut self, round: Round) -> bool {
        let Round { paused_until, freed, asked, has_more, leaves } = round;
        // What was said before the question is answered with it.
        self.ears.forget();
        let lane = &self.lane;
        let (store, engine) = (&lane.store, &lane.engine);
        // First, so that nobody goes who would be sent back.
        let paused = match paused_until {
            Some(until) => store.pause(vec![lane.key.clone()], until.saturating_duration_since(Instant::now())).await,
            None => Ok(()),
        };
        let free = async { if freed.is_empty() { Ok(()) } else { store.release(engine, freed.clone()).await } };
        let leave = async { if leaves { store.leave(engine, vec![lane.request(None, false)]).await } else { Ok(()) } };
        let ask = async {
            if asked.is_empty() {
                return Ok(Vec::new());
            }
            let behind = |at: usize| has_more || at + 1 < asked.len();
            let requests = asked.iter().enumerate().map(|(at, ticket)| lane.request(Some(ticket), behind(at)));
            let (engine, requests) = (engine.clone(), requests.collect());
            store.acquire(Acquire { engine, dead: Vec::new(), requests }).await
        };
        // What is given back is asked for in the same breath: one transaction where the store can.
        let (is_freed, answers, has_left) = tokio::join!(free, ask, leave);
        if leaves && has_left.is_ok() {
            lane.line().has_place = false;
        }
        if let Some(until) = paused_until.filter(|_| paused.is_err()) {
            lane.line().pause(until);
        }
        if is_freed.is_err() {
            freed.into_iter().for_each(|freed| lane.line().free(freed, false));
        }
        let (answers, is_asked) = match answers {
            Ok(answers) => (answers, Ok(())),
            Err(error) => (Vec::new(), Err(error)),
        };
        self.settle(asked, answers, has_more);
        self.told([paused, is_freed, is_asked, has_left])
    }

    /// Carries out the store's answers. Who has none asks again.
    fn settle(&mut self, asked: Vec<Ticket>, answers: Vec<Admission>, has_more: bool) {
        let mut answers = answers.into_iter();
        let (mut back, mut first_wait) = (Vec::new(), None);
        let count = asked.len();
        for (at, mut ticket) in asked.into_iter().enumerate() {
            let answer = answers.next();
            if let Some(answer) = &answer {
                self.lane.line().keeps_place(answer, has_more || at + 1 < count, ticket.is_unsure);
            }
            match answer {
                Some(Admission::Granted(charged)) => {
                    let charged = charged.first().copied().unwrap_or_default();
                    let (lane, name, is_doubtful) = (self.lane.clone(), ticket.name, ticket.is_unsure);
                    let slot = SharedSlot { lane, name, charged, tokens: 0, is_doubtful };
                    // If nobody wants it any more, it is given back here.
                    drop(ticket.answer.send(slot));
                }
                Some(Admission::Wait(wait)) => {
                    first_wait.get_or_insert_with(|| Instant::now() + pause_of(&wait));
                    back.push(ticket);
                }
                None => {
                    ticket.is_unsure = true;
                    self.lane.line().has_place = true;
                    back.push(ticket);
                }
            }
        }
        if first_wait.is_some() && matches!(self.ears, Ears::Closed) {
            // What was said in between was not heard: the question is asked once more, and then all is.
            self.ears = Ears::Open(self.lane.store.limit_signals());
            first_wait = None;
        }
        if count > 0 {
            self.lane.line().go_back(back, first_wait);
        }
    }

    /// Did the store answer all of it?
    fn told(&mut self, answers: [Result<(), StoreError>; 4]) -> bool {
        let error = answers.into_iter().find_map(Result::err);
        if let Some(error) = &error
            && !self.has_failed
        {
            tracing::warn!(lane = %self.lane.key, %error, "the limits of a model cannot be asked, or told of what is over");
        }
        self.has_failed = error.is_some();
        !self.has_failed
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        if !self.is_done {
            // A store that panics, or the end of the runtime. Whoever comes next begins anew.
            let mut line = self.lane.line();
            (line.is_kept, line.has_place) = (false, true);
        }
    }
}

impl Inner {
    /// What asks for a slot; without a ticket, what gives up the place in line.
    fn request(&self, ticket: Option<&Ticket>, more: bool) -> LimitRequest {
        let ask = LimitAsk {
            key: self.key.clone(),
            bounds: self.bounds,
            tokens: ticket.map(|ticket| ticket.tokens),
            more,
            keeps_minutes: true,
        };
        let slot = ticket.map_or_else(|| "nobody".into(), |ticket| ticket.name.clone());
        LimitRequest { slot, party: self.engine.as_str().into(), insists: false, asks: vec![ask] }
    }
}

impl Ears {
    /// Until this limit is named.
    async fn hear(&mut self, own: &LimitKey) {
        while let Self::Open(signals) = self {
            match signals.next().await {
                Some(key) if key == *own => return,
                Some(_) => {}
                None => *self = Self::Deaf,
            }
        }
        std::future::pending().await
    }

    /// What has been said so far is old.
    fn forget(&mut self) {
        while let Self::Open(signals) = self {
            match signals.next().now_or_never() {
                Some(Some(_)) => {}
                Some(None) => *self = Self::Deaf,
                None => return,
            }
        }
    }
}

fn pause_of(wait: &LimitWait) -> Duration {
    match wait.why {
        WaitReason::NoLease => PAUSE,
        _ => wait.again_in.unwrap_or(ASK_AGAIN).clamp(Duration::from_millis(1), ASK_AGAIN),
    }
}
