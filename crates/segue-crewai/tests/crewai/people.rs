//! Questions of crews and flows: the attempt ends, and another one, in another process, goes on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use segue_core::{
    ids::ContentHash,
    memory::{MemoryBus, MemoryStore},
    outcome::{ErrorKind, TaskOutcome},
    ports::{Adapter, Orchestrator, RequestKind, StartRun},
    question::{ANSWER, Question, Resume},
    run::Address,
    spec::WorkflowSpec,
    status::Status,
};
use segue_crewai::{CrewaiAdapter, CrewaiOrchestrator};
use segue_engine::{Clock, EngineConfig};
use segue_testkit::{
    conformance::{
        adapter::Case,
        question::{QuestionCases, check_questions},
    },
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};

use crate::common::{adapter, failure, project, success};

const CODE: &str = r#"
from crewai import LLM, Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback

def crew():
    agents = [Agent(role=role, goal="G", backstory="B") for role in ("Drafter", "Sender")]
    return Crew(agents=agents, tasks=[
        Task(name="draft", description="draft a letter", expected_output="e", agent=agents[0], human_input=True),
        Task(name="send", description="send the letter", expected_output="e", agent=agents[1])])

class Review(Flow):
    @start()
    @human_feedback(message="Send it?", emit=["send", "keep"])
    def draft(self):
        return LLM(model="gpt-4o").call("draft a letter")

    @listen("send")
    def sent(self):
        return "sent"

    @listen("keep")
    def kept(self):
        return "kept"
"#;

fn folder() -> tempfile::TempDir {
    project(BTreeMap::from([("mine.py", CODE)]))
}

fn case(handler: &'static str, inputs: Value, folder: &tempfile::TempDir) -> Case {
    Case { base_dir: Some(folder.path().to_owned()), rehearsal: true, ..Case::new(handler, inputs) }
}

async fn attempt(adapter: &CrewaiAdapter, case: &Case, number: u32, resume: Option<Resume>) -> TaskOutcome {
    let (mut invocation, _controls) = case.invocation("task", number);
    invocation.resume = resume;
    adapter.execute(invocation).await
}

fn asked(outcome: TaskOutcome) -> Question {
    match outcome {
        TaskOutcome::Waiting { question, .. } => question,
        other => panic!("{other:?}"),
    }
}

fn answer(question: Question, said: &str) -> Option<Resume> {
    let answers = BTreeMap::from([(ANSWER.to_owned(), json!(said))]);
    Some(Resume { token: question.resume, answers: Arc::new(answers) })
}

#[tokio::test]
async fn a_crew_asks_and_goes_on() {
    let provider = StubProvider::start();
    provider.when("send the letter", Reply::text("It is sent."));
    provider.always(Reply::text("Dear Ada").with_usage(10, 2));
    let adapter = adapter(&provider);
    let folder = folder();
    let case = case("crewai.crew", json!({ "crew": "mine:crew" }), &folder);
    let TaskOutcome::Waiting { question, usage } = attempt(&adapter, &case, 1, None).await else { panic!("it asks") };
    assert!(question.prompt.contains("Drafter") && question.prompt.contains("draft"), "{}", question.prompt);
    assert_eq!(question.items[0].value, "Dear Ada");
    assert_eq!(usage.model_calls, 1);
    let (output, _, warnings) = success(attempt(&adapter, &case, 2, answer(question, "")).await);
    assert_eq!(output["output"], "It is sent.");
    assert_eq!(warnings, Vec::<String>::new());
    adapter.shutdown().await;
}

#[tokio::test]
async fn a_flow_asks_and_asks_no_model_again() {
    let provider = StubProvider::start();
    provider.always(Reply::text("Dear Ada"));
    let adapter = adapter(&provider);
    let folder = folder();
    let case = case("crewai.flow", json!({ "flow": "mine:Review" }), &folder);
    for said in ["send", "keep"] {
        let question = asked(attempt(&adapter, &case, 1, None).await);
        assert!(question.prompt.starts_with("Send it?"), "{}", question.prompt);
        let before = provider.requests().len();
        let (output, ..) = success(attempt(&adapter, &case, 2, answer(question, said)).await);
        assert_eq!(output["output"], if said == "send" { "sent" } else { "kept" });
        assert_eq!(provider.requests().len(), before);
    }
    adapter.shutdown().await;
}

#[tokio::test]
async fn a_hint_makes_a_question_an_error() {
    let provider = StubProvider::start();
    let adapter = adapter(&provider);
    let folder = folder();
    for (handler, inputs) in
        [("crewai.crew", json!({ "crew": "mine:crew" })), ("crewai.flow", json!({ "flow": "mine:Review" }))]
    {
        let case = case(handler, inputs, &folder).with_hints(json!({ "crewai": { "human": "fail" } }));
        let error = failure(attempt(&adapter, &case, 1, None).await);
        assert_eq!((error.kind, error.retryable), (ErrorKind::InvalidInput, false), "{error:?}");
    }
}

#[tokio::test]
async fn keeps_the_promises_of_questions() {
    let provider = StubProvider::start();
    provider.always(Reply::text("Dear Ada"));
    let folder = folder();
    check_questions(QuestionCases {
        adapter: Arc::new(adapter(&provider)),
        asks: case("crewai.flow", json!({ "flow": "mine:Review" }), &folder),
        answer: json!("send"),
        then: json!("sent"),
        at: "/output",
    })
    .await;
}

/// In a run: the task waits, holds nothing, and ends well in a second attempt.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_waits_for_the_answer() {
    let provider = StubProvider::start();
    provider.when("send the letter", Reply::text("It is sent."));
    provider.always(Reply::text("Dear Ada"));
    let folder = folder();
    let clock = Clock::start();
    let store = Arc::new(MemoryStore::new(Arc::new(move || clock.now())));
    let crewai = Arc::new(adapter(&provider));
    let bus = Arc::new(MemoryBus::default());
    let orchestrator = CrewaiOrchestrator::start(store, bus, EngineConfig::default(), crewai).await.unwrap();
    let workflow: WorkflowSpec = serde_json::from_value(json!({
        "id": "asks",
        "nodes": [{ "id": "letter", "task": "crewai.crew", "inputs": { "crew": "mine:crew" } }],
    }))
    .unwrap();
    let hash: ContentHash = orchestrator.deploy_workflow(&workflow).await.unwrap();
    let base_dir = Some(folder.path().to_string_lossy().into_owned());
    let start = StartRun { rehearsal: true, base_dir, ..StartRun::default() };
    let run = orchestrator.start_run(hash, start).await.unwrap().run_id;
    let engine = orchestrator.engine();
    let waits = async {
        while orchestrator.get_run_status(run).await.unwrap().status != Status::Waiting {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(120), waits).await.expect("it asks");
    let to = Address::Task("letter".into());
    engine.request(run, RequestKind::Signal { to, data: json!({ "answer": "" }) }).await.unwrap();
    assert_eq!(engine.wait(run).await.unwrap().status, Status::Succeeded);
    let result = orchestrator.get_task_result(run, &"letter".into()).await.unwrap();
    assert_eq!(result.output.unwrap().value().unwrap()["output"], "It is sent.");
    orchestrator.shutdown().await;
}
