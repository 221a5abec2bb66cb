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

/// A group is under way, but nobody carries it out: no attempt of it can be answered.
#[test]
fn a_task_of_parts_takes_no_answer() {
    let mut world = World::new(json!([{ "id": "g", "group": { "nodes": [{ "id": "x" }] } }]));
    let outcome = TaskOutcome::success(json!(1));
    let answer = Input::TaskEnded { task: "g".into(), attempt: 0, outcome, jitter: 0.5 };
    assert_eq!(world.input(answer), Err(Rejected::Stale));
}

/// The wait is over and `b` could start: the run does not wait any more.
#[test]
fn a_run_whose_wait_is_over_does_not_wait() {
    let mut world = World::new(json!([{ "id": "w", "wait": { "seconds": 5 } }, { "id": "b", "depends_on": ["w"] }]));
    assert_eq!(world.run.status(), Status::Waiting);
    world.wait(5);
    assert_eq!((world.run.status(), world.ready()), (Status::Running, vec!["b"]));
}

/// The deadline passes in the pause between two iterations: no iteration begins after that.
#[test]
fn a_pause_between_iterations_ends_with_the_task() {
    let mut world = World::new(json!([
        { "id": "r", "deadline_seconds": 5, "repeat": { "max_iterations": 3, "delay_seconds": 60 } },
        { "id": "other" }
    ]));
    world.start("other").succeed("r#1", json!(1)).wait(5).wait(60);
    story(&world, "loop.iterated:r started:other@1 started:r#1@1 succeeded:r#1@1 failed:r");
}

#[test]
fn a_time_is_not_awaited_less_long_because_somebody_says_so() {
    let mut world = World::new(json!([{ "id": "w", "wait": { "seconds": 5 } }]));
    let early = |world: &mut World| world.input(signal("w", json!(1)));
    assert_eq!(early(&mut world), Err(Rejected::NobodyWaits));
}

#[test]
fn a_signal_to_a_task_has_to_match_as_well() {
    let mut world = World::new(json!([{ "id": "w", "wait": { "event": "paid", "match": "output.n == 7" } }]));
    assert_eq!(world.input(signal("w", json!({ "n": 8 }))), Err(Rejected::BadAnswer));
    world.input(signal("w", json!({ "n": 7 }))).expect("it waits for this");
}

/// Only instances have a stand-in each: an iteration that fails ends the loop, and the node goes on with its own.
#[test]
fn a_failed_iteration_does_not_go_on_as_if_it_had_succeeded() {
    let mut world = World::new(json!([
        { "id": "r", "repeat": { "max_iterations": 3 }, "on_failure": { "action": "continue", "output": "none" } }
    ]));
    world.fail("r#1", ErrorKind::Auth);
    story(&world, "loop.iterated:r started:r#1@1 failed:r#1@1 failed:r run.succeeded");
}

/// In the second round of the loop, `iteration` is 2 for the instances too; in a `repeat` it is that of the `repeat`.
#[test]
fn iteration_is_that_of_the_nearest_loop() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [
            { "id": "a", "foreach": [1], "inputs": { "i": "{{ iteration }}" } },
            { "id": "b", "depends_on": ["a"], "repeat": { "max_iterations": 2 }, "inputs": { "i": "{{ iteration }}" } }
        ],
        "edges": [{ "from": "b", "to": "a", "max_iterations": 2, "on_exhausted": "continue" }] }));
    world.succeed("a[0]", json!(1)).succeed("b#1", json!(1)).succeed("b#2", json!(1));
    assert_eq!(*world.run.render(&"a[0]".into()).expect("inputs").inputs, json!({ "i": 2 }));
    world.succeed("a[0]", json!(1));
    assert_eq!(*world.run.render(&"b#1".into()).expect("inputs").inputs, json!({ "i": 1 }));
}

/// A loop inside a loop has all its rounds in each round of the outer one.
#[test]
fn an_inner_loop_begins_again() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [
            { "id": "a" },
            { "id": "b", "depends_on": ["a"] },
            { "id": "c", "depends_on": ["b"] }
        ],
        "edges": [
            { "from": "b", "to": "a", "max_iterations": 2, "on_exhausted": "continue" },
            { "from": "c", "to": "a", "max_iterations": 2, "on_exhausted": "continue" }
        ] }));
    for task in ["a", "b", "a", "b", "c", "a", "b", "a", "b", "c"] {
        world.succeed(task, json!(1));
    }
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());
}

/// Three groups, one at a time: reopened, they still go one at a time.
#[test]
fn reopened_instances_wait_for_their_turn() {
    let mut world = World::new(json!([
        { "id": "m", "foreach": [1, 2, 3], "group": { "nodes": [{ "id": "x" }] } }
    ]));
    for _ in 0..3 {
        let task = world.ready()[0].to_owned();
        world.fail(&task, ErrorKind::Auth);
    }
    world.input(Input::Reopen).expect("it failed");
    assert_eq!(world.ready(), ["m[0]/x"]);
    world.succeed("m[0]/x", json!(1));
    assert_eq!(world.ready(), ["m[1]/x"]);
}

/// `b` succeeds while the run is being stopped. The loop that it ends still has to go round.
#[test]
fn a_loop_goes_round_after_its_run_was_stopped() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"] }, { "id": "c", "depends_on": ["b"] }],
        "edges": [{ "from": "b", "to": "a", "when": "nodes.b.output < 2", "max_iterations": 3 }] }));
    world.succeed("a", json!(1)).start("b").cancel().end("b", TaskOutcome::success(json!(1)));
    world.input(Input::Reopen).expect("it was cancelled");
    assert_eq!(world.ready(), ["a"]);
}

/// What starts over with a round, or as a part of something that does, has a row that says so.
#[test]
fn the_rows_of_what_starts_over_are_written() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [{ "id": "a", "foreach": [1] }, { "id": "b", "depends_on": ["a"] }],
        "edges": [{ "from": "b", "to": "a", "max_iterations": 2, "on_exhausted": "continue" }] }));
    world.succeed("a[0]", json!(1)).start("b");
    let before = world.log.len();
    world.end("b", TaskOutcome::success(json!(1)));
    let rows = world.run.task_rows(&world.log[before..]);
    let status =
        |id: &str| rows.iter().filter(|row| row.task_id.as_str() == id).map(|row| row.status).collect::<Vec<_>>();
    assert_eq!(status("a"), [Status::Running]);
    assert_eq!((status("a[0]"), status("b")), (vec![Status::Pending], vec![Status::Pending]));
    let all = world.run.all_task_rows();
    assert_eq!(all.iter().filter(|row| row.task_id.as_str() == "a[0]").count(), 1);
}

fn signal(task: &str, data: Value) -> Input {
    Input::Signal { to: Address::Task(task.into()), data, request: None }
}

/// The log of an approval whose time was over, and which somebody was to decide about, could not be read again.
#[test]
fn a_question_that_nobody_answers_becomes_another() {
    let mut world = World::new(json!([{ "id": "a", "approval": { "title": "Go on?" }, "timeout_seconds": 5,
        "on_failure": { "action": "pause" } }]));
    world.wait(5);
    story(&world, "waiting:a run.waiting waiting:a");
    Run::fold(world.run.plan().clone(), world.run.id(), &world.log).expect("its own log");
}

/// A `repeat` went on after its pause between iterations although somebody was to decide about its failure.
#[test]
fn a_repeat_that_is_paused_begins_no_iteration() {
    let mut world = World::new(json!([{ "id": "a", "repeat": { "max_iterations": 3, "delay_seconds": 8 },
        "deadline_seconds": 5, "on_failure": { "action": "pause" } }]));
    world.succeed("a#1", json!(1)).wait(5);
    assert_eq!(world.run.wake_at(world.now), None);
    world.wait(5);
    story(&world, "loop.iterated:a started:a#1@1 succeeded:a#1@1 waiting:a run.waiting");
    let answer = json!({ "decision": "retry" });
    world.input(Input::Signal { to: Address::Task("a".into()), data: answer, request: None }).expect("it waits");
    world.wait(0);
    assert_eq!(world.ready(), ["a#2"]);
}

/// A group failed, was reopened, and failed again while the run was to go on: the node that might have handled the first
/// failure was skipped, and the run was taken to have failed.
#[test]
fn who_might_have_handled_an_earlier_failure_is_forgotten() {
    let mut world = World::of(json!({ "id": "w", "on_failure": "cancel", "nodes": [
        { "id": "a", "group": { "nodes": [{ "id": "x" }] }, "on_failure": { "action": "pause" } },
        { "id": "handler", "depends_on": ["a"], "join": "any_failure" },
        { "id": "long" }] }));
    let say = |world: &mut World, data: Value| {
        world.input(Input::Signal { to: Address::Task("a".into()), data, request: None }).expect("it waits");
    };
    world.fail("a/x", ErrorKind::Auth);
    say(&mut world, json!({ "decision": "fail" }));
    world.start("handler").cancel().end("handler", TaskOutcome::Cancelled { usage: Usage::default() });
    world.input(Input::Reopen).expect("it was cancelled");
    world.fail("a/x", ErrorKind::Auth);
    say(&mut world, json!({ "decision": "continue" }));
    assert_eq!(world.ready(), ["long"], "{}", world.story());
}

/// A loop of which a node had been skipped ran again, and what rests on its result did not.
#[test]
fn what_rests_on_a_loop_that_runs_again_runs_again() {
    let document = json!({ "id": "w", "nodes": [{ "id": "a" },
        { "id": "b", "when": "params.p == 9" }, { "id": "c", "depends_on": ["b"], "join": "all_done" },
        { "id": "d", "depends_on": ["a", "c"], "join": "any_success" }, { "id": "e", "depends_on": ["d"] }],
        "edges": [{ "from": "c", "to": "b", "max_iterations": 2, "on_exhausted": "continue" }] });
    let taken = ["a", "c", "d", "e"].map(|task| (TaskId::new(task), Payload::new(json!(1))));
    let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a plan"));
    let created = RunCreated::new(plan.hash(), Payload::new(json!({ "p": 1 })));
    let (id, now) = (RunId::from_bytes([7; 16]), Timestamp::from_micros(1_000_000));
    let (run, log) = Run::create_from(plan, id, created, taken.into(), now);
    let world = World { run, log, now };
    story(&world, "succeeded:a skipped:b");
    assert_eq!(world.ready(), ["c", "d"]);
}
