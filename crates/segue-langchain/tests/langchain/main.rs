//! Real LangChain and LangGraph in hosts, against a stub of a model provider.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use segue_core::{
    ids::HandlerId,
    memory::{MemoryBus, MemoryStore},
    outcome::{ErrorKind, Loss, TaskError, TaskOutcome, Usage},
    ports::{Adapter, Invocation, ModelAccess, ModelDoor, Orchestrator, StartRun},
    question::Resume,
    spec::WorkflowSpec,
    status::Status,
};
use segue_engine::{Clock, EngineConfig};
use segue_langchain::{GRAPH, LangChainOrchestrator, LangchainAdapter, RUNNABLE};
use segue_testkit::{
    conformance::{
        adapter::{AdapterCases, Case, Controls, check_adapter},
        now,
    },
    provider::{Reply, StubProvider},
};
use segue_worker::{pool::PoolOptions, python::RuntimeOptions};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{sync::OnceCell, task::JoinHandle, time::timeout};

const PATIENCE: Duration = Duration::from_secs(120);
const CODE: &str = include_str!("villains.py");

/// Leads straight to a provider, with a key for each task: what happens on the way is the gateway's affair.
struct Direct(String);

struct DirectDoor(String, String);

impl ModelAccess for Direct {
    fn open(&self, invocation: &Invocation) -> Result<Box<dyn ModelDoor>, TaskError> {
        Ok(Box::new(DirectDoor(self.0.clone(), format!("sk-of-{}", invocation.context.task_id))))
    }
}

impl ModelDoor for DirectDoor {
    fn base_url(&self) -> &str {
        &self.0
    }

    fn api_key(&self) -> &str {
        &self.1
    }

    fn usage(&self) -> Usage {
        Usage::default()
    }

    fn refusal(&self) -> Option<TaskError> {
        None
    }

    /// Nobody has counted but the worker.
    fn settle(&self, outcome: TaskOutcome) -> TaskOutcome {
        outcome
    }
}

/// The environment that the tests are given (`SEGUE_TEST_LANGGRAPH`), or a managed one.
fn given_python() -> Option<String> {
    std::env::var("SEGUE_TEST_LANGGRAPH").ok()
}

/// Where managed environments of tests are kept.
fn envs() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    std::env::var_os("SEGUE_TEST_ENVS").map_or_else(|| workspace.join(".segue/test-envs"), PathBuf::from)
}

/// A provider, a store, and a project with graphs that behave badly.
struct World {
    provider: StubProvider,
    store: Arc<MemoryStore>,
    folder: TempDir,
    adapter: Arc<LangchainAdapter>,
}

impl World {
    async fn new() -> Self {
        static MADE: OnceCell<()> = OnceCell::const_new();
        let provider = StubProvider::start();
        let store = Arc::new(MemoryStore::new(Arc::new(now)));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("villains.py"), CODE).unwrap();
        fs::write(folder.path().join("langgraph.json"), r#"{"graphs": {"named": "./villains.py:agent"}}"#).unwrap();
        let adapter = adapter(&provider, &store);
        // It may take minutes, before any test waits for something else.
        MADE.get_or_init(async || {
            if given_python().is_none() {
                let workflow: WorkflowSpec =
                    serde_json::from_value(json!({ "id": "w", "nodes": [{ "id": "a" }] })).unwrap();
                adapter.prepare(&workflow, &HandlerId::from(GRAPH), None).await.unwrap();
            }
        })
        .await;
        Self { provider, store, folder, adapter }
    }

    fn case(&self, handler: &'static str, inputs: Value, hints: Value) -> Case {
        let mut hints = hints;
        if let Some(python) = given_python().filter(|_| hints.get("python").is_none()) {
            hints["python"] = json!(python);
        }
        let case = Case::new(handler, inputs).with_hints(json!({ "langchain": hints }));
        Case { base_dir: Some(self.folder.path().to_owned()), ..case }
    }

    fn graph(&self, name: &str, input: Value) -> Case {
        self.case(GRAPH, json!({ "graph": format!("villains:{name}"), "input": input }), json!({}))
    }

    fn chain(&self, word: &str) -> Case {
        self.case(RUNNABLE, json!({ "runnable": "villains:chain", "input": word }), json!({}))
    }

    fn begin(&self, case: &Case, task: &str, attempt: u32) -> (JoinHandle<TaskOutcome>, Controls) {
        let (invocation, controls) = case.invocation(task, attempt);
        let adapter = self.adapter.clone();
        (tokio::spawn(async move { adapter.execute(invocation).await }), controls)
    }

    async fn run(&self, case: &Case, task: &str, attempt: u32) -> TaskOutcome {
        ends(self.begin(case, task, attempt).0).await
    }
}

fn adapter(provider: &StubProvider, store: &Arc<MemoryStore>) -> Arc<LangchainAdapter> {
    Arc::new(LangchainAdapter::new(RuntimeOptions {
        pool: PoolOptions { guest_grace_min: Duration::from_millis(500), ..PoolOptions::default() },
        models: Some(Arc::new(Direct(provider.base_url()))),
        checkpoints: Some(store.clone()),
        ..RuntimeOptions::new(envs())
    }))
}

async fn ends(running: JoinHandle<TaskOutcome>) -> TaskOutcome {
    timeout(PATIENCE, running).await.unwrap().unwrap()
}

fn output(outcome: TaskOutcome) -> Value {
    match outcome {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let world = World::new().await;
    world.provider.always(Reply::text("A fine day.").with_usage(12, 4));
    for (word, reply) in [
        ("case-429", Reply::rate_limited(Some(2))),
        ("case-quota", Reply::quota()),
        ("case-500", Reply::status(500)),
        ("case-401", Reply::status(401)),
        ("case-400", Reply::status(400)),
        ("case-dropped", Reply::dropped()),
        ("case-overflow", Reply::context_overflow()),
    ] {
        world.provider.when(word, reply);
    }
    let path = world.folder.path().join("running");
    fs::create_dir(&path).unwrap();
    let isolated = |name: &str| {
        let inputs = json!({ "graph": format!("villains:{name}"), "input": {} });
        world.case(GRAPH, inputs, json!({ "isolation": "process" }))
    };
    check_adapter(AdapterCases {
        adapter: world.adapter.clone(),
        succeeds: (world.chain("How is the weather?"), json!("A fine day.")),
        fails: vec![
            (world.chain("case-429"), ErrorKind::RateLimited),
            (world.chain("case-quota"), ErrorKind::Quota),
            (world.chain("case-500"), ErrorKind::Provider),
            (world.chain("case-401"), ErrorKind::Auth),
            (world.chain("case-400"), ErrorKind::InvalidInput),
            (world.chain("case-dropped"), ErrorKind::Connection),
            (world.chain("case-overflow"), ErrorKind::ContextOverflow),
            (world.graph("leaves", json!({})), ErrorKind::User),
            (world.graph("raises", json!({})), ErrorKind::User),
            (world.graph("endless", json!({})), ErrorKind::Limit),
            (world.graph("no_such_thing", json!({})), ErrorKind::Load),
            (Case { inputs: json!({ "graph": 3 }), ..world.graph("steps", json!({})) }, ErrorKind::InvalidInput),
            (world.case(GRAPH, json!({ "graph": "x:y" }), json!({ "python": "/no/such" })), ErrorKind::Load),
            (world.case(GRAPH, json!({ "graph": "x:y" }), json!({ "project": "nowhere" })), ErrorKind::InvalidInput),
        ],
        is_lost: vec![isolated("dies")],
        endless: vec![world.graph("waits", json!({})), world.graph("hangs", json!({})), isolated("waits")],
        tells_context: Some(world.graph("tells", json!({}))),
        counts_to: Some((world.graph("counts", json!({})), 50)),
        // They note themselves down while they run; a thread that nothing can end goes with its process.
        is_anything_left: Box::new(move || {
            fs::read_dir(&path).unwrap().flatten().any(|entry| {
                let pid = fs::read_to_string(entry.path()).unwrap_or_default();
                Path::new("/proc").join(pid.trim()).join("cmdline").exists() && !pid.trim().is_empty()
            })
        }),
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn attempts_that_share_a_process_do_not_share_a_key() {
    let world = World::new().await;
    world.provider.always(Reply::text("Yes.").held());
    let tasks: Vec<String> = (0..12).map(|number| format!("task-{number}")).collect();
    let running: Vec<_> = tasks.iter().map(|task| world.begin(&world.chain(task), task, 1).0).collect();
    // All wait for the same model at once.
    world.provider.wait_for_held(tasks.len()).await;
    world.provider.release();
    for one in running {
        assert_eq!(output(ends(one).await), "Yes.");
    }
    let pairs: BTreeSet<(String, String)> = world
        .provider
        .requests()
        .iter()
        .map(|request| {
            let asked = request.body["messages"][0]["content"].as_str().unwrap().to_owned();
            (request.key().unwrap().to_owned(), asked)
        })
        .collect();
    let expected: BTreeSet<_> = tasks.iter().map(|task| (format!("sk-of-{task}"), task.clone())).collect();
    assert_eq!(pairs, expected, "each with its own");
    world.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_graph_goes_on_with_its_last_step_and_a_neighbour_with_its_own() {
    let world = World::new().await;
    world.provider.when("step 3", Reply::text("three").held());
    world.provider.always(Reply::text("said"));
    let case = world.graph("steps", json!({ "said": [] }));
    let (lost, _) = world.begin(&case, "killed", 1);
    let (neighbour, _) = world.begin(&case, "neighbour", 1);
    world.provider.wait_for_held(2).await;
    let host = fs::read_to_string(world.folder.path().join("pid")).unwrap();
    std::process::Command::new("kill").args(["-9", &host]).status().unwrap();
    for lost in [lost, neighbour] {
        assert!(matches!(ends(lost).await, TaskOutcome::Lost { by: Loss::Worker, .. }));
    }
    assert_eq!(world.provider.requests().len(), 6);
    let (again, _) = world.begin(&case, "killed", 2);
    let (neighbour, _) = world.begin(&case, "neighbour", 2);
    world.provider.wait_for_held(2).await;
    world.provider.release();
    for outcome in [ends(again).await, ends(neighbour).await] {
        assert_eq!(output(outcome)["said"], json!(["said", "said", "three", "said"]));
    }
    assert_eq!(world.provider.requests().len(), 10, "steps 3 and 4 of each, and nothing that was kept");
    world.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_is_answered_in_another_process() {
    let world = World::new().await;
    let case = world.graph("asks", json!({}));
    let question = match world.run(&case, "asks", 1).await {
        TaskOutcome::Waiting { question, .. } => question,
        other => panic!("{other:?}"),
    };
    world.adapter.shutdown().await;
    assert_eq!(question.items.len(), 2, "two steps ask at once: {question:?}");
    let answers = question.items.iter().map(|item| (item.id.clone(), json!(format!("to {}", item.value)))).collect();
    let resume = Resume { token: question.resume.clone(), answers: Arc::new(answers) };
    // A new pool, as in a new engine; an attempt that is lost after it was answered is given the same answers again.
    let adapter = adapter(&world.provider, &world.store);
    for attempt in [2, 3] {
        let (mut invocation, _controls) = case.invocation("asks", attempt);
        invocation.resume = Some(resume.clone());
        let said = output(timeout(PATIENCE, adapter.execute(invocation)).await.unwrap());
        assert_eq!((&said["left"], &said["right"]), (&json!("to \"left?\""), &json!("to \"right?\"")));
    }
    adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancel_hangs_up_at_once_and_harms_no_neighbour() {
    let world = World::new().await;
    world.provider.always(Reply::text("late").held());
    let (cancelled, controls) = world.begin(&world.chain("one"), "cancelled", 1);
    let (neighbour, _) = world.begin(&world.chain("two"), "neighbour", 1);
    world.provider.wait_for_held(2).await;
    controls.cancel.cancel();
    world.provider.wait_for_hang_up(1).await;
    assert!(matches!(ends(cancelled).await, TaskOutcome::Cancelled { .. }));
    assert!(matches!(world.run(&world.graph("leaves", json!({})), "leaves", 1).await, TaskOutcome::Failed { .. }));
    assert!(!neighbour.is_finished());
    world.provider.release();
    assert_eq!(output(ends(neighbour).await), "late");
    world.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_come_while_somebody_listens() {
    let world = World::new().await;
    world.provider.always(Reply::text("One two three."));
    let (outcome, controls) = world.begin(&world.chain("go"), "streams", 1);
    assert_eq!(output(ends(outcome).await), "One two three.");
    let tokens = controls.progress.seen().into_iter().filter(|progress| progress.name == "task.token");
    let text: String = tokens.map(|progress| progress.data["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(text, "One two three.");
    assert!(world.provider.requests()[0].is_stream());
    world.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_trivial_graphs_run_through_one_host() {
    let world = World::new().await;
    let case = world.graph("trivial", json!({ "said": ["x"] }));
    let unkept = world.case(GRAPH, case.inputs.clone(), json!({ "checkpoint": "off" }));
    output(world.run(&unkept, "warm", 1).await);
    let begun = std::time::Instant::now();
    let running: Vec<_> = (0..300).map(|number| world.begin(&unkept, &format!("t{number}"), 1).0).collect();
    for one in running {
        assert_eq!(output(ends(one).await)["said"], json!(["x", "y"]));
    }
    eprintln!("{:.0} trivial graphs a second", 300.0 / begun.elapsed().as_secs_f64());
    let again = output(world.run(&world.graph("process", json!({})), "p1", 1).await);
    assert_eq!(again, output(world.run(&world.graph("process", json!({})), "p2", 1).await), "one process");
    world.adapter.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_runs_chains_unless_told_otherwise() {
    let world = World::new().await;
    world.provider.always(Reply::text("Fine."));
    let clock = Clock::start();
    let store = Arc::new(MemoryStore::new(Arc::new(move || clock.now())));
    let bus = Arc::new(MemoryBus::default());
    let adapter = adapter(&world.provider, &world.store);
    let orchestrator = LangChainOrchestrator::start(store, bus, EngineConfig::default(), adapter).await.unwrap();
    let mut hints = json!({});
    if let Some(python) = given_python() {
        hints["python"] = json!(python);
    }
    hints["project"] = json!(world.folder.path().to_str().unwrap());
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "w", "defaults": { "hints": { "langchain": hints } },
        "nodes": [
            { "id": "a", "inputs": { "runnable": "villains:chain", "input": "How?" } },
            { "id": "b", "task": "langgraph.graph", "depends_on": ["a"],
              "inputs": { "graph": "named", "prompt": "{{ nodes.a.output }}" } },
        ],
    }))
    .unwrap();
    let deployed = orchestrator.deploy_workflow(&workflow).await.unwrap();
    let started = orchestrator.start_run(deployed, StartRun::default()).await.unwrap();
    let ended = timeout(PATIENCE, orchestrator.engine().wait(started.run_id)).await.unwrap().unwrap();
    assert_eq!(ended.status, Status::Succeeded, "{ended:?}");
    assert_eq!(world.provider.requests().len(), 2);
    orchestrator.shutdown().await;
}
