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

fn page(code: &Code, paint: Paint) -> String {
    format!(
        "{}: {}\n\n{}\n\n{} {}",
        paint.bold(&format!("{}[{}]", name_of(code.severity), code.name)),
        code.title,
        code.cause,
        paint.help("What to do:"),
        code.cure
    )
}

fn as_json(code: &Code) -> Value {
    json!({
        "code": code.name,
        "severity": code.severity,
        "title": code.title,
        "cause": code.cause,
        "cure": code.cure,
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
