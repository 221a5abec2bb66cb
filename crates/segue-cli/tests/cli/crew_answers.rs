//! What models have answered a crew is paid once: its worker may be killed, or the whole program, and a person may be
//! asked in between. Real CrewAI, the gateway, SQLite.

use std::process::{Child, Stdio};

use crate::support::{Place, Ran, end_of, until};
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::Value;

/// Six tasks, one model call each. After the fourth answer of its first attempt it does what `THEN` says.
const SIX: &str = r#"
import os
import signal
import time

from crewai import Agent, Crew, Task

answered = []


def then(output):
    answered.append(output)
    if len(answered) == 4 and os.environ["SEGUE_ATTEMPT_NUMBER"] == "1":
        THEN


def crew() -> Crew:
    agent = Agent(role="Writer", goal="Write", backstory="You write.")
    tasks = [Task(name=f"t{n}", description=f"Write chapter {n}.", expected_output="Text.", agent=agent) for n in range(6)]
    return Crew(agents=[agent], tasks=tasks, task_callback=then)
"#;

fn workflow(place: &Place, then: &str) {
    place.write("team.py", &SIX.replace("THEN", then));
    place.write(
        "crew.yaml",
        "id: crew\nnodes:\n  - id: book\n    task: crewai.crew\n    inputs: { crew: \"team:crew\" }\n    retry_policy: { max_attempts: 2, initial_interval_seconds: 0.1 }\n",
    );
}

fn spawn(place: &Place, provider: &StubProvider, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.env("SEGUE_HOME", crate::support::home());
    command.env("OPENAI_BASE_URL", provider.base_url()).env("OPENAI_API_KEY", "sk-secret-of-the-test");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(place: &Place, provider: &StubProvider, args: &[&str]) -> Ran {
    end_of(spawn(place, provider, args))
}

/// A provider that never says the same thing twice, so that an answer that was asked for again would be seen.
fn provider(replies: usize) -> StubProvider {
    let provider = StubProvider::start();
    for number in 1..=replies {
        provider.push(Reply::text(&format!("Chapter {number}.")).with_usage(10, 5));
    }
    provider
}

/// Six calls, six answers in their order, and all of it paid once.
fn is_paid_once(ran: &Ran, provider: &StubProvider) {
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["book"]["attempts"], 2, "{document:#}");
    let tasks = document["tasks"]["book"]["output"]["tasks"].as_array().unwrap();
    let said: Vec<&str> = tasks.iter().map(|task| task["output"].as_str().unwrap()).collect();
    assert_eq!(said, (1..=6).map(|number| format!("Chapter {number}.")).collect::<Vec<_>>());
    assert_eq!(provider.requests().len(), 6, "{document:#}");
    let usage = provider.usage();
    for (name, billed) in [("input_tokens", usage.input_tokens), ("output_tokens", usage.output_tokens)] {
        assert_eq!(document["usage"][name].as_u64(), Some(billed), "{document:#}");
    }
    assert_eq!(document["usage"]["model_calls"], 6, "{document:#}");
}

#[test]
fn a_worker_that_is_killed_after_the_fourth_answer_costs_nothing() {
    let place = Place::new();
    workflow(&place, "os.kill(os.getpid(), signal.SIGKILL)");
    let provider = provider(7);
    is_paid_once(&run(&place, &provider, &["run", "crew.yaml", "--json"]), &provider);
}

#[test]
fn a_program_that_is_killed_after_the_fourth_answer_costs_nothing() {
    let place = Place::new();
    workflow(&place, "open(\"four\", \"w\").close(); time.sleep(600)");
    let provider = provider(7);
    let mut child = spawn(&place, &provider, &["run", "crew.yaml", "--json"]);
    until("four answers are there", || place.file("four").exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    is_paid_once(&run(&place, &provider, &["resume", "@last", "--json"]), &provider);
}

const ASKS: &str = r#"
from crewai import Agent, Crew, Task


def crew() -> Crew:
    agent = Agent(role="Writer", goal="Write", backstory="You write.")
    return Crew(agents=[agent], tasks=[
        Task(name="plan", description="Plan the book.", expected_output="Text.", agent=agent),
        Task(name="draft", description="Write the book.", expected_output="Text.", agent=agent, human_input=True),
        Task(name="title", description="Find a title.", expected_output="Text.", agent=agent)])
"#;

/// Three questions of a process each, with `segue approve` in between.
#[test]
fn a_crew_that_asks_a_person_pays_nothing_twice() {
    let place = Place::new();
    workflow(&place, "pass");
    place.write("team.py", ASKS);
    let provider = provider(5);
    let ran = run(&place, &provider, &["run", "crew.yaml", "--json", "--no-wait"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    let question = |nth: usize| -> Value {
        let events = place.events("@last");
        let asked = events.iter().filter(|event| event["type"] == "task.waiting").nth(nth);
        asked.unwrap_or_else(|| panic!("{events:#?}"))["data"].clone()
    };
    assert!(question(0).to_string().contains("Chapter 2."), "{:#}", question(0));

    let ran = run(&place, &provider, &["approve", "@last", "--form", "answer=shorter, please", "--json"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    assert!(question(1).to_string().contains("Chapter 3."), "{:#}", question(1));
    assert!(provider.requests()[2].body.to_string().contains("shorter, please"));

    let ran = run(&place, &provider, &["approve", "@last", "--form", "answer=", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    let tasks = document["tasks"]["book"]["output"]["tasks"].as_array().unwrap();
    let said: Vec<&Value> = tasks.iter().map(|task| &task["output"]).collect();
    assert_eq!(said, ["Chapter 1.", "Chapter 3.", "Chapter 4."], "{document:#}");
    assert_eq!(provider.requests().len(), 4, "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 4, "{document:#}");
}

const FLOW: &str = r#"
from crewai import LLM
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback


class Review(Flow):
    @start()
    @human_feedback(message="Print it?", emit=["print", "drop"])
    def write(self):
        self.state["text"] = LLM(model="gpt-4o").call("Write a chapter.")
        return self.state["text"]

    @listen("print")
    def printed(self):
        title = LLM(model="gpt-4o").call("Find a title for: " + self.state["text"])
        return f"{title} {self.state['text']}"
"#;

/// A flow goes on behind the method that asked, with its state, after any time and in any process.
#[test]
fn a_flow_that_asks_a_person_goes_on_where_it_was() {
    let place = Place::new();
    place.write("reviews.py", FLOW);
    place.write(
        "flow.yaml",
        "id: flow\nnodes:\n  - { id: review, task: crewai.flow, inputs: { flow: \"reviews:Review\" } }\noutputs: { text: \"{{ nodes.review.output.output }}\" }\n",
    );
    let provider = provider(3);
    let ran = run(&place, &provider, &["run", "flow.yaml", "--json", "--no-wait"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    let ran = run(&place, &provider, &["approvals", "show", "@last"]);
    assert!(ran.stdout.contains("Print it?") && ran.stdout.contains("Chapter 1."), "{ran:#?}");
    let ran = run(&place, &provider, &["approve", "@last", "--form", "answer=print", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["outputs"]["text"], "Chapter 2. Chapter 1.", "{document:#}");
    assert_eq!(provider.requests().len(), 2);
    assert_eq!(document["usage"]["model_calls"], 2, "{document:#}");
}

/// Who does not want to answer can let the task fail.
#[test]
fn a_question_can_be_turned_down() {
    let place = Place::new();
    workflow(&place, "pass");
    place.write("team.py", ASKS);
    let provider = provider(3);
    assert_eq!(run(&place, &provider, &["run", "crew.yaml", "--json", "--no-wait"]).code, 6);
    let ran = run(&place, &provider, &["reject", "@last", "--comment", "not now", "--json"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert_eq!(provider.requests().len(), 2);
}
