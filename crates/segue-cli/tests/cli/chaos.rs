//! `segue chaos`: the promises hold for the examples, and a bug in the store or the journal is found.

use std::path::Path;

use crate::support::{Place, Ran, home};
use serde_json::{Value, json};

fn example(name: &str) -> String {
    format!("{}/../../examples/{name}/workflow.yaml", env!("CARGO_MANIFEST_DIR"))
}

/// Chaos over a workflow: what it printed.
fn chaos(place: &Place, workflow: &str, more: &[&str]) -> Ran {
    place.segue(&[&["chaos", workflow, "--json"], more].concat())
}

/// It went well: the promises hold, and enough was killed for that to say something.
fn holds(ran: &Ran, engines: u64) -> Value {
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["holds"], true, "{document:#}");
    for count in
        ["lost_steps", "repeated_committed_steps", "money_spent_twice", "other_results", "unfinished_runs", "damage"]
    {
        assert_eq!(document[count], 0, "{document:#}");
    }
    assert!(document["kills"]["engine"].as_u64().unwrap() >= engines, "{document:#}");
    assert_eq!(document["folder"], Value::Null, "nothing is left behind");
    document
}

#[test]
fn programs_survive_a_kill_at_every_moment() {
    let place = Place::new();
    let document = holds(&chaos(&place, &example("etl"), &[]), 8);
    assert_eq!((&document["status"], &document["deterministic"]), (&json!("SUCCEEDED"), &json!(true)));
    assert_eq!(document["kills"]["workers"], 0, "a program's end by a signal is an answer: only workers are killed");
    assert!(document["kills"]["engine_in_recovery"].as_u64().unwrap() > 0);
    assert!(document["repeated_effects_in_flight"].as_u64().unwrap() > 0, "some were under way: {document:#}");
    assert!(document["recovery_seconds"]["median"].as_f64().unwrap() > 0.0);
}

/// Two questions to a model, and a program between them.
const CHAT: &str = r#"
id: letters
params: { topic: { type: string, default: tea } }
nodes:
  - { id: draft, task: llm.chat, inputs: { model: gpt-4o-mini, prompt: "A line about {{ params.topic }}." } }
  - { id: count, task: process.run, depends_on: [draft], inputs: { argv: [wc, -c], stdin: "{{ nodes.draft.output }}" } }
  - { id: title, task: llm.chat, depends_on: [count], inputs: { model: gpt-4o-mini, prompt: "A title for {{ nodes.draft.output }}." } }
"#;

#[test]
fn answers_of_models_are_paid_once() {
    let place = Place::new();
    place.write("chat.yaml", CHAT);
    let document = holds(&chaos(&place, "chat.yaml", &["-i", "topic=rain"]), 8);
    assert_eq!(document["model_calls"], 2, "{document:#}");
    assert!(document["model_calls_paid_again_in_flight"].as_u64().unwrap() > 0, "{document:#}");
}

fn with_bug(place: &Place, bug: &str, args: &[&str]) -> Ran {
    let mut command = place.command(&[&["chaos"], args].concat());
    Ran::from(command.env("SEGUE_CHAOS_BUG", bug).env("TMPDIR", place.path()).output().unwrap())
}

#[test]
fn a_store_that_says_durable_too_early_is_found() {
    let place = Place::new();
    let ran = with_bug(&place, "writes_behind", &[&example("etl"), "--json", "--kills", "12"]);
    assert_eq!(ran.code, 11, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["holds"], false);
    assert!(document["lost_steps"].as_u64().unwrap() > 0, "{document:#}");
    assert!(document["repeated_committed_steps"].as_u64().unwrap() > 0, "{document:#}");
    let told = &document["broken"][0];
    assert!(told["kill"].as_str().unwrap().starts_with("engine killed after moment"), "{told}");
    let folder = Path::new(document["folder"].as_str().unwrap());
    let round = folder.join(format!("round-{}", told["round"]));
    assert!(round.join("segue.db").exists() && round.join("ledger.jsonl").exists(), "what is broken is kept");

    let ran = with_bug(&place, "writes_behind", &[&example("etl"), "--kills", "6"]);
    assert_eq!(ran.code, 11, "{ran:#?}");
    assert!(ran.stdout.contains("BROKEN") && ran.stdout.contains("The promises do not hold."), "{}", ran.stdout);
}

#[test]
fn a_journal_that_forgets_is_found() {
    let place = Place::new();
    place.write("chat.yaml", CHAT);
    let ran = with_bug(&place, "forgets_answers", &["chat.yaml", "--json"]);
    assert_eq!(ran.code, 11, "{ran:#?}");
    let document = ran.document();
    assert!(document["money_spent_twice"].as_u64().unwrap() > 0, "{document:#}");
    assert_eq!((&document["lost_steps"], &document["repeated_committed_steps"]), (&json!(0), &json!(0)));
}

/// Asks, waits for an event, and says something else each time.
const ASKS: &str = r#"
id: asks
nodes:
  - id: ask
    approval: { title: "Well?", form: { copies: { type: integer, minimum: 2 } } }
  - { id: paid, depends_on: [ask], wait: { event: paid } }
  - id: note
    task: process.run
    depends_on: [paid]
    inputs: { argv: [sh, -c, 'echo "$COPIES for $AMOUNT"'],
              env: { COPIES: "{{ nodes.ask.output.form.copies }}", AMOUNT: "{{ nodes.paid.output.amount }}" } }
  - { id: time, task: process.run, inputs: { argv: [date, +%N] } }
outputs: { note: "{{ nodes.note.output }}" }
"#;

#[test]
fn questions_are_answered_and_what_varies_is_said() {
    let place = Place::new();
    place.write("asks.yaml", ASKS);
    let document = holds(&chaos(&place, "asks.yaml", &["--answer", "paid={\"amount\": 20}"]), 8);
    assert_eq!(document["deterministic"], false);
    let varying: Vec<&str> =
        document["varying"].as_array().unwrap().iter().map(|place| place.as_str().unwrap()).collect();
    assert!(varying.contains(&"the output of time") && !varying.contains(&"the output of note"), "{varying:?}");

    let ran = chaos(&place, "asks.yaml", &["--answer", "ask={\"decision\": \"perhaps\"}", "--kills", "1"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    assert!(ran.stderr.contains("--answer 'ask="), "{}", ran.stderr);
}

#[test]
fn what_chaos_cannot_do_it_says() {
    let place = Place::new();
    place.write("chat.yaml", CHAT);
    place.write("slow.yaml", "id: slow\nnodes:\n  - { id: a, wait: { seconds: 3600 } }\n");
    place.write("wrong.yaml", "id: wrong\nnodes:\n  - { id: a, depends_on: [b] }\n");
    let cases: &[(&[&str], i32, &str)] = &[
        (&["-"], 2, "write them to files"),
        (&["letters"], 2, "segue workflows show letters"),
        (&["none.yaml"], 7, "no such file"),
        (&["wrong.yaml"], 3, "wrong.yaml:3"),
        (&["chat.yaml", "-i", "topc=x"], 3, "takes no input `topc`"),
        (&["chat.yaml", "--answer", "x"], 2, "NAME=JSON"),
        (&["slow.yaml", "--timeout", "1"], 124, "--timeout SECONDS"),
        (&["chat.yaml", "--kills", "0"], 2, "0 is not in"),
    ];
    for (args, code, says) in cases {
        let ran = place.segue(&[&["chaos"], *args].concat());
        assert_eq!(ran.code, *code, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains(says), "{args:?}: {}", ran.stderr);
    }
}

#[test]
fn people_see_a_table() {
    let place = Place::new();
    let ran = place.segue(&["chaos", &example("etl"), "--kills", "3"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    for line in ["engine killed", "lost steps", "repeated committed steps", "time to recover", "The promises hold."] {
        assert!(ran.stdout.contains(line), "{}", ran.stdout);
    }
}

/// Agents of a framework, in workers: those are killed too, as they begin and while a model answers.
#[test]
fn agents_survive() {
    let home = home();
    let home = home.to_str().unwrap();
    let place = Place::new();
    for (name, kills) in [("linear", "4"), ("langgraph_agent", "2")] {
        let ran = chaos(&place, &example(name), &["--kills", kills, "--home", home]);
        let document = holds(&ran, 1);
        assert!(document["model_calls"].as_u64().unwrap() > 0, "{name}: {document:#}");
        if name == "linear" {
            assert!(document["kills"]["workers"].as_u64().unwrap() > 0, "{document:#}");
        }
    }
}
