//! Signals that are lost, doubled, and change places.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};
use segue_core::ids::RunId;

use super::fate::Faults;

/// What is still heard of `signals`.
pub(super) fn heard(signals: BoxStream<'static, RunId>, faults: Arc<Faults>) -> BoxStream<'static, RunId> {
    let held = None;
    stream::unfold((signals, faults, held), |(mut signals, faults, mut held)| async move {
        loop {
            let run: RunId = signals.next().await?;
            let weather = faults.weather();
            if faults.strikes(weather.signal_lost) {
                continue;
            }
            if held.is_none() && faults.strikes(weather.signal_late) {
                held = Some(run);
                continue;
            }
            let mut out = vec![run];
            if faults.strikes(weather.signal_twice) {
                out.push(run);
            }
            out.extend(held.take());
            return Some((stream::iter(out), (signals, faults, held)));
        }
    })
    .flatten()
    .boxed()
}
