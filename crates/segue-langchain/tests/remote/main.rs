//! `langgraph.remote` against a scripted server and all its traps, and against a real one.
#![allow(clippy::unwrap_used)]

mod real;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation},
    question::{Question, Resume},
    spec::WorkflowSpec,
};
use segue_http::{HttpOptions, Pauses};
use segue_langchain::LanggraphRemote;
use segue_testkit::{
    conformance::{
        adapter::{AdapterCases, Case, check_adapter},
        question::{QuestionCases, check_questions},
    },
    langgraph_server::LanggraphServer,
};
use serde_json::{Value, json};

const ONE_CALL: Usage =
    Usage { model_calls: 1, input_tokens: 10, output_tokens: 5, cached_input_tokens: 2, cost_nanousd: 0 };

fn adapter() -> LanggraphRemote {
    let pauses = Pauses { first: Duration::from_millis(1), longest: Duration::from_millis(10), tries_max: 5 };
    LanggraphRemote::new(HttpOptions::default(), pauses)
}

fn case(server: &LanggraphServer, graph: &str) -> Case {
    case_at(&server.url(), graph, json!({ "n": 1 }))
}

fn case_at(url: &str, graph: &str, input: Value) -> Case {
    let hints = json!({ "http": { "allow_private": ["127.0.0.1"] } });
    Case::new("langgraph.remote", json!({ "url": url, "assistant": graph, "input": input })).with_hints(hints)
}

/// Attempt `attempt` of a task whose progress is kept since attempt `since`.
fn attempt(case: &Case, attempt: u32, since: u32, resume: Option<Resume>) -> Invocation {
    let (mut invocation, _) = case.invocation("task", attempt);
    invocation.context.answers_since = since;
    invocation.resume = resume;
    invocation
}

async fn run(case: &Case) -> TaskOutcome {
    adapter().execute(attempt(case, 1, 1, None)).await
}

fn output(outcome: TaskOutcome) -> (Value, Usage) {
    match outcome {
        TaskOutcome::Succeeded { output, usage, .. } => ((**output.value().unwrap()).clone(), usage),
        other => panic!("{other:?}"),
    }
}

fn error(outcome: TaskOutcome) -> (TaskError, Usage) {
    match outcome {
        TaskOutcome::Failed { error, usage } => (error, usage),
        other => panic!("{other:?}"),
    }
}

fn question(outcome: TaskOutcome) -> (Question, Usage) {
    match outcome {
        TaskOutcome::Waiting { question, usage } => (question, usage),
        other => panic!("{other:?}"),
    }
}

fn answered(question: &Question, answers: &Value) -> Option<Resume> {
    let answers: BTreeMap<String, Value> = serde_json::from_value(answers.clone()).unwrap();
    Some(Resume { token: question.resume.clone(), answers: Arc::new(answers) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let server = Arc::new(LanggraphServer::start());
    let watched = server.clone();
    let keyed = |graph: &str| {
        case(&server, graph).with_hints(json!({
            "http": { "allow_private": ["127.0.0.1"] }, "langgraph_remote": { "output": { "key": "n" } },
        }))
    };
    check_adapter(AdapterCases {
        adapter: Arc::new(adapter()),
        succeeds: (keyed("echo"), json!(1)),
        fails: vec![
            (case(&server, "fails:ValueError"), ErrorKind::User),
            (case(&server, "fails:RateLimitError"), ErrorKind::RateLimited),
            (case(&server, "fails:GraphRecursionError"), ErrorKind::Limit),
            (case(&server, "times_out"), ErrorKind::Timeout),
            (case(&server, "stolen"), ErrorKind::Cancelled),
            (case(&server, "stops"), ErrorKind::InvalidInput),
            (case(&server, "no-such-graph"), ErrorKind::InvalidInput),
            (case_at("http://127.0.0.1:1", "echo", json!({})), ErrorKind::Connection),
            (
                Case::new("langgraph.remote", json!({ "url": server.url(), "assistant": "echo" })),
                ErrorKind::InvalidInput,
            ),
            (Case { rehearsal: true, ..case(&server, "echo") }, ErrorKind::InvalidInput),
        ],
        is_lost: vec![],
        endless: vec![case(&server, "endless")],
        tells_context: None,
        counts_to: None,
        is_anything_left: Box::new(move || watched.running() > 0 || !watched.web().is_quiet()),
    })
    .await;
}

#[tokio::test]
async fn keeps_every_promise_of_an_adapter_that_asks() {
    let server = LanggraphServer::start();
    let (asks, then) = (case(&server, "ask"), json!({ "i1": "yes", "i2": "yes" }));
    let cases = QuestionCases { adapter: Arc::new(adapter()), asks, answer: json!("yes"), then, at: "/answers" };
    check_questions(cases).await;
}

#[tokio::test]
async fn a_state_its_usage_and_its_progress() {
    let server = LanggraphServer::start();
    let case = case(&server, "echo");
    let (invocation, controls) = case.invocation("task", 1);
    let (state, usage) = output(adapter().execute(invocation).await);
    assert_eq!((&state["n"], &state["messages"][0]["content"]), (&json!(1), &json!("said by answer")));
    assert_eq!(usage, ONE_CALL);
    let told: Vec<Value> = controls.progress.seen().into_iter().map(|progress| progress.data).collect();
    assert_eq!(told, [json!({ "node": "answer", "state": "started" }), json!({ "node": "answer", "state": "ended" })]);
    let request = &server.runs()[0].request;
    assert_eq!(request["multitask_strategy"], "reject");
    assert_eq!(request["metadata"]["segue_attempt"], 1);
}

#[tokio::test]
async fn a_cut_stream_is_taken_up_where_it_broke() {
    let server = LanggraphServer::start();
    server.cut_streams([1, 0, 2]);
    let case = case(&server, "echo");
    let (invocation, controls) = case.invocation("task", 1);
    // It ends at once: how it stands is known after the first connection, whatever came of that.
    output(adapter().execute(invocation).await);
    assert_eq!(server.runs().len(), 1);
    drop(controls);

    let server = LanggraphServer::start();
    server.cut_streams([0, 1, 0]);
    let held = self::case(&server, "held");
    let (invocation, controls) = held.invocation("task", 1);
    let running = tokio::spawn(async move { adapter().execute(invocation).await });
    controls.progress.wait_for("ready").await;
    server.finish();
    output(running.await.unwrap());
    let nodes: Vec<Value> =
        controls.progress.seen().into_iter().map(|progress| progress.data["node"].clone()).collect();
    assert_eq!(nodes, ["ready", "answer", "answer"], "each event once");
    assert_eq!(server.runs().len(), 1);
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again() {
    let server = LanggraphServer::start();
    server.refuse(4);
    output(run(&case(&server, "echo")).await);
    server.refuse(1000);
    let (found, _) = error(run(&case(&server, "echo")).await);
    assert_eq!((found.kind, found.retryable), (ErrorKind::Provider, true), "{found}");
}

#[tokio::test]
async fn a_lost_answer_makes_no_second_run() {
    let server = LanggraphServer::start();
    server.lose_creations(1);
    output(run(&case(&server, "echo")).await);
    assert_eq!(server.runs().len(), 1);
}

#[tokio::test]
async fn an_attempt_joins_what_a_lost_one_has_begun() {
    let server = LanggraphServer::start();
    let held = case(&server, "held");
    // An engine that is paused and has lost its lease says nothing to anybody; its run goes on.
    let begin = |number: u32, since: u32| {
        let invocation = attempt(&held, number, since, None);
        tokio::spawn(async move { adapter().execute(invocation).await })
    };
    let paused = begin(1, 1);
    server.wait_for_runs(1).await;
    let running = begin(2, 1);
    server.finish();
    let (_, usage) = output(running.await.unwrap());
    output(paused.await.unwrap());
    assert_eq!((usage, server.runs().len()), (ONE_CALL, 1));
    // And one that comes later takes the result.
    output(adapter().execute(attempt(&held, 3, 1, None)).await);
    assert_eq!(server.runs().len(), 1);
    // Unless the failure may lie in what was answered.
    let running = begin(4, 4);
    server.wait_for_runs(2).await;
    server.finish();
    output(running.await.unwrap());
    let runs = server.runs();
    assert_ne!(runs[0].thread, runs[1].thread);
}

#[tokio::test]
async fn what_was_achieved_before_a_failure_is_kept() {
    let server = LanggraphServer::start();
    let flaky = case(&server, "flaky");
    let (found, usage) = error(adapter().execute(attempt(&flaky, 1, 1, None)).await);
    assert_eq!((found.kind, usage), (ErrorKind::RateLimited, ONE_CALL));
    let (state, usage) = output(adapter().execute(attempt(&flaky, 2, 1, None)).await);
    assert_eq!(state["messages"].as_array().unwrap().len(), 2);
    assert_eq!(usage, ONE_CALL, "what the first attempt consumed is not told twice");
    assert_eq!(server.runs()[1].request["input"], Value::Null);
}

#[tokio::test]
async fn interrupts_are_questions_and_their_answers_go_on() {
    let server = LanggraphServer::start();
    let ask = case(&server, "ask");
    let (asked, usage) = question(adapter().execute(attempt(&ask, 1, 1, None)).await);
    assert_eq!((asked.prompt.as_str(), usage), ("go on?; how often?", ONE_CALL));
    let ids: Vec<&str> = asked.items.iter().map(|item| item.id.as_str()).collect();
    assert_eq!(ids, ["i1", "i2"]);
    // The engine died before the question was written down: it is found again.
    let (again, _) = question(adapter().execute(attempt(&ask, 2, 1, None)).await);
    assert_eq!((again, server.runs().len()), (asked.clone(), 1));

    let answers = json!({ "i1": "yes", "i2": 3 });
    let resumed = attempt(&ask, 3, 1, answered(&asked, &answers));
    let (state, usage) = output(adapter().execute(resumed).await);
    assert_eq!((&state["answers"], usage), (&answers, ONE_CALL));
    let request = &server.runs()[1].request;
    assert_eq!(request["command"], json!({ "resume": answers }));
    assert_eq!(request["checkpoint"], json!({ "checkpoint_id": "c1" }));
    // Its answer was lost with its engine: the next attempt takes the result.
    output(adapter().execute(attempt(&ask, 4, 1, answered(&asked, &answers))).await);
    assert_eq!(server.runs().len(), 2);
    // What came of it is no good: from the question on again.
    output(adapter().execute(attempt(&ask, 5, 5, answered(&asked, &answers))).await);
    assert_eq!(server.runs()[2].request["checkpoint"], json!({ "checkpoint_id": "c1" }));
}

#[tokio::test]
async fn a_server_that_forgets_loses_the_attempt() {
    let server = LanggraphServer::start();
    let case = case(&server, "endless");
    let (invocation, controls) = case.invocation("task", 1);
    let running = tokio::spawn(async move { adapter().execute(invocation).await });
    controls.progress.wait_for("ready").await;
    server.restart();
    match running.await.unwrap() {
        TaskOutcome::Lost { by: Loss::Worker, message, .. } => assert!(message.contains("lost the run"), "{message}"),
        other => panic!("{other:?}"),
    }
    // A question that nobody remembers cannot be answered.
    let ask = self::case(&server, "ask");
    let (asked, _) = question(run(&ask).await);
    server.restart();
    let (found, _) =
        error(adapter().execute(attempt(&ask, 2, 1, answered(&asked, &json!({ "i1": 1, "i2": 2 })))).await);
    assert_eq!((found.kind, found.retryable), (ErrorKind::Load, false), "{found}");
}

#[tokio::test]
async fn keys_are_sent_and_never_told() {
    let server = LanggraphServer::start();
    server.require_key("key-canary");
    let (found, _) = error(run(&case(&server, "echo")).await);
    assert_eq!((found.kind, found.message.contains("Invalid API key")), (ErrorKind::Auth, true), "{found}");
    let mut with_key = case(&server, "fails:ValueError");
    with_key.inputs["api_key"] = json!("key-canary");
    with_key.inputs["headers"] = json!({ "X-Tenant": "header-canary" });
    let (invocation, controls) = with_key.invocation("task", 1);
    let outcome = adapter().execute(invocation).await;
    let told = format!("{outcome:?} {:?} {:?}", controls.progress.seen(), server.runs());
    assert!(told.contains("kaboom") && !told.contains("canary"), "{told}");
    assert!(server.web().calls().iter().any(|call| call.header("x-tenant") == "header-canary"));
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "w",
        "nodes": [
            { "id": "none", "task": "langgraph.remote" },
            { "id": "bad", "task": "langgraph.remote", "inputs": {
                "url": "http://u:p@x", "assistant": "", "headers": { "A": 1 }, "api_key": 1, "config": [],
            }, "hints": { "langgraph_remote": { "output": "all", "stream": 1, "outputs": 1 } } },
            { "id": "good", "task": "langgraph.remote", "inputs": {
                "url": "{{ params.url }}", "assistant": "a", "api_key": { "$secret": "K" }, "question": "x",
            } },
        ],
    }))
    .unwrap();
    let found = adapter().translate_workflow(&workflow);
    let places: Vec<&str> = found.iter().map(|diagnostic| diagnostic.path.as_str()).collect();
    let expected = [
        "/nodes/0/inputs",
        "/nodes/0/inputs",
        "/nodes/1/inputs/url",
        "/nodes/1/inputs/headers/A",
        "/nodes/1/inputs/assistant",
        "/nodes/1/inputs/api_key",
        "/nodes/1/inputs/config",
        "/nodes/1/hints/langgraph_remote/outputs",
        "/nodes/1/hints/langgraph_remote/output",
        "/nodes/1/hints/langgraph_remote/stream",
    ];
    assert_eq!(places, expected);
}
