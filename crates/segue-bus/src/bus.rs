//! The bus that a backend makes.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Instant,
};

use async_trait::async_trait;
use futures_channel::mpsc::Receiver;
use futures_core::Stream;
use segue_core::{
    event::Envelope,
    ids::RunId,
    memory::Fanout,
    ports::{BusError, EventBus, EventStream, Topic},
};
use tokio::{
    sync::{
        Notify,
        mpsc::{UnboundedSender, unbounded_channel},
        oneshot, watch,
    },
    task::AbortHandle,
};

use crate::{
    audience::Audience,
    backend::{Backend, Message},
    hear::{self, Command},
    options::BusOptions,
    outage::Outage,
    outbox::Outbox,
    speak,
};

/// An [`EventBus`] over a network. Connects when it is first used; nothing here fails because nobody answers, but
/// [`subscribe`](EventBus::subscribe). Dropped, its streams end.
pub struct NetworkBus {
    shared: Arc<Shared>,
    commands: UnboundedSender<Command>,
    tasks: [AbortHandle; 2],
}

/// What the bus and its two tasks share.
pub(crate) struct Shared {
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) options: BusOptions,
    pub(crate) subscribers: Fanout,
    pub(crate) outbox: Outbox,
    pub(crate) audience: Audience,
    pub(crate) outage: Outage,
    /// Somebody here publishes: the audience is of interest.
    speaks: AtomicBool,
    /// Wakes the speaker's task for the first time.
    pub(crate) speaking: Notify,
    /// Wakes the listener's task for the first time.
    pub(crate) hearing: Notify,
    /// The audience is to be looked at now.
    pub(crate) look: Notify,
    /// Does the speaker reach the bus? Unknown before its first try.
    pub(crate) reached: watch::Sender<Option<bool>>,
}

impl Shared {
    /// Does this process publish?
    pub(crate) fn speaks(&self) -> bool {
        self.speaks.load(Ordering::Acquire)
    }

    /// This process publishes from now on.
    fn begin_to_speak(&self) {
        if !self.speaks() && !self.speaks.swap(true, Ordering::AcqRel) {
            self.speaking.notify_one();
            self.hearing.notify_one();
        }
    }

    /// Does a step over the network, or says that it took too long.
    pub(crate) async fn within<T>(&self, step: impl Future<Output = Result<T, BusError>>) -> Result<T, BusError> {
        match tokio::time::timeout(self.options.patience, step).await {
            Ok(done) => done,
            Err(_) => {
                Err(BusError(format!("{} did not answer within {:?}", self.backend.place(), self.options.patience)))
            }
        }
    }
}

impl NetworkBus {
    /// A bus on `backend`. Panics outside a tokio runtime: it keeps two tasks there.
    pub fn new(backend: Arc<dyn Backend>, options: BusOptions) -> Self {
        let shared = Arc::new(Shared {
            subscribers: Fanout::with_queue(options.queue),
            outbox: Outbox::new(options.outbox_events_max, options.outbox_bytes_max),
            audience: Audience::new(options.linger),
            outage: Outage::default(),
            speaks: AtomicBool::new(false),
            speaking: Notify::new(),
            hearing: Notify::new(),
            look: Notify::new(),
            reached: watch::Sender::new(None),
            backend,
            options,
        });
        let (commands, orders) = unbounded_channel();
        let speaks = tokio::spawn(speak::run(shared.clone())).abort_handle();
        let hears = tokio::spawn(hear::run(shared.clone(), orders)).abort_handle();
        Self { shared, commands, tasks: [speaks, hears] }
    }

    /// Events that were dropped here since the start, because the network did not take them.
    pub fn dropped(&self) -> u64 {
        self.shared.outbox.dropped_total()
    }

    /// Waits until what was published is sent, or the bus turns out to be away, or does not answer for as long as one step
    /// may take. For the end of a process.
    pub async fn flush(&self) {
        let mut reached = self.shared.reached.subscribe();
        let sent = async {
            tokio::select! {
                () = self.shared.outbox.empty() => {}
                _ = reached.wait_for(|reached| *reached == Some(false)) => {}
            }
        };
        let _ = tokio::time::timeout(self.shared.options.patience, sent).await;
    }
}

impl std::fmt::Debug for NetworkBus {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("NetworkBus").field("place", &self.shared.backend.place()).finish_non_exhaustive()
    }
}

impl Drop for NetworkBus {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

#[async_trait]
impl EventBus for NetworkBus {
    fn publish(&self, batch: Vec<Envelope>) {
        self.shared.begin_to_speak();
        self.shared.outbox.put(self.shared.backend.place(), batch.iter().map(Message::of));
    }

    fn is_listened(&self, run: RunId) -> bool {
        self.shared.begin_to_speak();
        let now = Instant::now();
        [Topic::Run(run), Topic::All]
            .into_iter()
            .any(|topic| self.shared.subscribers.is_listened(topic) || self.shared.audience.may_include(topic, now))
    }

    async fn subscribe(&self, topic: Topic) -> Result<EventStream, BusError> {
        // What this process published before is not "from now on".
        self.flush().await;
        let (reply, answer) = oneshot::channel();
        let gone = || BusError("it was shut down".to_owned());
        self.commands.send(Command::Subscribe { topic, reply }).map_err(|_| gone())?;
        let receiver = self.shared.within(async { answer.await.map_err(|_| gone())? }).await?;
        Ok(Box::pin(Subscription { receiver, _leaving: Leaving(self.commands.clone()) }))
    }
}

/// The events of one subscriber. Dropped, the bus hears of it.
struct Subscription {
    receiver: Receiver<Envelope>,
    /// Declared, and so dropped, after the receiver.
    _leaving: Leaving,
}

struct Leaving(UnboundedSender<Command>);

impl Drop for Leaving {
    fn drop(&mut self) {
        let _ = self.0.send(Command::Left);
    }
}

impl Stream for Subscription {
    type Item = Envelope;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Envelope>> {
        Pin::new(&mut self.receiver).poll_next(context)
    }
}
