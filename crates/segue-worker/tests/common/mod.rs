//! What several tests need.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::fs;

/// A name like no other, for the environment of a test's processes.
pub fn unique(test: &str) -> String {
    format!("{test}-{}-{}", std::process::id(), uuid::Uuid::now_v7())
}

/// Does a process run whose environment or command line holds this text?
pub fn runs(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let file = |name: &str| fs::read(entry.path().join(name)).unwrap_or_default();
        entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())
            && [file("environ"), file("cmdline")]
                .iter()
                .any(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
    })
}
