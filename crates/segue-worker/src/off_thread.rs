//! Work that blocks.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

/// Does `work`, which may block, on a thread for that; where there is none to be had, here: it is done in any case.
/// `None`: it panicked.
pub(crate) async fn off_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let work = Arc::new(Mutex::new(Some(work)));
    let there = work.clone();
    let take_there = move || {
        let work = there.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    };
    // The runtime panics where the system refuses it a thread, and refuses itself when it shuts down.
    let begun = catch_unwind(AssertUnwindSafe(|| tokio::task::spawn_blocking(take_there)));
    if let Ok(begun) = begun
        && let Ok(done) = begun.await
    {
        return done;
    }
    let left = work.lock().unwrap_or_else(PoisonError::into_inner).take();
    left.map(|work| work())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_is_told() {
        assert_eq!(off_thread(|| 7).await, Some(7));
        assert_eq!(off_thread(|| assert_eq!(1, 2, "on purpose")).await, None);
    }
}
