//! `segue config show [--origin] [--json]`

use serde_json::{Map, Value, json};

use crate::{
    args::ConfigShowArgs,
    config::{Origin, Resolved, SETTINGS, shown},
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
                let text = shown(&entry.text);
                let value = json!({ "value": text, "origin": entry.origin.to_string() });
                (setting.key.to_owned(), if args.origin { value } else { json!(text) })
            })
            .collect();
        for (name, entry, origin) in resolved.models().entries().chain(resolved.limits().entries()) {
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
        show(setting.key, &shown(&entry.text), &entry.origin);
    }
    for (name, entry, origin) in resolved.models().entries().chain(resolved.limits().entries()) {
        show(&name, &entry.to_string(), origin);
    }
    Ok(Exit::Ok)
}
