//! Who answers calls of models: scripts of rehearsals, cassettes that are recorded and replayed.
#![allow(clippy::unwrap_used)]

mod support;

use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use segue_testkit::provider::{Reply, StubProvider};
use support::{Place, Ran, end_of, signal};

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
    assert_eq!((&recorded.document()["outputs"]["said"], provider.requests().len()), (&serde_json::json!("three"), 4));
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
