//! What the simulator found, one test a bug.

use super::*;
use crate::ids::NodeId;

#[test]
fn an_edge_that_cannot_be_evaluated_still_cannot_when_the_run_is_reopened() {
    let mut world = World::of(json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "b" }],
        "edges": [{ "from": "a", "to": "b", "when": "nodes.a.output.x.y == 1" }] }));
    world.succeed("a", json!({}));
    world.input(Input::Reopen).expect("it failed");
    story(
        &world,
        "started:a@1 succeeded:a@1 failed:b run.failed
         run.reopened failed:b run.failed",
    );
}

#[test]
fn an_edge_that_cannot_be_evaluated_does_not_touch_what_is_decided() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [{ "id": "a" }, { "id": "b" }, { "id": "c", "join": "any_success" }],
        "edges": [["a", "c"], { "from": "b", "to": "c", "when": "nodes.b.output.x.y == 1" }] }));
    world.succeed("a", json!({})).succeed("b", json!({}));
    assert_eq!(world.ready(), ["c"]);
    world.succeed("c", json!({}));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());
}

/// The handler of `a` is skipped by its own condition: the run is stopped because of `a`, and says so.
#[test]
fn a_failure_whose_handler_is_skipped_stops_the_run_with_its_own_error() {
    let mut world = World::of(json!({ "id": "w", "on_failure": "cancel", "nodes": [
        { "id": "a" },
        { "id": "handler", "depends_on": ["a"], "join": "any_failure", "when": "params.p == 9" },
        { "id": "long" }] }));
    world.start("long").fail("a", ErrorKind::Auth).end("long", TaskOutcome::Cancelled { usage: Usage::default() });
    story(
        &world,
        "started:long@1 started:a@1 failed:a@1 skipped:handler run.cancelling
         cancelled:long@1 run.failed",
    );
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!((error.kind, error.node.as_ref().map(NodeId::as_str)), (ErrorKind::Auth, Some("a")));
}

/// Nobody knows at first whether `handler` will run. Once it does not, the run is stopped.
#[test]
fn a_failure_that_nothing_handles_after_all_stops_the_run() {
    let mut world = World::of(json!({ "id": "w", "on_failure": "cancel", "nodes": [
        { "id": "a" },
        { "id": "b" },
        { "id": "handler", "depends_on": ["a", "b"], "join": "all_done", "when": "params.p == 9" },
        { "id": "late" }] }));
    world.fail("a", ErrorKind::Auth).succeed("b", json!(1));
    story(
        &world,
        "started:a@1 failed:a@1 started:b@1 succeeded:b@1 skipped:handler
         run.cancelling cancelled:late run.failed",
    );
}

/// `a` failed too, but goes on as if it had not: it is not why `c` is skipped.
#[test]
fn a_skip_names_the_dependency_whose_failure_counts() {
    let mut world = World::new(json!([
        { "id": "a", "on_failure": { "action": "continue" } },
        { "id": "b" },
        { "id": "c", "depends_on": ["a", "b"] }
    ]));
    world.fail("a", ErrorKind::Auth).fail("b", ErrorKind::Auth);
    let skipped = world.log.iter().find_map(|event| match &event.kind {
        EventKind::TaskSkipped { reason } => Some(reason.clone()),
        _ => None,
    });
    assert_eq!(skipped.expect("c is skipped").because, Some("b".into()));
}

#[test]
fn no_pause_stays_none_however_fast_it_would_grow() {
    let policy = json!({ "max_attempts": 4, "initial_interval_seconds": 0, "backoff_coefficient": 1e200 });
    let mut world = World::new(json!([{ "id": "a", "retry_policy": policy }]));
    for _ in 0..3 {
        world.fail("a", ErrorKind::Provider);
        assert_eq!(world.ready(), ["a"]);
    }
}

/// `null` stands in for what `a` would have produced. Read back from disk it must not be taken for no stand-in at all.
#[test]
fn a_null_that_stands_in_is_still_there_after_a_restart() {
    let mut world = World::new(json!([{ "id": "a", "on_failure": { "action": "continue" } }]));
    world.fail("a", ErrorKind::Auth);
    let json = serde_json::to_string(&world.log).expect("JSON");
    let read: Vec<Event> = serde_json::from_str(&json).expect("its own JSON");
    assert_eq!(read, world.log);
    assert_eq!(Run::fold(world.run.plan().clone(), world.run.id(), &read).expect("its own log"), world.run);
}

/// Nobody looked at the clock for a minute. The task's deadline came first and ended the run; its own timer came too late.
#[test]
fn what_was_due_first_is_settled_before_what_was_due_next() {
    let mut world = World::of(json!({ "id": "w", "timeout_seconds": 20, "nodes": [
        { "id": "a", "deadline_seconds": 10, "on_failure": { "action": "continue", "output": 1 } },
        { "id": "b", "depends_on": ["a"], "when": "false" }] }));
    world.start("a").wait(60);
    story(&world, "started:a@1 failed:a@1 skipped:b run.succeeded");
}

#[test]
fn a_failure_that_leaves_nothing_to_stop_stops_nothing() {
    let mut world = World::of(json!({ "id": "w", "on_failure": "cancel", "nodes": [{ "id": "a" }] }));
    world.fail("a", ErrorKind::Auth);
    story(&world, "started:a@1 failed:a@1 run.failed");
}
