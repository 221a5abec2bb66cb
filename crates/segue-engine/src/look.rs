//! Looking for runs that nobody drives.
//!
//! An engine that looks for work does so slowly as long as nothing happens. The store's signals, room that becomes free
//! and the end of another engine of this machine make it look at once. It takes the oldest runs, a few at a time, and
//! pauses in between: so several engines share what there is, and none takes more than it has room for.

use std::{sync::Arc, time::Duration};

use crate::{lease::is_gone, patience::pause_before_retry, shared::Shared};

/// Between two looks that something made necessary, drawn: many engines hear of one thing at one time.
const SHORTLY: Duration = Duration::from_millis(20);
/// How often the processes of other engines on this machine are looked at. The store is not asked.
const NEIGHBOURS_EVERY: Duration = Duration::from_millis(100);

/// Looks again and again, until the engine stops.
pub(crate) async fn look_again(shared: Arc<Shared>) {
    let Some(every) = shared.config.claim_every else { return };
    let mut failures = 0;
    loop {
        let limit = shared.room().min(shared.config.claim_max);
        let pause = match look(&shared, limit).await {
            Ok(found) => {
                failures = 0;
                // There was more than could be taken at once.
                if limit > 0 && found == limit { drawn(SHORTLY) } else { drawn(every) }
            }
            Err(error) => {
                tracing::warn!(engine_id = %shared.config.engine_id, %error, "no runs could be claimed");
                failures += 1;
                pause_before_retry(failures)
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = shared.look.notified() => tokio::time::sleep(drawn(SHORTLY)).await,
            () = shared.stopped.cancelled() => return,
        }
    }
}

async fn look(shared: &Arc<Shared>, limit: usize) -> Result<usize, segue_core::ports::StoreError> {
    if limit == 0 || shared.admit().is_err() || !shared.lease.is_valid() {
        return Ok(0);
    }
    shared.claim(Vec::new(), limit).await.map(|runs| runs.len())
}

/// Notices when another engine of this machine is gone, until this one stops.
pub(crate) async fn watch_neighbours(shared: Arc<Shared>) {
    if shared.config.claim_every.is_none() {
        return;
    }
    loop {
        tokio::select! {
            () = tokio::time::sleep(NEIGHBOURS_EVERY) => {}
            () = shared.stopped.cancelled() => return,
        }
        let is_one_gone = shared.neighbours.lock().expect("no holder of this lock panics").iter().any(is_gone);
        if is_one_gone {
            shared.look.notify_one();
        }
    }
}

/// Half of it to one and a half.
fn drawn(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}
