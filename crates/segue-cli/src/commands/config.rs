//! `segue config show [--origin] [--json]`

use serde_json::{Map, Value, json};

use crate::{
    args::ConfigShowArgs,
    config::{Resolved, SETTINGS},
    exit::Exit,
    failure::Outcome,
    terminal::{self, Paint},
};

pub(super) fn show(args: &ConfigShowArgs, resolved: &Resolved) -> Outcome {
    if args.json {
        let settings: Map<String, Value> = SETTINGS
            .iter()
            .map(|setting| {
                let entry = resolved.entry(setting.key);
                let value = json!({ "value": entry.text, "origin": entry.origin.to_string() });
                (setting.key.to_owned(), if args.origin { value } else { json!(entry.text) })
            })
            .collect();
        terminal::print(Value::Object(settings).to_string());
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    for setting in SETTINGS {
        let entry = resolved.entry(setting.key);
        let line = format!("{:<20} {}", setting.key, entry.text);
        terminal::print(if args.origin {
            format!("{line:<54} {}", paint.dim(&format!("from {}", entry.origin)))
        } else {
            line.trim_end().to_owned()
        });
    }
    Ok(Exit::Ok)
}
