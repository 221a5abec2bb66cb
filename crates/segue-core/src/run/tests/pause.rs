//! `on_failure: pause`.

use super::*;

fn paused(more: Value) -> World {
    let mut node = json!({ "id": "a", "on_failure": { "action": "pause" }, "retry_policy": { "max_attempts": 1 } });
    node.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    World::new(json!([node, { "id": "b", "depends_on": ["a"], "inputs": { "a": "{{ nodes.a.output }}" } }]))
}

fn say(world: &mut World, task: &str, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Task(task.into()), data, request: Some(4) })
}

#[test]
fn a_failure_waits_for_a_decision() {
    let mut world = paused(json!({}));
    world.fail("a", ErrorKind::Provider);
    story(&world, "started:a@1 waiting:a run.waiting");
    for wrong in [json!(1), json!({}), json!({ "decision": "maybe" }), json!({ "decision": "retry", "output": 1 })] {
        assert_eq!(say(&mut world, "a", wrong), Err(Rejected::BadAnswer));
    }
    say(&mut world, "a", json!({ "decision": "approve", "by": "ada" })).expect("an answer");
    let Some(Event { kind: EventKind::TaskSignaled { data, request }, .. }) = world.log.last() else { panic!() };
    assert_eq!((data.value().map(|data| data["decision"].clone()), *request), (Some(json!("retry")), Some(4)));
    assert_eq!(world.ready(), ["a"]);
    world.fail("a", ErrorKind::Provider);
    say(&mut world, "a", json!({ "decision": "continue", "output": "so be it" })).expect("an answer");
    assert_eq!(*world.run.render(&"b".into()).expect("inputs").inputs, json!({ "a": "so be it" }));
    world.succeed("b", json!(1));
    story(
        &world,
        "started:a@1 waiting:a run.waiting signaled:a started:a@2 waiting:a run.waiting signaled:a failed:a started:b@1
         succeeded:b@1 run.succeeded",
    );
}

#[test]
fn a_person_may_let_it_fail() {
    let mut world = paused(json!({}));
    world.fail("a", ErrorKind::Provider);
    say(&mut world, "a", json!({ "decision": "reject" })).expect("an answer");
    story(&world, "started:a@1 waiting:a run.waiting signaled:a failed:a skipped:b run.failed");
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::Provider);
}

#[test]
fn a_retry_has_the_whole_policy_and_a_deadline_of_its_own() {
    let mut world = paused(json!({ "deadline_seconds": 10, "retry_policy": { "max_attempts": 2, "jitter": "none" } }));
    world.start("a").wait(10);
    story(&world, "started:a@1 waiting:a run.waiting");
    world.wait(100);
    say(&mut world, "a", json!({ "decision": "retry" })).expect("an answer");
    world.fail("a", ErrorKind::Provider).wait(1).succeed("a", json!(1));
    assert_eq!(world.ready(), ["b"]);
}

#[test]
fn a_condition_that_cannot_be_asked_is_asked_again() {
    let mut world = paused(json!({ "when": "params.none.such" }));
    story(&world, "waiting:a run.waiting");
    say(&mut world, "a", json!({ "decision": "retry" })).expect("an answer");
    story(&world, "waiting:a run.waiting signaled:a waiting:a run.waiting");
}

#[test]
fn each_instance_waits_for_itself() {
    let mut world = paused(json!({ "foreach": [1, 2], "parallelism": 2 }));
    world.fail("a[0]", ErrorKind::Auth).fail("a[1]", ErrorKind::Auth);
    say(&mut world, "a[0]", json!({ "decision": "continue", "output": "x" })).expect("an answer");
    say(&mut world, "a[1]", json!({ "decision": "retry" })).expect("an answer");
    world.succeed("a[1]", json!("y"));
    assert_eq!(*world.run.render(&"b".into()).expect("inputs").inputs, json!({ "a": ["x", "y"] }));

    let mut world = paused(json!({ "foreach": [1, 2] }));
    world.fail("a[0]", ErrorKind::Auth);
    say(&mut world, "a[0]", json!({ "decision": "fail" })).expect("an answer");
    world.succeed("a[1]", json!(1));
    assert!(matches!(world.last(), EventKind::RunFailed { .. }), "it is not asked twice: {}", world.story());
}

#[test]
fn a_group_and_a_repeat_wait_as_a_whole_and_go_on_where_they_were() {
    let nodes = json!([{ "id": "x" }, { "id": "y", "depends_on": ["x"] }, { "id": "z" }]);
    let mut world = paused(json!({ "repeat": { "max_iterations": 3 }, "group": { "nodes": nodes } }));
    for task in ["a#1/x", "a#1/y", "a#1/z", "a#2/z", "a#2/x"] {
        world.succeed(task, json!(task));
    }
    world.fail("a#2/y", ErrorKind::Auth);
    assert!(world.story().ends_with("failed:a#2/y@1 failed:a#2 waiting:a run.waiting"), "{}", world.story());
    say(&mut world, "a", json!({ "decision": "retry" })).expect("an answer");
    assert_eq!(world.ready(), ["a#2/y"]);
    world.succeed("a#2/y", json!(1));
    assert_eq!(world.ready(), ["a#3/x", "a#3/z"]);
}

#[test]
fn a_cancel_ends_the_question() {
    let mut world = paused(json!({}));
    world.fail("a", ErrorKind::Auth).cancel();
    assert!(world.story().ends_with("run.cancelling cancelled:a cancelled:b run.cancelled"), "{}", world.story());
    assert_eq!(say(&mut world, "a", json!({ "decision": "retry" })), Err(Rejected::NobodyWaits));
    world.input(Input::Reopen).expect("it was cancelled");
    assert_eq!(world.ready(), ["a"]);
}
