//! Real CrewAI against a provider that misbehaves: cancel and timeout end everything, and the node's policy alone
//! decides about further attempts.

use std::{
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use crate::support::{Place, Ran, end_of, lives, signal, until};
use nix::sys::signal::Signal;
use segue_core::time::Timestamp;
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::Value;

/// A crew that says which processes it consists of: its own, and one that it started.
const CREW: &str = r#"
import os
import subprocess

from crewai import Agent, Crew, Task


def _tell() -> None:
    child = subprocess.Popen(["sleep", "600"])
    with open("pids", "a", encoding="utf-8") as file:
        file.write(f"{os.getpid()} {child.pid}\n")


def crew() -> Crew:
    _tell()
    agent = Agent(role="Writer", goal="Write one line", backstory="You write.")
    task = Task(description="Write a line about tea.", expected_output="One line.", agent=agent)
    return Crew(agents=[agent], tasks=[task])


def stubborn() -> Crew:
    """Ignores everything that can be ignored."""
    import signal
    import time

    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _tell()
    while True:
        time.sleep(0.05)
"#;

/// The default grace period, and what a busy machine may add.
const BOUND: Duration = Duration::from_secs(20);

fn spawn(place: &Place, provider: &StubProvider, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.env("SEGUE_HOME", crate::support::home());
    command.env("OPENAI_BASE_URL", provider.base_url()).env("OPENAI_API_KEY", "sk-secret-of-the-test");
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn wait<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Waits until a request is held back. A worker starts slowly on a busy machine.
fn in_a_model_call(provider: &StubProvider) {
    let started = Instant::now();
    while provider.requests().is_empty() {
        assert!(started.elapsed() < crate::support::PATIENCE, "no model was asked");
        std::thread::sleep(Duration::from_millis(20));
    }
    wait(provider.wait_for_held(1));
}

fn pids(place: &Place) -> Vec<u32> {
    let pids: Vec<u32> = place.read("pids").split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    assert!(pids.len() >= 2, "{pids:?}");
    pids
}

fn all_gone(pids: &[u32]) {
    until("the crew and what it started have ended", || pids.iter().all(|pid| !lives(*pid)).then_some(()));
}

/// The provider's key is nowhere: not in what is printed, not in the store.
fn no_secret(place: &Place, ran: &Ran) {
    assert!(!ran.stdout.contains("sk-secret") && !ran.stderr.contains("sk-secret"), "{ran:#?}");
    for name in ["segue.db", "segue.db-wal"] {
        let bytes = std::fs::read(place.file(".segue").join(name)).unwrap_or_default();
        assert!(!bytes.windows(9).any(|part| part == b"sk-secret"), "the key is in {name}");
    }
}

#[test]
fn a_crew_that_is_cancelled_in_a_model_call_is_over_with_all_it_started() {
    let place = Place::new();
    place.write("team.py", CREW);
    place.write(
        "crew.yaml",
        "id: crew\nnodes:\n  - id: a\n    task: crewai.crew\n    inputs: { crew: \"team:crew\" }\n",
    );
    let provider = StubProvider::start();
    provider.always(Reply::text("never sent").held());
    let child = spawn(&place, &provider, &["run", "crew.yaml"]);
    in_a_model_call(&provider);
    let asked = Instant::now();
    signal(&child, Signal::SIGINT);
    wait(provider.wait_for_hang_up(1));
    let ran = end_of(child);
    assert!(asked.elapsed() < BOUND, "it took {:?}", asked.elapsed());
    assert_eq!(ran.code, 5, "{ran:#?}");
    all_gone(&pids(&place));
    assert_eq!(provider.requests().len(), 1);
    no_secret(&place, &ran);
}

/// `kill -9` in a model call: the next process ends what was left behind, and runs the attempt again.
#[test]
fn a_crew_whose_engine_is_killed_runs_again() {
    let place = Place::new();
    place.write("team.py", CREW);
    place.write(
        "crew.yaml",
        "id: crew\nnodes:\n  - id: a\n    task: crewai.crew\n    inputs: { crew: \"team:crew\" }\n",
    );
    let provider = StubProvider::start();
    provider.push(Reply::text("never sent").held());
    provider.always(Reply::text("Tea is a leaf.").with_usage(10, 5));
    let mut child = spawn(&place, &provider, &["run", "crew.yaml", "--json"]);
    in_a_model_call(&provider);
    let first = pids(&place);
    child.kill().unwrap();
    child.wait().unwrap();
    let ran = end_of(spawn(&place, &provider, &["resume", "@last", "--json"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["a"]["attempts"], 2, "{document:#}");
    assert_eq!(document["usage"]["model_calls"], 1, "{document:#}");
    assert_eq!(provider.requests().len(), 2);
    all_gone(&first);
}

/// Ctrl-C twice: the program is gone at once, and so is the crew.
#[test]
fn a_crew_that_is_left_at_once_leaves_nothing_behind() {
    let place = Place::new();
    place.write("team.py", CREW);
    place.write(
        "stubborn.yaml",
        "id: stubborn\nnodes:\n  - { id: a, task: crewai.crew, inputs: { crew: \"team:stubborn\" } }\n",
    );
    place.write("segue.toml", "grace_seconds = 60");
    let provider = StubProvider::start();
    let child = spawn(&place, &provider, &["run", "stubborn.yaml", "--json"]);
    let pids = until("the crew runs", || {
        let text = place.read("pids");
        text.ends_with('\n').then(|| pids(&place))
    });
    signal(&child, Signal::SIGINT);
    until("the first Ctrl-C is in the log", || {
        place.events("@last").iter().any(|event| event["type"] == "run.cancelling").then_some(())
    });
    signal(&child, Signal::SIGINT);
    let ran = end_of(child);
    assert_eq!(ran.code, 130, "{ran:#?}");
    all_gone(&pids);
}

#[test]
fn a_crew_that_ignores_its_timeout_is_ended() {
    let place = Place::new();
    place.write("team.py", CREW);
    // The first node warms the worker up, so that the second's time is its own.
    place.write(
        "stubborn.yaml",
        "id: stubborn\nnodes:\n  - { id: warm, name: say hello }\n  - id: a\n    task: crewai.crew\n    depends_on: [warm]\n    inputs: { crew: \"team:stubborn\" }\n    timeout_seconds: 1\n    retry_policy: { max_attempts: 1 }\n",
    );
    place.write("segue.toml", "grace_seconds = 1");
    let provider = StubProvider::start();
    let ran = end_of(spawn(&place, &provider, &["run", "stubborn.yaml", "--json"]));
    assert_eq!(ran.code, 4, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["a"]["error"]["kind"], "timeout", "{document:#}");
    let time = |key: &str| document["tasks"]["a"][key].as_str().unwrap().parse::<Timestamp>().unwrap();
    let took = time("finished_at").since(time("started_at"));
    assert!(took >= Duration::from_secs(1) && took < BOUND, "it took {took:?}");
    all_gone(&pids(&place));
}

/// 500, rubbish and a dropped connection: one request an attempt, and the policy's second attempt succeeds. A 429 that says
/// for how long to wait is waited out, and costs no attempt.
#[test]
fn a_failing_provider_sees_one_request_an_attempt() {
    let place = Place::new();
    let names = ["limited", "failing", "rubbish", "dropped"];
    let mut text = "id: weather\ndefaults:\n  retry_policy: { max_attempts: 2, initial_interval_seconds: 0.1, jitter: none }\nnodes:\n".to_owned();
    for (at, name) in names.iter().enumerate() {
        let before = at.checked_sub(1).map_or(String::new(), |before| format!(", depends_on: [{}]", names[before]));
        text += &format!("  - {{ id: {name}, inputs: {{ prompt: Say something about {name}. }}{before} }}\n");
    }
    place.write("weather.yaml", &text);
    let provider = StubProvider::start();
    for bad in [Reply::rate_limited(Some(2)), Reply::status(500), Reply::malformed(), Reply::dropped()] {
        provider.push(bad);
        provider.push(Reply::text("It is fine.").with_usage(10, 5));
    }
    let ran = end_of(spawn(&place, &provider, &["run", "weather.yaml", "--json"]));
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(provider.requests().len(), 8, "{document:#}");
    for name in names {
        let attempts = if name == "limited" { 1 } else { 2 };
        assert_eq!(document["tasks"][name]["attempts"], attempts, "{name}: {document:#}");
    }
    assert_eq!(document["usage"]["input_tokens"], 40, "what the provider billed, and nothing else: {document:#}");

    let events = place.events("@last");
    let of = |kind: &str| {
        let found = events.iter().find(|event| event["type"] == kind && event["task_id"] == "limited");
        found.unwrap()["time"].as_str().unwrap().parse::<Timestamp>().unwrap()
    };
    let pause = of("task.succeeded").since(of("task.started"));
    assert!(pause >= Duration::from_secs(2), "Retry-After was 2 s, the pause was {pause:?}");
    let kinds: Vec<&Value> = events
        .iter()
        .filter(|event| event["type"] == "task.retrying")
        .map(|event| &event["data"]["error"]["kind"])
        .collect();
    assert_eq!((kinds[0], kinds.len()), (&Value::from("provider"), 3), "{kinds:?}");
    no_secret(&place, &ran);
}

#[test]
fn without_a_provider_the_cure_is_named_before_anything_runs() {
    let place = Place::new();
    place.write("agent.yaml", "id: agent\nnodes:\n  - { id: a, name: say hello }\n");
    let ran = place.segue(&["run", "agent.yaml"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("--rehearse") && ran.stderr.contains("OPENAI_API_KEY"), "{ran:#?}");
    assert!(!place.file(".segue").exists(), "nothing has been made");
}

/// A rehearsal stays one: whoever resumes it finds the flag in its log.
#[test]
fn a_rehearsal_that_is_resumed_goes_on_rehearsing() {
    let place = Place::new();
    place.write("agent.yaml", "id: agent\nnodes:\n  - { id: a, name: say hello }\n");
    let with_home = |args: &[&str]| {
        let mut command = place.command(args);
        Ran::from(command.env("SEGUE_HOME", crate::support::home()).output().unwrap())
    };
    let ran = with_home(&["submit", "agent.yaml", "--rehearse"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(place.events("@last")[0]["data"]["rehearsal"], true);
    let ran = with_home(&["resume", "@last", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.document()["usage"]["model_calls"].as_u64().unwrap() >= 1);
}
