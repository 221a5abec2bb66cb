//! `segue validate FILE...|- [--format human|json|sarif] [--strict]`

use segue_core::spec::Severity;
use serde_json::{Value, json};

use crate::{
    args::{ReportFormat, ValidateArgs},
    config::Settings,
    document::Document,
    exit::Exit,
    failure::{Failure, Outcome},
    render::{failure, sarif, text::count},
    terminal::{self, Paint},
};

pub(super) async fn validate(args: ValidateArgs, settings: Settings) -> Outcome {
    let mut documents = Vec::new();
    let mut unread: Vec<Failure> = Vec::new();
    for file in &args.files {
        match Document::read(file, &settings) {
            Ok(document) => documents.push(document.with_family(&settings).await?.0),
            Err(failure) => unread.push(failure),
        }
    }
    // One unreadable file among several must not hide what is wrong with the others.
    if documents.is_empty()
        && let Some(failure) = unread.pop()
    {
        unread.iter().for_each(|failure| failure::show(failure, args.format != ReportFormat::Human));
        return Err(failure);
    }

    let valid = |document: &Document| document.is_valid(args.strict);
    match args.format {
        ReportFormat::Human => documents.iter().for_each(for_people),
        ReportFormat::Json => {
            let files: Vec<Value> = documents
                .iter()
                .map(|document| {
                    json!({ "file": document.name, "valid": valid(document), "diagnostics": document.diagnostics() })
                })
                .collect();
            let all = unread.is_empty() && documents.iter().all(valid);
            terminal::print(json!({ "valid": all, "files": files }).to_string());
        }
        ReportFormat::Sarif => {
            let files: Vec<_> = documents.iter().map(|document| (&*document.name, document.diagnostics())).collect();
            terminal::print(sarif::log(&files).to_string());
        }
    }
    if !documents.iter().all(valid) {
        unread.iter().for_each(|failure| failure::show(failure, args.format != ReportFormat::Human));
        return Ok(Exit::Invalid);
    }
    match unread.pop() {
        Some(failure) => Err(failure),
        None => Ok(Exit::Ok),
    }
}

fn for_people(document: &Document) {
    if !document.diagnostics().is_empty() {
        terminal::print(document.problems(Paint::stdout()));
        terminal::print("");
    }
    let of = |severity| document.problems_of(severity) as u64;
    let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
    let mut facts = Vec::new();
    facts.extend((errors > 0).then(|| count(errors, "error")));
    facts.extend((warnings > 0).then(|| count(warnings, "warning")));
    if facts.is_empty() {
        let nodes = document.spec().map_or(0, |spec| spec.nodes.len() as u64);
        facts.push(format!("valid, {}", count(nodes, "node")));
    }
    terminal::say(format!("{}: {}", document.name, facts.join(", ")));
}
