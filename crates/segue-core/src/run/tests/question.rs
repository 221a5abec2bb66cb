//! Questions of a task's own code.

use super::*;
use crate::question::{Question, QuestionItem};

fn ask(world: &mut World, task: &str, question: Question) {
    world.start(task);
    let usage = Usage { model_calls: 2, input_tokens: 5, ..Usage::default() };
    world.end(task, TaskOutcome::Waiting { question, usage });
}

fn say(world: &mut World, task: &str, data: Value) -> Result<(), Rejected> {
    world.input(Input::Signal { to: Address::Task(task.into()), data, request: None })
}

fn resume(world: &World, task: &str) -> Option<(Value, Value)> {
    let resume = world.run.resume_of(&task.into())?;
    Some((resume.token.clone(), json!(*resume.answers)))
}

fn one() -> World {
    World::new(json!([
        { "id": "a", "retry_policy": { "max_attempts": 2, "jitter": "none" }, "deadline_seconds": 10 },
        { "id": "b", "depends_on": ["a"] },
    ]))
}

#[test]
fn the_next_attempt_takes_up_the_work_with_the_answer() {
    let mut world = one();
    ask(&mut world, "a", Question::open("Good?", json!("draft"), json!({ "flow": 7 })));
    story(&world, "started:a@1 waiting:a@1 run.waiting");
    assert_eq!((world.run.status(), world.run.usage().model_calls), (Status::Waiting, 2));
    world.wait(1000);
    assert_eq!(say(&mut world, "a", json!({ "by": "ada" })), Err(Rejected::BadAnswer));
    assert_eq!(say(&mut world, "a", json!({ "answers": { "other": 1 } })), Err(Rejected::BadAnswer));
    say(&mut world, "a", json!({ "answer": "yes", "by": "ada" })).expect("an answer");
    assert_eq!(say(&mut world, "a", json!({ "answer": "no" })), Err(Rejected::NobodyWaits), "the first one counts");
    assert_eq!(resume(&world, "a"), Some((json!({ "flow": 7 }), json!({ "answer": "yes" }))));
    world.start("a");
    // One that is lost is followed by one with the same answers; its question cost no attempt.
    world.end("a", TaskOutcome::lost(Loss::Worker, "gone"));
    world.wait(1);
    assert!(resume(&world, "a").is_some());
    world.succeed("a", json!(1)).succeed("b", json!(2));
    assert_eq!(resume(&world, "a"), None);
    story(
        &world,
        "started:a@1 waiting:a@1 run.waiting signaled:a started:a@2 retrying:a@2 started:a@3 succeeded:a@3 started:b@1
         succeeded:b@1 run.succeeded",
    );
}

#[test]
fn all_that_is_asked_is_answered_and_fits() {
    let item = |id: &str, schema| QuestionItem { id: id.to_owned(), value: Value::Null, schema };
    let items = vec![item("x/1", Some(json!({ "type": "integer" }))), item("y", None)];
    let question = Question { prompt: "Two things".to_owned(), items, resume: Value::Null };
    let mut world = one();
    ask(&mut world, "a", question);
    let check = |data: Value| {
        let wrong = world.run.check_answer(&"a".into(), &data).expect_err("a bad answer");
        wrong.into_iter().map(|problem| problem.path).collect::<Vec<_>>()
    };
    assert_eq!(check(json!({ "answer": 1 })), ["/answer"]);
    assert_eq!(check(json!({ "answers": { "x/1": "a", "z": 1 } })), ["/answers/z", "/answers/x~11", "/answers/y"]);
    assert_eq!(check(json!({ "answers": 1 })), ["/answers"]);
    say(&mut world, "a", json!({ "decision": "approve", "form": { "x/1": 3, "y": null } })).expect("an answer");
    assert_eq!(resume(&world, "a"), Some((Value::Null, json!({ "x/1": 3, "y": null }))));
}

#[test]
fn who_is_stopped_asks_no_more() {
    let mut world = one();
    ask(&mut world, "a", Question::open("Good?", Value::Null, Value::Null));
    world.input(Input::Cancel { reason: "enough".to_owned() }).expect("a cancel");
    story(&world, "started:a@1 waiting:a@1 run.waiting run.cancelling cancelled:a cancelled:b run.cancelled");

    let mut world = one();
    world.start("a");
    world.input(Input::Cancel { reason: "enough".to_owned() }).expect("a cancel");
    let question = Question::open("Good?", Value::Null, Value::Null);
    world.end("a", TaskOutcome::Waiting { question, usage: Usage::default() });
    assert!(matches!(world.last(), EventKind::RunCancelled { .. }), "{}", world.story());
}

#[test]
fn a_person_may_let_it_fail() {
    let mut world = one();
    ask(&mut world, "a", Question::open("Good?", Value::Null, Value::Null));
    assert_eq!(say(&mut world, "a", json!({ "decision": "reject", "answer": 1 })), Err(Rejected::BadAnswer));
    say(&mut world, "a", json!({ "decision": "reject", "by": "ada" })).expect("an answer");
    story(&world, "started:a@1 waiting:a@1 run.waiting signaled:a failed:a skipped:b run.failed");
    let EventKind::RunFailed { error } = world.last() else { panic!("{}", world.story()) };
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Rejected, "ada said no"));
}

#[test]
fn answers_of_models_outlive_what_says_nothing_about_them() {
    let mut world = World::new(json!([{ "id": "a", "retry_policy": { "max_attempts": 9, "jitter": "none" } }]));
    let since = |world: &World| world.run.answers_since(&"a".into());
    for (kind, expected) in [
        (ErrorKind::Connection, 1),
        (ErrorKind::Timeout, 1),
        (ErrorKind::ModelOutput, 4),
        (ErrorKind::Provider, 4),
        (ErrorKind::User, 6),
    ] {
        world.fail("a", kind).wait(100);
        assert_eq!(since(&world), expected, "after {kind}");
    }
    world.start("a");
    world.end("a", TaskOutcome::lost(Loss::Engine, "gone"));
    assert_eq!(since(&world), 6);
    ask(&mut world, "a", Question::open("Good?", Value::Null, Value::Null));
    say(&mut world, "a", json!({ "answer": 1 })).expect("an answer");
    assert_eq!(since(&world), 6, "what was answered before the question is good after it");
}
