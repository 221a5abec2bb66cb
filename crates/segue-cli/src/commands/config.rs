//! `segue config show [--origin] [--json]`

use serde_json::{Map, Value, json};

use crate::{
    args::ConfigShowArgs,
    config::{Origin, Resolved, SETTINGS},
    exit::Exit,
    failure::Outcome,
    terminal::{self, Paint},
};

pub(super) fn show(args: &ConfigShowArgs, resolved: &Resolved) -> Outcome {
    if args.json {
        let mut settings: Map<String, Value> = SETTINGS
            .iter()
            .map(|setting| {
                let entry = resolved.entry(setting.key);
                let value = json!({ "value": entry.text, "origin": entry.origin.to_string() });
                (setting.key.to_owned(), if args.origin { value } else { json!(entry.text) })
            })
            .collect();
        for (name, entry, origin) in resolved.models().entries() {
            let shown = if args.origin { json!({ "value": entry, "origin": origin.to_string() }) } else { entry };
            settings.insert(name, shown);
        }
        terminal::print(Value::Object(settings).to_string());
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    let show = |name: &str, text: &str, origin: &Origin| {
        let line = format!("{name:<20} {text}");
        terminal::print(if args.origin {
            format!("{line:<54} {}", paint.dim(&format!("from {origin}")))
        } else {
            line.trim_end().to_owned()
        });
    };
    for setting in SETTINGS {
        let entry = resolved.entry(setting.key);
        show(setting.key, &entry.text, &entry.origin);
    }
    for (name, entry, origin) in resolved.models().entries() {
        show(&name, &entry.to_string(), origin);
    }
    Ok(Exit::Ok)
}
