//! Takes secrets out of what an attempt says.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

use segue_core::{
    outcome::{TaskError, TaskOutcome},
    payload::Payload,
    ports::{Progress, ProgressSink},
    question::Question,
};
use serde_json::Value;

/// A secret that is shorter is not looked for: it would be found in every text.
const LENGTH_MIN: usize = 4;
/// A line of a secret of several lines, a key file for example, is looked for if it has this length.
const LINE_LENGTH_MIN: usize = 16;

/// Replaces the secrets that an attempt was given, in whatever form it gives them back, by `[secret NAME]`.
///
/// It finds each as it is, as it stands in JSON, and as it stands in a URL; of one with several lines also every long
/// line. What an attempt has changed otherwise (cut in pieces, encoded, encrypted) cannot be found.
pub(crate) struct Redactor {
    /// What to look for and what to put there instead, the longest first: one secret may hold another.
    forms: Vec<(String, Arc<str>)>,
}

impl Redactor {
    /// Of these secrets, by name.
    pub(super) fn of(secrets: &[(&str, String)]) -> Self {
        let mut forms: Vec<(String, Arc<str>)> = Vec::new();
        for (name, text) in secrets {
            let mark: Arc<str> = format!("[secret {name}]").into();
            let lines = text.lines().map(str::trim).filter(|line| line.len() >= LINE_LENGTH_MIN);
            for text in [text.as_str(), text.trim()].into_iter().chain(lines) {
                if text.len() >= LENGTH_MIN {
                    forms.extend(spellings(text).into_iter().map(|form| (form, mark.clone())));
                }
            }
        }
        forms.sort_by(|(a, _), (b, _)| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup_by(|(a, _), (b, _)| a == b);
        Self { forms }
    }

    /// What an attempt answers.
    pub(crate) fn outcome(&self, outcome: TaskOutcome) -> TaskOutcome {
        match outcome {
            TaskOutcome::Succeeded { output, usage, warnings } => TaskOutcome::Succeeded {
                output: self.payload(output),
                usage,
                warnings: warnings.into_iter().map(|warning| self.text(&warning).into_owned()).collect(),
            },
            TaskOutcome::Failed { error, usage } => TaskOutcome::Failed { error: self.error(error), usage },
            TaskOutcome::Cancelled { usage } => TaskOutcome::Cancelled { usage },
            TaskOutcome::Lost { by, message, usage } => {
                TaskOutcome::Lost { by, message: self.text(&message).into_owned(), usage }
            }
            TaskOutcome::Waiting { question, usage } => {
                TaskOutcome::Waiting { question: self.question(question), usage }
            }
        }
    }

    fn question(&self, mut question: Question) -> Question {
        question.prompt = self.text(&question.prompt).into_owned();
        question.resume = self.value(&question.resume).into_owned();
        for item in &mut question.items {
            item.value = self.value(&item.value).into_owned();
            item.schema = item.schema.take().map(|schema| self.value(&schema).into_owned());
        }
        question
    }

    fn payload(&self, payload: Payload) -> Payload {
        match payload.value().map(|value| self.value(value)) {
            Some(Cow::Owned(value)) => Payload::new(value),
            Some(Cow::Borrowed(_)) | None => payload,
        }
    }

    fn error(&self, mut error: TaskError) -> TaskError {
        error.message = self.text(&error.message).into_owned();
        error.detail = error.detail.map(|detail| self.value(&detail).into_owned());
        error
    }

    /// A value, its keys included. Borrowed if there is nothing in it.
    fn value<'a>(&self, value: &'a Value) -> Cow<'a, Value> {
        if !self.is_in(value) {
            return Cow::Borrowed(value);
        }
        Cow::Owned(match value {
            Value::String(text) => self.text(text).into_owned().into(),
            Value::Array(items) => items.iter().map(|item| self.value(item).into_owned()).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(key, field)| (self.text(key).into_owned(), self.value(field).into_owned()))
                .collect(),
            Value::Number(number) => self.text(&number.to_string()).into_owned().into(),
            Value::Null | Value::Bool(_) => value.clone(),
        })
    }

    fn is_in(&self, value: &Value) -> bool {
        let found = |text: &str| matches!(self.text(text), Cow::Owned(_));
        match value {
            Value::String(text) => found(text),
            Value::Number(number) => found(&number.to_string()),
            Value::Array(items) => items.iter().any(|item| self.is_in(item)),
            Value::Object(fields) => fields.iter().any(|(key, field)| found(key) || self.is_in(field)),
            Value::Null | Value::Bool(_) => false,
        }
    }

    /// One pass: what is put in is not looked at again. Each form is looked for once from end to end.
    fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        let mut next: Vec<Option<usize>> = self.forms.iter().map(|(form, _)| text.find(form.as_str())).collect();
        if next.iter().all(Option::is_none) {
            return Cow::Borrowed(text);
        }
        let (mut clean, mut done) = (String::with_capacity(text.len()), 0);
        loop {
            for (at, (form, _)) in next.iter_mut().zip(&self.forms) {
                if at.is_some_and(|at| at < done) {
                    *at = text[done..].find(form.as_str()).map(|found| done + found);
                }
            }
            // Of those that begin at one place the longest, which comes first.
            let first = next.iter().zip(&self.forms).filter_map(|(at, form)| Some(((*at)?, form)));
            let Some((at, (form, mark))) = first.min_by_key(|(at, _)| *at) else { break };
            clean.push_str(&text[done..at]);
            clean.push_str(mark);
            done = at + form.len();
        }
        clean.push_str(&text[done..]);
        Cow::Owned(clean)
    }
}

/// How a text may come back: as it is, inside a JSON text, inside a URL or a form.
fn spellings(text: &str) -> Vec<String> {
    let json = Value::from(text).to_string();
    let json = json[1..json.len() - 1].to_owned();
    let twice = Value::from(json.as_str()).to_string();
    vec![
        text.to_owned(),
        twice[1..twice.len() - 1].to_owned(),
        json,
        percent_encoded(text, ""),
        percent_encoded(text, "/"),
        percent_encoded(text, " ").replace(' ', "+"),
    ]
}

fn percent_encoded(text: &str, kept: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || kept.as_bytes().contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            write!(encoded, "%{byte:02X}").expect("a string takes every text");
        }
        encoded
    })
}

/// An attempt's progress without its secrets.
pub(crate) struct Redacted {
    pub(crate) inner: Arc<dyn ProgressSink>,
    pub(crate) redactor: Arc<Redactor>,
}

impl ProgressSink for Redacted {
    fn emit(&self, progress: Progress) {
        if self.is_wanted() {
            let data = self.redactor.value(&progress.data).into_owned();
            self.inner.emit(Progress { data, ..progress });
        }
    }

    fn is_wanted(&self) -> bool {
        self.inner.is_wanted()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(secrets: &[(&str, &str)], text: &str) -> String {
        let secrets: Vec<_> = secrets.iter().map(|(name, text)| (*name, (*text).to_owned())).collect();
        Redactor::of(&secrets).text(text).into_owned()
    }

    #[test]
    fn every_spelling_is_found() {
        let secret = [("K", "p\"a /s\nw")];
        assert_eq!(text(&secret, "it is p\"a /s\nw."), "it is [secret K].");
        assert_eq!(text(&secret, r#"{"k": "p\"a /s\nw"}"#), r#"{"k": "[secret K]"}"#);
        assert_eq!(text(&secret, r#"{"k": "{\"k\": \"p\\\"a /s\\nw\"}"}"#), r#"{"k": "{\"k\": \"[secret K]\"}"}"#);
        assert_eq!(text(&secret, "?k=p%22a%20%2Fs%0Aw&l"), "?k=[secret K]&l");
        assert_eq!(text(&secret, "?k=p%22a%20/s%0Aw"), "?k=[secret K]");
        assert_eq!(text(&secret, "?k=p%22a+%2Fs%0Aw"), "?k=[secret K]");
        assert_eq!(text(&[("K", "abc")], "abc"), "abc", "too short to be looked for");
        let key = "-----BEGIN KEY-----\nMIIEvQIBADANBgkqhkiG\nend\n";
        assert_eq!(text(&[("K", key)], "line: MIIEvQIBADANBgkqhkiG"), "line: [secret K]");
    }

    #[test]
    fn the_longest_wins_and_what_is_put_in_is_left_alone() {
        let secrets = [("A", "secret"), ("B", "secret-and-more")];
        assert_eq!(text(&secrets, "secret-and-more secret secrets"), "[secret B] [secret A] [secret A]s");
        assert_eq!(text(&[("A", "aaaa")], "aaaaaaaaa"), "[secret A][secret A]a");
    }

    #[test]
    fn nothing_of_an_outcome_is_forgotten() {
        let redactor = Redactor::of(&[("K", "hunter22".to_owned()), ("N", "4711".to_owned())]);
        let output =
            json!({"hunter22": ["x hunter22", 4711, 1.5, null, {"deep": "hunter22"}], "big": "y".repeat(70_000)});
        let outcome = TaskOutcome::Succeeded {
            output: Payload::new(output),
            usage: Default::default(),
            warnings: vec!["w hunter22".to_owned()],
        };
        let TaskOutcome::Succeeded { output, warnings, .. } = redactor.outcome(outcome) else { panic!("a success") };
        let clean = &**output.value().expect("loaded");
        assert_eq!(clean["[secret K]"], json!(["x [secret K]", "[secret N]", 1.5, null, {"deep": "[secret K]"}]));
        let (_, stored) = output.blob_to_store().expect("a large value");
        assert!(!String::from_utf8_lossy(stored).contains("hunter22"));
        assert_eq!(warnings, ["w [secret K]"]);

        let error = TaskError::new(segue_core::outcome::ErrorKind::User, "m hunter22").with_detail(json!(["hunter22"]));
        let failed = redactor.outcome(TaskOutcome::Failed { error, usage: Default::default() });
        let lost = redactor.outcome(TaskOutcome::lost(segue_core::outcome::Loss::Worker, "hunter22"));
        let question = Question::open("? hunter22", json!(["hunter22"]), json!({ "token": "hunter22" }));
        let waiting = redactor.outcome(TaskOutcome::Waiting { question, usage: Default::default() });
        for outcome in [failed, lost, waiting] {
            let text = format!("{outcome:?}");
            assert!(!text.contains("hunter22") && text.contains("[secret K]"), "{text}");
        }
    }
}
