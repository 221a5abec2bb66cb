//! Reads JSON: the structure in a loop, texts and numbers by `serde_json`.

use serde_json::Value;

use super::{Builder, Fatal, Tree};
use crate::spec::{
    codes,
    problem::{Problem, Problems},
};

/// Reads `text`. Problems that do not end the reading go to `problems`.
pub(crate) fn read(text: &str, problems: &mut Problems) -> Result<Option<Tree>, Fatal> {
    let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
    let mut reader = Reader { text, at, builder: Builder::new(problems), open: Vec::new() };
    reader.blank();
    if reader.peek().is_none() {
        return Ok(None);
    }
    reader.run()?;
    Ok(reader.builder.finish())
}

struct Reader<'t, 'p> {
    text: &'t str,
    at: usize,
    builder: Builder<'p>,
    /// The closing brackets that are owed.
    open: Vec<u8>,
}

impl Reader<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn blank(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
    }

    fn error(&self, message: &str) -> Problem {
        let length = self.text[self.at..].chars().next().map_or(0, char::len_utf8);
        Problem::new(&codes::JSON_SYNTAX, "", message).at(self.at..self.at + length)
    }

    fn unexpected(&self, wanted: &str) -> Problem {
        match self.text[self.at..].chars().next() {
            None => self.error(&format!("the document ends where {wanted} should be")),
            Some(found) => {
                let problem = self.error(&format!("expected {wanted}, found `{found}`"));
                match found {
                    '/' | '#' => problem.help("JSON has no comments; YAML has"),
                    '\'' => problem.help("texts stand in double quotes"),
                    _ => problem,
                }
            }
        }
    }

    /// Each turn reads one value, then closes and separates until the next value is due.
    fn run(&mut self) -> Result<(), Fatal> {
        loop {
            self.blank();
            let opened = self.value()?;
            if !opened || self.try_close()? {
                loop {
                    self.blank();
                    let Some(&closing) = self.open.last() else { return self.end() };
                    if self.try_close()? {
                        continue;
                    }
                    if self.peek() != Some(b',') {
                        return Err(self.unexpected(if closing == b'}' { "`,` or `}`" } else { "`,` or `]`" }));
                    }
                    self.at += 1;
                    self.blank();
                    if self.peek() == Some(closing) {
                        return Err(self.error("there is a comma too many before this bracket"));
                    }
                    break;
                }
            }
            if self.open.last() == Some(&b'}') {
                self.key()?;
            }
        }
    }

    fn end(&mut self) -> Result<(), Fatal> {
        match self.peek() {
            None => Ok(()),
            Some(b'{' | b'[') => Err(Problem::new(&codes::SEVERAL_DOCUMENTS, "", "a second document begins here")
                .at(self.at..self.at + 1)
                .help("put each workflow into a file of its own")),
            Some(_) => Err(self.unexpected("the end of the document")),
        }
    }

    /// Takes the closing bracket that is owed, if it stands here.
    fn try_close(&mut self) -> Result<bool, Fatal> {
        self.blank();
        if self.open.is_empty() || self.peek() != self.open.last().copied() {
            return Ok(false);
        }
        self.open.pop();
        self.at += 1;
        self.builder.close(Some(self.at))?;
        Ok(true)
    }

    fn key(&mut self) -> Result<(), Fatal> {
        self.blank();
        if self.peek() != Some(b'"') {
            return Err(self.unexpected("a key in double quotes"));
        }
        let start = self.at;
        let name = self.string()?;
        self.builder.key(name, start..self.at)?;
        self.blank();
        if self.peek() != Some(b':') {
            return Err(self.unexpected("`:`"));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads a value, or opens a list or mapping; `true` in the latter case.
    fn value(&mut self) -> Result<bool, Fatal> {
        let start = self.at;
        let value = match self.peek() {
            Some(open @ (b'{' | b'[')) => {
                self.at += 1;
                if open == b'{' {
                    self.builder.open_map(start..self.at, 0)?;
                    self.open.push(b'}');
                } else {
                    self.builder.open_list(start..self.at, 0)?;
                    self.open.push(b']');
                }
                return Ok(true);
            }
            Some(b'"') => Value::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            Some(b'a'..=b'z' | b'A'..=b'Z') => self.word()?,
            _ => return Err(self.unexpected("a value")),
        };
        self.builder.scalar(value, start..self.at, 0)?;
        Ok(false)
    }

    fn word(&mut self) -> Result<Value, Fatal> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count();
        let value = match &rest[..length] {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => {
                let message = format!("`{other}` is not a JSON value");
                return Err(Problem::new(&codes::JSON_SYNTAX, "", message)
                    .at(self.at..self.at + length)
                    .help("texts stand in double quotes"));
            }
        };
        self.at += length;
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, Fatal> {
        let rest = &self.text[self.at..];
        let length = rest.bytes().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.')).count();
        let (written, at) = (&rest[..length], self.at..self.at + length);
        let Ok(number) = serde_json::from_str::<serde_json::Number>(written) else {
            return Err(Problem::new(&codes::JSON_SYNTAX, "", format!("`{written}` is not a number")).at(at));
        };
        self.at += length;
        if number.is_f64() && written.bytes().all(|b| b.is_ascii_digit() || b == b'-') {
            self.builder.problem(super::yaml::bad_number(written, at));
            return Ok(Value::Null);
        }
        Ok(Value::Number(number))
    }

    fn string(&mut self) -> Result<String, Fatal> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        loop {
            match bytes.get(end) {
                Some(b'"') => break,
                Some(b'\\') => end += 2,
                Some(b'\n') | None => {
                    return Err(Problem::new(&codes::JSON_SYNTAX, "", "the text is never closed").at(start..start + 1));
                }
                Some(_) => end += 1,
            }
        }
        self.at = end + 1;
        serde_json::from_str(&self.text[start..self.at]).map_err(|error| {
            let message = format!("the text cannot be read: {error}");
            Problem::new(&codes::JSON_SYNTAX, "", message).at(start..self.at)
        })
    }
}
