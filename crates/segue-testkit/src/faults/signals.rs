//! Signals that are lost, doubled, and change places.

use std::sync::Arc;

use futures_util::{StreamExt, stream, stream::BoxStream};

use super::fate::Faults;

/// What is still heard of `signals`.
pub(super) fn heard<T: Clone + Send + Sync + 'static>(
    signals: BoxStream<'static, T>,
    faults: Arc<Faults>,
) -> BoxStream<'static, T> {
    let held = None;
    stream::unfold((signals, faults, held), |(mut signals, faults, mut held)| async move {
        loop {
            let one: T = signals.next().await?;
            let weather = faults.weather();
            if faults.strikes(weather.signal_lost) {
                continue;
            }
            if held.is_none() && faults.strikes(weather.signal_late) {
                held = Some(one);
                continue;
            }
            let mut out = vec![one.clone()];
            if faults.strikes(weather.signal_twice) {
                out.push(one);
            }
            out.extend(held.take());
            return Some((stream::iter(out), (signals, faults, held)));
        }
    })
    .flatten()
    .boxed()
}
