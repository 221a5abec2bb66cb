//! A node's retry policy, defaults merged.

use std::time::Duration;

use segue_core::{
    outcome::{ErrorKind, TaskError},
    spec::{Backoff, Jitter, RetryPolicy, Seconds},
};

#[derive(Debug, Clone)]
pub(super) struct Retry {
    pub(super) backoff: Backoff,
    only: Option<Vec<ErrorKind>>,
    never: Vec<ErrorKind>,
}

impl Retry {
    pub(super) fn of(own: &RetryPolicy, defaults: &RetryPolicy) -> Self {
        let seconds = |own: Option<Seconds>, other: Option<Seconds>, last: Duration| {
            own.or(other).map_or(last, Seconds::as_duration)
        };
        let last = Backoff::default();
        Self {
            backoff: Backoff {
                attempts_max: own.max_attempts.or(defaults.max_attempts).unwrap_or(last.attempts_max),
                initial: seconds(own.initial_interval_seconds, defaults.initial_interval_seconds, last.initial),
                coefficient: own.backoff_coefficient.or(defaults.backoff_coefficient).unwrap_or(last.coefficient),
                longest: seconds(own.max_interval_seconds, defaults.max_interval_seconds, last.longest),
                jitter: own.jitter.or(defaults.jitter).unwrap_or(last.jitter),
            },
            only: own.retry_on.clone().or_else(|| defaults.retry_on.clone()),
            never: own.do_not_retry_on.clone().or_else(|| defaults.do_not_retry_on.clone()).unwrap_or_default(),
        }
    }

    /// Is this an error that another attempt may mend?
    pub(super) fn is_for(&self, error: &TaskError) -> bool {
        let wanted = match &self.only {
            Some(kinds) => kinds.contains(&error.kind),
            None => error.retryable,
        };
        wanted && !self.never.contains(&error.kind)
    }

    /// The shortest and the longest pause after the `failures`-th failure; jitter comes in between.
    pub(super) fn pause(&self, failures: u32, error: &TaskError) -> (Duration, Duration) {
        if let Some(seconds) = error.retry_after {
            let exactly = Duration::from_secs_f64(seconds);
            return (exactly, exactly);
        }
        let mut pause = self.backoff.initial.as_secs_f64();
        for _ in 1..failures {
            pause *= self.backoff.coefficient;
        }
        let pause = Duration::from_secs_f64(pause.min(self.backoff.longest.as_secs_f64()));
        match self.backoff.jitter {
            Jitter::None => (pause, pause),
            Jitter::Full => (Duration::ZERO, pause),
        }
    }
}
