//! The events' form is an interface: `docs/reference/events-v1.json` shows each event once, and never changes but by
//! new events and new optional fields. `SEGUE_BLESS=1 cargo test -p segue-core --test events_golden` writes it anew.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, fs, path::Path};

use segue_core::{
    event::{self, CancelCause, Envelope, Event, EventKind, ParentLink, RunCreated, SkipCode, SkipReason, Waiting},
    ids::{ContentHash, NodeId, RunId, TaskId, WorkflowId},
    outcome::{ErrorKind, Loss, TaskError, Usage},
    payload::Payload,
    time::Timestamp,
};
use serde_json::{Value, json};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/events-v1.json");

fn run_id(n: u8) -> RunId {
    RunId::from_bytes([n; 16])
}

fn kinds() -> Vec<EventKind> {
    let usage =
        Usage { model_calls: 2, input_tokens: 120, output_tokens: 30, cached_input_tokens: 100, cost_nanousd: 0 };
    let mut limited = TaskError::new(ErrorKind::RateLimited, "the provider asked to wait");
    limited.retry_after = Some(2.5);
    let failed = TaskError::new(ErrorKind::Exit, "exit code 3").with_detail(json!({"exit_code": 3}));
    let mut of_run = failed.clone();
    of_run.node = Some(NodeId::from("write"));
    vec![
        EventKind::RunCreated(RunCreated {
            workflow_hash: ContentHash::of(b"workflow"),
            inputs: Payload::new(json!({"topic": "tea"})),
            idempotency_key: Some("order-17".to_owned()),
            base_dir: Some("/work/flows".to_owned()),
            rehearsal: true,
            parent: Some(ParentLink { run_id: run_id(1), task_id: TaskId::from("letters[3]"), depth: 1 }),
            workflows: [(WorkflowId::new("letter"), ContentHash::of(b"letter"))].into(),
            rerun_of: Some(run_id(2)),
        }),
        EventKind::RunStarted {},
        EventKind::RunWaiting {},
        EventKind::TaskStarted {},
        EventKind::TaskWaiting(Waiting::Approval {
            title: "Send it?".to_owned(),
            message: Some("To 312 people".to_owned()),
            form: [("note".to_owned(), json!({"type": "string"}))].into_iter().collect(),
            approvers: vec!["ada".to_owned()],
            due: Some(Timestamp::from_micros(1_790_000_600_000_000)),
        }),
        EventKind::TaskSignaled {
            data: Payload::new(json!({"decision": "approve", "form": {"note": "go"}, "by": "ada"})),
            request: Some(17),
        },
        EventKind::TaskMapped { n: 3 },
        EventKind::LoopIterated { iteration: 2 },
        EventKind::TaskRetrying {
            error: limited,
            due: Timestamp::from_micros(1_790_000_002_500_000),
            lost: Some(Loss::Worker),
            usage,
        },
        EventKind::TaskSucceeded {
            output: Payload::new(json!({"text": "Tea is a leaf."})),
            usage,
            warnings: vec!["a tool failed".to_owned()],
            reused_from: Some(run_id(2)),
        },
        EventKind::TaskFailed {
            error: failed,
            lost: Some(Loss::Engine),
            continue_with: Some(Payload::new(json!("a stand-in"))),
            usage,
        },
        EventKind::TaskSkipped {
            reason: SkipReason {
                code: SkipCode::UpstreamFailed,
                message: "`write` failed".to_owned(),
                because: Some(NodeId::from("write")),
            },
        },
        EventKind::TaskCancelled { usage },
        EventKind::RunCancelling { by: CancelCause::Request, reason: "a person said so".to_owned() },
        EventKind::RunCancelled { reason: "a person said so".to_owned() },
        EventKind::RunReopened {},
        EventKind::RunFailed { error: of_run },
        EventKind::RunSucceeded { outputs: Payload::new(json!({"text": "Tea is a leaf."})) },
    ]
}

fn is_without_attempt(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::TaskSkipped { .. }
            | EventKind::TaskWaiting(_)
            | EventKind::TaskSignaled { .. }
            | EventKind::TaskMapped { .. }
            | EventKind::LoopIterated { .. }
    )
}

fn envelopes() -> Vec<Value> {
    let run: RunId = "0199a3f2-0000-7000-8000-00000000002a".parse().unwrap();
    (1_u64..)
        .zip(kinds())
        .map(|(seq, kind)| {
            let of_task = !kind.name().starts_with("run.");
            let event = Event {
                seq,
                time: Timestamp::from_micros(1_790_000_000_000_000 + i64::try_from(seq).unwrap()),
                task_id: of_task.then(|| TaskId::from("write")),
                attempt: (of_task && !is_without_attempt(&kind)).then_some(1),
                kind,
            };
            let shown = serde_json::to_value(Envelope::of(&event, &WorkflowId::new("demo"), run)).unwrap();
            let back: Event = serde_json::from_value(shown.clone()).unwrap();
            assert_eq!(back, event, "an envelope is the event and its run");
            shown
        })
        .collect()
}

#[test]
fn the_events_are_those_of_version_1() {
    let text = serde_json::to_string_pretty(&envelopes()).unwrap() + "\n";
    if std::env::var_os("SEGUE_BLESS").is_some() {
        fs::create_dir_all(Path::new(GOLDEN).parent().unwrap()).unwrap();
        fs::write(GOLDEN, &text).unwrap();
    }
    let golden = fs::read_to_string(GOLDEN).unwrap();
    assert!(text == golden, "the events' form changed:\n{text}\nis not {GOLDEN}");
}

/// The golden file shows every event that the schema knows, so a new one cannot be forgotten in it.
#[test]
fn each_event_is_shown_once() {
    let schema = event::schema();
    let types = schema["then"]["oneOf"].as_array().unwrap();
    let known: BTreeSet<&str> =
        types.iter().map(|kind| kind["properties"]["type"]["const"].as_str().unwrap()).collect();
    let shown: Vec<String> = envelopes().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
    assert_eq!(shown.len(), known.len());
    assert_eq!(shown.iter().map(String::as_str).collect::<BTreeSet<_>>(), known);
}
