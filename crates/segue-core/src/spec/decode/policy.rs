//! `retry_policy`, `budget`, `limits` and `on_failure`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Decoder, fields::Fields};
use crate::{
    outcome::ErrorKind,
    spec::{
        BudgetSpec, FailureAction, LimitSpec, OnFailure, RetryPolicy, codes,
        problem::{At, Problem},
    },
};

const RETRY: [&str; 7] = [
    "max_attempts",
    "initial_interval_seconds",
    "backoff_coefficient",
    "max_interval_seconds",
    "jitter",
    "retry_on",
    "do_not_retry_on",
];

const ACTIONS: [&str; 3] = ["fail", "continue", "pause"];

impl Decoder<'_> {
    pub(crate) fn retry_policy(&mut self, fields: &Fields<'_>) -> Option<RetryPolicy> {
        let value = fields.get("retry_policy")?;
        let at = fields.at.key("retry_policy");
        let own = self.mapping(value, &at, "`retry_policy`")?;
        self.only(&own, "`retry_policy`", &RETRY, &[]);
        Some(RetryPolicy {
            max_attempts: self.whole(&own, "max_attempts"),
            initial_interval_seconds: self.seconds(&own, "initial_interval_seconds"),
            backoff_coefficient: self.number(&own, "backoff_coefficient"),
            max_interval_seconds: self.seconds(&own, "max_interval_seconds"),
            jitter: self.word(&own, "jitter", &["full", "none"], &[]),
            retry_on: self.error_kinds(&own, "retry_on"),
            do_not_retry_on: self.error_kinds(&own, "do_not_retry_on"),
        })
    }

    fn error_kinds(&mut self, fields: &Fields<'_>, name: &'static str) -> Option<Vec<ErrorKind>> {
        let items = self.list(fields, name, None)?;
        let list_at = fields.at.key(name);
        let known = ErrorKind::ALL.map(ErrorKind::as_str);
        let kinds = items.iter().enumerate();
        Some(kinds.filter_map(|(index, item)| self.one_word(item, &list_at.index(index), name, &known, &[])).collect())
    }

    pub(crate) fn budget(&mut self, fields: &Fields<'_>) -> Option<BudgetSpec> {
        let value = fields.get("budget")?;
        let at = fields.at.key("budget");
        let own = self.mapping(value, &at, "`budget`")?;
        self.only(&own, "`budget`", &["usd", "tokens", "on_exceeded"], &[]);
        if own.get("usd").or(own.get("tokens")).is_none() {
            let problem = Problem::new(&codes::MISSING_FIELD, at, "`budget` needs `usd`, `tokens` or both");
            self.add(problem.help("write `budget: { tokens: 100000 }`"));
        }
        let tokens = self.count(&own, "tokens");
        let usd = self.number(&own, "usd");
        let on_exceeded = self.word(&own, "on_exceeded", &ACTIONS, &[]).unwrap_or_default();
        Some(BudgetSpec { usd, tokens, on_exceeded })
    }

    /// A whole number that may be large.
    fn count(&mut self, fields: &Fields<'_>, name: &str) -> Option<u64> {
        let value = fields.get(name)?;
        let count = value.as_u64();
        if count.is_none() {
            self.wrong_type(&fields.at.key(name), &format!("`{name}` is a whole number"), value);
        }
        count
    }

    pub(crate) fn limits(&mut self, fields: &Fields<'_>) -> BTreeMap<String, LimitSpec> {
        let at = fields.at.key("limits");
        let Some(value) = fields.get("limits") else { return BTreeMap::new() };
        let Some(own) = self.mapping(value, &at, "`limits`") else { return BTreeMap::new() };
        let named = own.map.iter().filter(|(name, _)| !name.starts_with("x-"));
        named.filter_map(|(name, value)| Some((name.clone(), self.limit(value, &at.key(name))?))).collect()
    }

    /// One limit: also of the configuration.
    pub fn limit(&mut self, value: &Value, at: &At<'_>) -> Option<LimitSpec> {
        let own = self.mapping(value, at, "a limit")?;
        self.only(&own, "a limit", &["concurrent", "per_minute", "tokens_per_minute", "key"], &[]);
        if ["concurrent", "per_minute", "tokens_per_minute"].into_iter().all(|name| own.get(name).is_none()) {
            let message = "a limit needs `concurrent`, `per_minute` or `tokens_per_minute`";
            self.add(Problem::new(&codes::MISSING_FIELD, at, message).help("write `{ concurrent: 4 }`"));
        }
        Some(LimitSpec {
            concurrent: self.whole(&own, "concurrent"),
            per_minute: self.whole(&own, "per_minute"),
            tokens_per_minute: self.count(&own, "tokens_per_minute"),
            key: self.condition(&own, "key"),
        })
    }

    pub(crate) fn on_failure(&mut self, fields: &Fields<'_>) -> Option<OnFailure> {
        let value = fields.get("on_failure")?;
        let at = fields.at.key("on_failure");
        if let Value::String(word) = value {
            let message = "`on_failure` of a node is a mapping; this is a text";
            self.add(
                Problem::new(&codes::WRONG_TYPE, at, message).help(format!("write `on_failure: {{ action: {word} }}`")),
            );
            return None;
        }
        let own = self.mapping(value, &at, "`on_failure`")?;
        self.only(&own, "`on_failure`", &["action", "output"], &[]);
        let action = self.word(&own, "action", &ACTIONS, &[]);
        Some(OnFailure { action: action.unwrap_or(FailureAction::Fail), output: own.get("output").cloned() })
    }
}
