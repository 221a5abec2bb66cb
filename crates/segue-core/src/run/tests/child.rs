//! Child workflows, as the parent's kernel sees them.

use super::*;
use crate::event::Waiting;

fn parent(more: Value) -> World {
    let mut node = json!({ "id": "c", "workflow": { "id": "letter" }, "inputs": { "to": "{{ params.p }}" } });
    node.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    World::new(json!([node, { "id": "after", "depends_on": ["c"] }]))
}

fn child(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

fn waits(world: &mut World, attempt: u32) -> Result<(), Rejected> {
    world.input(Input::TaskWaits {
        task: "c".into(),
        attempt,
        waiting: Waiting::Child {
            run_id: child(9),
            workflow_id: "letter".into(),
            workflow_hash: crate::ids::ContentHash::of(b"letter"),
        },
    })
}

fn awaited(world: &World) -> Vec<(String, u32, RunId)> {
    let owed = world.run.owed(world.now).filter_map(|command| match command {
        Command::Await { task, attempt, child } => Some((task.to_string(), attempt, child)),
        _ => None,
    });
    owed.collect()
}

#[test]
fn a_child_is_started_as_an_attempt_and_awaited_without_a_place() {
    let mut world = parent(json!({}));
    assert_eq!(waits(&mut world, 1), Err(Rejected::Stale));
    world.start("c");
    assert_eq!(waits(&mut world, 2), Err(Rejected::Stale));
    waits(&mut world, 1).expect("it runs");
    assert_eq!(waits(&mut world, 1), Err(Rejected::Stale));
    assert_eq!(awaited(&world), [("c".to_owned(), 1, child(9))]);
    assert_eq!((world.run.running().count(), world.run.status()), (0, Status::Waiting));
    let answer = Input::Signal { to: Address::Task("c".into()), data: json!({}), request: None };
    assert_eq!(world.input(answer), Err(Rejected::NobodyWaits), "only its end answers it");
    world.end("c", TaskOutcome::success(json!({ "text": "Dear" })));
    assert!(awaited(&world).is_empty());
    world.succeed("after", json!(1));
    story(&world, "started:c@1 waiting:c@1 run.waiting succeeded:c@1 started:after@1 succeeded:after@1 run.succeeded");
}

#[test]
fn a_failed_child_is_tried_again_as_the_retry_policy_says_and_when_the_parent_is_reopened() {
    let mut world = parent(json!({ "retry_policy": { "retry_on": ["auth"], "max_attempts": 2, "jitter": "none" } }));
    world.start("c");
    waits(&mut world, 1).expect("it runs");
    world.end("c", TaskOutcome::failure(ErrorKind::Auth, "no")).wait(1).start("c");
    waits(&mut world, 2).expect("it runs");
    world.end("c", TaskOutcome::failure(ErrorKind::Auth, "no"));
    story(
        &world,
        "started:c@1 waiting:c@1 run.waiting retrying:c@1 started:c@2 waiting:c@2 run.waiting failed:c@2
         skipped:after run.failed",
    );
    world.input(Input::Reopen).expect("it failed");
    world.start("c");
    waits(&mut world, 3).expect("it runs");
}

#[test]
fn its_attempt_times_out_while_it_waits() {
    let mut world = parent(json!({ "timeout_seconds": 5, "retry_policy": { "max_attempts": 1 } }));
    world.start("c");
    waits(&mut world, 1).expect("it runs");
    world.wait(5);
    assert!(awaited(&world).is_empty(), "an attempt that is over is awaited no longer");
    story(&world, "started:c@1 waiting:c@1 run.waiting failed:c@1 skipped:after run.failed");
}

#[test]
fn a_stop_awaits_the_end_of_the_child() {
    let mut world = parent(json!({}));
    world.start("c");
    waits(&mut world, 1).expect("it runs");
    world.cancel();
    assert!(awaited(&world).is_empty());
    assert_eq!(world.run.awaiting().count(), 1);
    assert_eq!(world.run.status(), Status::Running);
    world.end("c", TaskOutcome::Cancelled { usage: Usage::default() });
    story(&world, "started:c@1 waiting:c@1 run.waiting run.cancelling cancelled:after cancelled:c@1 run.cancelled");

    let mut world = parent(json!({}));
    world.start("c").cancel();
    waits(&mut world, 1).expect("the child had been started already");
    assert!(awaited(&world).is_empty());
    world.end("c", TaskOutcome::success(json!(1)));
    story(&world, "started:c@1 run.cancelling cancelled:after waiting:c@1 succeeded:c@1 run.cancelled");
}

#[test]
fn a_detached_child_is_not_waited_for() {
    let mut world = parent(json!({ "workflow": { "id": "letter", "detach": true } }));
    world.start("c");
    assert_eq!(waits(&mut world, 1), Err(Rejected::Stale));
}

#[test]
fn a_task_of_another_kind_waits_for_no_child() {
    let mut world = World::new(json!([{ "id": "c" }]));
    world.start("c");
    assert_eq!(waits(&mut world, 1), Err(Rejected::Stale));
}
