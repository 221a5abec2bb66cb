//! Values for a workflow's params, from the command line and from files.

use std::io::Read;

use segue_core::spec::{ParamKind, ParamSpec, WorkflowSpec};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::failure::{Failure, Outcome};

/// Files of inputs are not longer than this.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The inputs of a start: those of `file` (a JSON object; `-` is stdin), and above them the `name=value` pairs.
pub(crate) fn gather(spec: &WorkflowSpec, file: Option<&str>, pairs: &[String]) -> Outcome<Map<String, Value>> {
    let mut inputs = file.map(read).transpose()?.unwrap_or_default();
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("`-i {pair}` has no value")).help(format!("write -i {pair}=VALUE")));
        };
        let declared = spec.params.get(name).and_then(|param| ParamSpec::deserialize(param).ok());
        inputs.insert(name.to_owned(), value(name, text, declared.and_then(|param| param.kind))?);
    }
    Ok(inputs)
}

fn read(file: &str) -> Outcome<Map<String, Value>> {
    let mut text = String::new();
    let read = if file == "-" {
        std::io::stdin().lock().take(BYTES_MAX + 1).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|file| file.take(BYTES_MAX + 1).read_to_string(&mut text))
    };
    let shown = if file == "-" { "stdin" } else { file };
    match read {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Failure::not_found(format!("{file}: no such file")).help("--inputs names a file of JSON; `-` is stdin"));
        }
        Err(error) => return Err(Failure::invalid(format!("the inputs in {shown} cannot be read: {error}"))),
        Ok(bytes) if bytes as u64 > BYTES_MAX => {
            return Err(Failure::invalid(format!("the inputs in {shown} are longer than {} MiB", BYTES_MAX >> 20))
                .help("pass the path of a file as an input, and let a task read it"));
        }
        Ok(_) => {}
    }
    match serde_json::from_str(&text) {
        Ok(Value::Object(inputs)) => Ok(inputs),
        Ok(_) => Err(Failure::invalid(format!("the inputs in {shown} are no JSON object"))
            .help(r#"write an object with the params' names: {"topic": "tea"}"#)),
        Err(error) => Err(Failure::invalid(format!("the inputs in {shown} are not valid JSON: {error}"))
            .help(r#"write an object with the params' names: {"topic": "tea"}"#)),
    }
}

/// A text is a text; everything else is JSON. Without a declared type: JSON if it is that, else a text.
fn value(name: &str, text: &str, kind: Option<ParamKind>) -> Outcome<Value> {
    let parsed = serde_json::from_str::<Value>(text).ok();
    let wrong = |what: &str, example: &str| {
        Failure::invalid(format!("input `{name}`: `{text}` is not {what}")).help(format!("for example: -i {example}"))
    };
    match kind {
        Some(ParamKind::String) => Ok(Value::String(text.to_owned())),
        None => Ok(parsed.unwrap_or_else(|| Value::String(text.to_owned()))),
        Some(ParamKind::Integer) => parsed
            .filter(|value| value.is_i64() || value.is_u64())
            .ok_or_else(|| wrong("an integer", &format!("{name}=3"))),
        Some(ParamKind::Number) => {
            parsed.filter(Value::is_number).ok_or_else(|| wrong("a number", &format!("{name}=2.5")))
        }
        Some(ParamKind::Boolean) => {
            parsed.filter(Value::is_boolean).ok_or_else(|| wrong("a boolean", &format!("{name}=true")))
        }
        Some(ParamKind::Array) => parsed
            .filter(Value::is_array)
            .ok_or_else(|| wrong("a JSON array", &format!(r#"'{name}=["a", "b"]'"#))),
        Some(ParamKind::Object) => parsed
            .filter(Value::is_object)
            .ok_or_else(|| wrong("a JSON object", &format!(r#"'{name}={{"key": "value"}}'"#))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_is_read_as_its_param_declares() {
        let read = |text, kind| value("x", text, kind).map_err(|failure| failure.to_string());
        assert_eq!(read("3", Some(ParamKind::String)), Ok(json!("3")));
        assert_eq!(read("3", Some(ParamKind::Integer)), Ok(json!(3)));
        assert_eq!(read("3.5", Some(ParamKind::Number)), Ok(json!(3.5)));
        assert_eq!(read("true", Some(ParamKind::Boolean)), Ok(json!(true)));
        assert_eq!(read("[1]", Some(ParamKind::Array)), Ok(json!([1])));
        assert_eq!(read("{\"a\":1}", Some(ParamKind::Object)), Ok(json!({"a": 1})));
        assert_eq!(read("3", None), Ok(json!(3)));
        assert_eq!(read("three", None), Ok(json!("three")));
        assert_eq!(read("3.5", Some(ParamKind::Integer)), Err("input `x`: `3.5` is not an integer".to_owned()));
        assert_eq!(read("a,b", Some(ParamKind::Array)), Err("input `x`: `a,b` is not a JSON array".to_owned()));
    }

    #[test]
    fn a_pair_stands_above_the_file_and_needs_a_value() {
        let spec: WorkflowSpec = serde_json::from_value(json!({"id": "w", "nodes": []})).expect("a workflow");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"a": 1, "b": 2}"#).expect("written");
        let path = file.path().to_str();
        let inputs = gather(&spec, path, &["b=3".to_owned(), "c=x=y".to_owned()]).expect("inputs");
        assert_eq!(Value::Object(inputs), json!({"a": 1, "b": 3, "c": "x=y"}));
        let failure = gather(&spec, None, &["topic".to_owned()]).expect_err("no value");
        assert_eq!(failure.help, ["write -i topic=VALUE"]);
    }
}
