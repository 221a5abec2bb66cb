//! The small part of the expression language that the simulator's workflows use, evaluated without a template engine:
//! paths, literals, comparisons, `and`, `or`, `not`.

use std::cmp::Ordering;

use segue_core::spec::Join;
use serde_json::{Value, json};

use super::{Auditor, stage::Stage, tree::Parts};

/// What an expression can see.
pub(super) struct Scope<'a> {
    pub(super) auditor: &'a Auditor,
    /// Where it stands: `nodes` are those of this scope and of those around it.
    pub(super) scope: usize,
    /// The task that it belongs to; none of them where it belongs to the scope as a whole.
    pub(super) task: Option<usize>,
    /// A result of the task that is not recorded yet.
    pub(super) result: Option<&'a Value>,
    /// What is in scope beside the usual: `output`, `error`.
    pub(super) extra: Vec<(&'static str, Value)>,
}

/// `None` is an undefined value.
type Found = Option<Value>;
/// What a part of an expression comes to, or why it comes to nothing. (The parser's own errors are about the text.)
type Answer = Result<Found, String>;

impl Scope<'_> {
    /// A condition. An error says why it has no answer.
    pub(super) fn is_true(&self, expression: &str) -> Result<bool, String> {
        self.value(expression).map(|value| truth(value.as_ref()))
    }

    /// Any expression.
    pub(super) fn value(&self, expression: &str) -> Result<Found, String> {
        let tokens = tokens(expression)?;
        let mut parser = Parser { scope: self, tokens: &tokens, at: 0 };
        let value = parser.any_of()?;
        match parser.peek() {
            None => value,
            Some(token) => Err(format!("`{token}` is too much in `{expression}`")),
        }
    }

    /// A template: a string that is one whole `{{ … }}`, or any other value as it is.
    pub(super) fn render(&self, template: &Value) -> Result<Value, String> {
        match template {
            Value::String(text) => match text.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")) {
                Some(expression) => self.value(expression)?.ok_or_else(|| format!("`{expression}` is undefined")),
                None => Ok(template.clone()),
            },
            Value::Array(items) => items.iter().map(|item| self.render(item)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| Ok((key.clone(), self.render(value)?))).collect(),
            _ => Ok(template.clone()),
        }
    }

    fn path(&self, path: &str) -> Result<Found, String> {
        let mut steps = path.split('.');
        let mut value = match steps.next() {
            Some("params") => Some(self.auditor.params.clone()),
            Some("run") => Some(json!({ "status": self.auditor.status_in(self.auditor.scopes[self.scope].stage) })),
            Some("nodes") => {
                let name = steps.next().ok_or("`nodes` alone")?;
                let ix = self.auditor.visible(self.scope, name).ok_or_else(|| format!("no node `{name}`"))?;
                Some(self.node(ix))
            }
            Some(name) => match self.extra.iter().find(|(known, _)| *known == name) {
                Some((_, value)) => Some(value.clone()),
                None => Some(self.around(name).ok_or_else(|| format!("unknown name in `{path}`"))?),
            },
            None => return Err("an empty path".into()),
        };
        for step in steps {
            value = match value {
                None => return Err(format!("`{path}` reads `{step}` of an undefined value")),
                Some(Value::Object(fields)) => fields.get(step).cloned(),
                // What a skipped node would have produced is null, and so is all that it would hold.
                Some(Value::Null) => Some(Value::Null),
                Some(_) => None,
            };
        }
        Ok(value)
    }

    fn node(&self, ix: usize) -> Value {
        let task = &self.auditor.tasks[ix];
        match self.result.filter(|_| self.task == Some(ix)) {
            Some(result) => json!({ "status": "SUCCEEDED", "attempts": task.attempts, "output": result }),
            None => json!({
                "status": task.status,
                "attempts": task.attempts,
                "output": task.output.as_deref().unwrap_or(&Value::Null),
            }),
        }
    }

    /// What the nearest instance, iteration, round or failure around it says.
    fn around(&self, name: &str) -> Option<Value> {
        let auditor = self.auditor;
        let mut part = self.task.or(auditor.scopes[self.scope].owner);
        while let Some(ix) = part {
            let task = &auditor.tasks[ix];
            match (name, task.whole.map(|whole| &auditor.tasks[whole].parts)) {
                ("item", Some(Parts::Instances { items, .. })) => return items.get(task.number as usize).cloned(),
                ("index", Some(Parts::Instances { .. })) => return Some(task.number.into()),
                ("iteration", Some(Parts::Iteration { .. })) => return Some(task.number.into()),
                ("previous", Some(Parts::Iteration { previous, .. })) => return Some(previous.clone()),
                ("iteration", None) if task.round > 0 => return Some(task.round.into()),
                ("error", None) if auditor.node(ix).join == Join::AnyFailure => {
                    return Some(auditor.failure_before(ix));
                }
                _ => {}
            }
            part = auditor.container(ix);
        }
        let is_later = auditor.scopes[self.scope].stage != Stage::Main;
        (name == "error" && is_later).then(|| auditor.failure_of_main())
    }
}

fn truth(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Bool(yes)) => *yes,
        Some(Value::Number(number)) => number.as_f64() != Some(0.0),
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(items)) => !items.is_empty(),
        Some(Value::Object(fields)) => !fields.is_empty(),
    }
}

struct Parser<'a> {
    scope: &'a Scope<'a>,
    tokens: &'a [String],
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<&str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn takes(&mut self, token: &str) -> bool {
        let found = self.peek() == Some(token);
        self.at += usize::from(found);
        found
    }

    fn any_of(&mut self) -> Result<Answer, String> {
        let mut value = self.all_of()?;
        while self.takes("or") {
            let other = self.all_of()?;
            value = value.and_then(|value| if truth(value.as_ref()) { Ok(value) } else { other });
        }
        Ok(value)
    }

    fn all_of(&mut self) -> Result<Answer, String> {
        let mut value = self.negated()?;
        while self.takes("and") {
            let other = self.negated()?;
            value = value.and_then(|value| if truth(value.as_ref()) { other } else { Ok(value) });
        }
        Ok(value)
    }

    fn negated(&mut self) -> Result<Answer, String> {
        if self.takes("not") {
            return Ok(self.negated()?.map(|value| Some(Value::Bool(!truth(value.as_ref())))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Answer, String> {
        let left = self.primary()?;
        let Some(operator) = self.peek().filter(|token| matches!(*token, "==" | "!=" | "<" | ">")) else {
            return Ok(left);
        };
        let operator = operator.to_owned();
        self.at += 1;
        let right = self.primary()?;
        Ok(left.and_then(|left| compare(&operator, left, right?)).map(|yes| Some(Value::Bool(yes))))
    }

    fn primary(&mut self) -> Result<Answer, String> {
        let token = self.peek().ok_or("the expression ends too early")?.to_owned();
        self.at += 1;
        if token == "(" {
            let value = self.any_of()?;
            return if self.takes(")") { Ok(value) } else { Err("a bracket is missing".into()) };
        }
        if token.starts_with(|first: char| first.is_ascii_digit() || first == '"')
            || matches!(token.as_str(), "true" | "false")
        {
            return serde_json::from_str(&token).map(|value| Ok(Some(value))).map_err(|error| error.to_string());
        }
        Ok(self.scope.path(&token))
    }
}

fn compare(operator: &str, left: Found, right: Found) -> Result<bool, String> {
    let (Some(left), Some(right)) = (left, right) else {
        return Err("an undefined value cannot be compared".into());
    };
    Ok(match operator {
        "==" => left == right,
        "!=" => left != right,
        "<" => numbers(&left, &right) == Some(Ordering::Less),
        _ => numbers(&left, &right) == Some(Ordering::Greater),
    })
}

/// The order of numbers; `null` is less than any of them, as in the language's own engine.
fn numbers(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Number(_)) => return Some(Ordering::Less),
        (Value::Number(_), Value::Null) => return Some(Ordering::Greater),
        _ => {}
    }
    left.as_f64()?.partial_cmp(&right.as_f64()?)
}

fn tokens(text: &str) -> Result<Vec<String>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '(' | ')' | '<' | '>' => 1,
            '=' | '!' => 2,
            '"' => rest[1..].find('"').ok_or("an open string")? + 2,
            _ => rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')).unwrap_or(rest.len()),
        };
        if length == 0 || length > rest.len() {
            return Err(format!("`{rest}` cannot be read"));
        }
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}
