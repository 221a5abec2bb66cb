//! `segue explain [CODE]`: what a rule means, or all rules.

use segue_core::spec::{
    Severity,
    codes::{self, Code},
};
use serde_json::{Value, json};

use crate::{
    args::ExplainArgs,
    exit::Exit,
    failure::{Failure, Outcome},
    render::table::{Cell, table},
    terminal::{self, Paint},
};

pub(super) fn explain(args: &ExplainArgs) -> Outcome {
    let paint = Paint::stdout();
    match &args.code {
        None if args.json => {
            let items: Vec<Value> = codes::ALL.iter().map(|code| as_json(code)).collect();
            terminal::print(json!({ "items": items }).to_string());
        }
        None => {
            let rows: Vec<[Cell; 3]> = codes::ALL
                .iter()
                .map(|code| {
                    [Cell::painted(paint.bold(code.name), code.name), severity(code, paint), Cell::new(code.title)]
                })
                .collect();
            terminal::print(table(&rows));
            terminal::say("segue explain CODE tells more");
        }
        Some(name) => {
            let code = codes::find(name.trim()).ok_or_else(|| unknown(name))?;
            terminal::print(if args.json { as_json(code).to_string() } else { page(code, paint) });
        }
    }
    Ok(Exit::Ok)
}

const fn name_of(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

fn severity(code: &Code, paint: Paint) -> Cell {
    let name = name_of(code.severity);
    Cell::painted(if code.severity == Severity::Error { paint.bad(name) } else { paint.dim(name) }, name)
}

/// The rule's page of the reference, with its headings as a terminal shows them.
fn page(code: &Code, paint: Paint) -> String {
    let page = code.page();
    let lines = page.lines().filter(|line| !line.starts_with("```")).map(|line| match line.strip_prefix("# ") {
        Some(heading) => paint.bold(heading),
        None if matches!(line, "Wrong:" | "Right:") => paint.help(line),
        None => line.replace("*Cure:*", &paint.help("What to do:")),
    });
    let mut text: Vec<String> = lines.collect();
    // The fences around the examples leave empty lines behind.
    text.dedup_by(|next, line| next.is_empty() && line.is_empty());
    text.join("\n").trim_end().to_owned()
}

fn as_json(code: &Code) -> Value {
    json!({
        "code": code.name,
        "severity": code.severity,
        "title": code.title,
        "cause": code.cause,
        "cure": code.cure,
        "wrong": code.example().map(|example| example.wrong),
        "right": code.example().map(|example| example.right),
    })
}

fn unknown(name: &str) -> Failure {
    let distance = |code: &&&Code| strsim::damerau_levenshtein(code.name, name);
    let failure = Failure::not_found(format!("there is no rule `{name}`"));
    match codes::ALL.iter().min_by_key(distance).filter(|code| distance(code) <= 1 + name.len() / 3) {
        Some(near) => failure.help(format!("did you mean `{}`?", near.name)),
        None => failure.help("`segue explain` lists all rules"),
    }
}
