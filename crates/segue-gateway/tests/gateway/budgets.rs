//! Budgets of runs and tasks.

use std::sync::Arc;

use segue_core::{
    outcome::{ErrorKind, TaskOutcome, Usage},
    ports::{Budget, BudgetScope, Invocation, ModelAccess as _},
};
use segue_gateway::{Gateway, GatewayOptions, ModelOptions, Price};
use segue_testkit::provider::{Reply, StubProvider};
use serde_json::json;
use tokio::task::JoinSet;

use crate::common::{ask, attempt, options, question, said, start, streamed};

fn with_budget(scope: BudgetScope, tokens: Option<u64>, cost_nanousd: Option<u64>) -> Invocation {
    let budget = Budget { scope, tokens, cost_nanousd, spent: Usage::default(), grants: 0 };
    Invocation { budgets: vec![budget], ..attempt(1) }
}

/// Eight tasks of a run ask at once, ten times each: 15 tokens a call, of which the budget covers six and a bit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_budget_is_overshot_by_one_call_at_most() {
    let provider = StubProvider::start();
    let gateway = Arc::new(start(&[&provider]).await);
    let mut callers = JoinSet::new();
    for number in 0..8 {
        let gateway = gateway.clone();
        callers.spawn(async move {
            let door = gateway.open(&with_budget(BudgetScope::Run, Some(100), None)).unwrap();
            let mut refused = 0;
            for call in 0..10 {
                let text = format!("{number} {call}");
                let reply = ask(&*door, &if call % 2 == 0 { question(&text) } else { streamed(&text) }).await;
                match reply.status {
                    200 => assert_eq!(refused, 0, "there is never more again"),
                    402 => refused += 1,
                    other => panic!("{other}: {}", reply.body),
                }
                if reply.status == 402 {
                    assert_eq!(reply.json()["error"]["code"], "segue_budget");
                }
            }
            assert!(refused > 0);
            door.settle(TaskOutcome::failure(ErrorKind::User, "The framework's words."))
        });
    }
    while let Some(outcome) = callers.join_next().await {
        let TaskOutcome::Failed { error, .. } = outcome.unwrap() else { panic!() };
        assert_eq!((error.kind, error.retryable), (ErrorKind::Budget, false), "{error:?}");
        assert_eq!(error.message, "The run's budget of 100 tokens is used up: 105 were consumed.");
    }
    assert_eq!((provider.usage().total_tokens(), provider.usage().model_calls), (105, 7));
    assert_eq!(gateway.usage(), provider.usage());
}

#[tokio::test]
async fn money_is_counted_by_the_price_and_a_model_without_one_is_refused() {
    let provider = StubProvider::start();
    provider.always(Reply::text("x").with_usage(1_000, 100));
    let price = Price { input: 1.0, cached_input: None, output: 10.0 };
    let models = vec![ModelOptions { pattern: "gpt-4o".into(), price: Some(price), ..ModelOptions::default() }];
    let gateway = Gateway::start(GatewayOptions { models, ..options(&[&provider]) }).await.unwrap();
    // Two tenths of a cent each; half a cent.
    let door = gateway.open(&with_budget(BudgetScope::Run, None, Some(5_000_000))).unwrap();
    for _ in 0..3 {
        said(&ask(&*door, &question("Hello")).await);
    }
    let refused = ask(&*door, &question("Hello")).await;
    assert_eq!(refused.status, 402);
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "The run's budget of 0.005 USD is used up: 0.006 USD were spent.");
    let mut other = question("Hello");
    other["model"] = json!("gpt-9");
    let refused = ask(&*door, &other).await;
    assert!(refused.status == 402 && refused.body.contains("gpt-9"), "{}", refused.body);
    assert_eq!(provider.requests().len(), 3);
}

#[tokio::test]
async fn a_tasks_budget_is_its_own_and_what_was_spent_before_counts() {
    let provider = StubProvider::start();
    let gateway = start(&[&provider]).await;
    let first = gateway.open(&with_budget(BudgetScope::Task, Some(20), None)).unwrap();
    let second = gateway.open(&with_budget(BudgetScope::Task, Some(20), None)).unwrap();
    for door in [&first, &second] {
        said(&ask(&**door, &question("Hello")).await);
        said(&ask(&**door, &question("Hello")).await);
        assert_eq!(ask(&**door, &question("Hello")).await.status, 402);
    }
    let mut invocation = with_budget(BudgetScope::Task, Some(20), None);
    invocation.budgets[0].spent.input_tokens = 20;
    let third = gateway.open(&invocation).unwrap();
    assert_eq!(ask(&*third, &question("Hello")).await.status, 402);
    assert!(third.refusal().unwrap().message.starts_with("The task's budget of 20 tokens"));
    // What an earlier attempt was answered is given all the same: it costs nothing.
    let mut again = with_budget(BudgetScope::Task, Some(20), None);
    again.budgets[0].spent.input_tokens = 20;
    again.context.attempt = 2;
    let again = gateway.open(&again).unwrap();
    said(&ask(&*again, &question("Hello")).await);
    assert!(again.refusal().is_none());
}
