//! What an execution's status says, in either of its shapes.

use segue_core::outcome::Usage;
use serde_json::{Map, Value, json};

/// How an execution stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Status {
    /// It goes on; with this of the crew's tasks, where that is told.
    Running { task: Option<String> },
    /// It waits for a person.
    Asks { task: Option<String>, value: Value },
    /// It has ended well.
    Ended { output: Value, usage: Usage },
    /// The crew failed.
    Failed { message: String },
    /// It was stopped.
    Stopped,
    /// A word that is not known here.
    Strange(String),
}

impl Status {
    pub(super) fn read(body: &Value) -> Self {
        let word = ["status", "state"].iter().find_map(|key| body[*key].as_str()).unwrap_or_default();
        let plain: String = word.to_ascii_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        match plain.as_str() {
            "running" | "pending" | "queued" | "started" | "received" | "retry" | "retrying" | "resumed"
            | "processing" | "inprogress" => Self::Running { task: task(body) },
            "completed" | "success" | "succeeded" | "finished" => {
                Self::Ended { output: output(body), usage: usage(body) }
            }
            "error" | "failed" | "failure" => Self::Failed { message: message(body) },
            "stopped" | "revoked" | "cancelled" | "canceled" | "aborted" => Self::Stopped,
            other if other.contains("human") => Self::Asks { task: task(body), value: shown(body) },
            _ => Self::Strange(word.chars().take(100).collect()),
        }
    }
}

/// As a crew of the user's own would give it: `{output, tasks}`.
fn output(body: &Value) -> Value {
    let result = &body["result"];
    let json_form = [&body["result_json"], &result["output_json"]].into_iter().find(|value| value.is_object());
    let plain = if result.is_object() && result.get("output").is_some() { &result["output"] } else { result };
    let tasks = result["tasks"].as_array().into_iter().flatten();
    let tasks: Vec<Value> = tasks
        .map(|task| json!({ "name": task["task_id"], "agent": task["agent"], "output": task["output"] }))
        .collect();
    json!({ "output": json_form.unwrap_or(plain), "tasks": tasks })
}

fn usage(body: &Value) -> Usage {
    let figures = [&body["token_usage"], &body["result"]["token_usage"]].into_iter().find(|value| value.is_object());
    let Some(figures) = figures else { return Usage::default() };
    let number = |name: &str| figures[name].as_u64().unwrap_or(0);
    Usage {
        model_calls: number("successful_requests"),
        input_tokens: number("prompt_tokens"),
        output_tokens: number("completion_tokens"),
        cached_input_tokens: number("cached_prompt_tokens"),
        cost_nanousd: 0,
    }
}

fn message(body: &Value) -> String {
    let told = ["error", "message", "result"].iter().find_map(|key| body[*key].as_str());
    told.unwrap_or("the crew failed, and its server does not say why").chars().take(2000).collect()
}

/// Which task it is about. Where that stands for one that waits is not documented.
fn task(body: &Value) -> Option<String> {
    let places = ["/task_id", "/current_task/id", "/current_task/task_id", "/current_task", "/human_input/task_id"];
    places.iter().find_map(|place| body.pointer(place)?.as_str()).map(str::to_owned)
}

/// What it shows to whoever answers.
fn shown(body: &Value) -> Value {
    let names = ["task_id", "current_task", "task_output", "output", "message", "human_input"];
    let shown: Map<String, Value> =
        names.iter().filter_map(|name| Some(((*name).to_owned(), body.get(*name)?.clone()))).collect();
    Value::Object(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_shapes_say_the_same() {
        for running in [json!({ "status": "running" }), json!({ "state": "STARTED" }), json!({ "state": "PENDING" })] {
            assert_eq!(Status::read(&running), Status::Running { task: None });
        }
        let tasks = json!([{ "task_id": "t", "agent": "A", "output": "o", "execution_time": 1 }]);
        let documented = json!({ "status": "completed", "result": { "output": "text", "tasks": tasks } });
        let expected = json!({ "output": "text", "tasks": [{ "name": "t", "agent": "A", "output": "o" }] });
        assert_eq!(Status::read(&documented), Status::Ended { output: expected, usage: Usage::default() });
        for (celery, output) in [
            (json!({ "state": "SUCCESS", "result": "text" }), json!("text")),
            (json!({ "state": "success", "result": "{}", "result_json": { "a": 1 } }), json!({ "a": 1 })),
        ] {
            let expected = json!({ "output": output, "tasks": [] });
            assert_eq!(Status::read(&celery), Status::Ended { output: expected, usage: Usage::default() });
        }
        for failed in [json!({ "status": "error", "error": "x" }), json!({ "state": "FAILURE", "result": "x" })] {
            assert_eq!(Status::read(&failed), Status::Failed { message: "x".to_owned() });
        }
        assert_eq!(Status::read(&json!({ "state": "REVOKED" })), Status::Stopped);
        for (asks, task) in [
            (json!({ "status": "Pending Human Input", "task_id": "t" }), Some("t")),
            (json!({ "state": "PENDING_HUMAN_INPUT", "current_task": { "id": "u" } }), Some("u")),
            (json!({ "status": "pending human input" }), None),
        ] {
            assert!(
                matches!(Status::read(&asks), Status::Asks { task: found, .. } if found.as_deref() == task),
                "{asks}"
            );
        }
        assert_eq!(Status::read(&json!({ "status": "melted" })), Status::Strange("melted".to_owned()));
    }
}
