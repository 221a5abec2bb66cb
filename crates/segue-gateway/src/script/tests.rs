#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use segue_core::{
    ids::{RunId, TaskId},
    spec::{Diagnostic, OutputSchema},
};

use super::{types::Kind, *};
use crate::upstream::Caller;

fn script(text: &str) -> Script {
    let parsed = Script::parse(text.as_bytes(), None);
    parsed.spec.unwrap_or_else(|| panic!("{text}\n{:#?}", parsed.diagnostics))
}

fn problems(text: &str) -> Vec<Diagnostic> {
    let parsed = Script::parse(text.as_bytes(), None);
    assert!(parsed.spec.is_none(), "{text}");
    parsed.diagnostics
}

fn caller(run: u8, task: &str, attempt: u32) -> Caller {
    let run_id = RunId::from_bytes([run; 16]);
    Caller { run_id, task: TaskId::new(task), effect_key: format!("{run_id}/{task}"), attempt }
}

/// What a director says to a call: its text, its status, or `-` for the built-in model's own answer.
fn say(director: &Director, caller: &Caller, model: &str, text: &str) -> String {
    match director.choose(&Asked { caller, kind: Kind::Chat, model, text }) {
        None => "-".to_owned(),
        Some(reply) => match reply.what {
            What::Text(text) => text,
            What::Status { status, .. } => status.to_string(),
            other => format!("{other:?}"),
        },
    }
}

fn director(text: &str) -> Director {
    Director::new(Arc::new(script(text)))
}

#[test]
fn replies_come_in_their_order_for_each_task_by_itself() {
    let director = director(
        "rules:
           - replies:
               - { status: 429, retry_after: 0.5, times: 2 }
               - text: one
           - replies: [text: two]
default: { text: rest }",
    );
    let wanted = ["429", "429", "one", "two", "rest", "rest"];
    // Two tasks take turns, and what one is answered changes nothing for the other; attempts go on where the last one was.
    for (at, wanted) in wanted.iter().enumerate() {
        let attempt = u32::try_from(at).unwrap();
        for task in ["a", "b"] {
            assert_eq!(say(&director, &caller(1, task, attempt), "m", "hi"), *wanted, "{task} {at}");
        }
    }
    assert_eq!(say(&director, &caller(2, "a", 1), "m", "hi"), "429", "another run begins anew");
}

#[test]
fn what_is_counted_together_can_be_said() {
    let of = |counters: &str| director(&format!("counters: {counters}\nrules: [{{ replies: [text: first] }}]"));
    let said = |director: &Director| {
        [(1, "a", 1), (1, "a", 2), (1, "b", 1), (2, "a", 1)]
            .map(|(run, task, attempt)| say(director, &caller(run, task, attempt), "m", "hi"))
    };
    assert_eq!(said(&of("task")), ["first", "-", "first", "first"]);
    assert_eq!(said(&of("attempt")), ["first", "first", "first", "first"]);
    assert_eq!(said(&of("run")), ["first", "-", "-", "first"]);
}

#[test]
fn a_rule_is_for_what_it_says() {
    let director = director(
        "rules:
           - { when: { task: 'count[2]' }, reply: { text: instance } }
           - { when: { task: count }, reply: { text: node } }
           - { when: { task: 'improve/wri*' }, reply: { text: part } }
           - { when: { model: 'gpt-*', contains: [rain, wind] }, reply: { text: storm } }
           - { when: { model: 'gpt-*', contains: rain }, reply: { text: shower } }
           - { when: { kind: embeddings }, reply: { status: 503 } }",
    );
    for (task, model, text, wanted) in [
        ("count[2]", "m", "", "instance"),
        ("count[3]", "m", "", "node"),
        ("count", "m", "", "node"),
        ("counter", "m", "", "-"),
        ("improve#2/write", "m", "", "part"),
        ("x", "gpt-4o", "wind and rain", "storm"),
        ("x", "gpt-4o", "rain", "shower"),
        ("x", "llama", "rain", "-"),
        ("x", "gpt-4o", "Rain", "-"),
    ] {
        assert_eq!(say(&director, &caller(1, task, 1), model, text), wanted, "{task} {model} {text}");
    }
    let embeddings = Asked { caller: &caller(1, "x", 1), kind: Kind::Embeddings, model: "e", text: "" };
    assert!(matches!(director.choose(&embeddings).unwrap().what, What::Status { status: 503, .. }));
}

#[test]
fn the_nth_call_is_that_of_those_that_fit_whoever_answers() {
    let director = director(
        "rules:
           - { when: { nth: 1 }, reply: { text: first } }
           - { when: { nth: [2, 4] }, reply: { text: even } }
           - { when: { contains: z, nth: 2 }, reply: { text: second z } }",
    );
    let said = ["a", "z", "a", "a", "z", "z"].map(|text| say(&director, &caller(1, "t", 1), "m", text));
    assert_eq!(said, ["first", "even", "-", "even", "second z", "-"]);
}

#[test]
fn everything_that_a_reply_can_be_is_read() {
    let script = script(
        "script: 1
rules:
  - replies:
      - { json: { a: [1] }, usage: { input_tokens: 7, output_tokens: 2, cached_input_tokens: 3 }, delay_seconds: 0.25 }
      - { json: null }
      - { calls: [{ name: look, arguments: { at: sky } }, { name: wait }], times: 3 }
      - { cut_after: 2, chunk_delay_seconds: 1 }
      - { text: x, stall_after: 4 }
      - { built_in: true }
      - { status: 429, retry_after: 2, message: slow, code: insufficient_quota }
      - { malformed: true }
      - { malformed: '<html>' }
      - { drop: true }
      - { hang: true, times: 0 }
",
    );
    let replies = &script.rules[0].replies;
    assert_eq!(replies[0].what, What::Text(r#"{"a":[1]}"#.to_owned()));
    assert_eq!((replies[0].about.usage, replies[0].about.delay.as_millis()), (Some((7, 2, 3)), 250));
    assert_eq!(replies[1].what, What::Text("null".to_owned()));
    let What::Calls(calls) = &replies[2].what else { panic!("{:?}", replies[2]) };
    assert_eq!((calls[0].name.as_str(), calls[1].arguments.to_string().as_str()), ("look", "{}"));
    assert_eq!((replies[2].times, replies[3].about.cut_after), (Some(3), Some(2)));
    assert_eq!((&replies[3].what, &replies[5].what), (&What::BuiltIn, &What::BuiltIn));
    assert_eq!(replies[4].about.stall_after, Some(4));
    let status = What::Status {
        status: 429,
        retry_after: Some(2.0),
        message: Some("slow".to_owned()),
        code: Some("insufficient_quota".to_owned()),
    };
    assert_eq!(replies[6].what, status);
    assert_eq!((&replies[7].what, &replies[9].what), (&What::Malformed(None), &What::Drop));
    assert_eq!((&replies[10].what, replies[10].times), (&What::Hang, Some(0)));
}

#[test]
fn every_mistake_has_its_place_and_its_cure() {
    for (text, code, path, says) in [
        ("[]", "not-a-mapping", "", "a script is a mapping"),
        ("script: 2", "unsupported-version", "/script", "write `script: 1`"),
        ("rule: []", "unknown-field", "/rule", "did you mean `rules`?"),
        ("rules: {}", "wrong-type", "/rules", "`rules` is a list"),
        ("counters: tasks", "unknown-value", "/counters", "did you mean `task`?"),
        ("rules: [{}]", "missing-field", "/rules/0", "a rule needs `reply` or `replies`"),
        ("rules: [{ reply: {}, replies: [] }]", "misplaced-field", "/rules/0/reply", "either"),
        ("rules: [{ when: { modle: x }, reply: {} }]", "unknown-field", "/rules/0/when/modle", "did you mean `model`?"),
        ("rules: [{ when: { nth: 0 }, reply: {} }]", "wrong-type", "/rules/0/when/nth", "from 1"),
        ("rules: [{ when: { contains: [1] }, reply: {} }]", "wrong-type", "/rules/0/when/contains/0", "in quotes"),
        (
            "rules: [{ when: { kind: chats }, reply: {} }]",
            "unknown-value",
            "/rules/0/when/kind",
            "did you mean `chat`?",
        ),
        ("rules: [{ reply: { texts: x } }]", "unknown-field", "/rules/0/reply/texts", "did you mean `text`?"),
        ("default: { text: x, hang: true }", "misplaced-field", "/default/hang", "a reply is one thing"),
        ("default: { status: 200 }", "out-of-range", "/default/status", "400 to 599"),
        ("default: { status: ok }", "wrong-type", "/default/status", "whole number"),
        ("default: { text: x, retry_after: 1 }", "misplaced-field", "/default/retry_after", "`status`"),
        ("default: { drop: true, cut_after: 1 }", "misplaced-field", "/default/cut_after", "an answer"),
        ("default: { drop: 1 }", "wrong-type", "/default/drop", "`true`"),
        ("default: { delay_seconds: 1h }", "duration", "/default/delay_seconds", "3600"),
        ("default: { delay_seconds: -1 }", "out-of-range", "/default/delay_seconds", "from 0"),
        ("default: { calls: [] }", "out-of-range", "/default/calls", "no call"),
        ("default: { calls: [{}] }", "missing-field", "/default/calls/0/name", "a call needs `name`"),
        (
            "default: { usage: { cached_input_tokens: 1 } }",
            "out-of-range",
            "/default/usage/cached_input_tokens",
            "part of",
        ),
        (
            "rules: [{ when: { kind: embeddings }, reply: { text: x } }]",
            "misplaced-field",
            "/rules/0/reply/text",
            "a vector",
        ),
        ("rules: [", "yaml-syntax", "", ""),
    ] {
        let problems = problems(text);
        let [problem] = &problems[..] else { panic!("{text}: {problems:#?}") };
        assert_eq!((problem.code.as_str(), problem.path.as_str()), (code, path), "{text}: {problem:#?}");
        let said = format!("{} {}", problem.message, problem.help.as_deref().unwrap());
        assert!(said.contains(says), "{text}: {said}");
        assert!(problem.span.is_some(), "{text}");
    }
}

#[test]
fn the_schema_takes_what_the_reader_takes() {
    let schema = OutputSchema::compile(&script_schema()).unwrap();
    for (text, is_right) in [
        ("rules: [{ when: { nth: [1, 2], contains: x }, reply: { status: 429, retry_after: 0.5 } }]", true),
        ("counters: run\ndefault: { json: null, usage: { input_tokens: 1 } }", true),
        (
            "rules: [{ replies: [{ calls: [{ name: x }] }, { malformed: '<' }, { cut_after: 0 }, { stall_after: 1 }] }]\nx-mine: 1",
            true,
        ),
        ("rules: [{ when: {} }]", false),
        ("rules: [{ reply: { texts: x } }]", false),
        ("default: { status: 200 }", false),
        ("counters: tasks", false),
    ] {
        let value: Value = parse_document(text.as_bytes(), None, |value, _| Some(value.clone())).spec.unwrap();
        assert_eq!(schema.misfits(&value).is_empty(), is_right, "{text}: {:?}", schema.misfits(&value));
        assert_eq!(Script::parse(text.as_bytes(), None).spec.is_some(), is_right, "{text}");
    }
}
