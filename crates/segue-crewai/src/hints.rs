//! `hints.crewai`.

use serde_json::{Map, Value};

use segue_worker::problems::{Problem, concurrency, unknown};

/// The key.
pub(crate) const HINTS: &str = "crewai";
const NAMES: [&str; 13] = [
    "model",
    "models",
    "concurrency",
    "llm_timeout_s",
    "inner_retries",
    "isolation",
    "storage",
    "human",
    "tool_failures",
    "env",
    "workdir",
    "python",
    "journal",
];
/// Those that the worker is to know.
const FOR_THE_WORKER: [&str; 7] =
    ["model", "models", "llm_timeout_s", "inner_retries", "human", "tool_failures", "workdir"];
const TEXTS: [&str; 3] = ["model", "python", "workdir"];
const CHOICES: [(&str, &[&str]); 6] = [
    ("inner_retries", &["off", "provider", "crewai"]),
    ("tool_failures", &["warn", "fail"]),
    // There is no other: only the end of a process is the end of a crew.
    ("isolation", &["process"]),
    ("storage", &["run", "project"]),
    ("human", &["suspend", "fail"]),
    ("journal", &["off", "crash", "always"]),
];

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

    /// Is storage kept for the project, from one run to the next?
    pub(crate) fn keeps_storage(&self) -> bool {
        self.text("storage") == Some("project")
    }

    /// The folder to work in, with `{run_id}` and `{task_id}` in it.
    pub(crate) fn workdir(&self) -> Option<&'a str> {
        self.text("workdir")
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
        for name in TEXTS {
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
        let is_model = |value: &Value| value.as_str().is_some_and(|name| !name.trim().is_empty());
        if hints.get("models").is_some_and(|value| !value.as_object().is_some_and(|map| map.values().all(is_model))) {
            let problem =
                Problem::new(&["models"], "`hints.crewai.models` is an object: the role of an agent, its model");
            found.push(problem.with_help("for example: models: { Researcher: gpt-4o-mini }"));
        }
        if hints.get("llm_timeout_s").is_some_and(|value| value.as_f64().is_none_or(|seconds| seconds <= 0.0)) {
            found.push(Problem::new(
                &["llm_timeout_s"],
                "`hints.crewai.llm_timeout_s` is a number of seconds, more than 0",
            ));
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
