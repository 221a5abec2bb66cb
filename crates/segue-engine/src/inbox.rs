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
        if !shared.deliver(run).await {
            // Nobody may own it, or it has ended and is asked to go on.
            shared.look.notify_one();
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
