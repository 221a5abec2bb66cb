//! `retry_policy` and `on_failure`.

use serde_json::Value;

use super::{Decoder, fields::Fields};
use crate::{
    outcome::ErrorKind,
    spec::{FailureAction, OnFailure, RetryPolicy},
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

    pub(crate) fn on_failure(&mut self, fields: &Fields<'_>) -> Option<OnFailure> {
        let value = fields.get("on_failure")?;
        let at = fields.at.key("on_failure");
        if let Value::String(word) = value {
            let message = "`on_failure` of a node is a mapping; this is a text";
            self.add(
                crate::spec::problem::Problem::new(&crate::spec::codes::WRONG_TYPE, at, message)
                    .help(format!("write `on_failure: {{ action: {word} }}`")),
            );
            return None;
        }
        let own = self.mapping(value, &at, "`on_failure`")?;
        self.only(&own, "`on_failure`", &["action", "output"], &[]);
        let action = self.word(&own, "action", &["fail", "continue", "pause"], &[]);
        Some(OnFailure { action: action.unwrap_or(FailureAction::Fail), output: own.get("output").cloned() })
    }
}
