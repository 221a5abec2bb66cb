//! `on_failure` nodes and `finally` nodes.

use super::*;

fn staged(more: Value) -> World {
    let mut document = json!({ "id": "w", "timeout_seconds": 1000,
        "nodes": [{ "id": "a", "on_failure": { "action": "fail" } }, { "id": "b", "depends_on": ["a"] }],
        "on_failure": [{ "id": "tell", "inputs": { "why": "{{ error.message }}", "who": "{{ error.node }}",
            "status": "{{ run.status }}", "a": "{{ nodes.a.output }}" } }],
        "finally": [{ "id": "f", "inputs": { "status": "{{ run.status }}", "a": "{{ nodes.a.output }}" } },
            { "id": "g", "depends_on": ["f"] }] });
    document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    World::of(document)
}

fn inputs(world: &World, task: &str) -> Value {
    Value::clone(&world.run.render(&task.into()).expect("inputs").inputs)
}

#[test]
fn finally_follows_what_went_well_and_on_failure_is_skipped() {
    let mut world = staged(json!({}));
    assert_eq!(world.run.run_row().tasks_total, 5);
    world.succeed("a", json!("A")).succeed("b", json!("B"));
    assert_eq!(world.ready(), ["f"]);
    assert_eq!(inputs(&world, "f"), json!({ "status": "SUCCEEDED", "a": "A" }));
    world.succeed("f", json!(1)).succeed("g", json!(2));
    story(
        &world,
        "started:a@1 succeeded:a@1 started:b@1 succeeded:b@1 skipped:tell started:f@1 succeeded:f@1 started:g@1
         succeeded:g@1 run.succeeded",
    );
    let EventKind::RunSucceeded { outputs } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(outputs.value().map(|value| &**value), Some(&json!({ "b": "B" })), "the outputs are the main nodes'");
    assert_eq!(world.run.run_row().tasks_done, 5);
}

#[test]
fn on_failure_follows_a_failure_and_finally_follows_it() {
    let mut world = staged(json!({}));
    world.fail("a", ErrorKind::Auth);
    assert_eq!(world.ready(), ["tell"]);
    assert_eq!(inputs(&world, "tell"), json!({ "why": "no", "who": "a", "status": "FAILED", "a": null }));
    world.succeed("tell", json!(1));
    assert_eq!(inputs(&world, "f"), json!({ "status": "FAILED", "a": null }));
    world.succeed("f", json!(1)).fail("g", ErrorKind::Auth);
    story(
        &world,
        "started:a@1 failed:a@1 skipped:b started:tell@1 succeeded:tell@1 started:f@1 succeeded:f@1 started:g@1
         failed:g@1 run.failed",
    );
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.node.as_ref().map(|node| node.as_str()), Some("a"));
}

#[test]
fn a_reopened_run_runs_its_last_stages_again() {
    let mut world = staged(json!({}));
    world.fail("a", ErrorKind::Auth).succeed("tell", json!(1)).succeed("f", json!(1)).succeed("g", json!(1));
    world.input(Input::Reopen).expect("it failed");
    assert_eq!(world.ready(), ["a"]);
    assert_eq!(world.run.run_row().tasks_done, 0);
    world.succeed("a", json!("A")).succeed("b", json!("B"));
    assert_eq!(inputs(&world, "f"), json!({ "status": "SUCCEEDED", "a": "A" }));
    world.succeed("f", json!(1)).succeed("g", json!(1));
    assert!(world.story().ends_with(
        "run.reopened started:a@2 succeeded:a@2 started:b@1 succeeded:b@1 skipped:tell started:f@2 succeeded:f@2 \
         started:g@2 succeeded:g@2 run.succeeded"
    ));
}

#[test]
fn a_finally_node_that_fails_fails_a_run_that_went_well() {
    let mut world = staged(json!({}));
    world.succeed("a", json!(1)).succeed("b", json!(1)).fail("f", ErrorKind::Auth);
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.node.as_ref().map(|node| node.as_str()), Some("f"));
    world.input(Input::Reopen).expect("it failed");
    assert_eq!(world.ready(), ["f"], "all that is left is its end");
}

#[test]
fn a_cancelled_run_has_half_a_minute_for_its_end() {
    let mut world = staged(json!({}));
    world.start("a").cancel();
    assert!(world.run.is_stopping());
    world.end("a", TaskOutcome::Cancelled { usage: Usage::default() });
    assert_eq!(inputs(&world, "f"), json!({ "status": "CANCELLED", "a": null }));
    assert!(!world.run.is_stopping() && world.run.run_row().cancelling);
    world.start("f").wait(29);
    assert!(!world.run.is_stopping());
    world.wait(1);
    assert!(world.run.is_stopping());
    world.end("f", TaskOutcome::Cancelled { usage: Usage::default() });
    story(
        &world,
        "started:a@1 run.cancelling cancelled:b cancelled:a@1 skipped:tell started:f@1 run.cancelling cancelled:g
         cancelled:f@1 run.cancelled",
    );
}

#[test]
fn a_second_cancel_stops_the_end_too() {
    let mut world = staged(json!({}));
    world.start("a").cancel();
    assert_eq!(world.input(Input::Cancel { reason: "now".into() }), Err(Rejected::Stopping));
    world.end("a", TaskOutcome::success(json!(1))).start("f").cancel();
    assert!(world.run.is_stopping());
    world.end("f", TaskOutcome::success(json!(1)));
    story(
        &world,
        "started:a@1 run.cancelling cancelled:b succeeded:a@1 skipped:tell started:f@1 run.cancelling cancelled:g
         succeeded:f@1 run.cancelled",
    );
}

#[test]
fn the_first_cancel_in_the_end_of_a_run_lets_it_go_on_for_a_while() {
    let mut world = staged(json!({}));
    world.succeed("a", json!(1)).succeed("b", json!(1)).start("f").cancel();
    assert!(!world.run.is_stopping());
    assert_eq!(world.run.wake_at(world.now), Some(world.now.plus(Duration::from_secs(FINALLY_SECONDS))));
    world.end("f", TaskOutcome::success(json!(1))).succeed("g", json!(1));
    assert!(matches!(world.last(), EventKind::RunCancelled { .. }), "{}", world.story());
}

#[test]
fn a_run_that_times_out_runs_only_its_finally_nodes() {
    let mut world = staged(json!({}));
    world.start("a").wait(1000).end("a", TaskOutcome::Cancelled { usage: Usage::default() });
    assert_eq!(world.ready(), ["f"]);
    assert_eq!(inputs(&world, "f")["status"], json!("FAILED"));
    world.succeed("f", json!(1)).succeed("g", json!(1));
    story(
        &world,
        "started:a@1 run.cancelling cancelled:b cancelled:a@1 skipped:tell started:f@1 succeeded:f@1 started:g@1
         succeeded:g@1 run.failed",
    );
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::Timeout);
}

#[test]
fn outputs_that_cannot_be_rendered_are_a_failure_like_others() {
    let mut world = staged(json!({ "outputs": { "x": "{{ nodes.b.output.none.such }}" } }));
    world.succeed("a", json!(1)).succeed("b", json!({}));
    assert_eq!(world.ready(), ["tell"]);
    world.succeed("tell", json!(1)).succeed("f", json!(1)).succeed("g", json!(1));
    assert!(matches!(world.last(), EventKind::RunFailed { .. }), "{}", world.story());
}

#[test]
fn a_failure_that_is_handled_needs_no_on_failure() {
    let mut world = staged(json!({ "nodes": [{ "id": "a" },
        { "id": "b", "depends_on": ["a"], "join": "any_failure", "inputs": { "why": "{{ error.message }} ({{ error.node }})" } }] }));
    world.fail("a", ErrorKind::Auth);
    assert_eq!(inputs(&world, "b"), json!({ "why": "no (a)" }));
    world.succeed("b", json!(1));
    assert_eq!(world.ready(), ["f"]);
}

#[test]
fn groups_and_instances_work_in_the_later_stages_too() {
    let mut world = staged(json!({ "finally": [
        { "id": "m", "foreach": "nodes.a.output", "group": { "nodes": [
            { "id": "x", "inputs": { "v": "{{ item }}{{ nodes.b.output }}{{ run.status }}" } }] } }] }));
    world.succeed("a", json!([1, 2])).succeed("b", json!("B"));
    assert_eq!(world.ready(), ["m[0]/x"]);
    assert_eq!(inputs(&world, "m[0]/x"), json!({ "v": "1BSUCCEEDED" }));
    world.succeed("m[0]/x", json!(1)).cancel().cancel();
    world.input(Input::Reopen).expect("it was cancelled");
    assert_eq!(world.ready(), ["m[0]/x"]);
    world.succeed("m[0]/x", json!(1)).succeed("m[1]/x", json!(1));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());
}
