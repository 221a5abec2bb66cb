//! What several tests need.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{fs, time::Duration};

/// Longer than anything here takes, even on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(20);

/// A name like no other, for the environment of a test's processes.
pub fn unique(test: &str) -> String {
    format!("{test}-{}-{}", std::process::id(), uuid::Uuid::now_v7())
}

/// Does a process run whose environment or command line holds this text?
pub fn runs(text: &str) -> bool {
    !running(text).is_empty()
}

/// Waits until no process runs whose environment or command line holds this text.
pub async fn all_gone(text: &str) {
    let given_up = tokio::time::Instant::now() + PATIENCE;
    while let [_, ..] = &running(text)[..] {
        assert!(tokio::time::Instant::now() < given_up, "these are still there: {:#?}", running(text));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The processes whose environment or command line holds this text, as `/proc/PID/stat` has them.
fn running(text: &str) -> Vec<String> {
    let has = |entry: &fs::DirEntry| {
        let file = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
            && [file("environ"), file("cmdline")]
                .iter()
                .any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    };
    let stat = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
    fs::read_dir("/proc").unwrap().flatten().filter(has).map(stat).collect()
}
