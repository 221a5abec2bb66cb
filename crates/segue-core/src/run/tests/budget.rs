//! Budgets.

use super::*;
use crate::ports::{Budget, BudgetScope};

fn world(on_exceeded: &str) -> World {
    let budget = json!({ "tokens": 100, "usd": 0.5, "on_exceeded": on_exceeded });
    let nodes = json!([{ "id": "a", "budget": { "tokens": 30 } }, { "id": "b", "depends_on": ["a"] }]);
    World::of(json!({ "id": "w", "budget": budget, "nodes": nodes }))
}

fn used(tokens: u64) -> Usage {
    Usage { model_calls: 1, input_tokens: tokens, cost_nanousd: tokens * 1000, ..Usage::default() }
}

fn exceed(world: &mut World, task: &str, usage: Usage) {
    let error = TaskError::new(ErrorKind::Budget, "no more");
    world.start(task).end(task, TaskOutcome::Failed { error, usage });
}

fn spent(world: &World, task: &str) -> Vec<(BudgetScope, Option<u64>, u64)> {
    let budgets = world.run.budgets(&task.into());
    budgets.iter().map(|budget: &Budget| (budget.scope, budget.tokens, budget.spent.total_tokens())).collect()
}

#[test]
fn an_attempt_knows_what_its_run_and_its_task_have_spent() {
    let mut world = world("fail");
    world.start("a").end("a", TaskOutcome::lost(Loss::Worker, "gone").with_usage(used(20))).wait(10);
    assert_eq!(spent(&world, "a"), [(BudgetScope::Run, Some(100), 20), (BudgetScope::Task, Some(30), 20)]);
    assert_eq!(world.run.budgets(&"a".into())[0].cost_nanousd, Some(500_000_000));
    let output = Payload::new(json!(1));
    world.start("a").end("a", TaskOutcome::Succeeded { output, usage: used(5), warnings: Vec::new() });
    assert_eq!(spent(&world, "b"), [(BudgetScope::Run, Some(100), 25)]);
    exceed(&mut world, "b", used(80));
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!(error.kind, ErrorKind::Budget, "it is not tried again");
}

#[test]
fn a_person_grants_the_same_once_more() {
    let mut world = world("pause");
    world.succeed("a", json!(1));
    exceed(&mut world, "b", used(101));
    story(&world, "started:a@1 succeeded:a@1 started:b@1 waiting:b run.waiting");
    let data = json!({ "decision": "approve" });
    world.input(Input::Signal { to: Address::Task("b".into()), data, request: None }).expect("an answer");
    assert_eq!(spent(&world, "b"), [(BudgetScope::Run, Some(100), 0)]);
    assert_eq!(world.run.budgets(&"b".into())[0].grants, 1);
    world.succeed("b", json!(2));
    assert_eq!(world.run.usage().total_tokens(), 101);
}

#[test]
fn the_run_may_go_on_without_what_was_too_dear() {
    let mut world = world("continue");
    world.succeed("a", json!(1));
    exceed(&mut world, "b", used(101));
    assert!(matches!(world.last(), EventKind::RunSucceeded { .. }), "{}", world.story());
    // The node's own budget says what happens, and its is to fail.
    let mut world = self::world("continue");
    exceed(&mut world, "a", used(31));
    story(&world, "started:a@1 failed:a@1 skipped:b run.failed");
    // Another failure is none of the budget's.
    let mut world = self::world("continue");
    world.succeed("a", json!(1)).fail("b", ErrorKind::Auth);
    assert!(matches!(world.last(), EventKind::RunFailed { .. }), "{}", world.story());
}
