//! Instances, iterations, groups, loops, waiting.

use super::*;

fn output(world: &World) -> Value {
    match world.last() {
        EventKind::RunSucceeded { outputs } => Value::clone(outputs.value().expect("a small value")),
        _ => panic!("{}", world.story()),
    }
}

fn mapped(parallelism: u32) -> World {
    World::new(json!([
        { "id": "list" },
        { "id": "m", "depends_on": ["list"], "foreach": "nodes.list.output", "parallelism": parallelism,
          "inputs": { "x": "{{ item }}", "at": "{{ index }}" } },
        { "id": "sum", "depends_on": ["m"], "inputs": { "all": "{{ nodes.m.output }}" } }
    ]))
}

#[test]
fn foreach_runs_one_instance_an_item_and_gives_their_outputs_in_order() {
    let mut world = mapped(2);
    world.succeed("list", json!(["a", "b", "c"]));
    assert_eq!(world.ready(), ["m[0]", "m[1]"]);
    assert_eq!(*world.run.render(&"m[1]".into()).expect("inputs").inputs, json!({ "x": "b", "at": 1 }));
    world.succeed("m[1]", json!("B"));
    assert_eq!(world.ready(), ["m[0]", "m[2]"]);
    world.succeed("m[2]", json!("C")).succeed("m[0]", json!("A"));
    assert_eq!(*world.run.render(&"sum".into()).expect("inputs").inputs, json!({ "all": ["A", "B", "C"] }));
    world.succeed("sum", json!(3));
    story(
        &world,
        "started:list@1 succeeded:list@1 mapped:m started:m[1]@1 succeeded:m[1]@1 started:m[2]@1 succeeded:m[2]@1
         started:m[0]@1 succeeded:m[0]@1 succeeded:m started:sum@1 succeeded:sum@1 run.succeeded",
    );
}

#[test]
fn foreach_over_nothing_gives_an_empty_list() {
    let mut world = mapped(1);
    world.succeed("list", json!([]));
    assert_eq!(*world.run.render(&"sum".into()).expect("inputs").inputs, json!({ "all": [] }));
    let mut world = mapped(1);
    world.succeed("list", json!(5));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert!(error.message.contains("a list is needed, not a number"), "{}", error.message);
}

#[test]
fn a_failed_instance_fails_the_whole_once_all_have_ended_and_only_it_is_retried() {
    let mut world = mapped(3);
    world.succeed("list", json!([1, 2, 3])).fail("m[1]", ErrorKind::Auth);
    world.succeed("m[0]", json!(0)).succeed("m[2]", json!(2));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.message, "m[1]: no");
    world.input(Input::Reopen).expect("it failed");
    assert_eq!(world.ready(), ["m[1]"]);
    world.succeed("m[1]", json!(1));
    assert_eq!(*world.run.render(&"sum".into()).expect("inputs").inputs, json!({ "all": [0, 1, 2] }));
}

#[test]
fn tolerated_failures_stand_in_the_list() {
    let mut world = World::new(json!([
        { "id": "m", "foreach": [1, 2], "on_failure": { "action": "continue", "output": "none" } }
    ]));
    world.fail("m[0]", ErrorKind::Auth).succeed("m[1]", json!("one"));
    assert_eq!(output(&world), json!({ "m": ["none", "one"] }));
}

#[test]
fn repeat_goes_on_until_it_is_enough() {
    let mut world = World::new(json!([
        { "id": "r", "repeat": { "until": "output >= 2", "max_iterations": 5 },
          "inputs": { "n": "{{ iteration }}", "before": "{{ previous }}" } }
    ]));
    world.succeed("r#1", json!(1));
    assert_eq!(*world.run.render(&"r#2".into()).expect("inputs").inputs, json!({ "n": 2, "before": 1 }));
    world.succeed("r#2", json!(2));
    story(
        &world,
        "loop.iterated:r started:r#1@1 succeeded:r#1@1 loop.iterated:r started:r#2@1 succeeded:r#2@1 succeeded:r run.succeeded",
    );
    assert_eq!(output(&world), json!({ "r": 2 }));
}

#[test]
fn repeat_that_is_never_enough_ends_at_its_bound() {
    let document = |rest: Value| {
        let mut repeat = json!({ "until": "output", "max_iterations": 2 });
        repeat.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
        World::new(json!([{ "id": "r", "repeat": repeat }]))
    };
    let mut world = document(json!({}));
    world.succeed("r#1", json!(false)).succeed("r#2", json!(false));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::Limit);

    let mut world = document(json!({ "on_exhausted": "continue", "delay_seconds": 5 }));
    world.succeed("r#1", json!(false));
    assert!(world.ready().is_empty());
    world.wait(5).succeed("r#2", json!(false));
    assert_eq!(output(&world), json!({ "r": false }));
}

#[test]
fn a_retry_inside_an_iteration_goes_on_in_it() {
    let mut world = World::new(json!([{ "id": "r", "repeat": { "max_iterations": 3 },
        "retry_policy": { "jitter": "none" } }]));
    world.succeed("r#1", json!(1)).fail("r#2", ErrorKind::Provider).wait(1);
    assert_eq!(world.ready(), ["r#2"]);
    world.succeed("r#2", json!(2)).fail("r#3", ErrorKind::Auth);
    world.input(Input::Reopen).expect("it failed");
    assert_eq!(world.ready(), ["r#3"]);
    world.succeed("r#3", json!(3));
    assert_eq!(output(&world), json!({ "r": 3 }));
}

#[test]
fn a_group_runs_as_one_and_sees_what_is_around_it() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "g", "depends_on": ["a"], "group": { "nodes": [
            { "id": "x", "inputs": { "a": "{{ nodes.a.output }}" } },
            { "id": "y", "depends_on": ["x"], "inputs": { "x": "{{ nodes.x.output }}" } }
        ], "output": "{{ nodes.y.output }}!" } },
        { "id": "z", "depends_on": ["g"], "inputs": { "g": "{{ nodes.g.output }}" } }
    ]));
    world.succeed("a", json!("A"));
    assert_eq!(*world.run.render(&"g/x".into()).expect("inputs").inputs, json!({ "a": "A" }));
    world.succeed("g/x", json!("X"));
    assert_eq!(*world.run.render(&"g/y".into()).expect("inputs").inputs, json!({ "x": "X" }));
    world.succeed("g/y", json!("Y"));
    assert_eq!(*world.run.render(&"z".into()).expect("inputs").inputs, json!({ "g": "Y!" }));
    world.succeed("z", json!(1));
    story(
        &world,
        "started:a@1 succeeded:a@1 started:g started:g/x@1 succeeded:g/x@1 started:g/y@1 succeeded:g/y@1 succeeded:g
         started:z@1 succeeded:z@1 run.succeeded",
    );
}

#[test]
fn groups_nest_in_instances_and_iterations() {
    let mut world = World::new(json!([
        { "id": "g", "foreach": ["p", "q"], "parallelism": 2, "repeat": { "max_iterations": 2 },
          "group": { "nodes": [{ "id": "x", "inputs": { "v": "{{ item }}{{ iteration }}" } }] } }
    ]));
    assert_eq!(world.ready(), ["g[0]#1/x", "g[1]#1/x"]);
    assert_eq!(*world.run.render(&"g[1]#1/x".into()).expect("inputs").inputs, json!({ "v": "q1" }));
    for task in ["g[0]#1/x", "g[0]#2/x", "g[1]#1/x", "g[1]#2/x"] {
        world.succeed(task, json!(task));
    }
    assert_eq!(output(&world), json!({ "g": [{ "x": "g[0]#2/x" }, { "x": "g[1]#2/x" }] }));
}

#[test]
fn a_failure_in_a_group_fails_it_unless_something_in_it_handles_it() {
    let group = |handler: Value| {
        World::new(json!([
            { "id": "g", "group": { "nodes": [{ "id": "x" }, handler] } },
            { "id": "after", "depends_on": ["g"] }
        ]))
    };
    let mut world = group(json!({ "id": "y", "depends_on": ["x"] }));
    world.fail("g/x", ErrorKind::Auth);
    story(&world, "started:g started:g/x@1 failed:g/x@1 skipped:g/y failed:g skipped:after run.failed");
    world.input(Input::Reopen).expect("it failed");
    world.succeed("g/x", json!(1)).succeed("g/y", json!(2)).succeed("after", json!(3));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());

    let mut world = group(json!({ "id": "y", "depends_on": ["x"], "join": "any_failure" }));
    world.fail("g/x", ErrorKind::Auth).succeed("g/y", json!("handled"));
    assert_eq!(world.ready(), ["after"]);
}

#[test]
fn a_deadline_of_a_group_stops_what_is_in_it() {
    let mut world = World::new(json!([
        { "id": "g", "deadline_seconds": 5, "group": { "nodes": [{ "id": "x" }, { "id": "y", "depends_on": ["x"] }] } }
    ]));
    world.start("g/x").wait(5);
    story(&world, "started:g started:g/x@1 cancelled:g/x@1 cancelled:g/y failed:g run.failed");
}

fn looped(on_exhausted: &str) -> World {
    World::of(json!({ "id": "w",
        "nodes": [
            { "id": "write", "inputs": { "round": "{{ iteration }}" } },
            { "id": "score", "depends_on": ["write"], "inputs": { "text": "{{ nodes.write.output }}" } },
            { "id": "send", "depends_on": ["score"] }
        ],
        "edges": [{ "from": "score", "to": "write", "when": "nodes.score.output < 8", "max_iterations": 2, "on_exhausted": on_exhausted }]
    }))
}

#[test]
fn a_loop_edge_runs_its_body_again_and_lets_nothing_out_before_it_ends() {
    let mut world = looped("fail");
    world.succeed("write", json!("one")).succeed("score", json!(5));
    assert_eq!(world.ready(), ["write"]);
    assert_eq!(*world.run.render(&"write".into()).expect("inputs").inputs, json!({ "round": 2 }));
    world.succeed("write", json!("two"));
    assert_eq!(*world.run.render(&"score".into()).expect("inputs").inputs, json!({ "text": "two" }));
    world.succeed("score", json!(9)).succeed("send", json!(1));
    story(
        &world,
        "started:write@1 succeeded:write@1 started:score@1 succeeded:score@1 loop.iterated:score
         started:write@2 succeeded:write@2 started:score@2 succeeded:score@2 started:send@1 succeeded:send@1 run.succeeded",
    );
}

#[test]
fn a_loop_that_would_go_on_fails_or_continues() {
    let mut world = looped("fail");
    for _ in 0..2 {
        world.succeed("write", json!("x")).succeed("score", json!(1));
    }
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::Limit);
    let mut world = looped("continue");
    for _ in 0..2 {
        world.succeed("write", json!("x")).succeed("score", json!(1));
    }
    assert_eq!(world.ready(), ["send"]);
}

fn approval(more: Value) -> World {
    let mut node = json!({ "id": "ask", "timeout_seconds": 60, "approval": {
        "title": "Send {{ params.p }}?", "form": { "note": { "type": "string", "default": "-" } } } });
    node["approval"].as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    World::new(
        json!([node, { "id": "send", "depends_on": ["ask"], "inputs": { "note": "{{ nodes.ask.output.form.note }}" } }]),
    )
}

fn say(world: &mut World, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Task("ask".into()), data, request: None })
}

#[test]
fn an_approval_waits_without_a_worker_and_is_answered_once() {
    let mut world = approval(json!({}));
    story(&world, "waiting:ask run.waiting");
    assert_eq!(world.run.status(), Status::Waiting);
    assert_eq!(say(&mut world, json!({ "decision": "maybe" })), Err(Rejected::BadAnswer));
    assert_eq!(say(&mut world, json!({ "decision": "approve", "form": { "note": 5 } })), Err(Rejected::BadAnswer));
    say(&mut world, json!({ "decision": "approve", "by": "ada" })).expect("a good answer");
    assert_eq!(say(&mut world, json!({ "decision": "reject" })), Err(Rejected::NobodyWaits));
    assert_eq!(*world.run.render(&"send".into()).expect("inputs").inputs, json!({ "note": "-" }));
    assert_eq!(world.run.status(), Status::Running);
    world.succeed("send", json!(1));
    story(&world, "waiting:ask run.waiting signaled:ask succeeded:ask started:send@1 succeeded:send@1 run.succeeded");
}

#[test]
fn a_no_fails_the_task_unless_it_says_continue() {
    let mut world = approval(json!({}));
    say(&mut world, json!({ "decision": "reject", "by": "ada" })).expect("a good answer");
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Rejected, "ada said no"));
    let mut world = approval(json!({ "on_reject": "continue" }));
    say(&mut world, json!({ "decision": "reject" })).expect("a good answer");
    assert_eq!(world.ready(), ["send"]);
}

#[test]
fn silence_means_what_the_approval_says() {
    for (on_timeout, end) in [("fail", "failed:ask"), ("approve", "succeeded:ask"), ("reject", "failed:ask")] {
        let mut world = approval(json!({ "on_timeout": on_timeout }));
        world.wait(59);
        story(&world, "waiting:ask run.waiting");
        world.wait(1);
        assert!(world.story().contains(end), "{on_timeout}: {}", world.story());
    }
}

#[test]
fn a_wait_ends_at_its_time_or_with_its_signal() {
    let mut world = World::new(json!([{ "id": "w", "wait": { "seconds": 30 } }]));
    world.wait(29);
    story(&world, "waiting:w run.waiting");
    world.wait(1);
    story(&world, "waiting:w run.waiting succeeded:w run.succeeded");

    let mut world = World::new(json!([{ "id": "w", "wait": { "event": "paid", "match": "output.order == 7" } }]));
    let signal = |name: &str, order: u32| Input::Signal {
        to: Address::Event(name.into()),
        data: json!({ "order": order }),
        request: None,
    };
    assert_eq!(world.input(signal("paid", 8)), Err(Rejected::NobodyWaits));
    assert_eq!(world.input(signal("lost", 7)), Err(Rejected::NobodyWaits));
    world.input(signal("paid", 7)).expect("it waits for this");
    assert_eq!(output(&world), json!({ "w": { "order": 7 } }));
}

#[test]
fn a_cancel_ends_waiting_and_parts_too() {
    let mut world = World::new(json!([
        { "id": "ask", "approval": { "title": "?" } },
        { "id": "m", "foreach": [1, 2, 3], "parallelism": 2 }
    ]));
    world.start("m[0]").cancel().end("m[0]", TaskOutcome::success(json!(1)));
    story(
        &world,
        "waiting:ask mapped:m started:m[0]@1 run.cancelling cancelled:ask cancelled:m[1] cancelled:m[2]
         succeeded:m[0]@1 cancelled:m run.cancelled",
    );
    world.input(Input::Reopen).expect("it was cancelled");
    assert_eq!(world.ready(), ["m[1]", "m[2]"]);
}
