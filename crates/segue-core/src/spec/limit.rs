//! `limits`: so many at once, so many a minute, for the nodes that name it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ports::Bounds;

/// The most of anything that a limit may allow; more is a mistake.
pub const LIMIT_MAX: u64 = 1_000_000_000;

/// The limits that one node may name.
pub const LIMITS_OF_A_NODE_MAX: usize = 16;

/// A limit of the attempts of the nodes that name it. One of a document holds for that workflow, one of the configuration
/// for all; both over all engines of a store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitSpec {
    /// Attempts at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub concurrent: Option<u32>,
    /// Attempts that begin in any 60 seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub per_minute: Option<u32>,
    /// Tokens of models in any 60 seconds, read and written: as many as such attempts took before are counted when one
    /// begins, and what it took in truth when it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub tokens_per_minute: Option<u64>,
    /// An expression. Each of its values has a limit of its own: `params.customer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl LimitSpec {
    /// What it allows.
    pub const fn bounds(&self) -> Bounds {
        Bounds { concurrent: self.concurrent, per_minute: self.per_minute, tokens_per_minute: self.tokens_per_minute }
    }

    /// Does it allow everything?
    pub const fn is_empty(&self) -> bool {
        self.concurrent.is_none() && self.per_minute.is_none() && self.tokens_per_minute.is_none()
    }

    /// The fields that are out of range, each with the rule.
    pub fn out_of_range(&self) -> impl Iterator<Item = (&'static str, String)> + use<> {
        let fields = [
            ("concurrent", self.concurrent.map(u64::from)),
            ("per_minute", self.per_minute.map(u64::from)),
            ("tokens_per_minute", self.tokens_per_minute),
        ];
        let wrong = |(_, value): &(_, Option<u64>)| value.is_some_and(|value| !(1..=LIMIT_MAX).contains(&value));
        let told = |(name, value): (&'static str, Option<u64>)| {
            (name, format!("`{name}` is between 1 and {LIMIT_MAX}; this is {}", value.unwrap_or_default()))
        };
        fields.into_iter().filter(wrong).map(told)
    }
}

/// Is this a name that a limit may have? As other names, and with `:`, `/` and `@` for those of models.
pub fn is_limit_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-:/@".contains(&byte);
    first && text.len() <= 128 && bytes.all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_models_are_names_of_limits() {
        for good in ["a", "model:gpt-4o", "openai/gpt-4o", "fleet@eu", "9"] {
            assert!(is_limit_name(good), "{good}");
        }
        for bad in ["", ":a", "a b", "a=b", "ä", &"x".repeat(129)] {
            assert!(!is_limit_name(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_told() {
        let spec =
            LimitSpec { concurrent: Some(0), per_minute: Some(1), tokens_per_minute: Some(LIMIT_MAX + 1), key: None };
        let wrong: Vec<_> = spec.out_of_range().map(|(name, _)| name).collect();
        assert_eq!(wrong, ["concurrent", "tokens_per_minute"]);
    }
}
