//! The kernel's rules, one test a rule: a workflow, what the world does, and the log that must come out.

mod budget;
mod child;
mod found;
mod nest;
mod pause;
mod question;
mod reuse;
mod rows;
mod stages;
mod work;

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::*;
use crate::{
    ids::HandlerId,
    outcome::{ErrorKind, Loss, TaskOutcome},
    spec::WorkflowSpec,
};

/// A run in a world that does what the test says. Every input checks that the state is the fold of the log.
struct World {
    run: Run,
    log: Vec<Event>,
    now: Timestamp,
}

impl World {
    fn new(nodes: Value) -> Self {
        Self::of(json!({ "id": "w", "nodes": nodes }))
    }

    fn of(document: Value) -> Self {
        let spec: WorkflowSpec = serde_json::from_value(document).expect("a workflow");
        let plan = Arc::new(Plan::compile(&spec, &HandlerId::from("pass")).expect("a plan"));
        let created = RunCreated::new(plan.hash(), Payload::new(json!({ "p": 1 })));
        let now = Timestamp::from_micros(1_000_000);
        let (run, log) = Run::create(plan, RunId::from_bytes([7; 16]), created, now);
        Self { run, log, now }
    }

    fn input(&mut self, input: Input) -> Result<(), Rejected> {
        let before = self.run.clone();
        match self.run.handle(input, self.now) {
            Ok(events) => self.log.extend(events),
            Err(rejected) => {
                assert_eq!(self.run, before, "a rejected input changes nothing");
                return Err(rejected);
            }
        }
        let folded = Run::fold(self.run.plan().clone(), self.run.id(), &self.log).expect("its own log");
        assert_eq!(self.run, folded, "memory is the fold of the log");
        Ok(())
    }

    fn start(&mut self, task: &str) -> &mut Self {
        self.input(Input::TaskAccepted { task: task.into() }).expect("ready");
        self
    }

    fn end(&mut self, task: &str, outcome: TaskOutcome) -> &mut Self {
        let (_, attempt) = self.run.task_status(&task.into()).expect("a task");
        self.input(Input::TaskEnded { task: task.into(), attempt, outcome, jitter: 0.5 }).expect("it runs");
        self
    }

    fn succeed(&mut self, task: &str, output: Value) -> &mut Self {
        self.start(task).end(task, TaskOutcome::success(output))
    }

    fn fail(&mut self, task: &str, kind: ErrorKind) -> &mut Self {
        self.start(task).end(task, TaskOutcome::failure(kind, "no"))
    }

    fn wait(&mut self, seconds: u64) -> &mut Self {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.input(Input::Woke { jitter: 0.5 }).expect("waking is never refused");
        self
    }

    fn cancel(&mut self) -> &mut Self {
        self.input(Input::Cancel { reason: "enough".into() }).expect("it runs");
        self
    }

    fn ready(&self) -> Vec<&str> {
        self.run.ready(self.now).map(TaskId::as_str).collect()
    }

    /// The log from the first task's event on, one word an event: `started:a@1`.
    fn story(&self) -> String {
        let words = self.log.iter().skip(2).map(|event| {
            let name = event.kind.name();
            let name = name.strip_prefix("task.").unwrap_or(name);
            let task = event.task_id.as_ref().map(|task| format!(":{task}")).unwrap_or_default();
            let attempt = event.attempt.map(|attempt| format!("@{attempt}")).unwrap_or_default();
            format!("{name}{task}{attempt}")
        });
        words.collect::<Vec<_>>().join(" ")
    }

    fn last(&self) -> &EventKind {
        &self.log.last().expect("a log").kind
    }
}

fn story(world: &World, expected: &str) {
    assert_eq!(world.story(), expected.split_whitespace().collect::<Vec<_>>().join(" "));
}

#[test]
fn a_chain_runs_in_order_and_gives_its_last_output() {
    let mut world = World::new(json!([
        { "id": "a", "inputs": { "n": "{{ params.p }}" } },
        { "id": "b", "depends_on": ["a"], "inputs": { "x": "{{ nodes.a.output.n }}" } }
    ]));
    assert_eq!(world.ready(), ["a"]);
    assert_eq!(world.input(Input::TaskAccepted { task: "b".into() }), Err(Rejected::NotReady));
    assert_eq!(*world.run.render(&"a".into()).expect("inputs").inputs, json!({ "n": 1 }));
    world.succeed("a", json!({ "n": 5 }));
    assert_eq!(*world.run.render(&"b".into()).expect("inputs").inputs, json!({ "x": 5 }));
    world.succeed("b", json!("done"));
    story(&world, "started:a@1 succeeded:a@1 started:b@1 succeeded:b@1 run.succeeded");
    let EventKind::RunSucceeded { outputs } = world.last() else { panic!("an end") };
    assert_eq!(outputs.value().map(|value| &**value), Some(&json!({ "b": "done" })));
    assert_eq!(world.run.owed(world.now).count(), 0, "an ended run is owed nothing");
}

#[test]
fn an_answer_counts_once_and_only_from_the_current_attempt() {
    let mut world = World::new(json!([{ "id": "a" }]));
    world.fail("a", ErrorKind::Provider).wait(2).start("a");
    let answer = |attempt| Input::TaskEnded {
        task: "a".into(),
        attempt,
        outcome: TaskOutcome::success(json!(attempt)),
        jitter: 0.0,
    };
    assert_eq!(world.input(answer(1)), Err(Rejected::Stale));
    assert_eq!(world.input(answer(3)), Err(Rejected::Stale));
    world.input(answer(2)).expect("the current attempt");
    assert_eq!(world.input(answer(2)), Err(Rejected::Stale));
}

#[test]
fn a_failure_is_retried_after_its_pause_until_the_attempts_are_used_up() {
    let policy = json!({ "max_attempts": 3, "jitter": "none" });
    let mut world = World::new(json!([{ "id": "a", "retry_policy": policy }]));
    world.fail("a", ErrorKind::Provider);
    assert!(world.ready().is_empty());
    assert_eq!(world.run.wake_at(world.now), Some(world.now.plus(Duration::from_secs(1))));
    world.wait(1).fail("a", ErrorKind::Provider);
    assert_eq!(world.run.wake_at(world.now), Some(world.now.plus(Duration::from_secs(2))));
    world.wait(2).fail("a", ErrorKind::Provider);
    story(&world, "started:a@1 retrying:a@1 started:a@2 retrying:a@2 started:a@3 failed:a@3 run.failed");
}

#[test]
fn permanent_errors_and_listed_kinds_are_not_retried() {
    for (policy, kind) in [
        (json!({}), ErrorKind::Auth),
        (json!({ "do_not_retry_on": ["provider"] }), ErrorKind::Provider),
        (json!({ "retry_on": ["timeout"] }), ErrorKind::Provider),
        (json!({ "max_attempts": 1 }), ErrorKind::Provider),
    ] {
        let mut world = World::new(json!([{ "id": "a", "retry_policy": policy }]));
        world.fail("a", kind);
        story(&world, "started:a@1 failed:a@1 run.failed");
    }
}

#[test]
fn retry_after_takes_the_place_of_the_computed_pause() {
    let mut world = World::new(json!([{ "id": "a" }]));
    let error = TaskError::new(ErrorKind::RateLimited, "slow").with_retry_after(Duration::from_secs(30));
    world.start("a").end("a", TaskOutcome::Failed { error, usage: Usage::default() });
    assert_eq!(world.run.wake_at(world.now), Some(world.now.plus(Duration::from_secs(30))));
}

#[test]
fn a_skip_cascades_and_a_merge_behind_a_branch_just_works() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "left", "depends_on": ["a"], "when": "nodes.a.output == 'left'" },
        { "id": "right", "depends_on": ["a"], "when": "nodes.a.output == 'right'" },
        { "id": "right2", "depends_on": ["right"] },
        { "id": "merge", "depends_on": ["left", "right2"] }
    ]));
    world.succeed("a", json!("left"));
    story(&world, "started:a@1 succeeded:a@1 skipped:right skipped:right2");
    world.succeed("left", json!(1));
    assert_eq!(world.ready(), ["merge"]);
}

#[test]
fn an_edge_is_followed_only_if_its_condition_holds() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [{ "id": "a" }, { "id": "b" }, { "id": "c" }],
        "edges": [{ "from": "a", "to": "b", "when": "nodes.a.output > 1" }, ["a", "c"]]
    }));
    world.succeed("a", json!(1));
    story(&world, "started:a@1 succeeded:a@1 skipped:b");
    assert_eq!(world.ready(), ["c"]);
}

#[test]
fn a_join_that_can_never_hold_fails_the_run() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "b", "when": "false" },
        { "id": "c", "depends_on": ["a", "b"], "join": "all_success" }
    ]));
    world.succeed("a", json!(1));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!((error.kind, error.node.as_ref().map(crate::ids::NodeId::as_str)), (ErrorKind::Join, Some("c")));
}

#[test]
fn any_success_fires_once_and_the_others_go_on() {
    let mut world = World::new(json!([
        { "id": "a" }, { "id": "b" },
        { "id": "c", "depends_on": ["a", "b"], "join": "any_success" }
    ]));
    world.start("a").start("b").end("a", TaskOutcome::success(json!(1)));
    world.succeed("c", json!(1)).end("b", TaskOutcome::success(json!(2)));
    story(&world, "started:a@1 started:b@1 succeeded:a@1 started:c@1 succeeded:c@1 succeeded:b@1 run.succeeded");
}

#[test]
fn a_failure_is_handled_by_an_error_handler_that_ran() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "b", "depends_on": ["a"] },
        { "id": "h", "depends_on": ["a"], "join": "any_failure" }
    ]));
    world.fail("a", ErrorKind::Auth).succeed("h", json!("handled"));
    story(&world, "started:a@1 failed:a@1 skipped:b started:h@1 succeeded:h@1 run.succeeded");

    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "h", "depends_on": ["a"], "join": "any_failure", "when": "false" }
    ]));
    world.fail("a", ErrorKind::Auth);
    story(&world, "started:a@1 failed:a@1 skipped:h run.failed");
}

#[test]
fn on_failure_continue_goes_on_with_the_output_that_stands_in() {
    let on_failure = json!({ "action": "continue", "output": { "why": "{{ error.kind }}" } });
    let mut world = World::new(json!([
        { "id": "a", "on_failure": on_failure },
        { "id": "b", "depends_on": ["a"], "inputs": { "x": "{{ nodes.a.output.why }} {{ nodes.a.status }}" } }
    ]));
    world.fail("a", ErrorKind::Auth);
    assert_eq!(*world.run.render(&"b".into()).expect("inputs").inputs, json!({ "x": "auth FAILED" }));
    world.succeed("b", json!(1));
    story(&world, "started:a@1 failed:a@1 started:b@1 succeeded:b@1 run.succeeded");
}

#[test]
fn independent_branches_finish_first_unless_the_workflow_says_cancel() {
    let nodes = json!([{ "id": "a" }, { "id": "b" }, { "id": "c", "depends_on": ["b"] }]);
    let mut world = World::new(nodes.clone());
    world.start("b").fail("a", ErrorKind::Auth).end("b", TaskOutcome::success(json!(1)));
    assert_eq!(world.ready(), ["c"]);

    let mut world = World::of(json!({ "id": "w", "on_failure": "cancel", "nodes": nodes }));
    world.start("b").fail("a", ErrorKind::Auth);
    assert!(world.run.is_stopping());
    world.end("b", TaskOutcome::Cancelled { usage: Usage::default() });
    story(&world, "started:b@1 started:a@1 failed:a@1 run.cancelling cancelled:c cancelled:b@1 run.failed");
}

#[test]
fn an_attempt_times_out_and_the_task_has_a_deadline() {
    let mut world = World::new(json!([
        { "id": "a", "timeout_seconds": 5, "deadline_seconds": 8, "retry_policy": { "jitter": "none" } }
    ]));
    world.start("a").wait(4);
    story(&world, "started:a@1");
    world.wait(1);
    story(&world, "started:a@1 retrying:a@1");
    world.wait(1).start("a").wait(1);
    story(&world, "started:a@1 retrying:a@1 started:a@2");
    world.wait(1);
    story(&world, "started:a@1 retrying:a@1 started:a@2 failed:a@2 run.failed");
}

#[test]
fn a_retry_that_would_come_after_the_deadline_is_not_awaited() {
    let mut world = World::new(json!([
        { "id": "a", "deadline_seconds": 1, "retry_policy": { "initial_interval_seconds": 3, "jitter": "none" } }
    ]));
    world.fail("a", ErrorKind::Provider);
    story(&world, "started:a@1 failed:a@1 run.failed");
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_failed() {
    let mut world = World::of(json!({ "id": "w", "timeout_seconds": 10, "nodes": [{ "id": "a" }] }));
    world.start("a").wait(10);
    assert_eq!(world.run.wake_at(world.now), None);
    world.end("a", TaskOutcome::Cancelled { usage: Usage::default() });
    story(&world, "started:a@1 run.cancelling cancelled:a@1 run.failed");
}

#[test]
fn cancelling_starts_nothing_new_and_keeps_what_still_succeeds() {
    let mut world = World::new(json!([{ "id": "a" }, { "id": "b" }, { "id": "c" }]));
    world.start("a").start("b").cancel();
    assert!(world.ready().is_empty());
    assert_eq!(world.run.owed(world.now).count(), 0, "what runs is no longer owed");
    assert_eq!(world.input(Input::Cancel { reason: String::new() }), Err(Rejected::Stopping));
    world.end("a", TaskOutcome::success(json!(1))).end("b", TaskOutcome::Cancelled { usage: Usage::default() });
    story(&world, "started:a@1 started:b@1 run.cancelling cancelled:c succeeded:a@1 cancelled:b@1 run.cancelled");
    assert_eq!(world.input(Input::Cancel { reason: String::new() }), Err(Rejected::Ended));
}

#[test]
fn reopening_keeps_what_succeeded_and_runs_the_rest() {
    let mut world = World::of(json!({ "id": "w",
        "nodes": [
            { "id": "a" },
            { "id": "b", "depends_on": ["a"], "inputs": { "x": "{{ nodes.a.output }}" } },
            { "id": "c", "depends_on": ["b"] }
        ],
        "edges": [{ "from": "a", "to": "c", "when": "nodes.a.output == 2" }]
    }));
    assert_eq!(world.input(Input::Reopen), Err(Rejected::NotReopenable));
    world.start("a").cancel().end("a", TaskOutcome::success(json!(1)));
    world.input(Input::Reopen).expect("it was cancelled");
    assert_eq!(world.ready(), ["b"]);
    assert_eq!(*world.run.render(&"b".into()).expect("inputs").inputs, json!({ "x": 1 }));
    world.succeed("b", json!(1)).succeed("c", json!(1));
    story(
        &world,
        "started:a@1 run.cancelling cancelled:b cancelled:c succeeded:a@1 run.cancelled run.reopened
         started:b@1 succeeded:b@1 started:c@1 succeeded:c@1 run.succeeded",
    );
    assert_eq!(world.input(Input::Reopen), Err(Rejected::NotReopenable));
}

#[test]
fn reopening_gives_a_failed_task_its_attempts_again_and_counts_on() {
    let mut world = World::new(json!([{ "id": "a", "retry_policy": { "max_attempts": 2, "jitter": "none" } }]));
    world.fail("a", ErrorKind::Provider).wait(1).fail("a", ErrorKind::Provider);
    world.input(Input::Reopen).expect("it failed");
    world.fail("a", ErrorKind::Provider).wait(1).succeed("a", json!(1));
    story(
        &world,
        "started:a@1 retrying:a@1 started:a@2 failed:a@2 run.failed run.reopened
         started:a@3 retrying:a@3 started:a@4 succeeded:a@4 run.succeeded",
    );
}

#[test]
fn losing_the_engine_costs_no_attempt_but_three_times_is_quarantine() {
    let mut world = World::new(json!([{ "id": "a", "retry_policy": { "max_attempts": 1 } }]));
    let lost = |by| TaskOutcome::lost(by, "gone");
    for _ in 0..5 {
        world.start("a").end("a", lost(Loss::Drained));
    }
    world.start("a").end("a", lost(Loss::Engine)).start("a").end("a", lost(Loss::Engine));
    assert_eq!(world.ready(), ["a"]);
    world.start("a").end("a", lost(Loss::Engine));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert!(error.message.contains("quarantined"), "{}", error.message);
}

#[test]
fn at_most_max_parallel_nodes_run() {
    let mut world = World::of(json!({ "id": "w", "max_parallel_nodes": 2,
        "nodes": [{ "id": "a" }, { "id": "b" }, { "id": "c" }] }));
    assert_eq!((world.ready(), world.run.room()), (vec!["a", "b", "c"], 2));
    world.start("a").start("b");
    assert!(world.ready().is_empty());
    assert_eq!(world.input(Input::TaskAccepted { task: "c".into() }), Err(Rejected::NotReady));
    world.end("a", TaskOutcome::success(json!(1)));
    assert_eq!(world.ready(), ["c"]);
}

#[test]
fn a_condition_that_cannot_be_evaluated_fails_its_node() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "b", "depends_on": ["a"], "when": "nodes.a.output.x.y > 1" }
    ]));
    world.succeed("a", json!({}));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::InvalidInput);
    assert!(error.message.contains("`when` of `b`"), "{}", error.message);
}

#[test]
fn a_value_is_dropped_when_nobody_can_read_it_any_more() {
    let mut world = World::new(json!([
        { "id": "a" },
        { "id": "b", "depends_on": ["a"], "inputs": { "x": "{{ nodes.a.output }}" } },
        { "id": "c", "depends_on": ["b"] }
    ]));
    world.succeed("a", json!(1));
    assert!(world.run.task(TaskIx(0)).output.is_some());
    world.succeed("b", json!(1));
    assert!(world.run.task(TaskIx(0)).output.is_none());
}

#[test]
fn a_log_that_cannot_be_is_refused() {
    let mut world = World::new(json!([{ "id": "a" }, { "id": "b", "depends_on": ["a"], "when": "false" }]));
    world.succeed("a", json!(1));
    let fold = |events: &[Event]| Run::fold(world.run.plan().clone(), world.run.id(), events);
    assert!(matches!(fold(&[]), Err(FoldError::NoBeginning(_))));
    let mut gap = world.log.clone();
    gap.remove(2);
    assert!(matches!(fold(&gap), Err(FoldError::Gap { expected: 3, found: 4, .. })));
    let cut = &world.log[..4];
    assert!(matches!(fold(cut), Err(FoldError::Impossible { seq: 4, .. })), "the skip of b is missing");
    let mut twice = world.log.clone();
    let mut again = twice[3].clone();
    again.seq = twice.len() as u64 + 1;
    twice.push(again);
    assert!(matches!(fold(&twice), Err(FoldError::Impossible { .. })));
}
