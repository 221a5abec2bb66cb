//! An event as one line for people.

use segue_core::event::Envelope;
use serde_json::Value;

use crate::{
    render::{
        text::{count, one_line},
        waits,
    },
    terminal::Paint,
};

/// Characters of a line's remark at most: messages of models and processes can be long.
const REMARK_CHARS_MAX: usize = 160;

/// `12:03:06.401  task.retrying   write  attempt 1: rate_limited: slow down`
pub(crate) fn of(event: &Envelope, paint: Paint) -> String {
    let time = event.time.to_string();
    let clock = time.get(11..23).unwrap_or(&time);
    let name = format!("{:<15}", event.name);
    let name = match event.name.rsplit('.').next() {
        Some("failed") => paint.bad(&name),
        Some("succeeded") => paint.status(segue_core::status::Status::Succeeded, &name),
        Some("retrying" | "cancelled" | "cancelling") => paint.status(segue_core::status::Status::Cancelled, &name),
        _ => name,
    };
    let task = event.task_id.as_ref().map_or(String::new(), |task| format!("  {task}"));
    let remark = remark(event);
    let remark = if remark.is_empty() { String::new() } else { format!("  {remark}") };
    format!("{}  {name}{task}{remark}", paint.dim(clock)).trim_end().to_owned()
}

/// What an event says beyond its name and task.
pub(crate) fn remark(event: &Envelope) -> String {
    let data = &event.data;
    let attempt = event.attempt.unwrap_or(1);
    let text = match event.name.as_str() {
        "run.created" => format!("{} {}", event.workflow_id, event.run_id),
        "run.cancelling" | "run.cancelled" => string(&data["reason"]),
        "run.failed" => match data["error"]["node"].as_str() {
            Some(node) => format!("{node}: {}", error(&data["error"])),
            None => error(&data["error"]),
        },
        "task.started" if attempt > 1 => format!("attempt {attempt}"),
        "task.retrying" => format!("attempt {attempt}: {}", error(&data["error"])),
        "task.failed" if attempt > 1 => format!("attempt {attempt}: {}", error(&data["error"])),
        "task.failed" => error(&data["error"]),
        "task.succeeded" if data["reused_from"].is_string() => {
            format!("taken from run {}", string(&data["reused_from"]))
        }
        "task.succeeded" => match tokens(&data["usage"]) {
            0 => String::new(),
            n => count(n, "token"),
        },
        "task.skipped" => string(&data["reason"]["message"]),
        "task.mapped" => count(data["n"].as_u64().unwrap_or(0), "instance"),
        "loop.iterated" => format!("iteration {}", data["iteration"]),
        "task.waiting" => match serde_json::from_value(data.clone()) {
            Ok(waiting) => format!("for {}", waits::what(&waiting)),
            Err(_) => String::new(),
        },
        "task.signaled" => answer(&data["data"]),
        _ if event.transient => progress(data),
        _ => String::new(),
    };
    one_line(&text, REMARK_CHARS_MAX)
}

/// `approve by ann: fine with me`; the data of a signal as they are.
fn answer(data: &Value) -> String {
    let Some(decision) = data["decision"].as_str() else { return data.to_string() };
    let by = data["by"].as_str().map_or(String::new(), |by| format!(" by {by}"));
    let comment = data["comment"].as_str().map_or(String::new(), |comment| format!(": {comment}"));
    format!("{decision}{by}{comment}")
}

/// Progress in an adapter's words: a text if it gives one, else what happened and to whom.
fn progress(data: &Value) -> String {
    if let Some(text) = ["message", "line", "text"].iter().find_map(|key| data[*key].as_str()) {
        return text.to_owned();
    }
    let mut text = match (data["kind"].as_str(), data["outcome"].as_str()) {
        (Some(kind), _) => kind.replace('_', " "),
        // A call of a model, in the gateway's words.
        (None, Some(outcome)) if data["model"].is_string() => format!("model call {outcome}"),
        _ => return data.to_string(),
    };
    let name = ["tool", "model", "task", "crew"].iter().find_map(|key| data[*key].as_str());
    if let Some(name) = name {
        text += &format!(": {name}");
    }
    if let Some(agent) = data["agent"].as_str() {
        text += &format!(" ({})", agent.trim());
    }
    match tokens(&data["usage"]) + tokens(data) {
        0 => text,
        n => format!("{text}, {}", count(n, "token")),
    }
}

/// Input and output tokens of a usage object.
pub(crate) fn tokens(usage: &Value) -> u64 {
    ["input_tokens", "output_tokens"].iter().filter_map(|key| usage[*key].as_u64()).sum()
}

fn error(error: &Value) -> String {
    format!("{}: {}", string(&error["kind"]), string(&error["message"]))
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
