//! Who answers the calls of models in a session: a rehearsal's script, a cassette; without either, providers.

use std::{fs, path::Path, sync::Arc};

use segue_core::spec::Severity;
use segue_gateway::{Cassette, CassetteError, Script};
use serde_json::json;

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
    render::{
        diagnostics::{Source, for_people},
        text::count,
    },
    terminal::{self, Paint},
};

/// What stands between the session's tasks and the providers.
#[derive(Clone, Default)]
pub(crate) struct Answers {
    pub(crate) script: Option<Arc<Script>>,
    pub(crate) cassette: Option<Arc<Cassette>>,
    /// The cassette's file, for people.
    file: String,
}

impl Answers {
    /// Reads the script, and opens the cassette.
    pub(crate) fn of(script: Option<&str>, record: Option<&Path>, replay: Option<&Path>) -> Outcome<Self> {
        let cassette = match (record, replay) {
            (Some(path), _) => Some(Cassette::record(path).map_err(|error| refused(&error))?),
            (None, Some(path)) => Some(Cassette::replay(path).map_err(|error| refused(&error))?),
            (None, None) => None,
        };
        let file = record.or(replay).map_or_else(String::new, |path| path.display().to_string());
        let script = script.map(read_script).transpose()?.map(Arc::new);
        Ok(Self { script, cassette: cassette.map(Arc::new), file })
    }

    /// Is no provider asked?
    pub(crate) fn is_replay(&self) -> bool {
        self.cassette.as_ref().is_some_and(|cassette| cassette.is_replay())
    }

    /// Says what has come of the cassette.
    pub(crate) fn report(&self) {
        let Some(cassette) = &self.cassette else { return };
        let calls = count(cassette.calls() as u64, "call");
        let file = &self.file;
        match (cassette.is_replay(), cassette.trouble()) {
            (true, _) => terminal::say(format!("{calls} answered from {file}")),
            (false, None) => terminal::say(format!("{calls} recorded in {file}; again: --replay {file}")),
            (false, Some(trouble)) => {
                terminal::say(format!("{calls} recorded in {file}, which is not complete: {trouble}"));
            }
        }
    }
}

fn refused(error: &CassetteError) -> Failure {
    let failure = match error {
        CassetteError::NotACassette { .. } => Failure::usage(error.to_string()),
        CassetteError::File { .. } => Failure::new(Exit::NotFound, error.to_string()),
    };
    failure.help("`segue run … --record FILE` makes a cassette, `--replay FILE` plays it")
}

/// A script; its problems are shown as a workflow's are.
fn read_script(file: &str) -> Outcome<Script> {
    let bytes = fs::read(file).map_err(|error| {
        Failure::not_found(format!("the script {file} cannot be read: {error}"))
            .help("--rehearse alone lets the built-in model answer")
    })?;
    let parsed = Script::parse(&bytes, Some(file));
    if !parsed.diagnostics.is_empty() {
        let text = String::from_utf8_lossy(&bytes);
        terminal::say(for_people(Source { name: file, text: &text }, &parsed.diagnostics, Paint::stderr()));
        terminal::say("");
    }
    parsed.spec.ok_or_else(|| {
        let errors = parsed.diagnostics.iter().filter(|problem| problem.severity == Severity::Error).count();
        Failure::new(Exit::Invalid, format!("the script {file} cannot be followed: {}", count(errors as u64, "error")))
            .help("correct what is shown; `segue schema script` is for editors")
            .details(json!(parsed.diagnostics))
    })
}
