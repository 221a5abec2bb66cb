//! Requests from anywhere, on their way to the run they are for.
//!
//! The inbox in the store is the truth; signals only say where to look. It is read when a run is claimed, when a
//! signal names the run, and whenever the lease is renewed.

use std::sync::Arc;

use futures_util::{StreamExt, stream::BoxStream};
use segue_core::ids::RunId;

use crate::{live::Message, shared::Shared};

/// Follows the store's signals until the engine stops.
pub(crate) async fn listen(shared: Arc<Shared>, mut signals: BoxStream<'static, RunId>) {
    loop {
        let run = tokio::select! {
            run = signals.next() => run,
            () = shared.stopped.cancelled() => return,
        };
        let Some(run) = run else { return };
        let looks_for_work = shared.config.claim_every.is_some() && shared.admit().is_ok();
        if !shared.deliver(run).await && looks_for_work {
            // A run that has ended may be asked to go on. Nothing to do if it is somebody else's.
            let _ = shared.claim(vec![run], 1).await;
        }
    }
}

/// Looks for runs that nobody drives, again and again, until the engine stops.
pub(crate) async fn claim_again(shared: Arc<Shared>) {
    let Some(pause) = shared.config.claim_every else { return };
    loop {
        if shared.admit().is_ok()
            && let Err(error) = shared.claim(Vec::new(), shared.config.claim_max).await
        {
            tracing::warn!(%error, "no runs could be claimed");
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.stopped.cancelled() => return,
        }
    }
}

impl Shared {
    /// Hands a run's pending requests to it; `false` if it is not driven here.
    pub(crate) async fn deliver(&self, run: RunId) -> bool {
        if self.live.get(run).is_none() {
            return false;
        }
        match self.store.pending_requests(run).await {
            Ok(requests) if requests.is_empty() => true,
            Ok(requests) => self.live.tell(run, Message::Requests(requests)),
            Err(error) => {
                tracing::warn!(run_id = %run, %error, "requests are read later");
                true
            }
        }
    }

    /// Reads the inbox of every run that is driven here: a signal may have been lost.
    pub(crate) async fn reread_requests(&self) {
        for run in self.live.ids() {
            self.deliver(run).await;
        }
    }
}
