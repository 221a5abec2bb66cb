//! How the suites run and wait.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use segue_core::time::Timestamp;

/// No single step of a suite may take longer, on a loaded machine too.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Runs one case, on a runtime with two threads so that what is concurrent is parallel.
pub fn block_on<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(case)
}

/// The time, as a backend's clock tells it.
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
    Timestamp::from_micros(i64::try_from(since.as_micros()).expect("it is before the year 294247"))
}

/// Asks again until there is an answer: for what only the outside decides, as the end of a lease.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, ask: impl Fn() -> F) -> T {
    let asking = async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("in vain: {what}"))
}
