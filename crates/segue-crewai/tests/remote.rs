//! `crewai.remote` against a server of the hosted interface, in both of its shapes.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::{ErrorKind, TaskError, TaskOutcome, Usage},
    ports::{Adapter, CallKey, Invocation, ModelJournal, RecordedCall, StoreError},
    question::{Question, Resume},
    spec::WorkflowSpec,
};
use segue_crewai::{CrewaiRemote, RemoteOptions};
use segue_http::Pauses;
use segue_testkit::{
    conformance::{
        adapter::{AdapterCases, Case, check_adapter},
        question::{QuestionCases, check_questions},
    },
    crewai_server::{CrewaiServer, Shape},
    web::{Answer, WebServer},
};
use serde_json::{Value, json};

const TOKEN: &str = "token-canary";

/// A journal for runs that nobody has created.
#[derive(Default)]
struct Notes(Mutex<BTreeMap<CallKey, RecordedCall>>);

#[async_trait]
impl ModelJournal for Notes {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        self.0.lock().unwrap().entry(call.key.clone()).or_insert(call);
        Ok(())
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn usage(&self, _: RunId, _: &str, _: u32) -> Result<Usage, StoreError> {
        Ok(Usage::default())
    }
}

fn journal() -> Arc<dyn ModelJournal> {
    Arc::new(Notes::default())
}

fn adapter(journal: &Arc<dyn ModelJournal>) -> CrewaiRemote {
    let pauses = Pauses { first: Duration::from_millis(1), longest: Duration::from_millis(5), tries_max: 5 };
    CrewaiRemote::new(RemoteOptions { journal: Some(journal.clone()), pauses, ..RemoteOptions::default() })
}

fn server(shape: Shape) -> CrewaiServer {
    CrewaiServer::start(shape, TOKEN)
}

fn case(server: &CrewaiServer, behave: &str) -> Case {
    case_at(&server.url(), behave)
}

fn case_at(url: &str, behave: &str) -> Case {
    let inputs = json!({ "url": url, "token": TOKEN, "topic": "bees", "year": 2026, "behave": behave });
    Case::new("crewai.remote", inputs).with_hints(json!({ "http": { "allow_private": ["127.0.0.1"] } }))
}

/// Attempt `number` of a task, with what `since` left behind.
fn attempt(case: &Case, number: u32, since: u32) -> Invocation {
    let (mut invocation, _) = case.invocation("task", number);
    invocation.context.answers_since = since;
    invocation
}

fn output(outcome: TaskOutcome) -> (Value, Usage) {
    match outcome {
        TaskOutcome::Succeeded { output, usage, .. } => ((**output.value().unwrap()).clone(), usage),
        other => panic!("{other:?}"),
    }
}

fn error(outcome: TaskOutcome) -> TaskError {
    match outcome {
        TaskOutcome::Failed { error, .. } => error,
        other => panic!("{other:?}"),
    }
}

fn question(outcome: TaskOutcome) -> Question {
    match outcome {
        TaskOutcome::Waiting { question, .. } => question,
        other => panic!("{other:?}"),
    }
}

fn answered(question: &Question, answer: Value) -> Option<Resume> {
    let answers = BTreeMap::from([("answer".to_owned(), answer)]);
    Some(Resume { token: question.resume.clone(), answers: Arc::new(answers) })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    for (shape, written) in [(Shape::Documented, json!("about it")), (Shape::Celery, json!({ "text": "about it" }))] {
        let server = Arc::new(server(shape));
        let watched = server.clone();
        let tasks = match shape {
            Shape::Documented => json!([{ "name": "write", "agent": "Writer", "output": "about it" }]),
            Shape::Celery => json!([]),
        };
        let mut bare = case(&server, "ends");
        bare.inputs = json!({ "url": server.url(), "token": TOKEN });
        let mut stranger = case(&server, "ends");
        stranger.inputs["token"] = json!("other");
        check_adapter(AdapterCases {
            adapter: Arc::new(adapter(&journal())),
            succeeds: (case(&server, "ends"), json!({ "output": written, "tasks": tasks })),
            fails: vec![
                (case(&server, "fails"), ErrorKind::User),
                (bare, ErrorKind::InvalidInput),
                (stranger, ErrorKind::Auth),
                (case_at("http://127.0.0.1:1", "ends"), ErrorKind::Connection),
                (Case { rehearsal: true, ..case(&server, "ends") }, ErrorKind::InvalidInput),
            ],
            is_lost: vec![],
            endless: vec![case(&server, "endless")],
            tells_context: None,
            counts_to: None,
            is_anything_left: Box::new(move || watched.running() > 0 || !watched.web().is_quiet()),
        })
        .await;
    }
}

#[tokio::test]
async fn a_kickoff_as_it_is_sent() {
    let server = server(Shape::Documented);
    let case = case(&server, "ends");
    let (result, usage) = output(adapter(&journal()).execute(attempt(&case, 1, 1)).await);
    assert_eq!(result["output"], "about it");
    assert_eq!((usage.model_calls, usage.input_tokens, usage.output_tokens), (1, 10, 5));
    let executions = server.executions();
    let request = &executions.values().next().unwrap().request;
    assert_eq!(request["inputs"], json!({ "topic": "bees", "year": "2026", "behave": "ends" }));
    assert_eq!((&request["meta"]["segue_task_id"], &request["meta"]["segue_attempt"]), (&json!("task"), &json!(1)));
    assert!(request["meta"]["segue_key"].as_str().unwrap().ends_with("/task"));
}

#[tokio::test]
async fn trouble_while_polling_is_no_failure() {
    let server = server(Shape::Celery);
    server.trouble(4);
    output(adapter(&journal()).execute(attempt(&case(&server, "ends"), 1, 1)).await);
    server.trouble(1000);
    let found = error(adapter(&journal()).execute(attempt(&case(&server, "ends"), 1, 1)).await);
    assert_eq!((found.kind, found.retryable), (ErrorKind::Provider, true), "{found}");
}

#[tokio::test]
async fn a_lost_answer_is_unknown_and_never_repeated() {
    let server = server(Shape::Documented);
    let (journal, case) = (journal(), case(&server, "ends"));
    server.lose_kickoffs(1);
    let found = error(adapter(&journal).execute(attempt(&case, 1, 1)).await);
    assert_eq!((found.kind, found.retryable), (ErrorKind::Unknown, false), "{found}");
    // Whoever comes after a crash knows as little, and does not try.
    let found = error(adapter(&journal).execute(attempt(&case, 2, 1)).await);
    assert_eq!(found.kind, ErrorKind::Unknown, "{found}");
    assert_eq!(server.executions().len(), 1);
    // Somebody has decided that it shall be tried again.
    output(adapter(&journal).execute(attempt(&case, 3, 3)).await);
    assert_eq!(server.executions().len(), 2);
}

#[tokio::test]
async fn answers_that_leave_open_whether_it_began() {
    for (status, kind) in [
        (500, ErrorKind::Unknown),
        (502, ErrorKind::Unknown),
        (504, ErrorKind::Unknown),
        (408, ErrorKind::Unknown),
        (503, ErrorKind::Provider),
        (429, ErrorKind::RateLimited),
        (400, ErrorKind::InvalidInput),
        (403, ErrorKind::Auth),
    ] {
        let server = server(Shape::Documented);
        let (journal, case) = (journal(), case(&server, "ends"));
        server.refuse_kickoffs(&[status]);
        let found = error(adapter(&journal).execute(attempt(&case, 1, 1)).await);
        assert_eq!(found.kind, kind, "{status}: {found}");
        // What certainly did not begin is kicked off by the next attempt.
        let next = adapter(&journal).execute(attempt(&case, 2, 1)).await;
        assert_eq!(matches!(next, TaskOutcome::Succeeded { .. }), kind != ErrorKind::Unknown, "{status}: {next:?}");
    }
    let silent = WebServer::start(|_| async { Answer::json(200, &json!({ "kickoff_id": "../stop/everything" })) });
    let found = error(adapter(&journal()).execute(attempt(&case_at(&silent.url(""), "ends"), 1, 1)).await);
    assert_eq!((found.kind, silent.calls().len()), (ErrorKind::Unknown, 1), "an id that is none goes into no address");
}

#[tokio::test]
async fn a_restart_finds_its_kickoff() {
    let server = server(Shape::Celery);
    let (journal, case) = (journal(), case(&server, "endless"));
    // An engine that has lost its lease goes on for a while and says nothing; another one has taken over.
    let begin = |number: u32| {
        let (adapter, (invocation, controls)) = (adapter(&journal), case.invocation("task", number));
        (tokio::spawn(async move { adapter.execute(invocation).await }), controls)
    };
    let (paused, controls) = begin(1);
    controls.progress.wait_for("running").await;
    let (running, controls) = begin(2);
    controls.progress.wait_for("running").await;
    server.finish();
    output(running.await.unwrap());
    output(paused.await.unwrap());
    assert_eq!(server.executions().len(), 1);
    // One that was stopped, after a time limit, is of no use to the next attempt.
    let (running, controls) = begin(3);
    output(running.await.unwrap());
    drop(controls);
    let endless = case_at(&server.url(), "endless");
    let journal = self::journal();
    let (invocation, controls) = endless.invocation("limited", 1);
    let limited = adapter(&journal);
    let running = tokio::spawn(async move { limited.execute(invocation).await });
    controls.progress.wait_for("running").await;
    controls.cancel.cancel();
    assert!(matches!(running.await.unwrap(), TaskOutcome::Cancelled { .. }));
    let (invocation, controls) = endless.invocation("limited", 2);
    let limited = adapter(&journal);
    let running = tokio::spawn(async move { limited.execute(invocation).await });
    controls.progress.wait_for("running").await;
    server.finish();
    output(running.await.unwrap());
    assert_eq!(server.executions().len(), 3);
}

#[tokio::test]
async fn what_the_server_has_forgotten_is_unknown() {
    let server = server(Shape::Documented);
    let case = case(&server, "endless");
    let (adapter, (invocation, controls)) = (adapter(&journal()), case.invocation("task", 1));
    let running = tokio::spawn(async move { adapter.execute(invocation).await });
    controls.progress.wait_for("running").await;
    server.expire();
    let found = error(running.await.unwrap());
    assert_eq!((found.kind, found.retryable), (ErrorKind::Unknown, false), "{found}");
}

#[tokio::test]
async fn an_execution_that_ends_while_it_is_stopped() {
    for shape in [Shape::Documented, Shape::Celery] {
        let server = server(shape);
        server.end_at_stop();
        let case = case(&server, "endless");
        let (adapter, (invocation, controls)) = (adapter(&journal()), case.invocation("task", 1));
        let running = tokio::spawn(async move { adapter.execute(invocation).await });
        controls.progress.wait_for("running").await;
        controls.cancel.cancel();
        match running.await.unwrap() {
            TaskOutcome::Cancelled { usage } => assert_eq!(usage.model_calls, u64::from(shape == Shape::Documented)),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_cancel_while_it_is_kicked_off_stops_what_comes_of_it() {
    let (sender, receiver) = tokio::sync::watch::channel(false);
    let server = WebServer::start(move |call| {
        let mut receiver = receiver.clone();
        async move {
            match call.path.as_str() {
                "/kickoff" => {
                    receiver.wait_for(|is_open| *is_open).await.unwrap();
                    Answer::json(200, &json!({ "kickoff_id": "late" }))
                }
                _ => Answer::json(200, &json!({ "status": "stopped" })),
            }
        }
    });
    let case = case_at(&server.url(""), "ends");
    let (adapter, (invocation, controls)) = (adapter(&journal()), case.invocation("task", 1));
    let running = tokio::spawn(async move { adapter.execute(invocation).await });
    server.wait_for_calls(1).await;
    controls.cancel.cancel();
    sender.send_replace(true);
    assert!(matches!(running.await.unwrap(), TaskOutcome::Cancelled { .. }));
    assert!(server.calls().iter().any(|call| call.path == "/stop/late"), "{:?}", server.calls());
}

#[tokio::test]
async fn human_input_is_a_question() {
    for shape in [Shape::Documented, Shape::Celery] {
        let server = server(shape);
        let (journal, case) = (journal(), case(&server, "asks"));
        let first = question(adapter(&journal).execute(attempt(&case, 1, 1)).await);
        assert!(first.prompt.contains("the task write"), "{}", first.prompt);
        // Its engine died before that was written down: the same execution asks again.
        let again = question(adapter(&journal).execute(attempt(&case, 2, 1)).await);
        assert_eq!((again, server.executions().len()), (first.clone(), 1));

        let mut resumed = attempt(&case, 3, 1);
        resumed.resume = answered(&first, json!("shorter, please"));
        let second = question(adapter(&journal).execute(resumed).await);
        server.lose_resumes(1);
        let mut resumed = attempt(&case, 4, 1);
        resumed.resume = answered(&second, json!({ "approve": true, "feedback": "fine" }));
        output(adapter(&journal).execute(resumed).await);
        let feedback = server.executions().into_values().next().unwrap().feedback;
        let told: Vec<(&str, bool)> = feedback
            .iter()
            .map(|said| (said["human_feedback"].as_str().unwrap(), said["is_approve"].as_bool().unwrap()))
            .collect();
        assert_eq!(told, [("shorter, please", false), ("fine", true)], "each answer once");
        assert!(feedback.iter().all(|said| said["task_id"] == "write"));
    }
}

#[tokio::test]
async fn keeps_every_promise_of_an_adapter_that_asks() {
    let server = server(Shape::Documented);
    let cases = QuestionCases {
        adapter: Arc::new(adapter(&journal())),
        asks: case(&server, "asks"),
        answer: json!("yes"),
        then: json!("about it"),
        at: "/output",
    };
    check_questions(cases).await;
}

#[tokio::test]
async fn a_token_is_sent_and_never_told() {
    let server = server(Shape::Documented);
    for behave in ["ends", "fails", "asks"] {
        let (adapter, (invocation, controls)) = (adapter(&journal()), case(&server, behave).invocation("task", 1));
        let outcome = adapter.execute(invocation).await;
        let told = format!("{outcome:?} {:?} {:?}", controls.progress.seen(), server.executions());
        assert!(!told.contains("canary"), "{told}");
    }
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "w",
        "nodes": [
            { "id": "none", "task": "crewai.remote" },
            { "id": "bad", "task": "crewai.remote", "inputs": { "url": "x", "token": 1, "inputs": [], "headers": 1 },
              "hints": { "crewai_remote": { "concurrency": 0, "poll": 1 } } },
            { "id": "good", "task": "crewai.remote", "inputs": {
                "url": "{{ params.url }}", "token": { "$secret": "K" }, "topic": "x",
            } },
        ],
    }))
    .unwrap();
    let found = CrewaiRemote::default().translate_workflow(&workflow);
    let places: Vec<&str> = found.iter().map(|diagnostic| diagnostic.path.as_str()).collect();
    let expected = [
        "/nodes/0/inputs",
        "/nodes/1/inputs/url",
        "/nodes/1/inputs/headers",
        "/nodes/1/inputs/token",
        "/nodes/1/inputs/inputs",
        "/nodes/1/hints/crewai_remote/poll",
        "/nodes/1/hints/crewai_remote/concurrency",
    ];
    assert_eq!(places, expected);
}
