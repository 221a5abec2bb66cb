//! What the scripted graphs do.

use serde_json::{Map, Value, json};

use super::World;

/// Carries out the run that was just made, as far as it goes by itself.
pub(super) fn play(world: &mut World, at: usize) {
    let request = world.runs[at].request.clone();
    let graph = request["assistant_id"].as_str().unwrap_or_default().to_owned();
    let id = world.runs[at].id.clone();
    world.runs[at].events.push(("metadata", json!({ "run_id": id, "attempt": 1 })));
    take_input(world, at, &request["input"]);
    match graph.as_str() {
        "endless" | "held" => {
            world.runs[at].status = "running";
            world.runs[at].events.push(("tasks", json!({ "id": "t", "name": "ready", "input": {} })));
            thread(world, at).status = "busy";
        }
        "ask" => ask(world, at, &request["command"]),
        "flaky" if !request["input"].is_null() => {
            said(world, at, "first");
            thread(world, at).next = vec!["second"];
            fail(world, at, "RateLimitError");
        }
        "times_out" => end(world, at, "timeout", "error"),
        "stolen" => end(world, at, "interrupted", "interrupted"),
        "stops" => {
            thread(world, at).next = vec!["danger"];
            end(world, at, "success", "interrupted");
        }
        _ => match graph.strip_prefix("fails:") {
            Some(class) => fail(world, at, class),
            None => succeed(world, at),
        },
    }
}

fn thread(world: &mut World, at: usize) -> &mut super::Thread {
    let id = world.runs[at].thread.clone();
    world.threads.get_mut(&id).expect("a run has a thread")
}

fn take_input(world: &mut World, at: usize, input: &Value) {
    let thread = thread(world, at);
    thread.checkpoint += 1;
    thread.error = Value::Null;
    let Some(input) = input.as_object() else { return };
    let values = thread.values.as_object().cloned().unwrap_or_default();
    thread.values = Value::Object(values.into_iter().chain(input.clone()).collect::<Map<_, _>>());
}

/// One AI message: 10 tokens in, 2 of them cached, 5 out.
fn said(world: &mut World, at: usize, node: &'static str) {
    let message = json!({
        "type": "ai", "id": format!("m-{}-{node}", world.runs[at].id), "content": format!("said by {node}"),
        "usage_metadata": { "input_tokens": 10, "output_tokens": 5, "total_tokens": 15, "input_token_details": { "cache_read": 2 } },
    });
    let events = &mut world.runs[at].events;
    events.push(("tasks", json!({ "id": "t", "name": node, "input": {} })));
    events.push(("updates", json!({ node: { "messages": [message] } })));
    events.push(("tasks", json!({ "id": "t", "name": node, "error": null, "result": {}, "interrupts": [] })));
    let values = &mut thread(world, at).values;
    if !values.is_object() {
        *values = json!({});
    }
    match &mut values["messages"] {
        Value::Array(messages) => messages.push(message),
        other => *other = json!([message]),
    }
}

pub(super) fn succeed(world: &mut World, at: usize) {
    said(world, at, "answer");
    thread(world, at).next.clear();
    end(world, at, "success", "idle");
}

fn fail(world: &mut World, at: usize, class: &str) {
    let error = json!({ "error": class, "message": "kaboom" });
    world.runs[at].events.push(("error", error.clone()));
    thread(world, at).error = error;
    end(world, at, "error", "error");
}

fn ask(world: &mut World, at: usize, command: &Value) {
    if let Some(answers) = command.get("resume") {
        let thread = thread(world, at);
        thread.values["answers"] = answers.clone();
        thread.interrupts.clear();
        return succeed(world, at);
    }
    if thread(world, at).interrupts.is_empty() {
        said(world, at, "ask");
    }
    let asked = [("i1", json!({ "question": "go on?" })), ("i2", json!("how often?"))];
    let shown: Vec<Value> = asked.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect();
    world.runs[at].events.push(("updates", json!({ "__interrupt__": shown })));
    let thread = thread(world, at);
    thread.interrupts = asked.map(|(id, value)| (id.to_owned(), value)).to_vec();
    thread.next = vec!["ask"];
    end(world, at, "success", "interrupted");
}

pub(super) fn end(world: &mut World, at: usize, run: &'static str, of_thread: &'static str) {
    world.runs[at].status = run;
    thread(world, at).status = of_thread;
}
