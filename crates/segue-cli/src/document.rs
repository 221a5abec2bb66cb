//! Reading workflow documents, from a file or from stdin.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use segue_core::{
    ids::HandlerId,
    spec::{self, CheckOptions, Diagnostic, Parsed, Severity, WorkflowSpec, codes},
};
use serde_json::json;

use crate::{
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    family::{self, Family},
    render::diagnostics::{Source, for_people},
    terminal::{self, Paint},
    wiring,
};

/// A document and everything that is known about it.
pub(crate) struct Document {
    /// Its name for people: the path as it was given, or `<stdin>`.
    pub(crate) name: String,
    /// Its text.
    pub(crate) text: String,
    parsed: Parsed,
    /// The folder in which its relative paths are resolved, absolute.
    pub(crate) base_dir: PathBuf,
}

impl Document {
    /// Reads and checks `file`; `-` is stdin. Fails only where there is nothing to check.
    pub(crate) fn read(file: &str, settings: &Settings) -> Outcome<Self> {
        let (name, bytes) = if file == "-" {
            ("<stdin>".to_owned(), bounded(io::stdin().lock()))
        } else {
            (file.to_owned(), File::open(file).and_then(bounded))
        };
        let bytes = bytes.map_err(|error| cannot_read(file, &error))?;
        let options = CheckOptions {
            handlers: wiring::handlers(),
            default_handler: Some(HandlerId::new(settings.default_task.as_str())),
            limits: Some(settings.limits.names()),
        };
        let mut parsed = spec::parse_bytes(&bytes, (file != "-").then_some(file), &options);
        if let Some(workflow) = &parsed.spec {
            let found = wiring::translate_workflow(workflow);
            parsed.add(found);
        }
        complete(&mut parsed);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Self { name, text, parsed, base_dir: folder_of(file)? })
    }

    /// Looks for the workflow's child workflows, and checks how they are named and fed.
    pub(crate) async fn with_family(mut self, settings: &Settings) -> Outcome<(Self, Family)> {
        let Some(spec) = &self.parsed.spec else { return Ok((self, Family::default())) };
        let (family, problems) = family::find(spec, &self.base_dir, settings).await;
        self.parsed.add(problems);
        complete(&mut self.parsed);
        Ok((self, family))
    }

    /// All its problems.
    pub(crate) fn diagnostics(&self) -> &[Diagnostic] {
        &self.parsed.diagnostics
    }

    /// How many problems are so bad.
    pub(crate) fn problems_of(&self, severity: Severity) -> usize {
        self.parsed.diagnostics.iter().filter(|problem| problem.severity == severity).count()
    }

    /// The workflow, if the text is one.
    pub(crate) const fn spec(&self) -> Option<&WorkflowSpec> {
        self.parsed.spec.as_ref()
    }

    /// The same, for good.
    pub(crate) fn into_spec(self) -> Option<WorkflowSpec> {
        self.parsed.spec
    }

    /// Are there errors, or, if `strict`, warnings?
    pub(crate) fn is_valid(&self, strict: bool) -> bool {
        self.spec().is_some() && (!strict || self.diagnostics().is_empty()) && self.problems_of(Severity::Error) == 0
    }

    /// The problems as people read them.
    pub(crate) fn problems(&self, paint: Paint) -> String {
        for_people(Source { name: &self.name, text: &self.text }, self.diagnostics(), paint)
    }

    /// The workflow, to be run or drawn. Problems are shown on stderr; errors among them end the command.
    pub(crate) fn into_workflow(self, json: bool) -> Outcome<(WorkflowSpec, PathBuf)> {
        let valid = self.is_valid(false);
        if !json && !self.diagnostics().is_empty() {
            terminal::say(self.problems(Paint::stderr()));
            terminal::say("");
        }
        let errors = self.problems_of(Severity::Error);
        match self.parsed.spec {
            Some(spec) if valid => Ok((spec, self.base_dir)),
            _ => {
                let noun = if errors == 1 { "error" } else { "errors" };
                Err(Failure::new(Exit::Invalid, format!("{} cannot run: {errors} {noun}", self.name))
                    .help("correct what is shown; `segue validate` checks without running")
                    .details(json!(self.parsed.diagnostics)))
            }
        }
    }
}

/// Where a message says all, its rule's own cure stands in.
fn complete(parsed: &mut Parsed) {
    for problem in &mut parsed.diagnostics {
        let cure = || codes::find(&problem.code).map(|code| code.cure.to_owned());
        problem.help = problem.help.take().or_else(cure);
    }
}

/// One byte more than the parser takes, so that it can say that it is too much.
fn bounded(reader: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(spec::DOCUMENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The folder that a document's relative paths start in: its own, or of one from stdin the current one.
fn folder_of(file: &str) -> Outcome<PathBuf> {
    let parent = Path::new(file).parent().filter(|parent| file != "-" && !parent.as_os_str().is_empty());
    let folder = parent.unwrap_or(Path::new("."));
    folder.canonicalize().map_err(|error| cannot_read(&folder.display().to_string(), &error))
}

fn cannot_read(file: &str, error: &io::Error) -> Failure {
    let path = Path::new(file);
    match error.kind() {
        io::ErrorKind::NotFound => Failure::not_found(format!("{file}: no such file"))
            .help("name a workflow document, or make one: `segue init` writes workflow.yaml"),
        _ if path.is_dir() => {
            let inside = ["workflow.yaml", "workflow.yml", "workflow.json"].map(|name| path.join(name));
            Failure::usage(format!("{file} is a folder")).help(match inside.iter().find(|file| file.is_file()) {
                Some(workflow) => format!("name the document in it: {}", workflow.display()),
                None => "name a workflow document".to_owned(),
            })
        }
        _ => Failure::not_found(format!("{file} cannot be read: {error}")).help("make it readable"),
    }
}
