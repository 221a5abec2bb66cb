//! Graphs of LangGraph go on where they were: their process may be killed, or the whole program, and a person may be asked
//! in between. Real LangGraph, the gateway, SQLite.

use std::process::{Child, Stdio};

use crate::support::{Place, Ran, end_of, until};
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::{Value, json};

/// Four steps, one model call each. After the third answer, before that step is kept, it does what `THEN` says, once.
const FOUR: &str = r#"
import asyncio
import operator
import os
import signal
from typing import Annotated

from langchain.chat_models import init_chat_model
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

model = init_chat_model("openai:gpt-4o-mini")


class State(TypedDict, total=False):
    said: Annotated[list, operator.add]


def step(number):
    async def run(state: State) -> State:
        answer = await model.ainvoke(f"Write chapter {number}.")
        if number == 3 and not os.path.exists("three"):
            open("three", "w").close()
            THEN
        return {"said": [answer.text]}

    return run


builder = StateGraph(State)
for number in range(1, 5):
    builder.add_node(f"step{number}", step(number))
    builder.add_edge(START if number == 1 else f"step{number - 1}", f"step{number}")
"#;

const ASKS: &str = r#"
from langchain.chat_models import init_chat_model
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

model = init_chat_model("openai:gpt-4o-mini")


class State(TypedDict, total=False):
    draft: str
    verdict: str
    final: str


async def draft(state: State) -> State:
    return {"draft": (await model.ainvoke("Write a draft.")).text}


async def ask(state: State) -> State:
    return {"verdict": interrupt({"question": "Publish it?", "draft": state["draft"]})}


async def final(state: State) -> State:
    return {"final": (await model.ainvoke(f"The editor says {state['verdict']}.")).text}


builder = StateGraph(State).add_sequence([draft, ask, final]).add_edge(START, "draft")
"#;

/// The public suite for savers, against the one that a graph gets.
const SUITE: &str = r#"
from langgraph.checkpoint.conformance import checkpointer_test, validate
from langgraph.checkpoint.conformance.capabilities import BASE_CAPABILITIES
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

from segue.adapters.langchain.saver import SegueSaver
from segue.worker import current


class State(TypedDict, total=False):
    passed: int
    failures: list


async def check(state: State) -> State:
    attempt = current.attempt()

    @checkpointer_test(name="segue")
    async def make():
        yield SegueSaver(attempt, attempt.start.thread)

    report = await validate(make, capabilities={each.value for each in BASE_CAPABILITIES})
    results = [report.results[each.value] for each in BASE_CAPABILITIES]
    failures = [str(failure) for result in results for failure in result.failures or ()]
    return {"passed": sum(result.tests_passed for result in results), "failures": failures}


builder = StateGraph(State).add_sequence([check]).add_edge(START, "check")
"#;

/// A place with a graph in it, which runs in the environment that the tests are given, or in a managed one.
fn place(code: &str, hints: &Value) -> Place {
    let place = Place::new();
    place.write("agent.py", code);
    let mut hints = hints.clone();
    if let Some(python) = std::env::var_os("SEGUE_TEST_LANGGRAPH") {
        hints["python"] = json!(python.to_str().unwrap());
    }
    let node = json!({
        "id": "book",
        "task": "langgraph.graph",
        "inputs": { "graph": "./agent.py:builder" },
        "hints": { "langchain": hints },
        "retry_policy": { "max_attempts": 2, "initial_interval_seconds": 0.1 },
    });
    place.write("graph.yaml", &json!({ "id": "graph", "nodes": [node] }).to_string());
    place
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
fn provider() -> StubProvider {
    let provider = StubProvider::start();
    for number in 1..=7 {
        provider.push(Reply::text(&format!("Chapter {number}.")).with_usage(10, 5));
    }
    provider
}

/// The chapters as they were said, so many requests, and the usage that was billed.
fn ended_with(ran: &Ran, provider: &StubProvider, said: [&str; 4], requests: usize) {
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["book"]["output"]["said"], json!(said), "{document:#}");
    assert_eq!(provider.requests().len(), requests, "{document:#}");
    assert!(provider.requests().iter().all(|request| request.key() == Some("sk-secret-of-the-test")));
    let usage = provider.usage();
    assert_eq!(document["usage"]["input_tokens"].as_u64(), Some(usage.input_tokens), "{document:#}");
    assert_eq!(document["usage"]["model_calls"].as_u64(), Some(requests as u64), "{document:#}");
}

const IN_ORDER: [&str; 4] = ["Chapter 1.", "Chapter 2.", "Chapter 3.", "Chapter 4."];

#[test]
fn a_graph_whose_process_is_killed_asks_no_model_twice() {
    let place = place(&FOUR.replace("THEN", "os.kill(os.getpid(), signal.SIGKILL)"), &json!({}));
    let provider = provider();
    let ran = run(&place, &provider, &["run", "graph.yaml", "--json"]);
    ended_with(&ran, &provider, IN_ORDER, 4);
    assert_eq!(ran.document()["tasks"]["book"]["attempts"], 2);
}

#[test]
fn without_the_journal_only_the_step_in_flight_is_repeated() {
    let code = FOUR.replace("THEN", "os.kill(os.getpid(), signal.SIGKILL)");
    let place = place(&code, &json!({ "journal": "off" }));
    let provider = provider();
    let ran = run(&place, &provider, &["run", "graph.yaml", "--json"]);
    ended_with(&ran, &provider, ["Chapter 1.", "Chapter 2.", "Chapter 4.", "Chapter 5."], 5);
}

#[test]
fn a_graph_whose_program_is_killed_goes_on_when_it_is_resumed() {
    let place = place(&FOUR.replace("THEN", "await asyncio.sleep(600)"), &json!({}));
    let provider = provider();
    let mut child = spawn(&place, &provider, &["run", "graph.yaml", "--json"]);
    until("three answers are there", || place.file("three").exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = run(&place, &provider, &["resume", "@last", "--json"]);
    ended_with(&ran, &provider, IN_ORDER, 4);
}

#[test]
fn a_question_is_answered_from_another_process() {
    let place = place(ASKS, &json!({}));
    let provider = provider();
    let ran = run(&place, &provider, &["run", "graph.yaml", "--json", "--no-wait"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    let events = place.events("@last");
    let asked = events.iter().find(|event| event["type"] == "task.waiting").unwrap();
    assert!(asked.to_string().contains("Publish it?") && asked.to_string().contains("Chapter 1."), "{asked:#}");
    let ran = run(&place, &provider, &["approve", "@last", "--form", "answer=yes", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    let output = &document["tasks"]["book"]["output"];
    assert_eq!((&output["verdict"], &output["final"]), (&json!("yes"), &json!("Chapter 2.")), "{document:#}");
    assert_eq!(provider.requests().len(), 2, "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 2, "{document:#}");
}

#[test]
fn the_public_suite_for_savers_passes_on_sqlite() {
    if std::env::var_os("SEGUE_TEST_LANGGRAPH").is_none() {
        // The suite is no part of the managed environment; `cargo xtask test` makes one that has it.
        return;
    }
    let place = place(SUITE, &json!({}));
    let ran = run(&place, &provider(), &["run", "graph.yaml", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let output = &ran.document()["tasks"]["book"]["output"];
    assert_eq!(output["failures"], json!([]), "{output:#}");
    assert!(output["passed"].as_u64().unwrap() >= 58, "{output:#}");
}
