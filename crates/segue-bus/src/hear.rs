//! The task that hears for all subscribers of this process, over one connection.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use futures_channel::mpsc::Receiver;
use segue_core::{
    event::Envelope,
    ports::{BusError, Topic},
};
use tokio::{
    sync::{mpsc::UnboundedReceiver, oneshot},
    time::{MissedTickBehavior, interval},
};
use tracing::debug;

use crate::{
    audience::Tag,
    backend::{Heard, Listener},
    bus::Shared,
    order::Order,
    outage::Pauses,
};

/// Runs whose missed events are asked for after a lost connection.
const CATCH_UP_RUNS: usize = 1_000;

/// What the bus tells this task.
pub(crate) enum Command {
    /// Listen to `topic` and answer when everything from then on is heard.
    Subscribe { topic: Topic, reply: oneshot::Sender<Result<Receiver<Envelope>, BusError>> },
    /// A subscriber is gone.
    Left,
}

/// Ends with the bus.
pub(crate) async fn run(shared: Arc<Shared>, orders: UnboundedReceiver<Command>) {
    Ear { shared, orders, order: Order::default(), listened: BTreeSet::new() }.run().await;
}

/// Why a connection is over.
enum End {
    /// The bus is gone.
    Closed,
    Failed(BusError),
}

impl From<BusError> for End {
    fn from(error: BusError) -> Self {
        Self::Failed(error)
    }
}

struct Ear {
    shared: Arc<Shared>,
    orders: UnboundedReceiver<Command>,
    order: Order,
    /// What the connection listens to.
    listened: BTreeSet<Topic>,
}

impl Ear {
    async fn run(mut self) {
        let mut pauses = Pauses::default();
        let mut waiting = None;
        loop {
            // No connection while nobody needs one.
            while waiting.is_none() && self.shared.subscribers.listened().is_empty() && !self.shared.speaks() {
                tokio::select! {
                    order = self.orders.recv() => match order {
                        Some(order) => waiting = Some(order),
                        None => return,
                    },
                    () = self.shared.hearing.notified() => {}
                }
            }
            let error = match self.shared.within(self.shared.backend.listener()).await {
                Ok(mut listener) => match self.session(&mut *listener, waiting.take(), &mut pauses).await {
                    End::Closed => return,
                    End::Failed(error) => error,
                },
                Err(error) => error,
            };
            self.shared.audience.set_heard(false);
            self.shared.outage.note(self.shared.backend.place(), &error);
            if let Some(Command::Subscribe { reply, .. }) = waiting.take() {
                let _ = reply.send(Err(error));
            }
            // Whoever wants to subscribe meanwhile is worth a try at once.
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                order = self.orders.recv() => match order {
                    Some(order) => waiting = Some(order),
                    None => return,
                },
            }
        }
    }

    /// One connection. Gives what ended it.
    async fn session(&mut self, listener: &mut dyn Listener, first: Option<Command>, pauses: &mut Pauses) -> End {
        self.listened.clear();
        if let Err(error) = self.resume(listener).await {
            if let Some(Command::Subscribe { reply, .. }) = first {
                let _ = reply.send(Err(error.clone()));
            }
            return error.into();
        }
        self.shared.audience.set_heard(true);
        // Who came while nobody heard it.
        self.shared.look.notify_one();
        self.shared.outage.end(self.shared.backend.place());
        pauses.reset();
        match self.attend(listener, first).await {
            Ok(()) => End::Closed,
            Err(error) => error.into(),
        }
    }

    /// Takes up what was listened to over the last connection, and what was missed since.
    async fn resume(&mut self, listener: &mut dyn Listener) -> Result<(), BusError> {
        for topic in self.shared.subscribers.listened() {
            self.shared.within(listener.listen(topic)).await?;
            self.listened.insert(topic);
        }
        self.catch_up(listener).await;
        Ok(())
    }

    /// Passes on what was missed. Where that cannot be had the gap shows: no reason to give up the connection.
    async fn catch_up(&mut self, listener: &mut dyn Listener) {
        for (topic, run, seq) in self.order.heard(CATCH_UP_RUNS) {
            if !self.listened.contains(&topic) {
                continue;
            }
            match self.shared.within(listener.missed(run, seq)).await {
                Ok(missed) => missed.iter().for_each(|envelope| self.pass_on(topic, envelope)),
                Err(error) => {
                    debug!(bus = self.shared.backend.place(), %error, "what was missed cannot be had");
                    return;
                }
            }
        }
    }

    /// Ends well when the bus is gone.
    async fn attend(&mut self, listener: &mut dyn Listener, first: Option<Command>) -> Result<(), BusError> {
        if let Some(first) = first {
            self.obey(listener, first).await?;
        }
        let mut pings = interval(self.shared.options.ping_every);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                order = self.orders.recv() => match order {
                    Some(order) => self.obey(listener, order).await?,
                    None => return Ok(()),
                },
                heard = listener.next() => self.take_in(heard?),
                _ = pings.tick() => self.shared.within(listener.ping()).await?,
            }
        }
    }

    async fn obey(&mut self, listener: &mut dyn Listener, order: Command) -> Result<(), BusError> {
        if let Command::Subscribe { topic, reply } = order {
            let receiver = self.shared.subscribers.listen(topic);
            if self.listened.insert(topic)
                && let Err(error) = self.shared.within(listener.listen(topic)).await
            {
                self.listened.remove(&topic);
                let _ = reply.send(Err(error.clone()));
                return Err(error);
            }
            // Whoever asked may have gone: then the next line cleans up.
            let _ = reply.send(Ok(receiver));
        }
        let left = self.listened.iter().copied().filter(|topic| !self.shared.subscribers.is_listened(*topic));
        for topic in left.collect::<Vec<_>>() {
            self.listened.remove(&topic);
            self.order.forget(topic);
            self.shared.within(listener.unlisten(topic)).await?;
            if self.shared.speaks() {
                self.shared.audience.left(Tag::of(topic), Instant::now());
                self.shared.look.notify_one();
            }
        }
        Ok(())
    }

    fn take_in(&mut self, heard: Heard) {
        match heard {
            Heard::Event(topic, envelope) => self.pass_on(topic, &envelope),
            // Who publishes looks at the audience, and forgets those who left; nobody else needs to know it.
            Heard::Came(_) | Heard::Left(_) if !self.shared.speaks() => {}
            Heard::Came(tag) => self.shared.audience.came(tag, Instant::now()),
            Heard::Left(tag) => {
                self.shared.audience.left(tag, Instant::now());
                self.shared.look.notify_one();
            }
        }
    }

    fn pass_on(&mut self, topic: Topic, envelope: &Envelope) {
        if self.order.admits(topic, envelope) {
            self.shared.subscribers.deliver([(topic, envelope)]);
        }
    }
}
