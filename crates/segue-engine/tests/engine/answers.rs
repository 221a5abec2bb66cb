//! Answers to what tasks wait for, and times that come.

use std::{sync::Arc, time::Duration};

use segue_core::{
    ports::{RequestKind, RunStore, StartRun},
    run::Address,
    status::Status,
};
use segue_engine::{AnswerError, Answered, answer};
use serde_json::{Value, json};

use crate::support::{World, on_every_store};

on_every_store!(
    the_first_answer_counts_and_the_second_hears_whose_it_was,
    an_answer_waits_for_an_engine,
    of_two_answers_at_once_one_counts,
    an_answer_that_does_not_fit_is_not_posted,
    an_event_finds_the_task_that_waits_for_it,
);

fn approval() -> Value {
    json!([
        {"id": "ask", "approval": {"title": "Shall we?", "form": {"amount": {"type": "integer"}}}},
        {"id": "then", "task": "pass", "inputs": {"by": "{{ nodes.ask.output.by }}"}, "depends_on": ["ask"]},
    ])
}

fn yes() -> Value {
    json!({"decision": "approve", "form": {"amount": 3}})
}

fn ask() -> Address {
    Address::Task("ask".into())
}

fn conflict(answered: Result<Answered, AnswerError>) -> String {
    match answered {
        Err(AnswerError::Conflict(why)) => why,
        other => panic!("a conflict, not {other:?}"),
    }
}

async fn the_first_answer_counts_and_the_second_hears_whose_it_was(mut world: World) {
    let engine = world.engine_that_lives().await;
    let run = world.start(&engine, approval()).await;
    world.reaches(run, Status::Waiting).await;
    let answered = answer(&*world.store, run, ask(), yes(), Some("ann")).await.unwrap();
    assert!(matches!(answered, Answered::Taken { .. }), "{answered:?}");
    let why = conflict(answer(&*world.store, run, ask(), yes(), Some("bob")).await);
    assert!(why.starts_with("task `ask` was answered by ann at 2"), "{why}");
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "then").await, json!({"by": "ann"}));
    assert_eq!(world.output(run, "ask").await["form"], json!({"amount": 3}));
    let gone = answer(&*world.store, run, Address::Task("nobody".into()), yes(), None).await;
    assert!(matches!(gone, Err(AnswerError::NotFound(_))), "{gone:?}");
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
}

async fn an_answer_waits_for_an_engine(mut world: World) {
    let dead = world.engine().await;
    let run = world.start(&dead, approval()).await;
    world.reaches(run, Status::Waiting).await;
    dead.stop();
    let answered = answer(&*world.store, run, ask(), yes(), Some("ann")).await.unwrap();
    assert_eq!(answered, Answered::Recorded);
    let why = conflict(answer(&*world.store, run, ask(), yes(), Some("bob")).await);
    assert_eq!(why, "task `ask` was answered by ann just now");
    // One that is posted all the same is dismissed.
    let data = json!({"decision": "reject"});
    world.store.post_request(run, RequestKind::Signal { to: ask(), data }).await.unwrap();
    let next = world.engine().await;
    next.resume(&[run]).await.unwrap();
    world.ended(&next, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "then").await, json!({"by": "ann"}));
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
}

async fn of_two_answers_at_once_one_counts(mut world: World) {
    let dead = world.engine().await;
    let run = world.start(&dead, approval()).await;
    world.reaches(run, Status::Waiting).await;
    dead.stop();
    let (one, two) = tokio::join!(
        answer(&*world.store, run, ask(), yes(), Some("ann")),
        answer(&*world.store, run, ask(), yes(), Some("bob")),
    );
    assert!(one.is_ok() != two.is_ok(), "{one:?} {two:?}");
    assert_eq!(world.store.pending_requests(run).await.unwrap().len(), 1);
}

async fn an_answer_that_does_not_fit_is_not_posted(mut world: World) {
    let engine = world.engine_that_lives().await;
    let run = world.start(&engine, approval()).await;
    world.reaches(run, Status::Waiting).await;
    for (bad, path) in [
        (json!({"decision": "perhaps"}), "/decision"),
        (json!({"decision": "approve", "form": {"amount": "three"}}), "/amount"),
        (json!("yes"), ""),
    ] {
        let Err(AnswerError::Invalid(problems)) = answer(&*world.store, run, ask(), bad, None).await else {
            panic!("it does not fit")
        };
        assert!(problems.iter().any(|problem| problem.path.ends_with(path)), "{problems:?}");
    }
    let why = conflict(answer(&*world.store, run, Address::Task("then".into()), yes(), None).await);
    assert_eq!(why, "task `then` does not wait for an answer: it is PENDING");
    assert!(world.store.pending_requests(run).await.unwrap().is_empty());
}

async fn an_event_finds_the_task_that_waits_for_it(mut world: World) {
    let engine = world.engine_that_lives().await;
    let nodes = json!([
        {"id": "one", "wait": {"event": "paid", "match": "output.order == 1"}},
        {"id": "two", "wait": {"event": "paid", "match": "output.order == 2"}},
    ]);
    let run = world.start(&engine, nodes).await;
    world.reaches(run, Status::Waiting).await;
    let paid = || Address::Event("paid".to_owned());
    let why = conflict(answer(&*world.store, run, paid(), json!({"order": 3}), None).await);
    assert!(why.contains("waits for `paid`"), "{why}");
    for order in [2, 1] {
        let answered = answer(&*world.store, run, paid(), json!({"order": order}), None).await.unwrap();
        assert!(matches!(answered, Answered::Taken { .. }), "{answered:?}");
    }
    world.ended(&engine, run, Status::Succeeded).await;
    assert_eq!(world.output(run, "two").await, json!({"order": 2}));
}

/// A time that came while nothing ran comes once, as soon as an engine is there.
#[tokio::test(start_paused = true)]
async fn a_time_that_came_while_nothing_ran_comes_once() {
    let mut world = World::in_memory();
    let dead = world.engine().await;
    let nodes = json!([
        {"id": "nap", "wait": {"seconds": 3600}},
        {"id": "then", "task": "test.task", "depends_on": ["nap"]},
    ]);
    let run = world.start_workflow(&dead, json!({"id": "w", "nodes": nodes}), StartRun::default()).await.run_id;
    world.reaches(run, Status::Waiting).await;
    dead.stop();
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(world.store.get_run(run).await.unwrap().status, Status::Waiting);
    let (began, next) = (world.clock.now(), Arc::new(world.engine().await));
    next.resume(&[run]).await.unwrap();
    world.call_of("then@1").await.succeed(json!(1));
    world.ended(&next, run, Status::Succeeded).await;
    assert!(world.clock.now().since(began) < Duration::from_secs(1), "at once");
    let ends = world.log(run).await.into_iter().filter(|name| name.starts_with("succeeded:nap")).count();
    assert_eq!(ends, 1);
}
