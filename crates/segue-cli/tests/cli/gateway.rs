//! Real CrewAI, the real program and a stub of a provider: what a crash costs, what is counted, what is waited for, what is
//! refused, and that no key is ever where it should not be.

use std::{
    fs,
    path::Path,
    process::{Child, Stdio},
    time::Duration,
};

use crate::support::{Place, Ran, end_of, until};
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::{Value, json};

/// The provider's key. Never in a worker, nor anywhere else.
const CANARY: &str = "sk-canary-0123456789abcdef";

/// A crew of six calls, one a task. After the fourth answer something may happen to it.
const TEAM: &str = r#"
import os
import signal
import time
from pathlib import Path

from crewai import Agent, Crew, Task


def _crew(after_the_fourth):
    agent = Agent(role="Writer", goal="Write", backstory="You write.")
    tasks = []
    for number in range(1, 7):
        callback = after_the_fourth if number == 4 else None
        tasks.append(Task(name=f"step {number}", description=f"Write part {number}.", expected_output="A part.",
                          agent=agent, callback=callback))
    return Crew(agents=[agent], tasks=tasks)


def plain():
    return _crew(None)


def short():
    agent = Agent(role="Writer", goal="Write", backstory="You write.")
    parts = [Task(description=f"Write part {number}.", expected_output="A part.", agent=agent) for number in range(4)]
    return Crew(agents=[agent], tasks=parts)


def dies():
    def die(output):
        if not Path("died").exists():
            Path("died").write_text(output.raw)
            os.kill(os.getpid(), signal.SIGKILL)

    return _crew(die)


def waits():
    def wait(output):
        Path("waits").write_text(output.raw)
        while not Path("goes-on").exists():
            time.sleep(0.02)

    return _crew(wait)


def dumps():
    """Everything that a worker can see, for a test to look through."""
    text = repr(dict(os.environ)) + Path("/proc/self/environ").read_text() + Path("/proc/self/cmdline").read_text()
    print(text)
    Path("seen").write_text(text)
    raise RuntimeError("crashed with " + text)
"#;

fn team() -> Place {
    let place = Place::new();
    place.write("team.py", TEAM);
    for name in ["plain", "dies", "waits", "dumps"] {
        let text = format!(
            "id: {name}\nnodes:\n  - id: a\n    task: crewai.crew\n    inputs: {{ crew: \"team:{name}\" }}\n\
             \x20   retry_policy: {{ max_attempts: 2, initial_interval_seconds: 0 }}\n"
        );
        place.write(&format!("{name}.yaml"), &text);
    }
    place
}

fn spawn(place: &Place, provider: &StubProvider, args: &[&str]) -> Child {
    let mut command = place.command(args);
    command.env("SEGUE_HOME", crate::support::home());
    command.env("OPENAI_BASE_URL", provider.base_url()).env("OPENAI_API_KEY", CANARY);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn run(place: &Place, provider: &StubProvider, args: &[&str]) -> Ran {
    end_of(spawn(place, provider, args))
}

/// What the provider says it has billed is what the run says it has used.
fn assert_billed(provider: &StubProvider, usage: &Value) {
    let billed = provider.usage();
    let told = ["model_calls", "input_tokens", "output_tokens"].map(|name| usage[name].as_u64().unwrap());
    assert_eq!(told, [billed.model_calls, billed.input_tokens, billed.output_tokens], "{usage}");
}

fn six_answers() -> StubProvider {
    let provider = StubProvider::start();
    for number in 1..=6 {
        provider.push(Reply::text(&format!("Part {number}.")).with_usage(10 * number, number));
    }
    provider.always(Reply::status(500));
    provider
}

#[test]
fn a_worker_that_is_killed_after_the_fourth_of_six_answers_costs_six_calls() {
    let (place, provider) = (team(), six_answers());
    let ran = run(&place, &provider, &["run", "dies.yaml", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(place.read("died"), "Part 4.");
    let document = ran.document();
    assert_eq!(document["tasks"]["a"]["attempts"], 2, "{document:#}");
    assert_eq!(provider.requests().len(), 6, "{:#?}", provider.requests());
    assert_billed(&provider, &document["usage"]);
}

#[test]
fn an_engine_that_is_killed_after_the_fourth_of_six_answers_costs_six_calls() {
    let (place, provider) = (team(), six_answers());
    let mut child = spawn(&place, &provider, &["run", "waits.yaml", "--json"]);
    until("the fourth answer has come", || (place.read("waits") == "Part 4.").then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    place.write("goes-on", "");
    let ran = run(&place, &provider, &["resume", "@last", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["tasks"]["a"]["attempts"], 2, "{document:#}");
    assert_eq!(provider.requests().len(), 6, "{:#?}", provider.requests());
    assert_billed(&provider, &document["usage"]);
}

/// Eight crews at once. Two calls are refused, one with a time to wait for and one without a reason: the wait costs no
/// attempt, the failure one, nobody else notices, and all is counted.
#[test]
fn eight_crews_share_a_limit_and_everything_is_counted() {
    let place = team();
    place.write("segue.toml", "[models.\"*\"]\nconcurrent = 3\n[models.\"*\".price]\ninput = 1.0\noutput = 10.0\n");
    let nodes: Vec<Value> = (0..8)
        .map(|number| {
            json!({ "id": format!("n{number}"), "task": "crewai.crew", "inputs": { "crew": "team:plain" },
                "retry_policy": { "max_attempts": 2, "initial_interval_seconds": 0 } })
        })
        .collect();
    place.write("eight.json", &json!({ "id": "eight", "nodes": nodes }).to_string());
    let provider = StubProvider::start();
    provider.push(Reply::text("A part.").with_usage(7, 3));
    provider.push(Reply::rate_limited(Some(2)));
    provider.push(Reply::text("A part.").with_usage(9, 2));
    provider.push(Reply::status(500));
    provider.always(Reply::text("A part.").with_usage(11, 5));
    let ran = run(&place, &provider, &["run", "eight.json", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    let attempts = |number: u32| document["tasks"][format!("n{number}")]["attempts"].as_u64().unwrap();
    assert_eq!((0..8).map(attempts).sum::<u64>(), 9, "the 500 alone costs one: {document:#}");
    assert_eq!(provider.requests().len(), 48 + 2, "what was refused is asked again, what was answered is not");
    assert!(provider.most_at_once() <= 3, "{}", provider.most_at_once());
    assert_billed(&provider, &document["usage"]);
    let billed = provider.usage();
    let cost = (billed.input_tokens as f64 + 10.0 * billed.output_tokens as f64) / 1e6;
    assert!((document["usage"]["cost_usd"].as_f64().unwrap() - cost).abs() < 1e-9, "{document:#}");
}

/// Twenty crews ask 80 times where 60 a minute are allowed: what is above waits for its minute.
#[test]
fn twenty_crews_share_a_limit_of_three_calls_and_of_sixty_a_minute() {
    let place = team();
    let limits = "[models.\"*\"]\nconcurrent = 3\nrequests_per_minute = 60\n";
    place.write("segue.toml", &format!("max_parallel_tasks = 20\n{limits}"));
    let node =
        |number| json!({ "id": format!("n{number}"), "task": "crewai.crew", "inputs": { "crew": "team:short" } });
    let nodes: Vec<Value> = (0..20).map(node).collect();
    place.write("twenty.json", &json!({ "id": "twenty", "nodes": nodes }).to_string());
    let provider = StubProvider::start();
    provider.push(Reply::text("A part.").with_usage(7, 3));
    provider.push(Reply::rate_limited(Some(2)));
    provider.always(Reply::text("A part.").with_usage(11, 5));
    let ran = run(&place, &provider, &["run", "twenty.json", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    for number in 0..20 {
        assert_eq!(document["tasks"][format!("n{number}")]["attempts"], 1, "nobody fails for another's 429");
    }
    assert_billed(&provider, &document["usage"]);
    assert!(provider.most_at_once() <= 3, "{}", provider.most_at_once());
    let arrivals = provider.arrivals();
    assert_eq!(arrivals.len(), 81, "each call once, and the refused one again");
    let closest = arrivals.windows(61).map(|window| window[60] - window[0]).min().unwrap();
    assert!(closest >= Duration::from_secs(60), "61 calls reached the provider within {closest:?}");
}

#[test]
fn a_run_ends_with_its_budget() {
    let place = team();
    let text = place.read("plain.yaml").replace("nodes:", "budget: { tokens: 100 }\nnodes:");
    place.write("plain.yaml", &text);
    let provider = StubProvider::start();
    provider.always(Reply::text("A part.").with_usage(30, 10));
    let ran = run(&place, &provider, &["run", "plain.yaml", "--json"]);
    let document = ran.document();
    assert_eq!((ran.code, &document["error"]["kind"]), (4, &json!("budget")), "{document:#}");
    assert_eq!(provider.requests().len(), 3, "overshot by the call that crosses it");
    assert_billed(&provider, &document["usage"]);
    assert_eq!(document["tasks"]["a"]["attempts"], 1, "{document:#}");
}

/// A file below the folder that holds this text.
fn holder(folder: &Path, text: &str) -> Option<String> {
    fs::read_dir(folder).unwrap().flatten().find_map(|entry| {
        let path = entry.path();
        if path.is_dir() {
            return holder(&path, text);
        }
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes()).then(|| path.display().to_string())
    })
}

/// Does a process other than `segue` itself, and this test, show this text to `ps`?
fn is_shown(text: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        line.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[test]
fn no_key_is_where_it_should_not_be() {
    let place = team();
    place.write("keys/other", "sk-canary-of-a-file\n");
    let provider = StubProvider::start();
    let url = provider.base_url();
    place.write(
        "segue.toml",
        &format!(
            "[providers.openai]\nbase_url = \"{url}\"\napi_key_env = \"OPENAI_API_KEY\"\nmodels = [\"gpt-*\"]\n\
             [providers.other]\nbase_url = \"{url}\"\napi_key_file = \"keys/other\"\n"
        ),
    );
    // A provider that repeats the key, a worker that shows all it sees and crashes with it, and all that can be logged.
    let message = format!("Incorrect API key provided: {CANARY}.");
    provider.push(Reply::raw(401, &json!({ "error": { "message": message, "code": "invalid_api_key" } }).to_string()));
    provider.push(Reply::text("held").held());
    for (workflow, kind) in [("plain", "auth"), ("dumps", "user")] {
        let ran = run(&place, &provider, &["-vvv", "run", &format!("{workflow}.yaml"), "--json"]);
        assert_eq!(ran.code, 4, "{ran:#?}");
        assert_eq!(ran.document()["error"]["kind"], kind, "{ran:#?}");
        assert!(!ran.stdout.contains("sk-canary") && !ran.stderr.contains("sk-canary"), "{ran:#?}");
    }
    assert_eq!(provider.requests()[0].key(), Some(CANARY), "the provider has seen the real one");
    assert!(place.read("seen").contains("OPENAI_API_KEY"), "the worker has one of its own");

    let child = spawn(&place, &provider, &["run", "plain.yaml", "--json"]);
    until("a model is asked", || (provider.requests().len() >= 2).then_some(()));
    assert!(!is_shown("sk-canary"));
    provider.release();
    assert_eq!(end_of(child).code, 0);

    fs::remove_file(place.file("keys/other")).unwrap();
    for command in [&["config", "show", "--origin"][..], &["doctor", "--json"], &["runs", "events", "@last", "--json"]]
    {
        let ran = run(&place, &provider, command);
        assert!(!ran.stdout.contains("sk-canary") && !ran.stderr.contains("sk-canary"), "{ran:#?}");
    }
    assert_eq!(holder(place.path(), "sk-canary"), None);
    assert_eq!(holder(&crate::support::home().join("worker"), "sk-canary"), None);
}
