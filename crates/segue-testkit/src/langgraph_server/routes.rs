//! The server's interface.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Run, Shared, Thread, World, play};
use crate::web::{Answer, Call, Piece};

pub(super) async fn answer(shared: Arc<Shared>, call: Call) -> Answer {
    if let Some(refusal) = refusal(&mut shared.world(), &call) {
        return refusal;
    }
    let parts: Vec<&str> = call.path.trim_matches('/').split('/').collect();
    match (call.method.as_str(), parts.as_slice()) {
        ("POST", ["threads"]) => shared.change(|world| make_thread(world, &call.body)),
        ("GET", ["threads", thread]) => {
            shared.world().threads.get(*thread).map_or_else(no_thread, |it| shown(thread, it))
        }
        ("DELETE", ["threads", thread]) => shared.change(|world| {
            world.threads.remove(*thread);
            world.runs.retain(|run| run.thread != *thread);
            Answer::text(204, "")
        }),
        ("GET", ["threads", thread, "state"]) => shared.world().threads.get(*thread).map_or_else(no_thread, state),
        ("GET", ["threads", thread, "runs"]) => list(&shared.world(), thread),
        ("POST", ["threads", thread, "runs"]) => shared.change(|world| make_run(world, thread, &call.body)),
        ("GET", ["threads", _, "runs", run]) => shared
            .world()
            .runs
            .iter()
            .find(|it| it.id == *run)
            .map_or_else(not_found, |it| Answer::json(200, &it.shown())),
        ("GET", ["threads", _, "runs", run, "stream"]) => stream(shared.clone(), run, call.header("last-event-id")),
        ("POST", ["threads", _, "runs", run, "cancel"]) => shared.change(|world| cancel(world, run)),
        _ => not_found(),
    }
}

fn refusal(world: &mut World, call: &Call) -> Option<Answer> {
    if world.refusals > 0 {
        world.refusals -= 1;
        return Some(Answer::text(503, "Service Unavailable"));
    }
    let is_known = world.key.as_deref().is_none_or(|key| key == call.header("x-api-key"));
    (!is_known).then(|| Answer::json(401, &json!({ "detail": "Invalid API key" })))
}

fn not_found() -> Answer {
    Answer::json(404, &json!({ "detail": "Not Found" }))
}

fn no_thread() -> Answer {
    Answer::json(404, &json!({ "detail": "Thread with this ID not found" }))
}

fn make_thread(world: &mut World, body: &Value) -> Answer {
    let id = body["thread_id"].as_str().unwrap_or("made-by-the-server").to_owned();
    if world.threads.contains_key(&id) && body["if_exists"] != "do_nothing" {
        return Answer::json(409, &json!({ "detail": "Thread already exists" }));
    }
    let new = || Thread { status: "idle", metadata: body["metadata"].clone(), ..Thread::default() };
    shown(&id, world.threads.entry(id.clone()).or_insert_with(new))
}

fn interrupts(thread: &Thread) -> Vec<Value> {
    thread.interrupts.iter().map(|(id, value)| json!({ "id": id, "value": value })).collect()
}

fn shown(id: &str, thread: &Thread) -> Answer {
    let asked = if thread.interrupts.is_empty() { json!({}) } else { json!({ "task": interrupts(thread) }) };
    Answer::json(
        200,
        &json!({
            "thread_id": id, "status": thread.status, "values": thread.values, "error": thread.error, "interrupts": asked,
            "metadata": thread.metadata,
        }),
    )
}

fn state(thread: &Thread) -> Answer {
    let checkpoint = if thread.checkpoint == 0 {
        Value::Null
    } else {
        json!({ "checkpoint_id": format!("c{}", thread.checkpoint), "checkpoint_ns": "" })
    };
    let values = if thread.values.is_null() { json!({}) } else { thread.values.clone() };
    Answer::json(
        200,
        &json!({ "values": values, "next": thread.next, "tasks": [], "interrupts": interrupts(thread), "checkpoint": checkpoint }),
    )
}

impl Run {
    fn shown(&self) -> Value {
        json!({
            "run_id": self.id, "thread_id": self.thread, "status": self.status, "metadata": self.request["metadata"],
            "kwargs": { "input": self.request["input"] },
        })
    }
}

/// The newest first.
fn list(world: &World, thread: &str) -> Answer {
    if !world.threads.contains_key(thread) {
        return no_thread();
    }
    let runs: Vec<Value> = world.runs.iter().rev().filter(|run| run.thread == thread).map(Run::shown).collect();
    Answer::json(200, &Value::Array(runs))
}

fn make_run(world: &mut World, thread: &str, body: &Value) -> Answer {
    let graph = body["assistant_id"].as_str().unwrap_or_default();
    let known = ["echo", "flaky", "ask", "endless", "held", "times_out", "stolen", "stops"];
    if !known.contains(&graph) && !graph.starts_with("fails:") {
        return Answer::json(422, &json!({ "detail": format!("Invalid assistant: '{graph}'.") }));
    }
    if !world.threads.contains_key(thread) {
        return Answer::json(404, &json!({ "detail": "Thread or assistant not found." }));
    }
    if world.runs.iter().any(|run| run.thread == thread && run.is_open()) {
        return Answer::json(409, &json!({ "detail": "Thread is already running a task." }));
    }
    world.made += 1;
    let id = format!("run-{}", world.made);
    world.runs.push(Run {
        id: id.clone(),
        thread: thread.to_owned(),
        request: body.clone(),
        status: "pending",
        events: Vec::new(),
    });
    let at = world.runs.len() - 1;
    play::play(world, at);
    if world.lost_creations > 0 {
        world.lost_creations -= 1;
        return Answer::hang_up();
    }
    Answer::json(200, &world.runs[at].shown()).with_header("content-location", &format!("/threads/{thread}/runs/{id}"))
}

fn cancel(world: &mut World, run: &str) -> Answer {
    let Some(at) = world.runs.iter().position(|it| it.id == run && it.is_open()) else {
        return Answer::json(404, &json!({ "detail": "No matching runs to cancel." }));
    };
    play::end(world, at, "interrupted", "interrupted");
    Answer::text(200, "")
}

/// The events behind the one that the client has seen; waits for more until the run has ended.
fn stream(shared: Arc<Shared>, run: &str, last_seen: &str) -> Answer {
    if !shared.world().runs.iter().any(|it| it.id == run) {
        return not_found();
    }
    let (pieces, answer) = Answer::stream(200, "text/event-stream; charset=utf-8");
    let mut cut_after = shared.world().cuts.pop_front();
    let mut next = last_seen.parse::<usize>().map_or(0, |seen| seen + 1);
    let run = run.to_owned();
    tokio::spawn(async move {
        let mut changed = shared.changed.subscribe();
        loop {
            let found = shared.world().runs.iter().find(|it| it.id == run).cloned();
            let Some(found) = found else { return };
            for (id, (name, data)) in found.events.iter().enumerate().skip(next) {
                if cut_after == Some(0) {
                    let _ = pieces.send(Piece::Cut);
                    return;
                }
                cut_after = cut_after.map(|left| left - 1);
                let event = format!("event: {name}\ndata: {data}\nid: {id}\n\n");
                if pieces.send(Piece::Bytes(event.into_bytes())).is_err() {
                    return;
                }
                next = id + 1;
            }
            if !found.is_open() {
                return;
            }
            tokio::select! {
                () = pieces.closed() => return,
                _ = changed.changed() => {}
            }
        }
    });
    answer
}
