//! What a waiting task waits for, and the commands that answer it.

use std::time::Duration;

use segue_core::{
    event::Waiting,
    ports::WaitReason,
    question::{Question, QuestionItem},
};
use segue_engine::LimitWaiting;
use serde_json::{Map, Value};

use crate::render::text::second;

/// What is asked as fields of a form, as far as a shell needs to know them.
pub(crate) fn fields(question: &Question) -> Map<String, Value> {
    let schema = |item: &QuestionItem| item.schema.clone().unwrap_or_default();
    question.items.iter().map(|item| (item.id.clone(), schema(item))).collect()
}

/// In a few words: `an answer: "May it go out?"`, `the event paid`, `12:30:00 (UTC)`.
pub(crate) fn what(waiting: &Waiting) -> String {
    let until = |due: &Option<segue_core::time::Timestamp>| {
        due.map_or(String::new(), |due| format!(", until {} (UTC)", second(due)))
    };
    match waiting {
        Waiting::Approval { title, due, .. } => format!("an answer: \"{title}\"{}", until(due)),
        Waiting::Time { due } => format!("{} (UTC)", second(*due)),
        Waiting::Event { event, due } => format!("the event {event}{}", until(due)),
        Waiting::Child { run_id, workflow_id, .. } => format!("run {run_id} of {workflow_id}"),
        Waiting::Failure { error, .. } => format!("a decision: {}: {}", error.kind, error.message),
        Waiting::Question { question, .. } => format!("an answer: \"{}\"", first_line(&question.prompt)),
    }
}

/// Limits that are not open: `the limit model: 3 of 3 run`.
pub(crate) fn limits(limits: &[LimitWaiting]) -> String {
    let one = |waiting: &LimitWaiting| {
        let left = || waiting.opens_in.map_or(String::new(), |left| format!(", for {:.1} s more", left.as_secs_f64()));
        let why = match waiting.why {
            WaitReason::Full => format!("{} of {} run", waiting.held, waiting.concurrent.unwrap_or_default()),
            WaitReason::Rate => format!("its minute is used up{}", left()),
            WaitReason::Tokens => format!("its tokens of a minute are used up{}", left()),
            WaitReason::Paused => format!("a provider asked to wait{}", left()),
            WaitReason::Turn | WaitReason::NoLease => "another workflow comes first".to_owned(),
        };
        format!("the limit {}: {why}", waiting.limit)
    };
    limits.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// The same, as the document of a run tells them.
pub(crate) fn told_limits(limits: &[Value]) -> String {
    let one = |limit: &Value| {
        let name = limit["limit"].as_str().unwrap_or_default();
        let why = serde_json::from_value(limit["why"].clone()).unwrap_or(WaitReason::Turn);
        let number = |key: &str| limit[key].as_u64().and_then(|number| u32::try_from(number).ok());
        let opens_in = limit["opens_in_seconds"].as_f64().map(|left| Duration::from_secs_f64(left.max(0.0)));
        let (held, concurrent) = (number("held").unwrap_or_default(), number("concurrent"));
        LimitWaiting { limit: name.to_owned(), why, held, concurrent, opens_in }
    };
    self::limits(&limits.iter().map(one).collect::<Vec<_>>())
}

/// The command that brings what is waited for, where one can; `run` is named as a command takes it.
pub(crate) fn command(run: &str, task: &str, waiting: &Waiting) -> Option<String> {
    match waiting {
        Waiting::Approval { form, .. } => {
            let form: String = form.keys().map(|name| format!(" --form {name}=…")).collect();
            Some(format!("segue approve {run} {}{form}", quoted(task)))
        }
        Waiting::Event { event, .. } => Some(format!("segue signal {run} {} --data '{{}}'", quoted(event))),
        Waiting::Failure { .. } => Some(format!("segue approve {run} {}", quoted(task))),
        Waiting::Question { question, .. } => {
            let form: String = question.items.iter().map(|item| format!(" --form {}=…", item.id)).collect();
            Some(format!("segue approve {run} {}{form}", quoted(task)))
        }
        Waiting::Time { .. } | Waiting::Child { .. } => None,
    }
}

/// The same, with what else could be answered.
pub(crate) fn choice(run: &str, task: &str, waiting: &Waiting) -> Option<String> {
    let command = command(run, task, waiting)?;
    Some(match waiting {
        Waiting::Approval { .. } => format!("{command}   (or: segue reject)"),
        Waiting::Question { .. } => format!("{command}   (segue reject lets it fail)"),
        Waiting::Failure { .. } => format!("{command}   (tries again; segue reject lets it fail)"),
        _ => command,
    })
}

/// Does it wait for somebody outside, and for nothing that comes by itself?
pub(crate) const fn is_for_somebody(waiting: &Waiting) -> bool {
    matches!(
        waiting,
        Waiting::Approval { .. } | Waiting::Event { .. } | Waiting::Failure { .. } | Waiting::Question { .. }
    )
}

fn first_line(text: &str) -> &str {
    text.trim().lines().next().unwrap_or_default()
}

/// A word as a shell takes it: instances (`sign[2]`) and iterations (`sign#2`) hold what shells would read.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_.-/@:".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use segue_core::time::Timestamp;
    use serde_json::json;

    use super::*;

    const RUN: &str = "07070707-0707";

    #[test]
    fn each_kind_says_what_it_waits_for_and_how_to_answer() {
        let form = json!({"amount": {"type": "integer"}}).as_object().cloned().unwrap_or_default();
        let title = "Pay?".to_owned();
        let approval = Waiting::Approval { title, message: None, form, approvers: Vec::new(), due: None };
        assert_eq!(what(&approval), "an answer: \"Pay?\"");
        assert_eq!(
            choice(RUN, "pay[2]", &approval).as_deref(),
            Some("segue approve 07070707-0707 'pay[2]' --form amount=…   (or: segue reject)")
        );
        let event = Waiting::Event { event: "paid".to_owned(), due: Some(Timestamp::from_micros(0)) };
        assert_eq!(what(&event), "the event paid, until 1970-01-01 00:00:00 (UTC)");
        assert_eq!(command(RUN, "wait", &event).as_deref(), Some("segue signal 07070707-0707 paid --data '{}'"));
        let time = Waiting::Time { due: Timestamp::from_micros(0) };
        assert_eq!((what(&time).as_str(), command(RUN, "t", &time)), ("1970-01-01 00:00:00 (UTC)", None));
    }
    #[test]
    fn limits_say_why_they_are_not_open() {
        let told = json!([
            {"limit": "site", "why": "full", "held": 4, "concurrent": 4},
            {"limit": "model", "why": "rate", "held": 0, "opens_in_seconds": 2.5},
            {"limit": "other", "why": "turn", "held": 0},
        ]);
        assert_eq!(
            told_limits(told.as_array().map_or(&[], Vec::as_slice)),
            "the limit site: 4 of 4 run; the limit model: its minute is used up, for 2.5 s more; \
             the limit other: another workflow comes first"
        );
    }
}
