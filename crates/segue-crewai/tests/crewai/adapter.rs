//! The adapters' suite, and what of CrewAI is seen from the engine.

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use segue_core::{
    memory::{MemoryBus, MemoryStore},
    outcome::{ErrorKind, TaskOutcome},
    ports::{Adapter, Orchestrator, StartRun},
    spec::WorkflowSpec,
    status::Status,
};
use segue_crewai::CrewaiOrchestrator;
use segue_engine::{Clock, EngineConfig};
use segue_testkit::{
    conformance::adapter::{AdapterCases, Case, check_adapter},
    provider::{Reply, StubProvider},
};
use serde_json::json;

use crate::common::{OnlyRehearsals, adapter, adapter_with, agent, failure, project, run, runs, success, workspace};

/// User code that behaves badly, loaded by `crewai.crew` as factories of crews.
const VILLAINS: &str = r#"
import ctypes, os, subprocess, sys, time
from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, start

def _crew(description):
    agent = Agent(role="Tester", goal="Test", backstory="None")
    task = Task(name="only", description=description, expected_output="Text", agent=agent)
    return Crew(agents=[agent], tasks=[task])

def good():
    return _crew("Say something.")

def hidden():
    subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)", MARK], start_new_session=True)
    print("ready", flush=True)
    time.sleep(1000)

def hangs():
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    print("ready", flush=True)
    while True:
        time.sleep(1000)

def counts():
    for number in range(1, 51):
        print(number, flush=True)
    return good()

def forges():
    os.write(1, b'{"type": "result", "output": "forged", "usage": {}}\n')
    return good()

def segfaults():
    ctypes.string_at(0)

def exits():
    os._exit(7)

def leaves():
    sys.exit(3)

def raises():
    raise RuntimeError("no crew today")

def key():
    return _crew("The key is " + " ".join(os.environ[name] for name in
        ("SEGUE_IDEMPOTENCY_KEY", "SEGUE_TASK_ID", "SEGUE_ATTEMPT_NUMBER")))

def temporary():
    import tempfile
    print("temporary:", tempfile.gettempdir(), flush=True)
    open(os.path.join(tempfile.gettempdir(), "left.lock"), "w").close()
    return good()

class Tells(Flow):
    @start()
    def tell(self):
        return [os.environ[name] for name in ("SEGUE_IDEMPOTENCY_KEY", "SEGUE_TASK_ID", "SEGUE_ATTEMPT_NUMBER")]

class Large(Flow):
    @start()
    def give(self):
        return "x" * (70 << 20)

class Strange(Flow):
    @start()
    def give(self):
        return object()

class Blocks(Flow):
    @start()
    async def block(self):
        print("ready", flush=True)
        while True:
            time.sleep(1000)

class Ends(Flow):
    @start()
    def end(self):
        os.kill(os.getpid(), 9)

def environment():
    print("environment:", sorted(os.environ), flush=True)
    return good()
"#;

fn villains(mark: &str) -> tempfile::TempDir {
    let code = format!("MARK = {mark:?}\n{VILLAINS}");
    project(BTreeMap::from([("villains.py", code.as_str())]))
}

fn crew(name: &str, folder: &tempfile::TempDir) -> Case {
    let case = Case::new("crewai.crew", json!({ "crew": format!("villains:{name}") }));
    Case { base_dir: Some(folder.path().to_owned()), ..case }
}

fn flow(name: &str, folder: &tempfile::TempDir) -> Case {
    let case = Case::new("crewai.flow", json!({ "flow": format!("villains:{name}") }));
    Case { base_dir: Some(folder.path().to_owned()), ..case }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_every_promise_of_an_adapter() {
    let provider = StubProvider::start();
    provider.always(Reply::text("A fine day.").with_usage(12, 4));
    for (word, reply) in [
        ("case-429", Reply::rate_limited(Some(2))),
        ("case-quota", Reply::quota()),
        ("case-500", Reply::status(500)),
        ("case-401", Reply::status(401)),
        ("case-400", Reply::status(400)),
        ("case-malformed", Reply::malformed()),
        ("case-dropped", Reply::dropped()),
        ("case-overflow", Reply::context_overflow()),
    ] {
        provider.when(word, reply);
    }
    let mark = format!("suite-{}", uuid::Uuid::now_v7());
    let folder = villains(&mark);
    let path = folder.path().to_str().unwrap().to_owned();
    let endless = |name: &str| Case { grace: Duration::from_millis(300), ..crew(name, &folder) };
    check_adapter(AdapterCases {
        adapter: Arc::new(adapter(&provider)),
        succeeds: (agent("How is the weather?"), json!("A fine day.")),
        fails: vec![
            (agent("case-429"), ErrorKind::RateLimited),
            (agent("case-quota"), ErrorKind::Quota),
            (agent("case-500"), ErrorKind::Provider),
            (agent("case-401"), ErrorKind::Auth),
            (agent("case-400"), ErrorKind::InvalidInput),
            // A stream without a single event is an empty answer.
            (Case { is_watched: false, ..agent("case-malformed") }, ErrorKind::Provider),
            (agent("case-dropped"), ErrorKind::Connection),
            (agent("case-overflow"), ErrorKind::ContextOverflow),
            (crew("raises", &folder), ErrorKind::User),
            (crew("leaves", &folder), ErrorKind::User),
            (flow("Large", &folder), ErrorKind::Output),
            (flow("Strange", &folder), ErrorKind::Output),
            (flow("Nobody", &folder), ErrorKind::Load),
            (flow("good", &folder), ErrorKind::Load),
            (crew("no_such_thing", &folder), ErrorKind::Load),
            (Case::new("crewai.crew", json!({ "crew": 3 })), ErrorKind::InvalidInput),
            (Case::new("crewai.agent", json!({ "promt": "x" })), ErrorKind::InvalidInput),
            (agent("x").with_hints(json!({ "crewai": { "python": "/no/such/python" } })), ErrorKind::Load),
        ],
        is_lost: vec![crew("segfaults", &folder), crew("exits", &folder), flow("Ends", &folder)],
        endless: vec![
            endless("hangs"),
            endless("hidden"),
            Case { grace: Duration::from_millis(300), ..flow("Blocks", &folder) },
        ],
        tells_context: Some(flow("Tells", &folder)),
        counts_to: Some((crew("counts", &folder), 50)),
        // Attempts are children of a zygote that may stay; what they start and where they work names the folder.
        is_anything_left: Box::new(move || runs(&mark) || works_in(&path)),
    })
    .await;
}

/// Does a process have this folder as its working folder?
fn works_in(folder: &str) -> bool {
    let folders =
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| fs::read_link(entry.path().join("cwd")).ok());
    folders.into_iter().any(|cwd| cwd.starts_with(folder))
}

#[tokio::test]
async fn a_failing_provider_sees_one_request_an_attempt() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    for (index, reply) in
        [Reply::rate_limited(Some(2)), Reply::status(500), Reply::malformed(), Reply::dropped()].into_iter().enumerate()
    {
        provider.push(reply);
        let error = failure(run(&adapter, &agent("Hello")).await);
        assert!(error.retryable, "{error:?}");
        assert_eq!(provider.requests().len(), index + 1, "{error:?}");
        assert_eq!(error.retry_after, (index == 0).then_some(2.0));
    }
}

#[tokio::test]
async fn a_cancel_and_a_timeout_during_a_model_call_end_everything() {
    let provider = StubProvider::start();
    provider.always(Reply::text("too late").held());
    let adapter = adapter(&provider);
    let folder = villains("unused");
    // In a grace of a minute it ends by itself; without any it is killed.
    for (hang_ups, grace) in [(1, Duration::from_secs(60)), (2, Duration::ZERO)] {
        let case = Case { grace, ..crew("good", &folder) };
        let (invocation, controls) = case.invocation("task", 1);
        let begun = std::sync::Mutex::new(None);
        let (outcome, ()) = tokio::join!(adapter.execute(invocation), async {
            provider.wait_for_request(hang_ups).await;
            *begun.lock().unwrap() = Some(std::time::Instant::now());
            controls.cancel.cancel();
        });
        assert!(matches!(outcome, TaskOutcome::Cancelled { .. }), "{outcome:?}");
        let took = begun.lock().unwrap().unwrap().elapsed();
        assert!(took < Duration::from_secs(60), "it was over only after {took:?}");
        assert!(!works_in(folder.path().to_str().unwrap()));
        provider.wait_for_hang_up(hang_ups).await;
    }
    adapter.shutdown().await;
}

#[tokio::test]
async fn an_attempt_that_outlives_its_time_gives_up_by_itself() {
    let provider = StubProvider::start();
    provider.always(Reply::text("too late").held());
    let adapter = adapter(&provider);
    let (mut invocation, _controls) = agent("Hello").invocation("task", 1);
    invocation.timeout = Some(Duration::from_secs(1));
    assert_eq!(failure(adapter.execute(invocation).await).kind, ErrorKind::Timeout);
    provider.wait_for_hang_up(1).await;
}

#[tokio::test]
async fn usage_progress_and_output_of_a_project() {
    let provider = StubProvider::start();
    provider.always(Reply::text("Done.").with_usage(10, 5));
    let adapter = adapter(&provider);
    let case = Case::new("crewai.crew", json!({ "crew": ".", "topic": "rivers", "facts": 3 }));
    let case = Case { base_dir: Some(workspace().join("examples/crew_project")), rehearsal: true, ..case };
    let (invocation, controls) = case.invocation("report", 1);
    let (output, usage, _) = success(adapter.execute(invocation).await);
    assert_eq!(output["output"], "Done.");
    assert_eq!(output["tasks"].as_array().unwrap().len(), 2, "{output}");
    assert_eq!((usage.model_calls, usage.input_tokens, usage.output_tokens), (2, 20, 10));
    let seen = controls.progress.seen();
    let completed = seen.iter().filter(|progress| progress.data["kind"] == "model_call_completed");
    assert_eq!(completed.count(), 2, "{seen:?}");
    assert!(seen.iter().all(|progress| progress.name != "model.call"), "that is for who opened the door to tell");
    let tokens = seen.iter().filter(|progress| progress.name == "task.token");
    let said: String = tokens.map(|token| token.data["text"].as_str().unwrap()).collect();
    assert_eq!(said, "Done.Done.", "somebody listens");
    assert!(provider.requests().iter().all(|request| request.key() == Some("sk-of-report")), "the attempt's own key");
    assert!(provider.requests().iter().any(|request| request.body.to_string().contains("rivers")));
}

#[tokio::test]
async fn an_agent_takes_what_its_dependencies_made() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let (mut invocation, _controls) = Case::new("crewai.agent", json!({})).invocation("n2", 1);
    invocation.name = Some("summarize".to_owned());
    invocation.material = vec![("n1".into(), Arc::new(json!("Hello, material")))];
    success(adapter.execute(invocation).await);
    let asked = provider.requests()[0].body.to_string();
    assert!(asked.contains("summarize") && asked.contains("Hello, material"), "{asked}");
}

#[tokio::test]
async fn the_context_the_settings_and_nothing_else_arrive() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let folder = villains("unused");
    let (invocation, _controls) = crew("key", &folder).invocation("tells", 3);
    let key = invocation.context.idempotency_key();
    success(adapter.execute(invocation).await);
    let request = &provider.requests()[0];
    assert!(request.body.to_string().contains(&format!("{key} tells 3")), "{}", request.body);
    assert_eq!(request.key(), Some("sk-of-tells"), "the attempt's own");

    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && std::env::var_os("CARGO_PKG_NAME").is_some());
    let case = crew("environment", &folder).with_hints(json!({ "crewai": { "env": ["CARGO_PKG_NAME"] } }));
    let (invocation, controls) = Case { rehearsal: true, ..case }.invocation("task", 1);
    success(adapter.execute(invocation).await);
    let lines = controls.progress.lines();
    let said = lines.iter().find(|line| line.starts_with("environment:")).unwrap();
    assert!(said.contains("CARGO_PKG_NAME") && !said.contains("CARGO_MANIFEST_DIR"), "{said}");
    assert!(said.contains("CREWAI_STORAGE_DIR") && !said.contains("REDIS_URL"), "{said}");
}

#[tokio::test]
async fn temporary_files_go_with_their_attempt() {
    let provider = StubProvider::start();
    let folder = villains("unused");
    let (invocation, controls) = crew("temporary", &folder).invocation("task", 1);
    success(adapter(&provider).execute(invocation).await);
    let lines = controls.progress.lines();
    let said = lines.iter().find_map(|line| line.strip_prefix("temporary: ")).unwrap();
    assert_ne!(Path::new(said), std::env::temp_dir(), "a folder of its own");
    assert!(!Path::new(said).exists(), "{said} is still there");
}

#[tokio::test]
async fn what_a_crew_prints_is_never_its_answer() {
    let provider = StubProvider::start();
    provider.always(Reply::text("honest"));
    let folder = villains("unused");
    let (output, ..) = success(run(&adapter(&provider), &crew("forges", &folder)).await);
    assert_eq!(output["output"], "honest");
}

#[tokio::test]
async fn without_a_provider_the_error_says_what_to_do() {
    let provider = StubProvider::start();
    let adapter = adapter_with(Some(Arc::new(OnlyRehearsals(provider.base_url()))));
    let folder = villains("unused");
    for case in [agent("Hello"), crew("good", &folder)] {
        let error = failure(run(&adapter, &case).await);
        assert_eq!(error.kind, ErrorKind::Auth, "{error:?}");
        assert!(error.message.contains("OPENAI_API_KEY") && error.message.contains("--rehearse"), "{}", error.message);
    }
    assert!(provider.requests().is_empty());
    let (output, ..) = success(run(&adapter, &Case { rehearsal: true, ..agent("Hello") }).await);
    assert!(output.is_string());
}

#[tokio::test]
async fn a_sys_exit_in_a_crew_fails_the_task_and_nothing_else() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let folder = villains("unused");
    let (left, good) = (crew("leaves", &folder), crew("good", &folder));
    let (left, good) = tokio::join!(run(&adapter, &left), run(&adapter, &good));
    let error = failure(left);
    assert!(matches!(error.kind, ErrorKind::User | ErrorKind::Load), "{error:?}");
    success(good);
}

/// The seed's example: an agent, and one that works on what it made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orchestrator_whose_nodes_are_agents() {
    let provider = StubProvider::start();
    provider.always(Reply::text("hello world").with_usage(3, 2));
    let clock = Clock::start();
    let store = Arc::new(MemoryStore::new(Arc::new(move || clock.now())));
    let crewai = Arc::new(adapter(&provider));
    let orchestrator =
        CrewaiOrchestrator::start(store, Arc::new(MemoryBus::default()), EngineConfig::default(), crewai);
    let orchestrator = orchestrator.await.unwrap();
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "example_linear",
        "nodes": [
            { "id": "n1", "name": "generate", "inputs": { "prompt": "Write hello world" } },
            { "id": "n2", "name": "summarize", "depends_on": ["n1"] },
        ],
    }))
    .unwrap();
    let hash = orchestrator.deploy_workflow(&workflow).await.unwrap();
    let start = StartRun { rehearsal: true, ..StartRun::default() };
    let run = orchestrator.start_run(hash, start).await.unwrap().run_id;
    assert_eq!(orchestrator.engine().wait(run).await.unwrap().status, Status::Succeeded);
    let result = orchestrator.get_task_result(run, &"n2".into()).await.unwrap();
    assert_eq!(result.output.unwrap().value().map(|value| &**value), Some(&json!("hello world")));
    assert_eq!(result.usage.model_calls, 1);
    let asked = provider.requests()[1].body.to_string();
    assert!(
        asked.contains("summarize") && asked.contains("hello world"),
        "the second works on what the first made: {asked}"
    );
    orchestrator.shutdown().await;
}
