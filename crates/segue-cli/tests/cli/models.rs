//! Who answers calls of models: scripts of rehearsals, cassettes that are recorded and replayed.

use std::process::{Command, Stdio};

use crate::support::{Place, Ran, end_of, signal};
use nix::sys::signal::Signal;
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::{Value, json};

/// Two calls side by side that ask the same, and one that takes what they said.
const WORKFLOW: &str = "id: chat
defaults: { task: llm.chat, hints: { llm: { model: gpt-4o } }, retry_policy: { initial_interval_seconds: 0 } }
nodes:
  - { id: a, inputs: { prompt: canary-prompt } }
  - { id: b, inputs: { prompt: canary-prompt } }
  - { id: sum, depends_on: [a, b], inputs: { prompt: \"{{ nodes.a.output }} {{ nodes.b.output }}\" } }
outputs: { said: \"{{ nodes.sum.output }}\" }
";

fn asking(place: &Place, provider: &StubProvider, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.env("OPENAI_BASE_URL", provider.base_url()).env("OPENAI_API_KEY", "sk-canary-key");
    command
}

fn ran(mut command: Command) -> Ran {
    Ran::from(command.output().unwrap())
}

#[test]
fn a_recorded_run_is_replayed_without_a_provider() {
    let place = Place::new();
    place.write("workflow.yaml", WORKFLOW);
    let provider = StubProvider::start();
    provider.when("one two", Reply::text("three").with_usage(3, 1));
    provider.when("two one", Reply::text("three").with_usage(3, 1));
    provider.push(Reply::status(503));
    provider.push(Reply::text("one"));
    provider.push(Reply::text("two"));
    let recorded = ran(asking(&place, &provider, &["run", "workflow.yaml", "--json", "--record", "run.cassette"]));
    assert_eq!(recorded.code, 0, "{recorded:#?}");
    assert_eq!((&recorded.document()["outputs"]["said"], provider.requests().len()), (&json!("three"), 4));
    let text = place.read("run.cassette");
    assert_eq!(text.lines().count(), 5, "{text}");
    assert!(!text.contains("canary"), "neither keys nor prompts: {text}");

    for _ in 0..2 {
        let replayed = place.segue(&["run", "workflow.yaml", "--json", "--replay", "run.cassette"]);
        assert_eq!(replayed.code, 0, "{replayed:#?}");
        let (then, now) = (recorded.document(), replayed.document());
        for of in ["/outputs", "/usage", "/tasks/a/attempts", "/tasks/b/attempts"] {
            assert_eq!(then.pointer(of).unwrap(), now.pointer(of).unwrap(), "{of}");
        }
    }
    assert_eq!(provider.requests().len(), 4, "nobody was asked again");

    place.write("workflow.yaml", &WORKFLOW.replace("canary-prompt } }\n  - { id: sum", "other } }\n  - { id: sum"));
    let unknown = place.segue(&["run", "workflow.yaml", "--replay", "run.cassette"]);
    assert_eq!(unknown.code, 4, "{unknown:#?}");
    let why = "There is no recording of this call of the model 'gpt-4o': the recorded call that is most like it differs in \
               `messages[0].content`";
    assert!(unknown.stderr.contains(why), "{unknown:#?}");
}

#[tokio::test]
async fn what_was_recorded_before_a_kill_is_there() {
    let place = Place::new();
    place.write("workflow.yaml", WORKFLOW);
    let provider = StubProvider::start();
    provider.when("canary", Reply::text("one"));
    provider.always(Reply::text("never").held());
    let mut command = asking(&place, &provider, &["run", "workflow.yaml", "--record", "run.cassette"]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    provider.wait_for_held(1).await;
    signal(&child, Signal::SIGKILL);
    end_of(child);
    let text = place.read("run.cassette");
    assert_eq!(text.lines().count(), 3, "{text}");
    let half = place.segue(&["run", "workflow.yaml", "--replay", "run.cassette"]);
    assert!(half.code == 4 && half.stderr.contains("holds no call of the task `sum`"), "{half:#?}");
}

#[test]
fn a_script_says_what_is_answered() {
    let place = Place::new();
    place.write("workflow.yaml", WORKFLOW);
    place.write(
        "script.yaml",
        "rules:
  - { when: { task: a }, replies: [{ status: 429, retry_after: 0.05 }, { drop: true }, { text: x }] }
  - { when: { contains: canary-prompt }, reply: { text: y } }
  - { when: { contains: x y }, reply: { text: z } }
",
    );
    for args in [["workflow.yaml", "--rehearse", "script.yaml"], ["--rehearse", "script.yaml", "workflow.yaml"]] {
        let document = place.json(&[&["run", "--json"], &args[..]].concat());
        assert_eq!(document["outputs"]["said"], "z", "{document:#}");
        assert_eq!(document["tasks"]["a"]["attempts"], 2, "the 429 cost none: {document:#}");
    }
    let told = place.segue(&["run", "workflow.yaml", "--rehearse", "script.yaml"]).stderr;
    assert!(told.contains("model.call") && !told.contains("task.token"), "{told}");
    // One name alone is the workflow's.
    let document = place.json(&["run", "--json", "--rehearse", "workflow.yaml"]);
    assert!(document["outputs"]["said"].as_str().unwrap().starts_with("Rehearsal:"), "{document:#}");
}

#[test]
fn what_cannot_be_followed_is_refused_before_anything_runs() {
    let place = Place::new();
    place.write("workflow.yaml", WORKFLOW);
    place.write("script.yaml", "rules:\n  - when: { tsk: a }\n    reply: { text: x }\n");
    place.write("good.yaml", "rules: []\n");
    for (args, code, says) in [
        (&["run", "workflow.yaml", "--rehearse", "script.yaml"][..], 3, "did you mean `task`?"),
        (&["run", "workflow.yaml", "--rehearse", "script.yaml"], 3, "script.yaml:2:13"),
        (&["run", "workflow.yaml", "--rehearse", "none.yaml"], 7, "cannot be read"),
        (&["run", "--rehearse"], 2, "no workflow is named"),
        (&["run", "workflow.yaml"], 3, "`a` asks a model, and no model provider is set up"),
        (&["submit", "workflow.yaml", "--rehearse", "good.yaml"], 2, "keeps no script"),
        (&["run", "workflow.yaml", "--replay", "none"], 7, "cannot be read"),
        (&["run", "workflow.yaml", "--replay", "good.yaml"], 2, "is no cassette"),
        (&["run", "workflow.yaml", "--record", "good.yaml"], 2, "is not overwritten"),
        (&["run", "workflow.yaml", "--record", "a", "--replay", "b"], 2, "cannot be used with"),
        (&["run", "workflow.yaml", "--rehearse", "--record", "a"], 2, "cannot be used with"),
    ] {
        let refused = place.segue(args);
        assert_eq!(refused.code, code, "{args:?}: {refused:#?}");
        assert!(refused.stderr.contains(says), "{args:?}: {refused:#?}");
    }
    assert!(!place.file(".segue").exists(), "no store was made");
    let schema = place.segue(&["schema", "script"]);
    assert!(schema.code == 0 && schema.stdout.contains("\"stall_after\""), "{schema:#?}");
}

/// A crew whose module asks the rehearsal model as any code may, with OpenAI's own client.
const CLIENT: &str = r#"
import json

from crewai import Agent, Crew, Task
from openai import OpenAI
from pydantic import BaseModel


class City(BaseModel):
    name: str
    size: int


def crew() -> Crew:
    client = OpenAI(max_retries=0)
    tools = [{"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}} for name in "ab"]
    said = client.responses.create(model="gpt-4o", input="hello", instructions="be kind")
    with client.responses.stream(model="gpt-4o", input="hello", instructions="be kind") as stream:
        pieces = [event.delta for event in stream if event.type == "response.output_text.delta"]
        whole = stream.get_final_response()
    asked = {"tools": tools, "tool_choice": "required", "parallel_tool_calls": True}
    with client.responses.stream(model="gpt-4o", input="go", **asked) as stream:
        calls = [item.name for item in stream.until_done().get_final_response().output]
    vectors = client.embeddings.create(model="text-embedding-3-small", input=["a cat", "a dog"], dimensions=8).data
    with open("said.json", "w", encoding="utf-8") as file:
        json.dump({
            "same": said.output_text == whole.output_text == "".join(pieces) and len(pieces) > 1,
            "usage": said.usage == whole.usage and said.usage.total_tokens > 0,
            "calls": calls,
            "city": client.responses.parse(model="gpt-4o", input="a city", text_format=City).output_parsed.size,
            "vectors": [len(vector.embedding) for vector in vectors],
        }, file)
    agent = Agent(role="Writer", goal="Write one line", backstory="You write.")
    return Crew(agents=[agent], tasks=[Task(description="Write.", expected_output="One line.", agent=agent)])
"#;

#[test]
fn openai_s_own_client_reads_what_the_rehearsal_model_writes() {
    let place = Place::new();
    place.write("client.py", CLIENT);
    place.write("workflow.yaml", "id: w\nnodes: [{ id: a, task: crewai.crew, inputs: { crew: \"client:crew\" } }]\n");
    let mut command = place.command(&["run", "workflow.yaml", "--rehearse", "--json"]);
    command.env("SEGUE_HOME", crate::support::home());
    let asked = ran(command);
    assert_eq!(asked.code, 0, "{asked:#?}");
    let said: Value = serde_json::from_str(&place.read("said.json")).unwrap();
    let wanted = json!({ "same": true, "usage": true, "calls": ["a", "b"], "city": 1, "vectors": [8, 8] });
    assert_eq!(said, wanted);
    assert!(asked.document()["usage"]["model_calls"].as_u64().unwrap() >= 6, "each of them is counted: {asked:#?}");
}

#[test]
fn a_crew_is_replayed_too() {
    let place = Place::new();
    place.write(
        "workflow.yaml",
        "id: w\nnodes: [{ id: a, name: say hello }, { id: b, name: answer, depends_on: [a] }]\n",
    );
    let provider = StubProvider::start();
    provider.push(Reply::text("Hello there."));
    provider.push(Reply::text("General greetings."));
    let run = |args: &[&str]| {
        let mut command = asking(&place, &provider, &[&["run", "workflow.yaml", "--json"], args].concat());
        if args.contains(&"--replay") {
            command.env_remove("OPENAI_API_KEY").env_remove("OPENAI_BASE_URL");
        }
        command.env("SEGUE_HOME", crate::support::home());
        let ran = ran(command);
        assert_eq!(ran.code, 0, "{ran:#?}");
        ran.document()
    };
    let recorded = run(&["--record", "run.cassette"]);
    assert_eq!(recorded["outputs"]["b"], "General greetings.", "{recorded:#}");
    let replayed = run(&["--replay", "run.cassette"]);
    assert_eq!((&recorded["outputs"], &recorded["usage"]), (&replayed["outputs"], &replayed["usage"]));
    assert_eq!(provider.requests().len(), 2);
}
