//! From a text to a checked specification, or to everything that is wrong with it.

use serde_json::Value;

use super::{
    CheckOptions, Decoder, Diagnostic, Severity, WorkflowSpec, check, codes, decode,
    problem::{Problem, Problems},
    tree::{self, DOCUMENT_BYTES_MAX, Source, Tree},
};

/// The two ways to write a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// JSON.
    Json,
}

impl Format {
    /// The format of a file by its name, else by its first character.
    pub fn guess(file_name: Option<&str>, text: &str) -> Self {
        let ending = file_name.and_then(|name| name.rsplit_once('.')).map(|(_, ending)| ending.to_ascii_lowercase());
        match ending.as_deref() {
            Some("json") => Self::Json,
            Some("yaml" | "yml") => Self::Yaml,
            _ if text.trim_start_matches('\u{feff}').trim_start().starts_with(['{', '[']) => Self::Json,
            _ => Self::Yaml,
        }
    }
}

/// What came of reading a document: a workflow, or one of another kind.
#[derive(Debug)]
pub struct Parsed<T = WorkflowSpec> {
    /// The specification; none if there is an error.
    pub spec: Option<T>,
    /// What is wrong, in the order of the text.
    pub diagnostics: Vec<Diagnostic>,
    source: Source,
}

impl<T> Parsed<T> {
    /// Gives a diagnostic its place in the text, from its JSON Pointer. Leaves one that has its place alone.
    pub fn locate(&self, diagnostic: &mut Diagnostic) {
        if diagnostic.span.is_none() {
            let on_key = matches!(diagnostic.code.as_str(), "unknown-field" | "not-available");
            diagnostic.span = Some(self.source.span(self.source.find(&diagnostic.path, on_key)));
        }
    }

    /// Adds what others (adapters) found, each in its place. An error takes the specification away.
    pub fn add(&mut self, more: impl IntoIterator<Item = Diagnostic>) {
        for mut diagnostic in more {
            self.locate(&mut diagnostic);
            self.diagnostics.push(diagnostic);
        }
        sort(&mut self.diagnostics);
        if self.has_errors() {
            self.spec = None;
        }
    }

    /// Is there an error? Warnings do not count.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// A line of the text, counted from 1.
    pub fn line(&self, number: u32) -> Option<&str> {
        self.source.line(number)
    }
}

/// Reads a document that is bytes: a file, the body of a request.
pub fn parse_bytes(bytes: &[u8], file_name: Option<&str>, options: &CheckOptions) -> Parsed {
    read_bytes(bytes, file_name, |value, problems| workflow(value, options, problems))
}

/// Reads a document of another kind than a workflow: within the same bounds, with the same diagnostics. `decode` makes of
/// its value what it is to be, and reports what is wrong.
pub fn parse_document<T>(
    bytes: &[u8],
    file_name: Option<&str>,
    decode: impl FnOnce(&Value, &mut Decoder<'_>) -> Option<T>,
) -> Parsed<T> {
    read_bytes(bytes, file_name, |value, problems| decode(value, &mut Decoder::new(problems)))
}

fn read_bytes<T>(
    bytes: &[u8],
    file_name: Option<&str>,
    decode: impl FnOnce(&Value, &mut Problems) -> Option<T>,
) -> Parsed<T> {
    if bytes.len() > DOCUMENT_BYTES_MAX {
        return failed("", too_large(bytes.len()));
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => read(text, Format::guess(file_name, text), decode),
        Err(error) => {
            let readable = &bytes[..error.valid_up_to()];
            let text = String::from_utf8_lossy(readable);
            let message = if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
                "the document is UTF-16"
            } else {
                "the document is not UTF-8 text"
            };
            let at = text.len()..text.len();
            failed(&text, Problem::new(&codes::NOT_TEXT, "", message).at(at).help(codes::NOT_TEXT.cure))
        }
    }
}

/// Reads and checks a document. Answers every text in bounded time; all problems at once, but after a mistake of syntax
/// there is nothing more to judge.
pub fn parse(text: &str, format: Format, options: &CheckOptions) -> Parsed {
    read(text, format, |value, problems| workflow(value, options, problems))
}

fn workflow(value: &Value, options: &CheckOptions, problems: &mut Problems) -> Option<WorkflowSpec> {
    let spec = decode::workflow(value, problems);
    if let Some(spec) = &spec {
        check::run(spec, options, problems);
    }
    spec
}

fn read<T>(text: &str, format: Format, decode: impl FnOnce(&Value, &mut Problems) -> Option<T>) -> Parsed<T> {
    if text.len() > DOCUMENT_BYTES_MAX {
        return failed("", too_large(text.len()));
    }
    if let Some((at, found)) = text.char_indices().find(|(_, c)| is_binary(*c)) {
        let message = format!("the document holds the control character U+{:04X}; it is not a text", u32::from(found));
        let problem = Problem::new(&codes::NOT_TEXT, "", message).at(at..at + found.len_utf8());
        return failed(text, problem.help(codes::NOT_TEXT.cure));
    }
    let mut problems = Problems::default();
    let read = match format {
        Format::Yaml => tree::read_yaml(text, &mut problems),
        Format::Json => tree::read_json(text, &mut problems),
    };
    let tree = match read {
        Ok(Some(tree)) => tree,
        Ok(None) => {
            let problem = Problem::new(&codes::EMPTY_DOCUMENT, "", "the document is empty").at(0..0);
            return failed(text, problem.help(codes::EMPTY_DOCUMENT.cure));
        }
        Err(fatal) => {
            let tree = Tree { value: Value::Null, spans: tree::Spans::default() };
            problems.list.push(fatal);
            return finish(text, tree, None, problems);
        }
    };
    let spec = decode(&tree.value, &mut problems);
    finish(text, tree, spec, problems)
}

fn finish<T>(text: &str, tree: Tree, spec: Option<T>, problems: Problems) -> Parsed<T> {
    let source = Source::new(text, tree.spans);
    let mut diagnostics = Vec::with_capacity(problems.list.len());
    let has_errors = problems.has_errors() || problems.overflow;
    for problem in problems.list {
        let at = match (&problem.at, &problem.inside) {
            (Some(at), _) => at.clone(),
            (None, Some(inside)) => source.find_inside(&problem.path, &tree.value, inside),
            (None, None) => source.find(&problem.path, problem.on_key),
        };
        let first = problem.first_at.clone().map(|first| source.span(first).line);
        let mut diagnostic = problem.into_diagnostic();
        if let Some(line) = first {
            diagnostic.message = format!("{}, for the first time in line {line}", diagnostic.message);
        }
        diagnostic.span = Some(source.span(at));
        diagnostics.push(diagnostic);
    }
    sort(&mut diagnostics);
    if problems.overflow {
        let mut rest = check::too_many();
        rest.span = Some(source.span(text.len()..text.len()));
        diagnostics.push(rest);
    }
    Parsed { spec: spec.filter(|_| !has_errors), diagnostics, source }
}

fn failed<T>(text: &str, problem: Problem) -> Parsed<T> {
    let tree = Tree { value: Value::Null, spans: tree::Spans::default() };
    finish(text, tree, None, Problems { list: vec![problem], overflow: false })
}

fn sort(diagnostics: &mut [Diagnostic]) {
    diagnostics.sort_by_key(|diagnostic| diagnostic.span.map_or((usize::MAX, 0), |span| (span.start, span.end)));
}

fn too_large(bytes: usize) -> Problem {
    let message = format!("the document has {bytes} bytes; {DOCUMENT_BYTES_MAX} are read at most");
    Problem::new(&codes::TOO_LARGE, "", message).at(0..0).help(codes::TOO_LARGE.cure)
}

/// Control characters that no text has.
fn is_binary(c: char) -> bool {
    (c.is_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{85}')) || c == '\u{fffe}' || c == '\u{ffff}'
}
