//! One loop per live run: take what has happened, ask the kernel what it means, commit, carry out what is owed.
//!
//! Finishing a task and accepting the next go into one commit; whatever has come in by then goes in with it. Nothing
//! is dispatched before its commit has returned. An attempt that is no longer owed is told to stop; its answer, if it
//! still comes, is stale and the kernel refuses it.

mod accept;
mod attempts;
mod cache;
mod children;
mod commit;
mod dispatch;
mod letters;
mod limited;
mod load;
mod orphan;
mod recover;

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use segue_core::{
    event::Event,
    ids::{RunId, TaskId},
    ports::{Lease, RequestId},
    run::{Input, Run},
    status::Status,
    time::Timestamp,
};
use tokio::sync::{mpsc::UnboundedReceiver, watch};

pub(crate) use self::accept::{Places, accept};
use self::{attempts::InFlight, cache::CacheState, commit::Committed};
use crate::{
    live::{End, Handle, Mailbox, Message},
    mutants::planted,
    patience::patiently,
    plans::Deployed,
    prepare,
    shared::Shared,
};

/// A run, and everything that this engine holds for it.
pub(crate) struct Drive {
    shared: Arc<Shared>,
    deployed: Arc<Deployed>,
    run: Run,
    handle: Handle,
    inbox: UnboundedReceiver<Message>,
    /// `seq` of the last committed fact, for the attempts' progress.
    seq: Arc<AtomicU64>,
    places: Places,
    in_flight: BTreeMap<TaskId, InFlight>,
    cache: CacheState,
    batch: Batch,
    /// Requests that have been taken from the inbox: a request may be delivered twice.
    seen: BTreeSet<RequestId>,
    mode: Mode,
    /// The version at which the run was claimed; none if it was created here.
    claimed_at: Option<u64>,
    last: Timestamp,
    /// How far this engine's clock is behind the facts that another engine wrote. The run's time goes on from them, so that
    /// a pause of five seconds stays one.
    skew: Duration,
    /// Conflicts since the last commit. More than one means that somebody is at it again and again.
    conflicts: u32,
}

/// When a batch has this many events, the rest of the inbox waits for the next one.
const BATCH_EVENTS: usize = 2_000;

/// What the next commit will hold.
#[derive(Default)]
struct Batch {
    events: Vec<Event>,
    answered: Vec<RequestId>,
}

impl Batch {
    fn is_empty(&self) -> bool {
        self.events.is_empty() && self.answered.is_empty()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Working,
    /// Nothing new is started.
    Draining,
    /// What runs is being stopped, to be handed to the next owner.
    HandingBack,
}

/// What to do after a message.
enum Then {
    GoOn,
    /// The run is not ours any more.
    Drop,
}

/// A run that has just been created here, with its first facts and `places` for the tasks that they started.
pub(crate) struct Newborn {
    pub(crate) deployed: Arc<Deployed>,
    pub(crate) run: Run,
    pub(crate) places: Places,
    pub(crate) started: Vec<Event>,
}

/// Drives a run that has just been created here.
pub(crate) async fn created(shared: Arc<Shared>, new: Newborn, mailbox: Mailbox) {
    let Mailbox { handle, inbox, ended } = mailbox;
    let Newborn { deployed, run, places, started } = new;
    let run_id = run.id();
    let mut drive = Drive::new(shared.clone(), deployed, run, handle, inbox);
    drive.places = places;
    drive.last = started.last().map_or(drive.last, |event| event.time);
    drive.tell(&started);
    let end = drive.go(started).await;
    leave(&shared, run_id, &ended, end);
}

/// Drives a run that has just been claimed.
pub(crate) async fn claimed(shared: Arc<Shared>, run_id: RunId, mailbox: Mailbox) {
    let Mailbox { handle, mut inbox, ended } = mailbox;
    let end = match load::load(&shared, run_id).await {
        Ok(loaded) => {
            prepare::ready(&shared, &loaded.deployed, &loaded.run, &handle, &mut inbox).await;
            let mut drive = Drive::new(shared.clone(), loaded.deployed, loaded.run, handle, inbox);
            drive.take_over(loaded.last).await;
            drive.go(Vec::new()).await
        }
        Err(end) => end,
    };
    leave(&shared, run_id, &ended, end);
}

fn leave(shared: &Shared, run_id: RunId, ended: &watch::Sender<Option<End>>, end: End) {
    shared.live.close(run_id, ended, end);
    shared.observer.live(shared.live.len());
    shared.look.notify_one();
}

impl Drive {
    fn new(
        shared: Arc<Shared>,
        deployed: Arc<Deployed>,
        run: Run,
        handle: Handle,
        inbox: UnboundedReceiver<Message>,
    ) -> Self {
        shared.observer.live(shared.live.len());
        Self {
            seq: Arc::new(AtomicU64::new(run.version())),
            places: Places::default(),
            in_flight: BTreeMap::new(),
            cache: CacheState::default(),
            batch: Batch::default(),
            seen: BTreeSet::new(),
            mode: if shared.draining.load(Ordering::Acquire) { Mode::Draining } else { Mode::Working },
            claimed_at: None,
            last: Timestamp::from_micros(0),
            skew: Duration::ZERO,
            conflicts: 0,
            shared,
            deployed,
            run,
            handle,
            inbox,
        }
    }

    /// `committed`: facts that are in the log and have not been carried out.
    async fn go(&mut self, committed: Vec<Event>) -> End {
        self.carry_out(&committed).await;
        loop {
            self.take_all();
            self.accept_ready();
            let then = if self.batch.is_empty() {
                match self.rest().await {
                    Ok(then) => then,
                    Err(end) => return end,
                }
            } else {
                if planted!(DispatchesBeforeCommit) {
                    let events = self.batch.events.clone();
                    self.carry_out(&events).await;
                }
                match self.commit().await {
                    Committed::Yes(events) => {
                        self.conflicts = 0;
                        self.carry_out(&events).await;
                        Then::GoOn
                    }
                    Committed::NotOurs => Then::Drop,
                    Committed::Stopped => return End::Left,
                }
            };
            if matches!(then, Then::Drop)
                && let Err(end) = self.come_back().await
            {
                return end;
            }
        }
    }

    /// Nothing is to be committed: leaves, or waits for what happens next.
    async fn rest(&mut self) -> Result<Then, End> {
        if self.run.status().is_terminal() {
            // Its last commit gave it back, unless it had ended before it was claimed.
            if self.claimed_at == Some(self.run.version()) {
                self.release().await;
            }
            return Err(End::Ended(Box::new(self.run.run_row())));
        }
        if self.mode > Mode::Working && !self.has_work() {
            self.release().await;
            return Err(End::Left);
        }
        let now = self.now();
        let message = match self.run.wake_at(now) {
            None => self.inbox.recv().await,
            Some(at) => tokio::select! {
                biased;
                message = self.inbox.recv() => message,
                () = tokio::time::sleep_until(self.shared.config.clock.instant_after(at.since(now))) => Some(Message::Woke),
            },
        };
        match message.expect("the run holds a sender of its own inbox") {
            Message::Stop => Err(End::Left),
            Message::Lost => Ok(Then::Drop),
            Message::Regained => self.compare_with_log().await,
            message => {
                self.take(message).await;
                Ok(Then::GoOn)
            }
        }
    }

    /// The run was another engine's for a while, perhaps: has it gone on without us?
    async fn compare_with_log(&self) -> Result<Then, End> {
        let row = patiently(&self.shared, || self.shared.store.get_run(self.run.id())).await?;
        Ok(if row.version == self.run.version() { Then::GoOn } else { Then::Drop })
    }

    /// Tells the kernel. What it refuses is stale: it has changed nothing, and there is nothing to do.
    fn feed(&mut self, input: Input) -> bool {
        let now = self.now();
        match self.run.handle(input, now) {
            Ok(events) => {
                if let Some(event) = events.last() {
                    self.last = event.time;
                }
                self.batch.events.extend(events);
                true
            }
            Err(why) => {
                tracing::debug!(run_id = %self.run.id(), %why, "refused");
                false
            }
        }
    }

    /// Never earlier than a fact that is in the log, even if another machine wrote that.
    fn now(&self) -> Timestamp {
        self.shared.config.clock.now().plus(self.skew).max(self.last)
    }

    fn lease(&self) -> Lease {
        Lease { run_id: self.run.id(), fence: self.handle.fence.load(Ordering::Acquire) }
    }

    async fn release(&self) {
        if let Err(error) = self.shared.sure(self.shared.store.release(&[self.lease()]).await) {
            tracing::warn!(run_id = %self.run.id(), %error, "the run could not be given back; its lease will end");
        }
    }

    fn take_batch(&mut self) -> Batch {
        mem::take(&mut self.batch)
    }

    fn is_live(&self) -> bool {
        self.run.status() == Status::Running
    }
}
