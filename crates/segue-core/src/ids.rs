//! The names of things. Every id is a type of its own, so that a run's id can never stand where a task's is meant.

use std::{borrow::Borrow, fmt, str::FromStr, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A text that is not a valid id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a valid {what}: {rule}")]
pub struct InvalidId {
    what: &'static str,
    text: String,
    rule: &'static str,
}

const NAME_RULE: &str = "1 to 128 characters of A-Z a-z 0-9 _ . - and not starting with . or -";

/// Does `text` follow the rule for names that a user gives: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`?
pub fn is_valid_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
    first && text.len() <= 128 && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// Declares an id that is a short shared string: cheap to clone, ordered, serialised as the string.
macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(with = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is. For text that has been checked, or that Segue itself wrote.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({:?})", stringify!($name), &*self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
    };
}

text_id! {
    /// A workflow's name in its document (`id:`).
    WorkflowId
}
text_id! {
    /// A node's name in its workflow.
    NodeId
}
text_id! {
    /// A task's address in its run: `write`, later also `research[3]` and `improve#2/draft`.
    TaskId
}
text_id! {
    /// One engine process, from its start to its end. A restarted engine has a new id.
    EngineId
}
text_id! {
    /// Names an adapter's handler: `crewai.crew`, `process.run`.
    HandlerId
}
text_id! {
    /// What names one attempt outside the kernel: `<run id>/<task id>@<attempt>`. Given by the scheduler.
    TaskRunId
}
text_id! {
    /// A limit, with the value of its key where it has one: `/model:gpt-4o` of the configuration, `support/customer="acme"`
    /// of the workflow `support`.
    LimitKey
}

impl From<&NodeId> for TaskId {
    fn from(node: &NodeId) -> Self {
        Self(node.0.clone())
    }
}

/// One execution of a workflow. A UUIDv7, made outside core: ids sort by the time of their creation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(with = "String")]
pub struct RunId(Uuid);

impl RunId {
    /// Wraps an id that the caller drew.
    pub const fn new(uuid: Uuid) -> Self {
        Self(uuid)
    }

    /// The 16 bytes, as stores keep them.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// Reads the 16 bytes that [`RunId::as_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(Uuid::from_bytes(bytes))
    }

    /// The first and the last id whose text (hyphenated, lower case) starts with `prefix`; none if no id's text does.
    pub fn with_prefix(prefix: &str) -> Option<(Self, Self)> {
        const HYPHENS: [usize; 4] = [8, 13, 18, 23];
        let fits = prefix.len() <= 36
            && prefix.bytes().enumerate().all(|(at, byte)| {
                if HYPHENS.contains(&at) { byte == b'-' } else { matches!(byte, b'0'..=b'9' | b'a'..=b'f') }
            });
        if !fits {
            return None;
        }
        let fill = |digit: char| {
            let digits: String =
                prefix.chars().filter(|c| *c != '-').chain(std::iter::repeat(digit)).take(32).collect();
            u128::from_str_radix(&digits, 16).ok().map(|id| Self::from_bytes(id.to_be_bytes()))
        };
        Some((fill('0')?, fill('f')?))
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RunId({self})")
    }
}

impl FromStr for RunId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidId { what: "run id", text: text.to_owned(), rule: "a UUID" })
    }
}

impl FromStr for WorkflowId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if is_valid_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { what: "workflow id", text: text.to_owned(), rule: NAME_RULE })
        }
    }
}

impl FromStr for NodeId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        if is_valid_name(text) {
            Ok(Self(text.into()))
        } else {
            Err(InvalidId { what: "node id", text: text.to_owned(), rule: NAME_RULE })
        }
    }
}

/// The BLAKE3 hash of some bytes: names a workflow's version and a large value. Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, JsonSchema)]
#[schemars(with = "String")]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// The next link of a chain: names `next` and everything that came before it.
    #[must_use]
    pub fn chained(self, next: Self) -> Self {
        let mut link = [0; 64];
        link[..32].copy_from_slice(&self.0);
        link[32..].copy_from_slice(&next.0);
        Self::of(&link)
    }

    /// The 32 bytes, as stores keep them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the 32 bytes that [`ContentHash::as_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        blake3::Hash::from_bytes(self.0).to_hex().fmt(f)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ContentHash({self})")
    }
}

impl FromStr for ContentHash {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        blake3::Hash::from_hex(text).map(|hash| Self(*hash.as_bytes())).map_err(|_| InvalidId {
            what: "content hash",
            text: text.to_owned(),
            rule: "64 hexadecimal digits",
        })
    }
}

impl Serialize for ContentHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for good in ["a", "_x", "9", "a.b-c_d", &"x".repeat(128)] {
            assert!(good.parse::<NodeId>().is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a b", "ä", "a/b", &"x".repeat(129)] {
            assert!(bad.parse::<NodeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn ids_come_back_from_their_text_and_bytes() {
        let run: RunId = "01998e3c-0000-7000-8000-00000000002a".parse().expect("a UUID");
        assert_eq!(run, run.to_string().parse().expect("its own text"));
        assert_eq!(run, RunId::from_bytes(*run.as_bytes()));
        let hash = ContentHash::of(b"segue");
        assert_eq!(hash, hash.to_string().parse().expect("its own text"));
    }

    #[test]
    fn a_prefix_is_a_range_of_ids() {
        let id: RunId = "01998e3c-0a00-7000-8000-00000000002a".parse().expect("an id");
        for length in 0..=36 {
            let (first, last) = RunId::with_prefix(&id.to_string()[..length]).expect("a prefix of an id");
            assert!((first..=last).contains(&id), "{length}");
        }
        assert_eq!(RunId::with_prefix(&id.to_string()), Some((id, id)));
        for none in ["01998E", "01998e3c0", "x", "01998e3c-0a00-7000-8000-00000000002a0", "-"] {
            assert_eq!(RunId::with_prefix(none), None, "{none}");
        }
    }
}
