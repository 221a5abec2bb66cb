//! The hints of adapters whose tasks are Python code.

use serde_json::{Map, Value};

use segue_core::problems::{Problem, concurrency, unknown};

/// The hints that all of them have.
pub const COMMON: [&str; 6] = ["concurrency", "isolation", "python", "project", "env", "journal"];
const CHOICES: [(&str, &[&str]); 2] = [("isolation", &["shared", "process"]), ("journal", &["off", "crash", "always"])];

/// Where an attempt runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Isolation {
    /// In a process with others.
    #[default]
    Shared,
    /// In one of its own.
    Process,
}

/// A node's hints for one adapter.
#[derive(Debug, Clone, Copy)]
pub struct Hints<'a> {
    adapter: &'a str,
    given: Option<&'a Map<String, Value>>,
}

impl<'a> Hints<'a> {
    /// Out of the hints for all adapters.
    pub fn of(all: &'a Map<String, Value>, adapter: &'a str) -> Self {
        Self { adapter, given: all.get(adapter).and_then(Value::as_object) }
    }

    /// One of them.
    pub fn get(&self, name: &str) -> Option<&'a Value> {
        self.given?.get(name)
    }

    /// One that is a text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.get(name)?.as_str()
    }

    /// Where an attempt is to run.
    pub fn isolation(&self) -> Isolation {
        match self.text("isolation") {
            Some("process") => Isolation::Process,
            _ => Isolation::Shared,
        }
    }

    /// Names of variables to pass on.
    pub fn env(&self) -> impl Iterator<Item = &'a str> {
        let names = self.get("env").and_then(Value::as_array);
        names.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Those of these names, as an object.
    pub fn only(&self, names: &[&str]) -> Value {
        let given = self.given.into_iter().flatten().filter(|(name, _)| names.contains(&name.as_str()));
        Value::Object(given.map(|(name, value)| (name.clone(), value.clone())).collect())
    }

    /// What is wrong with the common ones, and with those that are neither common nor among `further`.
    pub fn problems(&self, further: &[&str]) -> Vec<Problem> {
        let Some(given) = self.given else { return Vec::new() };
        let (adapter, names) = (self.adapter, [&COMMON, further].concat());
        let mut found = unknown(given, &names, adapter, "hint");
        for name in ["python", "project"] {
            if given.get(name).is_some_and(|value| value.as_str().is_none_or(|text| text.trim().is_empty())) {
                found.push(Problem::new(&[name], format!("`hints.{adapter}.{name}` is a text that is not empty")));
            }
        }
        found.extend(CHOICES.into_iter().filter_map(|(name, choices)| self.choice(name, choices)));
        let is_names = |value: &Value| value.as_array().is_some_and(|names| names.iter().all(Value::is_string));
        if given.get("env").is_some_and(|value| !is_names(value)) {
            let problem =
                Problem::new(&["env"], format!("`hints.{adapter}.env` is a list of names of variables to pass on"));
            found.push(problem.with_help("their values come from the environment that Segue runs in"));
        }
        found.extend(concurrency(given));
        found
    }

    /// The problem of a hint that is none of these.
    pub fn choice(&self, name: &str, choices: &[&str]) -> Option<Problem> {
        let value = self.get(name)?;
        let is_one = value.as_str().is_some_and(|text| choices.contains(&text));
        let message = || format!("`hints.{}.{name}` is {}", self.adapter, choices.join(" or "));
        (!is_one).then(|| Problem::new(&[name], message()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(hints: &Value) -> Vec<String> {
        let all = json!({ "python": hints });
        let hints = Hints::of(all.as_object().expect("an object"), "python");
        hints.problems(&["more"]).into_iter().map(|problem| problem.into_error().message).collect()
    }

    #[test]
    fn what_is_right_is_left_alone() {
        let all = json!({
            "isolation": "process", "python": ".venv", "project": "code", "env": ["DSN"], "journal": "always",
            "concurrency": 3, "more": 1, "x-mine": 2,
        });
        assert_eq!(told(&all), Vec::<String>::new());
    }

    #[test]
    fn what_is_wrong_is_told() {
        assert!(told(&json!({ "isolaton": "shared" }))[0].contains("did you mean `isolation`?"));
        assert!(told(&json!({ "isolation": "thread" }))[0].contains("shared or process"));
        assert!(told(&json!({ "journal": true }))[0].contains("off or crash or always"));
        assert!(told(&json!({ "project": " " }))[0].contains("not empty"));
        assert!(told(&json!({ "env": { "A": "b" } }))[0].contains("list of names"));
        assert!(told(&json!({ "concurrency": 0 }))[0].contains("1 or more"));
    }
}
