//! Values for a workflow's params, from the command line and from files.

use std::io::Read;

use segue_core::{
    ids::WorkflowId,
    spec::{Diagnostic, WorkflowSpec, input_from_text, resolve_inputs},
};
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Outcome};

/// Files of inputs are not longer than this.
const BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The inputs of a start, complete and checked: those of `file` (a JSON object; `-` is stdin), above them the
/// `name=value` pairs, below them the params' defaults. All problems at once.
pub(crate) fn gather(spec: &WorkflowSpec, file: Option<&str>, pairs: &[String]) -> Outcome<Map<String, Value>> {
    let mut inputs = file.map(read).transpose()?.unwrap_or_default();
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(Failure::usage(format!("`-i {pair}` has no value")).help(format!("write -i {pair}=VALUE")));
        };
        inputs.insert(name.to_owned(), input_from_text(spec, name, text));
    }
    resolve_inputs(spec, inputs).map_err(|problems| refused(&spec.id, &problems))
}

/// The fields of a form from `name=value` pairs: a text where a text is declared, else its JSON, and the text where it is
/// not JSON. Whether they fit is checked with the answer.
pub(crate) fn of_form(form: &Map<String, Value>, pairs: &[String]) -> Outcome<Map<String, Value>> {
    let mut fields = Map::new();
    for pair in pairs {
        let Some((name, text)) = pair.split_once('=') else {
            return Err(
                Failure::usage(format!("`--form {pair}` has no value")).help(format!("write --form {pair}=VALUE"))
            );
        };
        let is_text = form.get(name).and_then(|field| field.get("type")).is_some_and(|kind| kind == "string");
        let json = if is_text { None } else { serde_json::from_str(text).ok() };
        fields.insert(name.to_owned(), json.unwrap_or_else(|| Value::from(text)));
    }
    Ok(fields)
}

/// One problem is the message itself; several are listed below it.
fn refused(workflow: &WorkflowId, problems: &[Diagnostic]) -> Failure {
    let failure = match problems {
        [problem] => Failure::invalid(problem.message.clone()),
        several => {
            let failure = Failure::invalid(format!("{} of the inputs of {workflow} are not right", several.len()));
            several.iter().fold(failure, |failure, problem| failure.note(problem.message.clone()))
        }
    };
    let mut cures: Vec<&String> = problems.iter().filter_map(|problem| problem.help.as_ref()).collect();
    cures.dedup();
    cures.into_iter().fold(failure, |failure, cure| failure.help(cure)).details(json!(problems))
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
            return Err(
                Failure::not_found(format!("{file}: no such file")).help("--inputs names a file of JSON; `-` is stdin")
            );
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_stands_above_the_file_and_needs_a_value() {
        let spec: WorkflowSpec =
            serde_json::from_value(json!({"id": "w", "nodes": [], "params": {"a": {}, "b": {}, "c": {}}}))
                .expect("a workflow");
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"a": 1, "b": 2}"#).expect("written");
        let path = file.path().to_str();
        let inputs = gather(&spec, path, &["b=3".to_owned(), "c=x=y".to_owned()]).expect("inputs");
        assert_eq!(Value::Object(inputs), json!({"a": 1, "b": 3, "c": "x=y"}));
        let failure = gather(&spec, None, &["topic".to_owned()]).expect_err("no value");
        assert_eq!(failure.help, ["write -i topic=VALUE"]);
    }
}
