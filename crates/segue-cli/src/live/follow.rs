//! The events of one run as they come, complete and in order: from the bus where one reaches whoever carries the run out,
//! from the log where none does, or where the bus has lost some.

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt};
use segue_core::{
    event::Envelope,
    ids::{RunId, WorkflowId},
    ports::{EventBus, EventStream, RunStore, Topic},
};

use crate::failure::Outcome;

/// How often the log is asked when nothing is heard.
const POLL: Duration = Duration::from_millis(200);
/// The same when the bus tells: it may have lost the last event.
const POLL_WITH_BUS: Duration = Duration::from_secs(1);
/// A bus that is away keeps nobody from the log for longer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Events read at once.
const PAGE: usize = 1_000;

/// Follows one run.
pub(crate) struct Follow {
    store: Arc<dyn RunStore>,
    bus: Option<EventStream>,
    /// The bus was the first to say something, and the log not since: whoever carries the run out publishes there.
    bus_tells: bool,
    run: RunId,
    workflow: WorkflowId,
    /// `seq` of the last event that was given out.
    seq: u64,
    /// The log has been read up to the bus.
    caught_up: bool,
}

impl Follow {
    /// Follows `run` from the event after `after`. With a bus transient progress comes too.
    pub(crate) async fn new(
        store: Arc<dyn RunStore>,
        bus: Option<&dyn EventBus>,
        run: RunId,
        after: u64,
    ) -> Outcome<Self> {
        let bus = match bus {
            // Without the bus the log is enough.
            Some(bus) => match tokio::time::timeout(PATIENCE, bus.subscribe(Topic::Run(run))).await {
                Ok(subscribed) => subscribed.ok(),
                Err(_) => None,
            },
            None => None,
        };
        let workflow = store.get_run(run).await?.workflow_id;
        Ok(Self { store, bus, bus_tells: false, run, workflow, seq: after, caught_up: false })
    }

    /// The next events, at least one. Waits for them; cancel-safe.
    pub(crate) async fn next(&mut self) -> Outcome<Vec<Envelope>> {
        loop {
            if !self.caught_up {
                let events = self.store.events(self.run, self.seq, PAGE).await?;
                self.caught_up = events.len() < PAGE;
                if let Some(last) = events.last() {
                    self.seq = last.seq;
                    self.bus_tells = false;
                    return Ok(events.iter().map(|event| Envelope::of(event, &self.workflow, self.run)).collect());
                }
            }
            let heard = self.hear().await;
            if !heard.is_empty() {
                return Ok(heard);
            }
            self.caught_up = false;
        }
    }

    /// What the bus says, without gaps. Nothing: time to read the log.
    async fn hear(&mut self) -> Vec<Envelope> {
        let Some(bus) = &mut self.bus else {
            tokio::time::sleep(POLL).await;
            return Vec::new();
        };
        let poll = if self.bus_tells { POLL_WITH_BUS } else { POLL };
        let first = match tokio::time::timeout(poll, bus.next()).await {
            Ok(Some(event)) => event,
            Ok(None) => {
                self.bus = None;
                return Vec::new();
            }
            Err(_) => return Vec::new(),
        };
        self.bus_tells = true;
        let mut heard = Vec::new();
        let mut next = Some(first);
        while let Some(event) = next {
            if event.transient {
                heard.push(event);
            } else if event.seq == self.seq + 1 {
                self.seq = event.seq;
                heard.push(event);
            } else if event.seq > self.seq {
                // Some were lost: the log has them, this one included.
                self.caught_up = false;
                return heard;
            }
            if heard.len() >= PAGE {
                break;
            }
            next = self.bus.as_mut().and_then(|bus| bus.next().now_or_never()).flatten();
        }
        heard
    }
}
