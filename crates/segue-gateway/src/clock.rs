//! The time that limits are measured in: the machine's, or one that a test moves.

use std::{
    future,
    time::{Duration, Instant},
};

use tokio::sync::watch;

/// Tells the time and waits for it.
#[derive(Debug, Clone, Default)]
pub struct Clock(Option<Hands>);

#[derive(Debug, Clone)]
struct Hands {
    start: Instant,
    passed: watch::Receiver<Duration>,
}

/// Moves a [`Clock`].
#[derive(Debug)]
pub struct ClockHand(watch::Sender<Duration>);

impl Clock {
    /// A clock that stands still until it is moved.
    pub fn manual() -> (Self, ClockHand) {
        let (hand, passed) = watch::channel(Duration::ZERO);
        (Self(Some(Hands { start: Instant::now(), passed })), ClockHand(hand))
    }

    pub(crate) fn now(&self) -> Instant {
        match &self.0 {
            None => Instant::now(),
            Some(hands) => hands.start + *hands.passed.borrow(),
        }
    }

    /// Waits until then; without a point in time for ever.
    pub(crate) async fn sleep_until(&self, then: Option<Instant>) {
        let Some(then) = then else { return future::pending().await };
        match &self.0 {
            None => tokio::time::sleep_until(then.into()).await,
            Some(hands) => {
                let wanted = then.saturating_duration_since(hands.start);
                if hands.passed.clone().wait_for(|passed| *passed >= wanted).await.is_err() {
                    future::pending::<()>().await;
                }
            }
        }
    }
}

impl ClockHand {
    /// Lets time pass.
    pub fn advance(&self, by: Duration) {
        self.0.send_modify(|passed| *passed += by);
    }
}
