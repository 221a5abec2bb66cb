//! From a document to a script: all problems of shape at once, each with its place and its cure.

use std::time::Duration;

use segue_core::spec::{At, Decoder, Fields, Problem, codes, kind_of};
use serde_json::{Value, json};

use super::types::{About, Call, Kind, Reply, Rule, Script, What, When};

/// The fields of which a reply has one.
const KINDS: [&str; 8] = ["text", "json", "calls", "built_in", "status", "malformed", "drop", "hang"];
const REPLY: [&str; 17] = [
    "text",
    "json",
    "calls",
    "built_in",
    "status",
    "malformed",
    "drop",
    "hang",
    "retry_after",
    "message",
    "code",
    "usage",
    "delay_seconds",
    "chunk_delay_seconds",
    "cut_after",
    "stall_after",
    "times",
];
/// Longer than any test waits.
const SECONDS_MAX: f64 = 86_400.0;

/// Decodes a document. None only if it is no mapping.
pub(super) fn script(value: &Value, decoder: &mut Decoder<'_>) -> Option<Script> {
    let Some(map) = value.as_object() else {
        let message = format!("a script is a mapping; this document is {}", kind_of(value));
        decoder.add(Problem::new(&codes::NOT_A_MAPPING, "", message).help("begin with `rules:`"));
        return None;
    };
    let fields = Fields { map, at: &At::ROOT };
    decoder.only(&fields, "a script", &["script", "counters", "rules", "default"], &[]);
    if let Some(version) = fields.get("script").filter(|version| version.as_u64() != Some(1)) {
        let message = format!("this program reads version 1 of scripts; the document says {version}");
        let problem = Problem::new(&codes::UNSUPPORTED_VERSION, At::ROOT.key("script"), message);
        decoder.add(problem.help("write `script: 1`"));
    }
    let at = At::ROOT.key("rules");
    let rules =
        decoder.list(&fields, "rules", Some("write each rule as `- when: …`")).into_iter().flatten().enumerate();
    let rules = rules.filter_map(|(index, item)| rule(item, &at.index(index), decoder)).collect();
    let at = At::ROOT.key("default");
    let default = fields.get("default").and_then(|value| reply(value, &at, Kind::Chat, None, decoder));
    let counters = decoder.word(&fields, "counters", &["task", "attempt", "run"], &[]).unwrap_or_default();
    Some(Script { counters, rules, default })
}

fn rule(value: &Value, at: &At<'_>, decoder: &mut Decoder<'_>) -> Option<Rule> {
    let fields = decoder.mapping(value, at, "a rule")?;
    decoder.only(&fields, "a rule", &["when", "reply", "replies"], &[]);
    let place = at.key("when");
    let when = fields.get("when").map_or_else(When::default, |value| when(value, &place, decoder));
    let replies = match (fields.get("reply"), fields.get("replies")) {
        (Some(one), None) => reply(one, &at.key("reply"), when.kind, None, decoder).into_iter().collect(),
        (None, Some(_)) => {
            let place = at.key("replies");
            let items = decoder.list(&fields, "replies", Some("write each reply as `- text: …`")).into_iter().flatten();
            let items = items.enumerate();
            items.filter_map(|(index, item)| reply(item, &place.index(index), when.kind, Some(1), decoder)).collect()
        }
        (None, None) => {
            let message = "a rule needs `reply` or `replies`";
            let help = "`reply` is given whenever the rule fits; `replies` one after the other";
            decoder.add(Problem::new(&codes::MISSING_FIELD, at, message).help(help));
            Vec::new()
        }
        (Some(_), Some(_)) => {
            let message = "a rule has either `reply` or `replies`";
            let help = "`reply` is given whenever the rule fits; `replies` one after the other";
            decoder.add(Problem::new(&codes::MISPLACED_FIELD, at.key("reply"), message).help(help).on_key());
            Vec::new()
        }
    };
    Some(Rule { when, replies })
}

fn when(value: &Value, at: &At<'_>, decoder: &mut Decoder<'_>) -> When {
    let Some(fields) = decoder.mapping(value, at, "`when`") else { return When::default() };
    decoder.only(&fields, "`when`", &["task", "model", "contains", "kind", "nth"], &[]);
    let contains = match fields.get("contains") {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => {
            let place = at.key("contains");
            let texts = items.iter().enumerate().filter_map(|(index, item)| {
                let text = item.as_str().map(str::to_owned);
                if text.is_none() {
                    decoder.text_expected(&place.index(index), "contains", item);
                }
                text
            });
            texts.collect()
        }
        Some(other) => {
            decoder.wrong_type(&at.key("contains"), "`contains` is a text or a list of texts", other);
            Vec::new()
        }
        None => Vec::new(),
    };
    When {
        task: decoder.text(&fields, "task"),
        model: decoder.text(&fields, "model"),
        contains,
        kind: decoder.word(&fields, "kind", &["chat", "embeddings"], &[]).unwrap_or_default(),
        nth: nth(&fields, decoder),
    }
}

/// A number from 1, or several.
fn nth(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Vec<u32> {
    let at = fields.at.key("nth");
    let mut number = |value: &Value, at: &At<'_>| {
        let number = value.as_u64().and_then(|number| u32::try_from(number).ok()).filter(|number| *number > 0);
        if number.is_none() {
            decoder.wrong_type(at, "`nth` is a whole number from 1, or a list of such", value);
        }
        number
    };
    match fields.get("nth") {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            items.iter().enumerate().filter_map(|(index, item)| number(item, &at.index(index))).collect()
        }
        Some(one) => number(one, &at).into_iter().collect(),
    }
}

/// A reply that is given `times` times, unless it says otherwise.
fn reply(value: &Value, at: &At<'_>, kind: Kind, times: Option<u32>, decoder: &mut Decoder<'_>) -> Option<Reply> {
    let fields = decoder.mapping(value, at, "a reply")?;
    decoder.only(&fields, "a reply", &REPLY, &[]);
    let given: Vec<&str> = KINDS.into_iter().filter(|name| is_given(&fields, name)).collect();
    if let Some(second) = given.get(1) {
        let message = format!("a reply is one thing; this one has `{}` and `{second}`", given[0]);
        let problem = Problem::new(&codes::MISPLACED_FIELD, at.key(second), message).on_key();
        decoder.add(problem.help("make a reply of each, under `replies`"));
    }
    let what = what(&fields, given.first().copied(), decoder);
    misplaced(&fields, given.first().copied(), kind, decoder);
    Some(Reply { what, about: about(&fields, decoder), times: decoder.whole(&fields, "times").or(times) })
}

/// `json: null` is a reply; of the others null is nothing.
fn is_given(fields: &Fields<'_>, name: &str) -> bool {
    if name == "json" { fields.map.contains_key(name) } else { fields.get(name).is_some() }
}

fn what(fields: &Fields<'_>, kind: Option<&str>, decoder: &mut Decoder<'_>) -> What {
    match kind {
        Some("text") => What::Text(decoder.text(fields, "text").unwrap_or_default()),
        Some("json") => What::Text(fields.map["json"].to_string()),
        Some("calls") => What::Calls(calls(fields, decoder)),
        Some("status") => What::Status {
            status: status(fields, decoder),
            retry_after: seconds(fields, "retry_after", decoder).map(|span| span.as_secs_f64()),
            message: decoder.text(fields, "message"),
            code: decoder.text(fields, "code"),
        },
        Some("malformed") => match fields.get("malformed") {
            Some(Value::String(body)) => What::Malformed(Some(body.clone())),
            _ => {
                must_be_true(fields, "malformed", decoder);
                What::Malformed(None)
            }
        },
        Some("drop") => {
            must_be_true(fields, "drop", decoder);
            What::Drop
        }
        Some("hang") => {
            must_be_true(fields, "hang", decoder);
            What::Hang
        }
        Some("built_in") => {
            must_be_true(fields, "built_in", decoder);
            What::BuiltIn
        }
        // Only how the built-in model's answer comes is said.
        _ => What::BuiltIn,
    }
}

fn must_be_true(fields: &Fields<'_>, name: &str, decoder: &mut Decoder<'_>) {
    if fields.get(name) != Some(&Value::Bool(true)) {
        let value = fields.get(name).unwrap_or(&Value::Null);
        decoder.wrong_type(&fields.at.key(name), &format!("`{name}` is `true`, or left out"), value);
    }
}

/// Fields that have no meaning for a reply of this kind.
fn misplaced(fields: &Fields<'_>, kind: Option<&str>, asked: Kind, decoder: &mut Decoder<'_>) {
    let mut refuse = |name: &str, why: &str| {
        if fields.get(name).is_some() {
            let message = format!("`{name}` has no meaning here: {why}");
            decoder.add(Problem::new(&codes::MISPLACED_FIELD, fields.at.key(name), message).on_key());
        }
    };
    if kind != Some("status") {
        for name in ["retry_after", "message", "code"] {
            refuse(name, "it belongs to a reply with `status`");
        }
    }
    if matches!(kind, Some("status" | "malformed" | "drop" | "hang")) {
        for name in ["usage", "cut_after", "stall_after", "chunk_delay_seconds"] {
            refuse(name, "it belongs to a reply that is an answer");
        }
    }
    if asked == Kind::Embeddings {
        for name in ["text", "json", "calls"] {
            refuse(name, "an embedding is a vector, which the built-in model makes");
        }
    }
}

fn about(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> About {
    About {
        usage: usage(fields, decoder),
        delay: seconds(fields, "delay_seconds", decoder).unwrap_or_default(),
        chunk_delay: seconds(fields, "chunk_delay_seconds", decoder).unwrap_or_default(),
        cut_after: decoder.whole(fields, "cut_after"),
        stall_after: decoder.whole(fields, "stall_after"),
    }
}

fn usage(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Option<(u64, u64, u64)> {
    let at = fields.at.key("usage");
    let own = decoder.mapping(fields.get("usage")?, &at, "`usage`")?;
    let names = ["input_tokens", "output_tokens", "cached_input_tokens"];
    decoder.only(&own, "`usage`", &names, &[]);
    let [input, output, cached] = names.map(|name| u64::from(decoder.whole(&own, name).unwrap_or(0)));
    if cached > input {
        let message = "`cached_input_tokens` are part of `input_tokens`, and so no more than they";
        decoder.add(Problem::new(&codes::OUT_OF_RANGE, at.key("cached_input_tokens"), message));
    }
    Some((input, output, cached))
}

fn calls(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> Vec<Call> {
    let at = fields.at.key("calls");
    let items = decoder.list(fields, "calls", Some("write each call as `- { name: …, arguments: {…} }`"));
    let Some(items) = items else { return Vec::new() };
    if items.is_empty() {
        decoder.add(Problem::new(&codes::OUT_OF_RANGE, at, "`calls` holds no call").help("name a tool"));
    }
    let call = |(index, item): (usize, &Value)| {
        let at = at.index(index);
        let own = decoder.mapping(item, &at, "a call")?;
        decoder.only(&own, "a call", &["name", "arguments"], &[]);
        if own.get("name").is_none() {
            decoder.missing(&own, "name", "a call");
        }
        let arguments = own.get("arguments").cloned().unwrap_or_else(|| json!({}));
        Some(Call { name: decoder.text(&own, "name")?, arguments })
    };
    items.iter().enumerate().filter_map(call).collect()
}

fn status(fields: &Fields<'_>, decoder: &mut Decoder<'_>) -> u16 {
    let status = decoder.whole(fields, "status").and_then(|status| u16::try_from(status).ok()).unwrap_or(0);
    if !(400..=599).contains(&status) && fields.get("status").is_some_and(Value::is_number) {
        let message = "`status` is one that means failure, 400 to 599";
        let problem = Problem::new(&codes::OUT_OF_RANGE, fields.at.key("status"), message);
        decoder.add(problem.help("an answer that goes well has `text`, `json` or `calls`"));
    }
    status
}

fn seconds(fields: &Fields<'_>, name: &str, decoder: &mut Decoder<'_>) -> Option<Duration> {
    let span = decoder.seconds(fields, name)?.0;
    if !(0.0..=SECONDS_MAX).contains(&span) {
        let message = format!("`{name}` is from 0 to {SECONDS_MAX} seconds; this is {span}");
        decoder.add(Problem::new(&codes::OUT_OF_RANGE, fields.at.key(name), message));
        return None;
    }
    Some(Duration::from_secs_f64(span))
}
