//! Problems of documents as SARIF 2.1.0, for code review tools.

use segue_core::spec::{Diagnostic, Severity};
use serde_json::{Value, json};

/// One log of one run of the checker, over `files`.
pub(crate) fn log(files: &[(&str, &[Diagnostic])]) -> Value {
    let results: Vec<Value> =
        files.iter().flat_map(|(file, problems)| problems.iter().map(|problem| result(file, problem))).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "segue", "version": env!("CARGO_PKG_VERSION") } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(file: &str, problem: &Diagnostic) -> Value {
    let text = match &problem.help {
        Some(help) => format!("{}; {help}", problem.message),
        None => problem.message.clone(),
    };
    let mut place = json!({ "artifactLocation": { "uri": file } });
    if let Some(span) = problem.span {
        place["region"] = json!({
            "startLine": span.line,
            "startColumn": span.column,
            "byteOffset": span.start,
            "byteLength": span.end.saturating_sub(span.start),
        });
    }
    json!({
        "ruleId": problem.code,
        "level": match problem.severity { Severity::Error => "error", Severity::Warning => "warning" },
        "message": { "text": text },
        "locations": [{ "physicalLocation": place }],
    })
}
