//! What a process's output and end mean.

use std::{os::unix::process::ExitStatusExt, process::ExitStatus};

use nix::sys::signal::Signal;
use segue_core::outcome::{ErrorKind, TaskError};
use serde_json::{Number, Value, json};

use super::inputs::Form;

/// Stdout as the task's output.
pub(super) fn output(stdout: Vec<u8>, form: Form) -> Result<Value, TaskError> {
    let stdout = String::from_utf8(stdout).map_err(|error| {
        let place = error.utf8_error().valid_up_to();
        TaskError::new(
            ErrorKind::Output,
            format!("stdout is not UTF-8 (byte {place}); write binary data to a file and print its path"),
        )
    })?;
    if form == Form::Text {
        return Ok(text(stdout));
    }
    match (serde_json::from_str::<Value>(&stdout), form) {
        (Ok(Value::Number(number)), Form::Either) if !is_written_as(&number, &stdout) => Ok(text(stdout)),
        (Ok(value), _) => Ok(value),
        (Err(_), Form::Either) => Ok(text(stdout)),
        (Err(error), _) => Err(TaskError::new(
            ErrorKind::Output,
            format!("stdout is not the JSON value that `hints.process.output: json` asks for: {error}"),
        )
        .with_detail(json!({ "stdout_start": start(&stdout) }))),
    }
}

/// A number that JSON would write otherwise was meant as a text: a version, a telephone number, an id of many digits.
fn is_written_as(number: &Number, text: &str) -> bool {
    let written = number.to_string();
    written == text.trim()
}

fn text(mut stdout: String) -> Value {
    if stdout.ends_with('\n') {
        stdout.pop();
        if stdout.ends_with('\r') {
            stdout.pop();
        }
    }
    Value::String(stdout)
}

fn start(text: &str) -> String {
    text.chars().take(200).collect()
}

/// The error of an end that does not mean success; `None` if it does.
pub(super) fn failure(status: ExitStatus, expected: &[i32], stderr: &str) -> Option<TaskError> {
    let message = match (status.code(), status.signal()) {
        (Some(code), _) if expected.contains(&code) => return None,
        (Some(code), _) => format!("it ended with exit code {code}{}", said(expected)),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("it was ended by the signal {signal}{}", dumped(status)),
            Err(_) => format!("it was ended by the signal {number}"),
        },
        (None, None) => "it ended in an unknown way".to_owned(),
    };
    let last = stderr.lines().rev().find(|line| !line.trim().is_empty());
    let message = match last {
        Some(line) => format!("{message}; it last said: {}", start(line.trim())),
        None => message,
    };
    let mut detail = json!({ "exit_code": status.code(), "stderr_tail": stderr });
    if let Some(number) = status.signal() {
        detail["signal"] = json!(number);
    }
    Some(TaskError::new(ErrorKind::Exit, message).with_detail(detail))
}

fn said(expected: &[i32]) -> String {
    if expected == [0] {
        return String::new();
    }
    let codes: Vec<String> = expected.iter().map(i32::to_string).collect();
    format!(", expected was {}", codes.join(" or "))
}

fn dumped(status: ExitStatus) -> &'static str {
    if status.core_dumped() { " (core dumped)" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(stdout: &str, form: Form) -> Result<Value, ErrorKind> {
        output(stdout.as_bytes().to_vec(), form).map_err(|error| error.kind)
    }

    #[test]
    fn whichever_fits() {
        assert_eq!(of("{\"a\": [1]}\n", Form::Either), Ok(json!({"a": [1]})));
        assert_eq!(of("true\n", Form::Either), Ok(json!(true)));
        assert_eq!(of("42\n", Form::Either), Ok(json!(42)));
        assert_eq!(of("hello\n\n", Form::Either), Ok(json!("hello\n")));
        assert_eq!(of("hello\r\n", Form::Either), Ok(json!("hello")));
        assert_eq!(of("", Form::Either), Ok(json!("")));
        for kept in ["1.10", "007", "1e3", "12345678901234567890123"] {
            assert_eq!(of(kept, Form::Either), Ok(json!(kept)), "a number that JSON would write otherwise");
        }
    }

    #[test]
    fn what_is_asked_for() {
        assert_eq!(of("42\n", Form::Text), Ok(json!("42")));
        assert_eq!(of("1.10", Form::Json), Ok(json!(1.1)));
        assert_eq!(of("no", Form::Json), Err(ErrorKind::Output));
        assert_eq!(of("", Form::Json), Err(ErrorKind::Output));
    }

    #[test]
    fn bytes_that_are_no_text() {
        let error = output(b"ok \xff".to_vec(), Form::Either).expect_err("not UTF-8");
        assert_eq!(error.kind, ErrorKind::Output);
        assert!(error.message.contains("byte 3"), "{}", error.message);
    }

    #[test]
    fn an_end_tells_how_and_what_was_said() {
        assert_eq!(failure(ExitStatus::from_raw(0x0200), &[0, 2], ""), None);
        let error = failure(ExitStatus::from_raw(0x0300), &[0], "a\nlast words\n").expect("3 is not expected");
        assert_eq!(error.message, "it ended with exit code 3; it last said: last words");
        assert!(!error.retryable);
        let error = failure(ExitStatus::from_raw(9), &[0], "").expect("a signal is no success");
        assert_eq!(error.message, "it was ended by the signal SIGKILL");
    }
}
