//! What simulated people and systems say to a run that waits: in time, late, twice, to nobody, or nonsense.

use std::time::Duration;

use fastrand::Rng;
use segue_core::{
    event::Waiting,
    ids::TaskId,
    question::{Question, QuestionItem},
    run::Address,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::{
    generate::EVENTS,
    workers::{Letter, Mail, Mood},
};
use crate::auditor::Auditor;

/// Is it for people to end this waiting?
pub(super) const fn can_answer(waiting: &Waiting) -> bool {
    !matches!(waiting, Waiting::Time { .. } | Waiting::Child { .. })
}

/// What comes of a question that is asked at `now`: nothing, an answer, or several.
pub(super) fn answers(rng: &mut Rng, mood: Mood, now: Timestamp, task: &TaskId, waiting: &Waiting) -> Vec<Mail> {
    let mut mail = Vec::new();
    if rng.u8(..100) < mood.hanging * 2 {
        return mail;
    }
    let at = match waiting.due() {
        Some(due) if rng.u8(..6) > 0 => due,
        _ => now.plus(Duration::from_millis(rng.u64(..12_000))),
    };
    mail.push(Mail { at, letter: answer(rng, task, waiting) });
    while rng.u8(..100) < 20 + mood.doubled {
        let later = at.plus(Duration::from_millis(rng.u64(..2_000)));
        mail.push(Mail { at: if rng.bool() { at } else { later }, letter: answer(rng, task, waiting) });
    }
    mail
}

fn answer(rng: &mut Rng, task: &TaskId, waiting: &Waiting) -> Letter {
    let to = match waiting {
        Waiting::Event { event, .. } if rng.bool() => Address::Event(event.clone()),
        _ => Address::Task(task.clone()),
    };
    let data = match waiting {
        Waiting::Event { .. } => signal(rng),
        Waiting::Failure { .. } => verdict(rng),
        Waiting::Question { .. } => reply(rng),
        _ => decision(rng),
    };
    Letter::Signal { to, data }
}

/// An answer to an approval, often one that fits.
pub(super) fn decision(rng: &mut Rng) -> Value {
    let mut answer = json!({ "decision": if rng.u8(..3) > 0 { "approve" } else { "reject" } });
    if rng.u8(..3) > 0 {
        answer["by"] = if rng.u8(..4) > 0 { "ada".into() } else { "eve".into() };
    }
    match rng.u8(..10) {
        0..=3 => answer["form"] = json!({ "n": rng.u8(..5), "note": "fine" }),
        4..=5 => answer["form"] = json!({ "n": rng.u8(..5) }),
        6 => answer["form"] = json!({ "n": "many" }),
        7 => answer["form"] = json!([1]),
        _ => {}
    }
    match rng.u8(..20) {
        0 => json!("approve"),
        1 => json!({ "decision": "perhaps" }),
        2 => json!({}),
        _ => answer,
    }
}

/// What a person makes of a failure.
pub(super) fn verdict(rng: &mut Rng) -> Value {
    match rng.u8(..12) {
        0..=2 => json!({ "decision": "retry", "by": "ada" }),
        3 => json!({ "decision": "approve" }),
        4 => json!({ "decision": "fail" }),
        5 => json!({ "decision": "reject", "comment": "no" }),
        6..=7 => json!({ "decision": "continue", "output": { "n": rng.u8(..3), "go": rng.bool() } }),
        8 => json!({ "decision": "continue", "output": { "$blob": rng.u8(..3) } }),
        9 => json!({ "decision": "continue" }),
        10 => json!({ "decision": "retry", "output": 1 }),
        _ => decision(rng),
    }
}

/// What the code in a task asks.
pub(super) fn question(rng: &mut Rng) -> Question {
    let item = |id: &str, schema: Option<Value>| QuestionItem { id: id.into(), value: Value::Null, schema };
    let mut items = vec![item("answer", None)];
    if rng.bool() {
        items.push(item("more", Some(json!({ "type": "integer" })).filter(|_| rng.bool())));
    }
    Question { prompt: "What now?".into(), items, resume: json!({ "at": rng.u8(..3) }) }
}

/// An answer to it, often one that fits.
pub(super) fn reply(rng: &mut Rng) -> Value {
    match rng.u8(..10) {
        0..=2 => json!({ "answer": rng.u8(..3) }),
        3..=6 => json!({ "answers": { "answer": "so", "more": rng.u8(..3) }, "by": "ada" }),
        7 => json!({ "form": { "answer": 1, "more": 2 }, "decision": "approve" }),
        8 => json!({ "answers": { "answer": "so", "more": "many" } }),
        _ => json!({ "answers": [] }),
    }
}

fn anything(rng: &mut Rng) -> Value {
    [decision, signal, verdict, reply][rng.usize(..4)](rng)
}

/// The data of an event.
pub(super) fn signal(rng: &mut Rng) -> Value {
    match rng.u8(..12) {
        0 => Value::Null,
        1 => json!({ "$blob": 1 }),
        _ => json!({ "n": rng.u8(..4), "go": rng.bool() }),
    }
}

/// A signal that makes no sense where it goes, most of the time.
pub(super) fn nuisance(rng: &mut Rng, names: &[TaskId]) -> Letter {
    let to = match rng.u8(..4) {
        0 => Address::Event(EVENTS[rng.usize(..EVENTS.len())].to_owned()),
        1 => Address::Event("nothing".to_owned()),
        _ => Address::Task(names[rng.usize(..names.len())].clone()),
    };
    let data = anything(rng);
    Letter::Signal { to, data }
}

/// An answer that is taken, for a run that is to end.
pub(super) fn good_answer(rng: &mut Rng, auditor: &Auditor, task: &TaskId) -> Option<Letter> {
    let data = (0..200).map(|_| anything(rng)).find(|data| auditor.answer_to(task, data).is_some())?;
    Some(Letter::Signal { to: Address::Task(task.clone()), data })
}
