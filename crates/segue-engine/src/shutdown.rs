//! Leaving in good order.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::time::Instant;

use crate::{live::Message, shared::Shared};

/// What an adapter may take beyond the grace period before the engine leaves without it.
const MOMENT: Duration = Duration::from_secs(2);

/// Takes no new work, lets what runs go on for `drain`, hands the rest back, ends everything the engine started.
pub(crate) async fn shut_down(shared: &Shared, drain: Duration) {
    shared.draining.store(true, Ordering::Release);
    shared.scheduler.close();
    shared.drives.close();
    shared.live.tell_all(|| Message::Drain);
    tokio::select! {
        () = shared.drives.wait() => {}
        () = tokio::time::sleep(drain) => {}
        () = shared.stopped.cancelled() => {}
    }
    shared.live.tell_all(|| Message::HandBack);
    let until = Instant::now() + shared.config.grace + MOMENT;
    if tokio::time::timeout_at(until, shared.drives.wait()).await.is_err() {
        tracing::warn!(
            runs = shared.live.len(),
            "some runs could not be handed back; they are taken over when this engine is gone"
        );
        shared.live.tell_all(|| Message::Stop);
    }
    // Work of runs that have left: attempts that timed out, or were told to stop.
    shared.scheduler.cancel_all();
    if tokio::time::timeout_at(until, shared.scheduler.idle()).await.is_err() {
        tracing::error!(
            attempts = shared.scheduler.places_taken(),
            "some attempts did not end within their grace period"
        );
    }
    for adapter in shared.adapters.iter() {
        adapter.shutdown().await;
    }
    shared.limits.flush(MOMENT).await;
    shared.stopped.cancel();
}
