//! What a gateway is made with: who has models, what they cost, and how much of them may be asked at once.

use std::{fmt, sync::Arc};

use segue_core::{
    ids::EngineId,
    outcome::Usage,
    ports::{LimitStore, MetricsCollector, ModelJournal},
};

use crate::{cassette::Cassette, clock::Clock, script::Script};

/// What [`Gateway::start`](crate::Gateway::start) takes.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Who has models. None: only rehearsals are answered.
    pub providers: Vec<ProviderOptions>,
    /// Limits and prices, by model.
    pub models: Vec<ModelOptions>,
    /// Where answers are kept.
    pub journal: Arc<dyn ModelJournal>,
    /// What rehearsals are answered; none: what the built-in model says.
    pub script: Option<Arc<Script>>,
    /// What providers answer is recorded there, or answered from there.
    pub cassette: Option<Arc<Cassette>>,
    /// Who counts calls and tokens; none: nobody.
    pub metrics: Option<Arc<dyn MetricsCollector>>,
    /// Where the limits of models hold over all engines of a store; none: in this process.
    pub limits: Option<SharedLimits>,
    /// The time that limits are measured in.
    pub clock: Clock,
}

/// Where limits hold over several engines.
#[derive(Clone)]
pub struct SharedLimits {
    /// Who keeps the slots.
    pub store: Arc<dyn LimitStore>,
    /// The engine whose lease they belong to.
    pub engine: EngineId,
}

impl GatewayOptions {
    /// No provider, no limit, no price.
    pub fn new(journal: Arc<dyn ModelJournal>) -> Self {
        Self {
            providers: Vec::new(),
            models: Vec::new(),
            journal,
            script: None,
            cassette: None,
            metrics: None,
            limits: None,
            clock: Clock::default(),
        }
    }
}

/// One OpenAI-compatible endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderOptions {
    /// What logs and progress call it.
    pub name: String,
    /// Up to and with `/v1`.
    pub base_url: String,
    /// The key that it takes.
    pub key: ProviderKey,
    /// The models it serves, as names or patterns with `*`; none: all.
    pub models: Vec<String>,
    /// Does it take `stream_options`? If not, its streams are counted only if they say their usage by themselves.
    pub stream_usage: bool,
    /// An HTTP proxy on the way there. The environment's proxies are never used.
    pub proxy: Option<String>,
}

impl ProviderOptions {
    /// A provider of all models that needs no key.
    pub fn new(name: impl Into<String>, base_url: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            base_url: base_url.into(),
            key: ProviderKey::None,
            models: Vec::new(),
            stream_usage: true,
            proxy: None,
        }
    }
}

/// A provider's key. Not shown.
#[derive(Clone, PartialEq, Eq)]
pub enum ProviderKey {
    /// It takes none.
    None,
    /// This one.
    Given(String),
    /// It takes one, and it is not where it should be, as this text says.
    Missing(String),
}

impl fmt::Debug for ProviderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Given(_) => f.write_str("Given(…)"),
            Self::Missing(why) => f.debug_tuple("Missing").field(why).finish(),
        }
    }
}

/// Limits and price of the models that a name or pattern fits. The limits are shared by all of them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelOptions {
    /// A name, or a pattern with `*`. Of several that fit, the closest counts.
    pub pattern: String,
    /// Calls at once.
    pub concurrent: Option<u32>,
    /// Calls in any 60 seconds.
    pub requests_per_minute: Option<u32>,
    /// Tokens in any 60 seconds, read and written.
    pub tokens_per_minute: Option<u64>,
    /// What they cost.
    pub price: Option<Price>,
}

/// US dollars a million tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// Tokens read.
    pub input: f64,
    /// Tokens read that the provider had cached; none: as the others.
    pub cached_input: Option<f64>,
    /// Tokens written.
    pub output: f64,
}

impl Price {
    /// What this usage costs, in billionths of a dollar.
    pub fn of(&self, usage: &Usage) -> u64 {
        // A dollar a million tokens is a thousand billionths a token.
        const NANO_USD: f64 = 1_000.0;
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let read =
            (usage.input_tokens - cached) as f64 * self.input + cached as f64 * self.cached_input.unwrap_or(self.input);
        ((read + usage.output_tokens as f64 * self.output) * NANO_USD).round() as u64
    }
}

/// The position of the pattern that fits `model` most closely: the name itself, else the pattern with the most letters.
pub(crate) fn closest<'p>(patterns: impl Iterator<Item = &'p str>, model: &str) -> Option<usize> {
    let fitting = patterns.enumerate().filter(|(_, pattern)| fits(pattern, model));
    // The first of equals: `max_by_key` takes the last.
    let rank = |pattern: &str| (!pattern.contains('*'), pattern.len());
    fitting.reduce(|best, other| if rank(other.1) > rank(best.1) { other } else { best }).map(|(at, _)| at)
}

/// Does `pattern`, in which `*` stands for any text, fit all of `text`?
pub(crate) fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let (middle, end) = rest.rsplit_once('*').map_or(("", rest), |(middle, end)| (middle, end));
    for part in middle.split('*') {
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    text.ends_with(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [("*", ""), ("gpt-*", "gpt-4o"), ("*/b*c", "a/b-c"), ("a*b*c*d", "a1b2c3d"), ("a", "a")]
        {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("gpt-*", "o1"), ("a*a", "a"), ("a", "ab"), ("*x", "xy"), ("a*b*c", "acb"), ("", "a")] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn the_closest_pattern_counts() {
        let patterns = ["*", "gpt-*", "gpt-4o", "gpt-4*"];
        let of = |model| closest(patterns.into_iter(), model);
        assert_eq!((of("gpt-4o"), of("gpt-4.1"), of("gpt-5"), of("o3")), (Some(2), Some(3), Some(1), Some(0)));
        assert_eq!(closest(["a*", "b*"].into_iter(), "c"), None);
    }

    #[test]
    fn cached_tokens_have_a_price_of_their_own() {
        let price = Price { input: 2.5, cached_input: Some(1.25), output: 10.0 };
        let usage = Usage { input_tokens: 1_000, cached_input_tokens: 400, output_tokens: 100, ..Usage::default() };
        // 600 * 2.5 + 400 * 1.25 + 100 * 10 millionths of a dollar.
        assert_eq!(price.of(&usage), 3_000_000);
        assert_eq!(Price { cached_input: None, ..price }.of(&usage), 3_500_000);
    }
}
