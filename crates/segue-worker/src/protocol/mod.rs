//! The messages between the engine and its Python workers, version 1: JSON lines over a Unix socket.
//!
//! Said in full, with who sends what when, in `docs/reference/worker-protocol.md`; the golden files of
//! `python/tests/golden` are tested here and there.

mod attempt;
mod calls;
mod zygote;

use serde::{Deserialize, Serialize};

pub use self::{
    attempt::{AttemptError, AttemptHello, FromAttempt, Provider, Resume, Start, ToAttempt},
    calls::{Call, CallError, Rpc},
    zygote::{FromZygote, Mode, Place, Spawn, ToZygote, ZygoteError, ZygoteHello, ZygoteOpening},
};

/// The version that this engine speaks.
pub const VERSION: u32 = 1;
/// The longest line of type `start`, `result`, `rpc` or `rpc_ok`, its end included.
pub const LONG_LINE_BYTES_MAX: usize = 64 * 1024 * 1024;
/// The longest line of any other type, its end included.
pub const LINE_BYTES_MAX: usize = 1024 * 1024;
/// The environment variable with a zygote's token.
pub const TOKEN_VARIABLE: &str = "SEGUE_WORKER_TOKEN";
/// Calls of an attempt that may wait for their answers.
pub const CALLS_MAX: usize = 64;

/// The first line of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "role", rename_all = "snake_case")]
pub enum Opening {
    /// A zygote: ready, or unable to load its framework.
    Zygote(ZygoteOpening),
    /// An attempt.
    Attempt(AttemptHello),
}

impl Opening {
    /// The token that it gives.
    pub fn token(&self) -> &str {
        match self {
            Self::Zygote(ZygoteOpening::Hello(hello)) => &hello.token,
            Self::Zygote(ZygoteOpening::Error(error)) => &error.token,
            Self::Attempt(AttemptHello::Hello { token, .. }) => token,
        }
    }

    /// Does it speak our version?
    pub fn speaks_our_version(&self) -> bool {
        match self {
            Self::Zygote(ZygoteOpening::Hello(hello)) => hello.protocol.contains(&VERSION),
            Self::Zygote(ZygoteOpening::Error(_)) => true,
            Self::Attempt(AttemptHello::Hello { protocol, .. }) => protocol.contains(&VERSION),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use serde::{Serialize, de::DeserializeOwned};
    use serde_json::Value;

    use super::*;

    fn same<T: Serialize + DeserializeOwned>(name: &str, golden: &Value) {
        let read: T = serde_json::from_value(golden.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let written = serde_json::to_value(read).expect("a message is JSON");
        assert_eq!(written, *golden, "{name}");
    }

    #[test]
    fn every_golden_message_is_read_and_written() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../python/tests/golden");
        let mut count = 0;
        for entry in fs::read_dir(&folder).expect("the golden messages").flatten() {
            let name = entry.file_name().into_string().expect("a name in ASCII");
            let text = fs::read_to_string(entry.path()).expect("a readable file");
            let golden: Value = serde_json::from_str(&text).expect("a file of JSON");
            let parts: Vec<&str> = name.split('.').collect();
            match (parts[0], parts[1]) {
                ("engine", "spawn" | "kill" | "drain") => same::<ToZygote>(&name, &golden),
                ("engine", "ping") => {
                    same::<ToZygote>(&name, &golden);
                    same::<ToAttempt>(&name, &golden);
                }
                ("engine", _) => same::<ToAttempt>(&name, &golden),
                (_, "hello") | ("zygote", "error") => same::<Opening>(&name, &golden),
                ("zygote", _) => same::<FromZygote>(&name, &golden),
                ("attempt", _) => same::<FromAttempt>(&name, &golden),
                _ => panic!("{name}: from nobody"),
            }
            count += 1;
        }
        assert!(count >= 41, "only {count} golden messages");
    }

    #[test]
    fn what_a_later_version_says_is_ignored() {
        let message: FromAttempt = serde_json::from_str(r#"{"type": "musing", "about": "?"}"#).expect("unknown type");
        assert_eq!(message, FromAttempt::Unknown);
        let message: FromAttempt = serde_json::from_str(r#"{"type": "started", "at": 1}"#).expect("unknown field");
        assert_eq!(message, FromAttempt::Started);
        serde_json::from_str::<FromAttempt>(r#"{"type": "result"}"#).expect_err("a result has an output");
    }
}
