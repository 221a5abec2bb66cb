//! `segue runs show RUN`: what a run has come to, task by task.

use serde_json::Value;

use crate::{
    args::ShowArgs,
    commands::drive::{as_json, summary},
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::{
        document::{self, RunDocument},
        text::{named_value, one_line, span, value},
    },
    run_ref,
    terminal::{self, Paint},
    wiring,
};

/// Characters of a task's output in the overview.
const OUTPUT_CHARS_MAX: usize = 100;

pub(super) async fn show(args: ShowArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings)?;
    let run = run_ref::resolve(&*store, &args.run.run).await?;
    let document = document::of_run(&*store, run).await?;
    terminal::print(if args.json { as_json(&document) } else { for_people(&document, Paint::stdout()) });
    Ok(Exit::Ok)
}

fn for_people(document: &RunDocument, paint: Paint) -> String {
    let mut lines = vec![format!("{} {}", paint.bold(document.workflow_id.as_str()), summary(document, paint))];
    if let Some(error) = &document.error {
        let place = error.node.as_ref().map_or(String::new(), |node| format!("{node}: "));
        lines.push(format!("{} {place}{}: {}", paint.bad("error:"), error.kind, error.message));
    }
    lines.push(String::new());
    let width = document.tasks.keys().map(|id| id.chars().count()).max().unwrap_or(0).min(40);
    lines.extend(document.tasks.iter().map(|(id, task)| task_line(id, task, width, paint)));
    if let Value::Object(outputs) = &document.outputs
        && !outputs.is_empty()
    {
        lines.push(String::new());
        lines.extend(outputs.iter().map(|(name, value)| named_value(name, value)));
    }
    lines.join("\n")
}

fn task_line(id: &str, task: &Value, width: usize, paint: Paint) -> String {
    let status = task["status"].as_str().unwrap_or_default();
    let mut facts = Vec::new();
    if let Some(took) = took(task) {
        facts.push(took);
    }
    if let Some(attempts) = task["attempts"].as_u64().filter(|n| *n > 1) {
        facts.push(format!("{attempts} attempts"));
    }
    let remark = match (&task["error"], &task["output"]) {
        (Value::Object(error), _) => {
            let part = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{}: {}", part("kind"), part("message"))
        }
        (_, Value::Null) => task["reason"]["message"].as_str().unwrap_or_default().to_owned(),
        (_, Value::String(text)) => text.clone(),
        (_, other) => other.to_string(),
    };
    let facts = facts.join(" · ");
    let remark = one_line(&remark, OUTPUT_CHARS_MAX);
    let status_shown = format!("{status:<9}");
    let status_shown = match segue_core::status::Status::from_name(status) {
        Some(status) => paint.status(status, &status_shown),
        None => status_shown,
    };
    format!("{status_shown}  {id:<width$}  {}  {remark}", paint.dim(&format!("{facts:<8}"))).trim_end().to_owned()
}

fn took(task: &Value) -> Option<String> {
    let time = |key: &str| task[key].as_str()?.parse::<segue_core::time::Timestamp>().ok();
    Some(span(time("finished_at")?.since(time("started_at")?)))
}

/// A task's output, whole: used by `runs result`.
pub(super) fn whole(output: &Value, json: bool) -> String {
    if json { output.to_string() } else { value(output) }
}
