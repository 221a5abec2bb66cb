//! Logs written as words.

use std::time::Duration;

use segue_core::{
    event::{Event, EventKind, RunCreated, SkipReason, Waiting},
    ids::{ContentHash, NodeId, RunId},
    outcome::{Loss, TaskError, Usage},
    payload::Payload,
    question::Question,
    spec::WorkflowSpec,
    time::Timestamp,
};
use segue_testkit::auditor::{Rule, Violation, audit};
use serde_json::{Value, json};

/// The run whose results are taken over.
const EARLIER: RunId = RunId::from_bytes([8; 16]);

/// Reads a log written as one word a fact: `+5` lets seconds pass, `a:starts@1`, `a:succeeds@1={"n":1}`,
/// `a:retries@1=timeout/1` (kind, pause; `/engine` and the like for a loss), `a:fails@1=auth`, `a:continues@1=auth`,
/// `a:skips=when`, `a:cancels`, `a:pauses=auth`, `a:asks@1`, `a:says={"decision":"retry"}`, `a:awaits@1=7` (a child run),
/// `a:reuses=1`, `cancelling=request`, `failed=auth/a`, `succeeded={}`, `cancelled`, `reopened`. A word
/// that begins with `!` leaves a gap in `seq` before it.
pub(super) fn read(text: &str) -> Vec<Event> {
    let mut now = Timestamp::from_micros(1_000_000);
    let mut events = Vec::new();
    for word in text.split_whitespace() {
        if let Some(seconds) = word.strip_prefix('+') {
            now = now.plus(Duration::from_secs_f64(seconds.parse().unwrap()));
            continue;
        }
        if let Some(seconds) = word.strip_prefix('-') {
            now = Timestamp::from_micros(now.as_micros() - seconds.parse::<i64>().unwrap() * 1_000_000);
            continue;
        }
        let gap = word.starts_with('!');
        let word = word.trim_start_matches('!');
        let (what, data) = word.split_once('=').unwrap_or((word, ""));
        let (task, what) = what.split_once(':').map_or((None, what), |(task, what)| (Some(task), what));
        let (verb, attempt) = what.split_once('@').map_or((what, None), |(verb, n)| (verb, n.parse().ok()));
        let seq = events.len() as u64 + 1 + u64::from(gap);
        events.push(Event { seq, time: now, task_id: task.map(Into::into), attempt, kind: kind(verb, data, now) });
    }
    events
}

fn kind(verb: &str, data: &str, now: Timestamp) -> EventKind {
    let (first, second) = data.split_once('/').unwrap_or((data, ""));
    let usage = Usage::default();
    match verb {
        "created" => {
            let mut created = RunCreated::new(ContentHash::of(b"w"), Payload::new(json!({ "p": 1 })));
            created.rerun_of = (data == "again").then_some(EARLIER);
            EventKind::RunCreated(created)
        }
        "started" => EventKind::RunStarted {},
        "waiting" => EventKind::RunWaiting {},
        "reopened" => EventKind::RunReopened {},
        "cancelling" => {
            EventKind::RunCancelling { by: serde_json::from_value(data.into()).unwrap(), reason: "why".into() }
        }
        "cancelled" => EventKind::RunCancelled { reason: "why".into() },
        "succeeded" => EventKind::RunSucceeded { outputs: Payload::new(serde_json::from_str(data).unwrap()) },
        "failed" => {
            let mut error = error(first);
            error.node = (!second.is_empty()).then(|| NodeId::from(second));
            EventKind::RunFailed { error }
        }
        "starts" => EventKind::TaskStarted {},
        "succeeds" => {
            let output = Payload::new(serde_json::from_str(data).unwrap_or_default());
            EventKind::TaskSucceeded { output, usage, warnings: Vec::new(), reused_from: None }
        }
        "retries" => {
            let lost = serde_json::from_value::<Loss>(second.into()).ok();
            let pause = second.parse().unwrap_or(0.0);
            let due = now.plus(Duration::from_secs_f64(pause));
            EventKind::TaskRetrying { error: error(first), due, lost, usage }
        }
        "fails" => {
            let lost = serde_json::from_value::<Loss>(second.into()).ok();
            EventKind::TaskFailed { error: error(first), lost, continue_with: None, usage }
        }
        "continues" => {
            let stand_in = Some(Payload::new(serde_json::from_str(second).unwrap_or_default()));
            EventKind::TaskFailed { error: error(first), lost: None, continue_with: stand_in, usage }
        }
        "skips" => {
            let because = (!second.is_empty()).then(|| NodeId::from(second));
            EventKind::TaskSkipped {
                reason: SkipReason {
                    code: serde_json::from_value(first.into()).unwrap(),
                    message: String::new(),
                    because,
                },
            }
        }
        "cancels" => EventKind::TaskCancelled { usage },
        "iterates" => EventKind::LoopIterated { iteration: data.parse().unwrap() },
        "pauses" => EventKind::TaskWaiting(Waiting::Failure { error: error(first), lost: None, usage }),
        "asks" => {
            let question = Question::open("What now?", Value::Null, Value::Null);
            EventKind::TaskWaiting(Waiting::Question { question, usage })
        }
        "says" => {
            let data = Payload::new(serde_json::from_str(data).unwrap());
            EventKind::TaskSignaled { data, request: None }
        }
        "awaits" => EventKind::TaskWaiting(Waiting::Child {
            run_id: RunId::from_bytes([data.parse().unwrap(); 16]),
            workflow_id: "letter".into(),
            workflow_hash: ContentHash::of(b"letter"),
        }),
        "reuses" => {
            let output = Payload::new(serde_json::from_str(data).unwrap());
            EventKind::TaskSucceeded { output, usage, warnings: Vec::new(), reused_from: Some(EARLIER) }
        }
        other => panic!("no such fact: {other}"),
    }
}

fn error(kind: &str) -> TaskError {
    TaskError::new(serde_json::from_value(kind.into()).unwrap(), "no")
}

fn judge(document: Value, log: &str) -> Result<(), Violation> {
    let spec: WorkflowSpec = serde_json::from_value(document).unwrap();
    let log = if log.starts_with("created=") { log.to_owned() } else { format!("created started {log}") };
    audit(&spec, &read(&log)).map(|_| ())
}

pub(super) fn good(document: Value, log: &str) {
    judge(document, log).unwrap_or_else(|violation| panic!("{log}\n{violation}"));
}

pub(super) fn bad(rule: Rule, document: Value, log: &str) {
    match judge(document, log) {
        Ok(()) => panic!("passes: {log}"),
        Err(violation) => assert_eq!(violation.rule, rule, "{log}\n{violation}"),
    }
}
