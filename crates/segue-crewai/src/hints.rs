//! `hints.crewai`.

use serde_json::{Map, Value};

use segue_worker::problems::{Problem, concurrency, unknown};

/// The key.
pub(crate) const HINTS: &str = "crewai";
const NAMES: [&str; 6] = ["model", "concurrency", "inner_retries", "tool_failures", "python", "env"];
/// Those that the worker is to know.
const FOR_THE_WORKER: [&str; 3] = ["model", "inner_retries", "tool_failures"];
const CHOICES: [(&str, &[&str]); 2] =
    [("inner_retries", &["off", "provider", "crewai"]), ("tool_failures", &["warn", "fail"])];

/// The hints of a node for CrewAI, checked.
#[derive(Debug, Default)]
pub(crate) struct Hints<'a>(Option<&'a Map<String, Value>>);

impl<'a> Hints<'a> {
    /// Out of the hints for all adapters.
    pub(crate) fn of(all: &'a Map<String, Value>) -> Self {
        Self(all.get(HINTS).and_then(Value::as_object))
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0?.get(name)?.as_str()
    }

    pub(crate) fn model(&self) -> Option<&'a str> {
        self.text("model")
    }

    pub(crate) fn python(&self) -> Option<&'a str> {
        self.text("python")
    }

    /// Names of variables to pass on.
    pub(crate) fn env(&self) -> impl Iterator<Item = &'a str> {
        let names = self.0.and_then(|hints| hints.get("env")).and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    pub(crate) fn for_the_worker(&self) -> Value {
        let given = self.0.into_iter().flatten().filter(|(name, _)| FOR_THE_WORKER.contains(&name.as_str()));
        Value::Object(given.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// What is wrong with them.
    pub(crate) fn problems(&self) -> Vec<Problem> {
        let Some(hints) = self.0 else { return Vec::new() };
        let mut found = unknown(hints, &NAMES, HINTS, "hint");
        for name in ["model", "python"] {
            if hints.get(name).is_some_and(|value| value.as_str().is_none_or(|text| text.trim().is_empty())) {
                found.push(Problem::new(&[name], format!("`hints.crewai.{name}` is a text that is not empty")));
            }
        }
        for (name, choices) in CHOICES {
            if hints.get(name).is_some_and(|value| value.as_str().is_none_or(|text| !choices.contains(&text))) {
                let choices: Vec<String> = choices.iter().map(|choice| format!("`{choice}`")).collect();
                found.push(Problem::new(&[name], format!("`hints.crewai.{name}` is {}", choices.join(" or "))));
            }
        }
        let is_names = |value: &Value| value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
        if hints.get("env").is_some_and(|value| !is_names(value)) {
            let problem = Problem::new(&["env"], "`hints.crewai.env` is a list of names of variables to pass on");
            found.push(problem.with_help("their values come from the environment that Segue runs in"));
        }
        found.extend(concurrency(hints));
        found
    }
}
