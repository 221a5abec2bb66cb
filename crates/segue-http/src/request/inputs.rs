//! What a node of `http.request` may say, and what it comes to.

use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use segue_core::{
    outcome::TaskError,
    ports::Invocation,
    problems::{NodeRules, Problem, is_template, kind_of, unknown},
    spec::{Diagnostic, WorkflowSpec},
};
use serde_json::{Map, Value};

use super::HANDLER;
use crate::{
    api::{is_secret, secret_value},
    client::{HINTS, Policy, Request, check_form},
};

const INPUTS: [&str; 9] = ["method", "url", "query", "headers", "bearer", "json", "body", "expect_status", "output"];
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Headers that belong to the connection.
const NOT_THEIRS: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "accept-encoding",
    "proxy-authorization",
];
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How the answer becomes the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// JSON where the server says so, else text.
    Either,
    Json,
    Text,
    /// `{status, headers, body}`.
    Full,
}

/// The statuses that mean success.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expected(Vec<Statuses>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Statuses {
    One(u16),
    /// `2xx`: its first digit.
    Class(u16),
}

impl Expected {
    pub(super) fn holds(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        self.0.iter().any(|expected| match expected {
            Statuses::One(one) => *one == status,
            Statuses::Class(class) => *class == status / 100,
        })
    }

    /// For people.
    pub(super) fn told(&self) -> String {
        let each = self.0.iter().map(|expected| match expected {
            Statuses::One(one) => one.to_string(),
            Statuses::Class(class) => format!("{class}xx"),
        });
        each.collect::<Vec<_>>().join(" or ")
    }

    fn read(value: Option<&Value>) -> Option<Self> {
        match value {
            None => Some(Self(vec![Statuses::Class(2)])),
            Some(Value::Array(items)) if !items.is_empty() => {
                items.iter().map(statuses).collect::<Option<_>>().map(Self)
            }
            Some(value) => statuses(value).map(|one| Self(vec![one])),
        }
    }
}

fn statuses(value: &Value) -> Option<Statuses> {
    let in_range = |status: &u16| (100..=599).contains(status);
    match value {
        Value::Number(number) => {
            Some(Statuses::One(number.as_u64().and_then(|n| u16::try_from(n).ok()).filter(in_range)?))
        }
        Value::String(text) => match text.strip_suffix("xx") {
            Some(class) => class.parse().ok().filter(|class| (1..=5).contains(class)).map(Statuses::Class),
            None => text.parse().ok().filter(in_range).map(Statuses::One),
        },
        _ => None,
    }
}

/// A request, read from the rendered inputs.
#[derive(Debug)]
pub(super) struct HttpTask {
    pub(super) request: Request,
    pub(super) expected: Expected,
    pub(super) form: Form,
}

impl HttpTask {
    pub(super) fn read(invocation: &Invocation) -> Result<Self, TaskError> {
        let empty = Map::new();
        let inputs = invocation.inputs.as_object().unwrap_or(&empty);
        let wrong = problems(inputs, false).into_iter().chain(Policy::problems(&invocation.hints)).next();
        if let Some(problem) = wrong {
            return Err(problem.into_error());
        }
        let given = |name: &str| inputs.get(name).filter(|value| !value.is_null());
        let text = |name: &str| given(name).and_then(Value::as_str);
        let bad = |place: &str, what: String| Problem::new(&[place], what).into_error();

        let mut url = Url::parse(text("url").unwrap_or_default()).map_err(|error| bad("url", not_a_url(error)))?;
        if let Some(Value::Object(query)) = given("query") {
            let pairs = query.iter().flat_map(|(name, value)| texts(value).into_iter().map(move |text| (name, text)));
            let pairs: Vec<_> = pairs.collect();
            if !pairs.is_empty() {
                url.query_pairs_mut().extend_pairs(pairs);
            }
        }
        let (body, content_type) = match (inputs.get("json"), text("body")) {
            (Some(value), _) => (Some(value.to_string().into_bytes()), "application/json"),
            (None, Some(text)) => (Some(text.as_bytes().to_vec()), "text/plain; charset=utf-8"),
            (None, None) => (None, ""),
        };
        let mut headers = HeaderMap::new();
        if body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let key = HeaderValue::try_from(invocation.context.idempotency_key());
        headers.insert(IDEMPOTENCY_KEY, key.map_err(|_| bad("url", "the task's key cannot be a header".to_owned()))?);
        if let Some(token) = text("bearer") {
            headers.insert(AUTHORIZATION, secret_value("bearer", &format!("Bearer {token}"))?);
        }
        for (name, value) in given("headers").and_then(Value::as_object).into_iter().flatten() {
            let value = texts(value).into_iter().next().unwrap_or_default();
            let value = secret_value(&format!("headers.{name}"), &value)?;
            headers.insert(HeaderName::try_from(name).expect("names of headers have been checked"), value);
        }
        let default = if body.is_some() { "POST" } else { "GET" };
        let method = text("method").unwrap_or(default).to_ascii_uppercase();
        Ok(Self {
            request: Request {
                method: Method::from_bytes(method.as_bytes()).expect("the method has been checked"),
                url,
                headers,
                body,
            },
            expected: Expected::read(given("expect_status")).expect("the statuses have been checked"),
            form: match text("output") {
                Some("json") => Form::Json,
                Some("text") => Form::Text,
                Some("full") => Form::Full,
                _ => Form::Either,
            },
        })
    }
}

fn not_a_url(error: impl std::fmt::Display) -> String {
    // The parser's words do not quote what they are about.
    format!("`url` is no address ({error})")
}

/// Strings, numbers and booleans as texts; those of a list.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::Array(items) => items.iter().filter_map(text_of).collect(),
        other => text_of(other).into_iter().collect(),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// What is wrong with these inputs. With `templates`, a text with `{{` may become anything and is accepted anywhere.
pub(super) fn problems(inputs: &Map<String, Value>, templates: bool) -> Vec<Problem> {
    let open = |value: &Value| templates && (is_template(value) || is_secret(value));
    // What a template leaves empty is not given.
    let given = |name: &str| inputs.get(name).filter(|value| !value.is_null() && !open(value));
    let mut found = unknown(inputs, &INPUTS, HANDLER, "input");
    match inputs.get("url") {
        None => found.push(
            Problem::new(&[], "`http.request` needs `url`, the address to ask")
                .with_help("for example: inputs: { url: \"https://api.example.com/items\" }"),
        ),
        Some(value) if open(value) => {}
        Some(Value::String(url)) => match Url::parse(url) {
            Err(error) => found.push(
                Problem::new(&["url"], not_a_url(error)).with_help("write it whole, with https:// at its beginning"),
            ),
            Ok(url) => found.extend(check_form(&url).err().map(|message| Problem::new(&["url"], message))),
        },
        Some(value) => found.push(Problem::new(&["url"], format!("`url` is {}, not a text", kind_of(value)))),
    }
    if given("method").is_some_and(|method| {
        method.as_str().is_none_or(|method| !METHODS.contains(&method.to_ascii_uppercase().as_str()))
    }) {
        found.push(Problem::new(&["method"], format!("`method` is one of {}", METHODS.join(", "))));
    }
    if inputs.contains_key("json") && given("body").is_some() {
        found.push(Problem::new(&["body"], "there is a body already: `json`; a request has one"));
    }
    if let Some(body) = given("body").filter(|body| !body.is_string()) {
        found.push(
            Problem::new(&["body"], format!("`body` is {}, not a text", kind_of(body)))
                .with_help("`json` sends any value as JSON"),
        );
    }
    if given("bearer").is_some_and(|token| token.as_str().is_none_or(str::is_empty)) {
        found.push(
            Problem::new(&["bearer"], "`bearer` is the token, a text")
                .with_help("for example: bearer: { $secret: API_TOKEN }"),
        );
    }
    found.extend(map_problems(inputs.get("query").filter(|value| !value.is_null()), "query", &open));
    found.extend(map_problems(inputs.get("headers").filter(|value| !value.is_null()), "headers", &open));
    if let Some(Value::Object(headers)) = inputs.get("headers") {
        found.extend(headers.keys().filter_map(|name| header_problem(name, inputs)));
    }
    if Expected::read(given("expect_status")).is_none() {
        let message = "`expect_status` is a status from 100 to 599, a class like `2xx`, or a list of them";
        found.push(Problem::new(&["expect_status"], message));
    }
    if given("output").is_some_and(|form| !matches!(form.as_str(), Some("json" | "text" | "full"))) {
        found.push(Problem::new(&["output"], "`output` is `json`, `text` or `full`"));
    }
    found
}

/// What is wrong with names and texts.
fn map_problems(given: Option<&Value>, name: &str, open: &dyn Fn(&Value) -> bool) -> Vec<Problem> {
    let entries = match given {
        None => return Vec::new(),
        Some(value) if open(value) => return Vec::new(),
        Some(Value::Object(entries)) => entries,
        Some(value) => {
            return vec![Problem::new(&[name], format!("`{name}` is {}, not an object", kind_of(value)))];
        }
    };
    let is_good = |value: &Value| match value {
        Value::Array(items) if name == "query" => items.iter().all(|item| text_of(item).is_some() || open(item)),
        other => text_of(other).is_some() || open(other),
    };
    let wrong = entries.iter().filter(|(_, value)| !is_good(value));
    wrong
        .map(|(key, value)| Problem::new(&[name, key], format!("`{name}.{key}` is {}, not a text", kind_of(value))))
        .collect()
}

fn header_problem(name: &str, inputs: &Map<String, Value>) -> Option<Problem> {
    let at = ["headers", name];
    let Ok(header) = HeaderName::try_from(name) else {
        return Some(Problem::new(&at, format!("`{name}` cannot be the name of a header")));
    };
    if NOT_THEIRS.contains(&header.as_str()) {
        return Some(Problem::new(&at, format!("`{name}` belongs to the connection and is set by Segue")));
    }
    let twice = header == AUTHORIZATION && inputs.contains_key("bearer");
    twice.then(|| Problem::new(&at, format!("`{name}` is there already: `bearer`")))
}

/// What is wrong with the nodes of `http.request` in a workflow, and with `hints.http` of all.
pub(super) fn diagnose(workflow: &WorkflowSpec) -> Vec<Diagnostic> {
    NodeRules {
        inputs: |handler, inputs| if handler == HANDLER { problems(inputs, true) } else { Vec::new() },
        input_code: "http-input",
        hints_name: HINTS,
        hints: Policy::problems,
        hint_code: "http-hint",
    }
    .diagnose(workflow)
}
