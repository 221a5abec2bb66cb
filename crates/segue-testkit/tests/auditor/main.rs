//! The auditor accepts logs that can be and names the rule that others break.
#![allow(clippy::unwrap_used)]

mod ends;
mod log;
mod waits;

use segue_core::{
    event::{EventKind, Waiting},
    spec::WorkflowSpec,
};
use segue_testkit::{
    auditor::{Rule, audit},
    sim,
};
use serde_json::{Value, json};

use log::{bad, good, read};

/// Exact pauses: 1 s, 2 s, 4 s; three attempts.
fn one(extra: Value) -> Value {
    let mut node = json!({ "id": "a", "retry_policy": { "jitter": "none" } });
    node.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    json!({ "id": "w", "nodes": [node] })
}

fn chain() -> Value {
    json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"] }] })
}

/// `c` after `a` and `b`.
fn join(join: &str) -> Value {
    json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "b" },
        { "id": "c", "depends_on": ["a", "b"], "join": join }] })
}

#[test]
fn a_run_that_goes_well_passes() {
    good(chain(), r#"a:starts@1 +1 a:succeeds@1={"n":1} b:starts@1 b:succeeds@1=2 succeeded={"b":2}"#);
    good(chain(), "a:starts@1");
    good(chain(), "");
}

#[test]
fn seq_and_time_go_on() {
    bad(Rule::Seq, chain(), "!a:starts@1");
    bad(Rule::Time, chain(), "+5 a:starts@1 -1 a:succeeds@1");
}

#[test]
fn a_log_begins_once() {
    bad(Rule::Begin, chain(), "created");
    bad(Rule::Begin, chain(), "started");
    let spec: WorkflowSpec = serde_json::from_value(chain()).unwrap();
    assert_eq!(audit(&spec, &read("started")).unwrap_err().rule, Rule::Begin);
    assert_eq!(audit(&spec, &read("created a:starts@1")).unwrap_err().rule, Rule::Begin);
    assert_eq!(audit(&spec, &read("created")).unwrap_err().rule, Rule::Settled);
}

#[test]
fn nothing_follows_the_end() {
    let end = r#"a:starts@1 a:succeeds@1=1 succeeded={"a":1}"#;
    good(one(json!({})), end);
    bad(Rule::AfterEnd, one(json!({})), &format!("{end} a:starts@2"));
    bad(Rule::AfterEnd, one(json!({})), &format!("{end} reopened"));
    bad(Rule::AfterEnd, one(json!({})), &format!("{end} {}", r#"succeeded={"a":1}"#));
}

#[test]
fn a_run_ends_when_all_tasks_have() {
    bad(Rule::End, chain(), "a:starts@1 succeeded={}");
    bad(Rule::Settled, one(json!({})), "a:starts@1 a:succeeds@1=1");
    bad(Rule::Outputs, one(json!({})), r#"a:starts@1 a:succeeds@1=1 succeeded={"a":2}"#);
    bad(Rule::End, one(json!({})), "a:starts@1 a:fails@1=auth succeeded={}");
    bad(Rule::End, one(json!({})), "a:starts@1 a:fails@1=auth failed=timeout/a");
    bad(Rule::End, one(json!({})), "a:starts@1 a:succeeds@1=1 cancelled");
    good(one(json!({})), "a:starts@1 a:fails@1=auth failed=auth/a");
}

#[test]
fn events_name_tasks_of_the_workflow() {
    bad(Rule::Address, chain(), "x:starts@1");
    bad(Rule::Address, chain(), "starts@1");
}

#[test]
fn a_task_starts_when_its_join_holds() {
    bad(Rule::Ready, chain(), "b:starts@1");
    bad(Rule::Ready, chain(), "a:starts@1 b:starts@1");
    good(join("any_success"), "a:starts@1 a:succeeds@1 c:starts@1");
    for waits in ["no_failure", "all_success", "all_done", "any_failure"] {
        bad(Rule::Ready, join(waits), "a:starts@1 a:succeeds@1 c:starts@1");
    }
    good(join("any_failure"), "a:starts@1 a:fails@1=auth c:starts@1");
    good(join("all_done"), "a:starts@1 a:fails@1=auth b:starts@1 b:succeeds@1 c:starts@1");
}

#[test]
fn a_task_is_skipped_for_the_right_reason() {
    good(join("no_failure"), "a:starts@1 a:fails@1=auth c:skips=upstream_failed/a");
    bad(Rule::Skip, join("no_failure"), "a:starts@1 a:fails@1=auth c:skips=upstream_failed/b");
    bad(Rule::Skip, join("no_failure"), "a:starts@1 a:fails@1=auth c:skips=not_reached");
    bad(Rule::Skip, join("no_failure"), "c:skips=not_reached");
    bad(Rule::Settled, join("no_failure"), "a:starts@1 a:fails@1=auth");
    let well = "a:starts@1 a:succeeds@1=1 b:starts@1 b:succeeds@1=1";
    good(join("any_failure"), &format!("{well} c:skips=nothing_failed succeeded={{}}"));
    bad(Rule::Skip, join("any_success"), &format!("{well} c:skips=when"));
}

#[test]
fn conditions_are_looked_at() {
    let when =
        |when: &str| json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"], "when": when }] });
    let a = r#"a:starts@1 a:succeeds@1={"n":1,"deep":{"s":"x"}}"#;
    for holds in [
        "nodes.a.output.n == 1",
        "nodes.a.output.deep.s == \"x\" and not (params.p > 1)",
        "nodes.a.status == \"SUCCEEDED\"",
        "nodes.a.output.none or true",
        "nodes.a.attempts < 2",
    ] {
        good(when(holds), &format!("{a} b:starts@1"));
        bad(Rule::Skip, when(holds), &format!("{a} b:skips=when"));
    }
    good(when("nodes.a.output.n != 1"), &format!("{a} b:skips=when succeeded={{}}"));
    bad(Rule::Ready, when("nodes.a.output.n != 1"), &format!("{a} b:starts@1"));
    let broken = when("nodes.a.output.none.s == 1");
    good(broken.clone(), &format!("{a} b:fails=invalid_input failed=invalid_input/b"));
    bad(Rule::Ready, broken.clone(), &format!("{a} b:starts@1"));
    bad(Rule::Settled, broken, a);

    let edge = json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "b" }],
        "edges": [{ "from": "a", "to": "b", "when": "nodes.a.output.n == 2" }] });
    good(edge.clone(), &format!("{a} b:skips=not_reached succeeded={{}}"));
    bad(Rule::Ready, edge, &format!("{a} b:starts@1"));
}

#[test]
fn a_join_that_can_never_hold_fails_the_run() {
    let mut document = join("all_success");
    document["nodes"][1]["when"] = "false".into();
    let log = "b:skips=when a:starts@1 a:succeeds@1=1 c:skips=join_never_holds/b";
    good(document.clone(), &format!("{log} failed=join/c"));
    bad(Rule::End, document, &format!("{log} succeeded={{}}"));
}

#[test]
fn attempts_count_up_and_one_is_alive() {
    let document = one(json!({}));
    bad(Rule::Attempt, document.clone(), "a:starts@2");
    bad(Rule::Attempt, document.clone(), "a:starts@1 a:starts@2");
    bad(Rule::Attempt, document.clone(), "a:succeeds@1");
    bad(Rule::Attempt, document.clone(), "a:starts@1 a:succeeds@2");
    bad(Rule::Attempt, document.clone(), "a:starts@1 a:retries@1=timeout/1 a:succeeds@1");
    bad(Rule::Attempt, document.clone(), "a:starts@1 a:retries@1=timeout/1 +1 a:starts@1");
    bad(Rule::Failure, document.clone(), "a:starts@1 a:retries@1=timeout/1 a:fails@1=timeout");
    bad(Rule::TaskEnded, chain(), "a:starts@1 a:succeeds@1 a:starts@2");
    good(document, "a:starts@1 a:retries@1=timeout/1 +1 a:starts@2 a:succeeds@2=1 succeeded={\"a\":1}");
}

#[test]
fn retries_follow_the_policy() {
    let document = one(json!({}));
    let twice = "a:starts@1 a:retries@1=timeout/1 +1 a:starts@2 a:retries@2=timeout/2 +2 a:starts@3";
    good(document.clone(), &format!("{twice} a:fails@3=timeout failed=timeout/a"));
    bad(Rule::Retry, document.clone(), &format!("{twice} a:retries@3=timeout/4"));
    bad(Rule::Retry, document.clone(), "a:starts@1 a:retries@1=auth/1");
    bad(Rule::Retry, document.clone(), "a:starts@1 a:fails@1=timeout failed=timeout/a");
    bad(Rule::Pause, document.clone(), "a:starts@1 a:retries@1=timeout/2");
    bad(Rule::Pause, document.clone(), "a:starts@1 a:retries@1=timeout/1 a:starts@2");
    let only = |policy: Value| json!({ "id": "w", "nodes": [{ "id": "a", "retry_policy": policy }] });
    good(only(json!({ "retry_on": ["auth"] })), "a:starts@1 a:retries@1=auth/0.5");
    bad(Rule::Retry, only(json!({ "retry_on": ["auth"] })), "a:starts@1 a:retries@1=timeout/0.5");
    bad(Rule::Retry, only(json!({ "do_not_retry_on": ["timeout"] })), "a:starts@1 a:retries@1=timeout/0.5");
    bad(Rule::Pause, only(json!({})), "a:starts@1 a:retries@1=timeout/1");
}

#[test]
fn lost_engines_cost_no_attempt_but_three_are_enough() {
    let document = one(json!({ "retry_policy": { "max_attempts": 1 } }));
    let lost = |n: u32, by: &str| format!("a:starts@{n} a:retries@{n}=worker_lost/{by}");
    let twice = format!("{} {}", lost(1, "engine"), lost(2, "engine"));
    good(document.clone(), &format!("{twice} a:starts@3 a:fails@3=worker_lost/engine failed=worker_lost/a"));
    bad(Rule::Loss, document.clone(), &format!("{twice} {}", lost(3, "engine")));
    bad(Rule::Loss, document.clone(), "a:starts@1 a:retries@1=timeout/engine");
    bad(Rule::Retry, document.clone(), "a:starts@1 a:fails@1=worker_lost/drained");
    bad(Rule::Retry, document.clone(), "a:starts@1 a:fails@1=worker_lost/engine");
    good(document, &(1..9).map(|n| lost(n, "drained")).collect::<Vec<_>>().join(" "));
}

#[test]
fn deadlines_bound_retries() {
    let document = one(json!({ "deadline_seconds": 2 }));
    good(document.clone(), "a:starts@1 a:retries@1=timeout/1");
    bad(Rule::Deadline, document.clone(), "a:starts@1 +1.5 a:retries@1=timeout/1");
    good(document.clone(), "a:starts@1 +1.5 a:fails@1=timeout failed=timeout/a");
    good(document.clone(), "a:starts@1 a:retries@1=timeout/1 +2 a:fails@1=timeout failed=timeout/a");
    bad(Rule::Failure, document, "a:starts@1 a:retries@1=timeout/1 +1 a:fails@1=timeout");
}

#[test]
fn no_more_tasks_run_than_may() {
    let document = json!({ "id": "w", "max_parallel_nodes": 1, "nodes": [{ "id": "a" }, { "id": "b" }] });
    bad(Rule::Parallel, document.clone(), "a:starts@1 b:starts@1");
    good(document, "a:starts@1 a:succeeds@1 b:starts@1");
}

#[test]
fn a_run_that_is_being_cancelled_starts_nothing() {
    let cancelled = "a:starts@1 cancelling=request b:cancels";
    good(chain(), &format!("{cancelled} a:cancels@1 cancelled"));
    good(chain(), &format!("{cancelled} a:succeeds@1 cancelled"));
    bad(Rule::Cancelling, chain(), &format!("{cancelled} a:retries@1=timeout/1"));
    bad(Rule::Cancelling, chain(), &format!("{cancelled} a:fails@1=auth"));
    bad(Rule::Settled, chain(), "a:starts@1 cancelling=request");
    bad(Rule::Cancelling, chain(), "cancelling=request a:starts@1");
    bad(Rule::Cancelling, chain(), "a:cancels");
    bad(Rule::End, chain(), &format!("{cancelled} a:succeeds@1=1 succeeded={{}}"));
    bad(Rule::End, chain(), &format!("{cancelled} cancelled"));
    bad(Rule::Cause, chain(), &format!("{cancelled} cancelling=request"));
}

#[test]
fn a_cancel_has_a_cause() {
    bad(Rule::Cause, chain(), "cancelling=deadline");
    let mut limited = chain();
    limited["timeout_seconds"] = 5.into();
    bad(Rule::Cause, limited.clone(), "+4 cancelling=deadline");
    good(limited, "+5 cancelling=deadline a:cancels b:cancels failed=timeout");

    let failed = "a:starts@1 a:fails@1=auth b:skips=upstream_failed";
    bad(Rule::Cause, chain(), &format!("{failed} cancelling=failure"));
    let mut strict = chain();
    strict["on_failure"] = "cancel".into();
    strict["nodes"].as_array_mut().unwrap().push(json!({ "id": "c" }));
    good(strict.clone(), &format!("{failed} cancelling=failure c:cancels failed=auth/a"));
    bad(Rule::Settled, strict.clone(), failed);
    bad(Rule::Cause, strict, "a:starts@1 cancelling=failure");
}

#[test]
fn a_failure_is_handled_by_what_ran() {
    let handled =
        |join: &str| json!({ "id": "w", "nodes": [{ "id": "a" }, { "id": "h", "depends_on": ["a"], "join": join }] });
    for join in ["any_failure", "all_done"] {
        let log = "a:starts@1 a:fails@1=auth h:starts@1 h:succeeds@1=1";
        good(handled(join), &format!("{log} succeeded={{\"h\":1}}"));
        bad(Rule::End, handled(join), &format!("{log} failed=auth/a"));
    }
}

#[test]
fn what_continues_has_a_stand_in() {
    let document = one(json!({ "on_failure": { "action": "continue", "output": { "n": 7 } } }));
    good(document.clone(), r#"a:starts@1 a:continues@1=auth/{"n":7} succeeded={"a":{"n":7}}"#);
    bad(Rule::ContinueWith, document.clone(), r#"a:starts@1 a:continues@1=auth/{"n":8}"#);
    bad(Rule::ContinueWith, document.clone(), "a:starts@1 a:fails@1=auth");
    bad(Rule::End, document, r#"a:starts@1 a:continues@1=auth/{"n":7} failed=auth/a"#);
    bad(Rule::ContinueWith, one(json!({})), "a:starts@1 a:continues@1=auth");
}

#[test]
fn a_reopened_run_keeps_what_succeeded() {
    let failed = "a:starts@1 a:succeeds@1=1 b:starts@1 b:fails@1=auth failed=auth/b reopened";
    good(chain(), &format!("{failed} b:starts@2 b:succeeds@2=2 succeeded={{\"b\":2}}"));
    bad(Rule::TaskEnded, chain(), &format!("{failed} a:starts@2"));
    bad(Rule::Attempt, chain(), &format!("{failed} b:starts@1"));
}

#[test]
fn a_waiting_run_runs_nothing() {
    bad(Rule::Idle, chain(), "a:starts@1 waiting");
}

/// Whatever is left out of a log, or stands in it twice, is noticed. Four things cannot be: without its retry, a task that
/// misses its deadline while it waits looks like one that misses it while it runs; a stop that, within one moment,
/// found nothing to stop leaves no trace; nor does a run that waits for no time at all, or a task
/// that is cancelled in the moment in which it began.
#[test]
fn no_event_can_be_dropped_or_doubled() {
    for seed in 1..=400 {
        let (case, log) = sim::log_of(seed).unwrap();
        for at in 0..log.len() {
            let (mut dropped, mut doubled) = (log.clone(), log.clone());
            let next = log[at + 1..].iter().find(|event| event.task_id == log[at].task_id);
            let waits_too_long = matches!(log[at].kind, EventKind::TaskRetrying { .. })
                && next.is_some_and(|event| {
                    matches!(event.kind, EventKind::TaskFailed { .. } | EventKind::TaskWaiting(Waiting::Failure { .. }))
                });
            let stops_nothing = matches!(log[at].kind, EventKind::RunCancelling { .. })
                && !log[at..].iter().any(|event| matches!(event.kind, EventKind::TaskCancelled { .. }));
            let waits_no_time = matches!(log[at].kind, EventKind::RunWaiting {})
                && log.get(at + 1).is_some_and(|event| event.time == log[at].time);
            let begins_in_vain = log[at].task_id.is_some()
                && next.is_some_and(|event| {
                    event.time == log[at].time && matches!(event.kind, EventKind::TaskCancelled { .. })
                });
            // A child run may end before anybody has said that it is waited for.
            let need_not_be_said = matches!(log[at].kind, EventKind::TaskWaiting(Waiting::Child { .. }));
            // Nobody has to look at a limit that has passed, if nothing comes of it.
            let asks_in_vain = matches!(log[at].kind, EventKind::TaskWaiting(Waiting::Failure { .. }))
                && !next.is_some_and(|event| matches!(event.kind, EventKind::TaskSignaled { .. }));
            // Who says no in the moment in which silence means no says nothing new.
            let question = log[..at].iter().rfind(|event| event.task_id == log[at].task_id);
            let says_nothing_new = matches!(log[at].kind, EventKind::TaskSignaled { .. })
                && matches!(question.map(|event| &event.kind), Some(EventKind::TaskWaiting(asked))
                    if asked.due().is_some_and(|due| due <= log[at].time));
            if asks_in_vain
                || says_nothing_new
                || need_not_be_said
                || waits_too_long
                || stops_nothing
                || waits_no_time
                || begins_in_vain
            {
                continue;
            }
            dropped.remove(at);
            doubled.insert(at, log[at].clone());
            for (what, mut events) in [("without", dropped), ("with twice", doubled)] {
                for (event, seq) in events.iter_mut().zip(1..) {
                    event.seq = seq;
                }
                let verdict = audit(&case.spec, &events).and_then(|auditor| auditor.finished());
                assert!(verdict.is_err(), "seed {seed} passes {what} {:?}\nof {log:#?}", log[at]);
            }
        }
    }
}

/// Two neighbours about one task cannot change places.
#[test]
fn no_two_events_of_a_task_can_be_swapped() {
    for seed in 1..=400 {
        let (case, log) = sim::log_of(seed).unwrap();
        for at in 1..log.len() {
            if log[at].task_id.is_none() || log[at].task_id != log[at - 1].task_id {
                continue;
            }
            let mut swapped = log.clone();
            swapped.swap(at - 1, at);
            for (event, seq) in swapped.iter_mut().zip(1..) {
                event.seq = seq;
            }
            swapped[at].time = log[at].time;
            assert!(audit(&case.spec, &swapped).is_err(), "seed {seed} passes with {:?} too early", log[at]);
        }
    }
}
