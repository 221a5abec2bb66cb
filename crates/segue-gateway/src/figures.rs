//! What an answer says about its own consumption.

use segue_core::outcome::Usage;

use serde_json::Value;

/// The `usage` of an answer, in the spelling of any of the endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    input_tokens: u64,
    output_tokens: u64,
    cached_input_tokens: u64,
}

impl Figures {
    /// Reads a `usage` object; none if it says nothing.
    pub(crate) fn of(usage: &Value) -> Option<Self> {
        let number = |names: &[&str]| names.iter().find_map(|name| usage[name].as_u64());
        let input = number(&["prompt_tokens", "input_tokens"]);
        let output = number(&["completion_tokens", "output_tokens"]);
        let total = number(&["total_tokens"]);
        if input.is_none() && output.is_none() && total.is_none() {
            return None;
        }
        let details = ["prompt_tokens_details", "input_tokens_details"];
        let cached = details
            .iter()
            .find_map(|name| usage[name]["cached_tokens"].as_u64())
            .or_else(|| number(&["prompt_cache_hit_tokens", "cache_read_input_tokens"]));
        Some(Self {
            input_tokens: input.unwrap_or_else(|| total.unwrap_or(0).saturating_sub(output.unwrap_or(0))),
            output_tokens: output.unwrap_or(0),
            cached_input_tokens: cached.unwrap_or(0),
        })
    }

    /// About this much, where the answer does not say it.
    pub(crate) const fn estimated(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cached_input_tokens: 0 }
    }

    /// As the usage of one call, its cost still open.
    pub(crate) fn usage(self) -> Usage {
        Usage {
            model_calls: 1,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_input_tokens: self.cached_input_tokens,
            ..Usage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_spelling_is_understood() {
        let chat = json!({ "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10,
            "prompt_tokens_details": { "cached_tokens": 2 } });
        let response = json!({ "input_tokens": 7, "output_tokens": 3, "input_tokens_details": { "cached_tokens": 2 } });
        let wanted = Figures { input_tokens: 7, output_tokens: 3, cached_input_tokens: 2 };
        assert_eq!((Figures::of(&chat), Figures::of(&response)), (Some(wanted), Some(wanted)));
        let embedding = Figures::of(&json!({ "prompt_tokens": 5, "total_tokens": 5 }));
        assert_eq!(embedding, Some(Figures::estimated(5, 0)));
        for nothing in [json!(null), json!({}), json!({ "prompt_tokens": null })] {
            assert_eq!(Figures::of(&nothing), None);
        }
    }
}
