//! Calls to a store that may be away.

use std::{future::Future, time::Duration};

use segue_core::ports::StoreError;

use crate::{live::End, shared::Shared};

/// Repeats a call while the store is away; gives up when the engine stops.
pub(crate) async fn patiently<T, F>(shared: &Shared, mut call: impl FnMut() -> F) -> Result<T, End>
where
    F: Future<Output = Result<T, StoreError>>,
{
    for n in 0.. {
        match call().await {
            Ok(value) => return Ok(value),
            Err(StoreError::Unavailable(_) | StoreError::Full(_)) => {}
            Err(StoreError::NotFound(what)) => return Err(End::Unusable(format!("{what} not found"))),
            Err(StoreError::Conflict { .. } | StoreError::KeyReused { .. }) => return Err(End::Left),
            // One damaged run; the others go on. A store that is broken as a whole fails their commits too.
            Err(StoreError::Broken(why) | StoreError::Refused(why)) => return Err(End::Unusable(why)),
        }
        tokio::select! {
            () = tokio::time::sleep(pause_before_retry(n)) => {}
            () = shared.stopped.cancelled() => break,
        }
    }
    Err(End::Left)
}

/// The pause before the `n`-th repetition (from 0) of a call to a store that is away: up to 5 s, drawn, so that many
/// runs do not come back at once.
pub(crate) fn pause_before_retry(n: u32) -> Duration {
    let longest = Duration::from_millis(50).saturating_mul(1 << n.min(10)).min(Duration::from_secs(5));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}
