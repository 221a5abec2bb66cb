//! Results that are taken over from another run, and the keys under which results are used again.

use std::collections::BTreeMap;

use super::*;

fn rerun(document: Value, taken: &[(&str, Value)]) -> World {
    let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
    let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a plan"));
    let mut created = RunCreated::new(plan.hash(), Payload::new(json!({ "p": 1 })));
    created.rerun_of = Some(RunId::from_bytes([8; 16]));
    let now = Timestamp::from_micros(1_000_000);
    let taken: BTreeMap<TaskId, Payload> =
        taken.iter().map(|(task, output)| (TaskId::new(*task), Payload::new(output.clone()))).collect();
    let (run, log) = Run::create_from(plan.clone(), RunId::from_bytes([7; 16]), created, taken, now);
    let folded = Run::fold(plan, run.id(), &log).expect("its own log");
    assert_eq!(run, folded, "memory is the fold of the log");
    World { run, log, now }
}

#[test]
fn what_is_taken_over_never_runs() {
    let document = json!({ "id": "w", "nodes": [
        { "id": "a" },
        { "id": "b", "depends_on": ["a"], "when": "nodes.a.output == 1" },
        { "id": "no", "depends_on": ["a"], "when": "nodes.a.output == 2" },
        { "id": "m", "depends_on": ["a"], "foreach": [1, 2] },
        { "id": "end", "depends_on": ["b", "no", "m"], "inputs": { "m": "{{ nodes.m.output }}" } }
    ] });
    let taken = [("a", json!(1)), ("b", json!(2)), ("no", json!(3)), ("m", json!([5, 6])), ("m[0]", json!(9))];
    let mut world = rerun(document, &taken);
    story(&world, "succeeded:a succeeded:b succeeded:m skipped:no");
    let reused = world.log.iter().filter(
        |event| matches!(&event.kind, EventKind::TaskSucceeded { reused_from: Some(from), .. } if *from == RunId::from_bytes([8; 16])),
    );
    assert_eq!(reused.count(), 3);
    assert_eq!(world.ready(), ["end"]);
    assert_eq!(*world.run.render(&"end".into()).expect("inputs").inputs, json!({ "m": [5, 6] }));
    world.succeed("end", json!(1));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());
}

#[test]
fn all_of_it_can_be_taken_over() {
    let nodes = json!([{ "id": "b", "depends_on": ["a"] }, { "id": "a", "approval": { "title": "?" } }]);
    let world = rerun(
        json!({ "id": "w", "nodes": nodes, "finally": [{ "id": "f" }] }),
        &[("a", json!(1)), ("b", json!(2)), ("f", json!(3))],
    );
    story(&world, "succeeded:a succeeded:b");
    assert_eq!(world.ready(), ["f"]);
}

#[test]
fn a_loop_is_taken_over_as_a_whole_and_does_not_go_round() {
    let document = json!({ "id": "w",
        "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"] }, { "id": "c", "depends_on": ["b"] }],
        "edges": [{ "from": "b", "to": "a", "max_iterations": 3, "on_exhausted": "continue" }] });
    let world = rerun(document.clone(), &[("a", json!(1)), ("b", json!(2))]);
    assert_eq!(world.ready(), ["c"]);
    assert_eq!(rerun(document, &[("a", json!(1))]).ready(), ["a"]);
}

#[test]
fn the_key_of_a_result_is_rendered() {
    let world = World::new(json!([
        { "id": "a", "foreach": ["x"], "cache": { "key": "{{ item }}-{{ params.p }}", "ttl_seconds": 60 } },
        { "id": "b", "cache": {} },
        { "id": "c", "cache": { "key": "{{ params.none.such }}" } }
    ]));
    assert_eq!(world.run.cache_key(&"a[0]".into()), Ok(Some("x-1".to_owned())));
    assert_eq!(world.run.cache_key(&"b".into()), Ok(None));
    assert!(world.run.cache_key(&"c".into()).is_err());
    let ttl = |task: &str| world.run.node(&task.into()).and_then(|node| node.cache()).map(|cache| cache.ttl);
    assert_eq!((ttl("a[0]"), ttl("b")), (Some(Some(Duration::from_secs(60))), Some(None)));
}

#[test]
fn an_output_that_does_not_fit_its_schema_is_tried_again() {
    let schema = json!({ "type": "object", "required": ["n"], "properties": { "n": { "type": "integer" } } });
    let mut world = World::new(json!([
        { "id": "a", "output_schema": schema, "retry_policy": { "max_attempts": 2, "jitter": "none" } }
    ]));
    world.succeed("a", json!({ "n": "many" }));
    let EventKind::TaskRetrying { error, .. } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::ModelOutput);
    assert!(error.message.contains("/n") && error.message.contains("integer"), "{}", error.message);
    world.wait(1).succeed("a", json!({ "n": 3 }));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());

    let mut world = World::new(json!([
        { "id": "g", "output_schema": schema, "group": { "nodes": [{ "id": "x" }], "output": { "n": "{{ nodes.x.output }}" } } },
        { "id": "m", "output_schema": { "type": "integer" }, "foreach": [1] }
    ]));
    world.succeed("g/x", json!("one")).succeed("m[0]", json!(1));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!((error.kind, error.node.as_ref().map(|id| id.as_str())), (ErrorKind::ModelOutput, Some("g")));
    assert!(world.story().contains("succeeded:m "), "the schema is an instance's: {}", world.story());
}

#[test]
fn a_schema_that_is_none_makes_no_plan() {
    let spec = json!({ "id": "w", "nodes": [{ "id": "a", "output_schema": { "type": "thing" } }] });
    let spec: WorkflowSpec = serde_json::from_value(spec).expect("a workflow");
    let Err(error) = Plan::compile(&spec, &HandlerId::from("pass")) else { panic!("no schema") };
    assert!(error.to_string().contains("a.output_schema/type"), "{error}");
}
