//! The control-flow patterns of `docs/reference/patterns`: each document is valid and does what the pattern says.

use std::{fs, path::PathBuf};

use segue_core::{
    event::EventKind,
    ids::HandlerId,
    outcome::{ErrorKind, TaskOutcome},
    run::{Address, Input, Rejected},
    spec::{CheckOptions, Format, parse, resolve_inputs},
    status::Status,
};
use serde_json::{Value, json};

use crate::world::{World, failure};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/patterns")
}

/// A run of a pattern's document, of which nothing may be wrong.
fn started(pattern: &str, inputs: Value) -> World {
    let text = fs::read_to_string(folder().join(pattern).with_extension("yaml")).unwrap();
    let options = CheckOptions {
        handlers: ["pass", "process.run"].map(HandlerId::from).to_vec(),
        default_handler: Some(HandlerId::from("pass")),
        limits: None,
    };
    let parsed = parse(&text, Format::Yaml, &options);
    assert_eq!(parsed.diagnostics, [], "{pattern}");
    let spec = parsed.spec.unwrap();
    let inputs = resolve_inputs(&spec, inputs.as_object().unwrap().clone()).unwrap();
    World::start(&spec, Value::Object(inputs))
}

/// Each task gives back its inputs; a process gives back nothing, and `false` fails.
fn played(pattern: &str, inputs: Value) -> World {
    let mut world = started(pattern, inputs);
    world.play(work);
    world
}

fn work(_: &str, inputs: &Value) -> TaskOutcome {
    match inputs.get("argv") {
        Some(argv) if argv == &json!(["false"]) => TaskOutcome::failure(ErrorKind::Exit, "exit code 1"),
        Some(_) => TaskOutcome::success(json!("")),
        None => TaskOutcome::success(inputs.clone()),
    }
}

fn story(world: &World, expected: &str) {
    assert_eq!(world.story(), expected.split_whitespace().collect::<Vec<_>>().join(" "));
}

fn signal(world: &mut World, event: &str, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Event(event.to_owned()), data, request: None })
}

/// The tasks that a run has skipped.
fn skipped(world: &World) -> Vec<&str> {
    let skips = world.log.iter().filter(|event| matches!(event.kind, EventKind::TaskSkipped { .. }));
    skips.map(|event| event.task_id.as_ref().unwrap().as_str()).collect()
}

#[test]
fn wcp_01_sequence() {
    let world = played("01-sequence", json!({}));
    story(
        &world,
        "started:pick@1 succeeded:pick@1 started:pack@1 succeeded:pack@1 started:send@1 succeeded:send@1 run.succeeded",
    );
    assert_eq!(world.outputs(), json!({ "send": { "parcel": "lamp" } }));
}

#[test]
fn wcp_02_parallel_split() {
    let mut world = started("02-parallel-split", json!({}));
    world.succeed("order", json!(1));
    assert_eq!(world.ready(), ["bill", "pack"]);
}

#[test]
fn wcp_03_synchronisation() {
    for (first, second) in [("bill", "pack"), ("pack", "bill")] {
        let mut world = started("03-synchronisation", json!({}));
        world.succeed(first, json!({ "paid": 12, "box": 3 }));
        assert_eq!(world.ready(), [second]);
        world.succeed(second, json!({ "paid": 12, "box": 3 }));
        assert_eq!(world.ready(), ["send"]);
        world.pass();
        assert_eq!(world.outputs(), json!({ "send": { "note": "12 for box 3" } }));
    }
}

#[test]
fn wcp_04_exclusive_choice() {
    assert_eq!(skipped(&played("04-exclusive-choice", json!({ "amount": 99 }))), ["check"]);
    assert_eq!(skipped(&played("04-exclusive-choice", json!({ "amount": 100 }))), ["accept"]);
}

#[test]
fn wcp_05_simple_merge() {
    for (amount, how) in [(99, "accepted"), (100, "checked")] {
        let world = played("05-simple-merge", json!({ "amount": amount }));
        assert_eq!(world.outputs(), json!({ "send": { "after": how } }));
    }
}

#[test]
fn wcp_06_multi_choice() {
    assert_eq!(skipped(&played("06-multi-choice", json!({}))), ["insure"]);
    assert_eq!(skipped(&played("06-multi-choice", json!({ "wishes": [] }))), ["wrap", "express", "insure"]);
    assert_eq!(skipped(&played("06-multi-choice", json!({ "wishes": ["insured"] }))), ["wrap", "express"]);
}

#[test]
fn wcp_07_structured_synchronising_merge() {
    let pattern = "07-structured-synchronising-merge";
    let mut world = started(pattern, json!({}));
    world.succeed("order", json!({ "wishes": ["gift", "express"] }));
    world.succeed("wrap", json!({ "extra": 2 }));
    assert_eq!(world.ready(), ["express"], "it waits for each that was taken");
    for (wishes, extra) in [(json!(["gift", "express"]), 7), (json!(["insured"]), 9)] {
        let world = played(pattern, json!({ "wishes": wishes }));
        assert_eq!(world.outputs(), json!({ "send": { "extra": extra } }));
    }
    assert_eq!(skipped(&played(pattern, json!({ "wishes": [] }))), ["wrap", "express", "insure", "send"]);
}

#[test]
fn wcp_08_multi_merge() {
    let mut world = started("08-multi-merge", json!({}));
    world.succeed("branch[1]/work", json!({ "what": "pack" }));
    assert_eq!(
        world.ready(),
        ["branch[0]/work", "branch[1]/report"],
        "what follows does not wait for the other branch"
    );
    world.pass();
    assert_eq!(world.outputs(), json!({ "branch": ["bill", "pack"] }));
}

#[test]
fn wcp_09_structured_discriminator() {
    let mut world = started("09-structured-discriminator", json!({}));
    world.begin("slow");
    world.succeed("fast", json!({ "from": "fast" }));
    assert_eq!(world.ready(), ["first"]);
    world.pass();
    assert_eq!(world.outputs(), json!({ "first": { "from": "fast" } }));
    assert_eq!(world.status("slow"), Status::Succeeded, "it goes on to its end");

    let mut world = started("09-structured-discriminator", json!({}));
    world.fail("fast");
    world.pass();
    assert_eq!(world.status("first"), Status::Succeeded);
    assert_eq!(world.run.status(), Status::Failed, "nothing handles the failure of `fast`");
}

#[test]
fn wcp_10_arbitrary_cycles() {
    let world = played("10-arbitrary-cycles", json!({}));
    assert_eq!(world.outputs(), json!({ "publish": { "text": "draft 3" } }));
    assert_eq!(world.story().matches("loop.iterated:score").count(), 2);
    assert!(world.story().contains("started:write@3"), "{}", world.story());
}

#[test]
fn wcp_11_implicit_termination() {
    let world = played("11-implicit-termination", json!({}));
    story(
        &world,
        "started:order@1 succeeded:order@1 skipped:gift skipped:card started:bill@1 succeeded:bill@1 run.succeeded",
    );
    let alone = played("11-implicit-termination", json!({}));
    assert_eq!(alone.run.owed(alone.now).count(), 0);
}

#[test]
fn wcp_12_instances_without_synchronisation() {
    let mut world = started("12-instances-without-synchronisation", json!({}));
    world.play(|task, inputs| match task {
        // A detached child: the engine has started its run, and says which.
        "ship[0]" | "ship[1]" => TaskOutcome::success(json!({ "run_id": task })),
        _ => work(task, inputs),
    });
    assert_eq!(world.outputs(), json!({ "thank": { "runs": 2 } }));
}

#[test]
fn wcp_13_instances_known_when_written() {
    let world = played("13-instances-known-when-written", json!({}));
    assert_eq!(world.outputs(), json!({ "count": { "offices": "north, south, west" } }));
}

#[test]
fn wcp_14_instances_known_when_run() {
    for files in [json!(["a", "b", "c"]), json!([])] {
        let mut world = started("14-instances-known-when-run", json!({ "files": files }));
        world.succeed("list", json!({ "files": files }));
        assert_eq!(world.ready().len(), files.as_array().unwrap().len().max(1));
        world.pass();
        assert_eq!(world.outputs(), json!({ "join": { "files": files } }));
    }
}

#[test]
fn wcp_15_instances_found_on_the_way() {
    let world = played("15-instances-found-on-the-way", json!({}));
    assert_eq!(world.outputs(), json!({ "crawl": { "found": 0 } }));
    for instance in ["crawl#1/page[1]", "crawl#2/page[0]"] {
        assert_eq!(world.status(instance), Status::Succeeded);
    }
    assert_eq!(world.status("crawl#3/page"), Status::Succeeded);
}

#[test]
fn wcp_16_deferred_choice() {
    for (says, branch) in [(Some("yes"), "agreed"), (Some("no"), "refused"), (None, "remind")] {
        let mut world = played("16-deferred-choice", json!({}));
        assert_eq!(world.run.status(), Status::Waiting);
        match says {
            Some(says) => signal(&mut world, "reply", json!({ "says": says })).unwrap(),
            None => world.wait(3_600),
        }
        assert_eq!(world.ready(), [branch]);
        assert_eq!(signal(&mut world, "reply", json!({ "says": "yes" })), Err(Rejected::NobodyWaits), "one choice");
        world.pass();
        assert_eq!(world.run.status(), Status::Succeeded);
    }
}

#[test]
fn wcp_17_interleaved_routing() {
    let mut world = started("17-interleaved-routing", json!({}));
    for task in ["lungs", "blood", "report", "release"] {
        world.begin(task);
        assert_eq!(world.ready(), Vec::<String>::new(), "never two at once");
        world.end(task, TaskOutcome::success(json!(1)));
    }
    assert_eq!(world.run.status(), Status::Succeeded);
}

#[test]
fn wcp_18_milestone() {
    let mut world = started("18-milestone", json!({}));
    assert!(signal(&mut world, "change", json!({ "to": "red" })).is_err(), "not yet");
    world.pass();
    signal(&mut world, "change", json!({ "to": "red" })).unwrap();
    world.pass();
    assert_eq!(world.status("change"), Status::Succeeded);

    let mut world = played("18-milestone", json!({}));
    world.wait(600);
    assert!(signal(&mut world, "change", json!({ "to": "red" })).is_err(), "not any more");
    world.pass();
    assert_eq!((world.status("change"), world.status("closed")), (Status::Skipped, Status::Succeeded));
    assert_eq!(world.run.status(), Status::Succeeded);
}

#[test]
fn wcp_19_cancel_task() {
    let mut world = started("19-cancel-task", json!({}));
    world.begin("quote");
    world.wait(1);
    assert_eq!(world.run.running().count(), 0, "its work is not wanted any more");
    world.pass();
    assert_eq!(world.outputs(), json!({ "order": { "quote": "none" } }));
}

#[test]
fn wcp_20_cancel_case() {
    let mut world = played("20-cancel-case", json!({}));
    world.input(Input::Cancel { reason: "called off".into() }).unwrap();
    assert_eq!(world.status("pay"), Status::Cancelled);
    assert_eq!(world.status("send"), Status::Cancelled);
    world.pass();
    assert_eq!((world.status("release"), world.run.status()), (Status::Succeeded, Status::Cancelled));
    let released = world.run.render(&"release".into()).unwrap().inputs;
    assert_eq!(*released, json!({ "because": "CANCELLED" }));
}

#[test]
fn wcp_21_structured_loop() {
    let world = played("21-structured-loop", json!({}));
    assert_eq!(world.outputs(), json!({ "publish": { "score": 9 } }));
    assert_eq!(world.story().matches("loop.iterated:improve").count(), 3);
}

/// The outputs of a run whose children are runs of the same document, played in their turn.
fn recursive(inputs: Value) -> Value {
    let mut world = started("22-recursion", inputs);
    world.play(|task, inputs| match task {
        "rest" => TaskOutcome::success(recursive(inputs.clone())),
        _ => work(task, inputs),
    });
    world.outputs()
}

#[test]
fn wcp_22_recursion() {
    assert_eq!(recursive(json!({ "n": 5 })), json!({ "sum": 15 }));
}

#[test]
fn wcp_23_transient_trigger() {
    let mut world = started("23-transient-trigger", json!({}));
    assert_eq!(signal(&mut world, "go", json!({ "level": 5 })), Err(Rejected::NobodyWaits));
    world.pass();
    assert_eq!(world.run.status(), Status::Waiting, "the signal that came too early is lost");
    assert_eq!(signal(&mut world, "go", json!({ "level": 3 })), Err(Rejected::NobodyWaits), "not this one");
    signal(&mut world, "go", json!({ "level": 5 })).unwrap();
    world.pass();
    assert_eq!(world.outputs(), json!({ "launch": { "level": 5 } }));
}

#[test]
fn wcp_24_persistent_trigger() {
    let mut world = started("24-persistent-trigger", json!({}));
    signal(&mut world, "paid", json!({ "amount": 12 })).unwrap();
    assert_eq!(world.ready(), ["pack"]);
    world.pass();
    assert_eq!(world.outputs(), json!({ "send": { "amount": 12 } }));
}

#[test]
fn wcp_25_cancel_region() {
    let mut world = played("25-cancel-region", json!({}));
    assert_eq!(world.status("quotes/answer"), Status::Waiting);
    world.wait(60);
    for inside in ["quotes/answer", "quotes/compare"] {
        assert_eq!(world.status(inside), Status::Cancelled);
    }
    world.pass();
    assert_eq!(world.outputs(), json!({ "order": { "price": "none" } }));
}

#[test]
fn wcp_30_partial_join() {
    let world = played("30-partial-join", json!({}));
    assert_eq!(world.status("enough"), Status::Succeeded);
    assert_eq!(world.run.status(), Status::Succeeded);
    let mut world = started("30-partial-join", json!({}));
    world.play(|task, _| if task == "one" { TaskOutcome::success(json!(1)) } else { failure() });
    assert_eq!(world.status("enough"), Status::Skipped);
    assert_eq!(world.run.status(), Status::Failed);
}

/// The page lists every document, and every document has a test.
#[test]
fn no_pattern_is_left_out() {
    let page = fs::read_to_string(folder().with_extension("md")).unwrap();
    let tests = include_str!("patterns.rs");
    for entry in fs::read_dir(folder()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(page.contains(&format!("(patterns/{name})")), "{name} is not in patterns.md");
        assert!(tests.contains(&format!("fn wcp_{}", &name[..3].replace('-', "_"))), "{name} has no test");
    }
}
