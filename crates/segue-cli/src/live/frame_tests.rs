#![allow(clippy::unwrap_used)]

use segue_core::{
    event::Envelope,
    ids::{RunId, TaskId, WorkflowId},
    spec::WorkflowSpec,
};
use serde_json::{Value, json};

use super::*;

const RUN: RunId = RunId::from_bytes([7; 16]);
const LARGE: Size = Size { columns: 80, rows: 24 };

fn event(seq: u64, name: &str, task: Option<&str>, data: Value) -> Envelope {
    Envelope {
        seq,
        name: name.to_owned(),
        time: Timestamp::from_micros(i64::try_from(seq).unwrap() * 1_000_000),
        workflow_id: WorkflowId::new("w"),
        run_id: RUN,
        task_id: task.map(TaskId::from),
        attempt: task.map(|_| 1),
        data,
        transient: false,
    }
}

fn view(document: Value) -> RunView {
    let spec: WorkflowSpec = serde_json::from_value(document).unwrap();
    let mut view = RunView::new(&spec, "pass");
    view.apply(&event(1, "run.created", None, json!({})));
    view.apply(&event(2, "run.started", None, json!({})));
    view
}

/// Takes in `name task` a second, from the third on; `task.mapped m 3` has a number.
fn tell(view: &mut RunView, story: &[&str]) {
    for (at, line) in story.iter().enumerate() {
        let mut words = line.split(' ');
        let (name, task, n) = (words.next().unwrap(), words.next(), words.next());
        let n: u64 = n.map_or(0, |n| n.parse().unwrap());
        let data = match name {
            "task.failed" => json!({"error": {"kind": "exit", "message": "code 1"}}),
            _ => json!({"n": n, "iteration": n}),
        };
        view.apply(&event(at as u64 + 3, name, task, data));
    }
}

fn shown(view: &RunView, seconds: i64) -> Vec<String> {
    frame(view, Timestamp::from_micros(seconds * 1_000_000), LARGE, Paint::none())
}

fn chain(n: usize) -> Value {
    let nodes: Vec<Value> = (0..n)
        .map(|at| match at {
            0 => json!({"id": "t0"}),
            at => json!({"id": format!("t{at}"), "depends_on": [format!("t{}", at - 1)]}),
        })
        .collect();
    json!({"id": "w", "name": "A chain", "nodes": nodes})
}

#[test]
fn a_small_run_is_shown_whole() {
    let mut view = view(chain(2));
    view.apply(&event(3, "task.started", Some("t0"), json!({})));
    view.apply(&event(5, "task.succeeded", Some("t0"), json!({"usage": {"input_tokens": 10, "output_tokens": 2}})));
    view.apply(&event(5, "task.started", Some("t1"), json!({})));
    assert_eq!(
        shown(&view, 6),
        [
            "RUNNING A chain  1/2 done · 4.0 s · 12 tokens",
            "✔ SUCCEEDED  t0  2.0 s · 12 tokens",
            "◐ RUNNING    t1  1.0 s"
        ]
    );
}

/// What a worker or the gateway says along the way is an estimate; what counts is what the attempt has come to.
#[test]
fn tokens_are_those_of_the_outcome_even_if_that_is_less() {
    let mut view = view(chain(1));
    view.apply(&event(3, "task.started", Some("t0"), json!({})));
    let call = |tokens: u64, replayed: bool| Envelope {
        transient: true,
        ..event(
            4,
            "model.call",
            Some("t0"),
            json!({"model": "m", "outcome": "answered", "input_tokens": tokens, "replayed": replayed}),
        )
    };
    view.apply(&call(30, false));
    view.apply(&call(70, true));
    assert_eq!(shown(&view, 4)[0], "RUNNING A chain  0/1 done · 2.0 s · 30 tokens");
    view.apply(&event(5, "task.succeeded", Some("t0"), json!({"usage": {"input_tokens": 10}})));
    assert_eq!(shown(&view, 6)[0], "RUNNING A chain  1/1 done · 4.0 s · 10 tokens");
}

#[test]
fn a_large_run_fits_and_shows_what_matters() {
    let mut view = view(chain(10_000));
    tell(&mut view, &["task.failed t7000", "task.started t9000"]);
    let now = Timestamp::from_micros(4_000_000);
    for size in [Size { columns: 80, rows: 10 }, Size { columns: 20, rows: 4 }] {
        let lines = frame(&view, now, size, Paint::none());
        assert!(lines.len() < size.rows, "{lines:#?}");
        assert!(lines.iter().all(|line| chars(line) < size.columns), "{lines:#?}");
        assert!(lines[1].contains("RUNNING"), "{lines:#?}");
    }
    let lines = frame(&view, now, Size { columns: 80, rows: 10 }, Paint::none());
    assert_eq!(lines[2], "✘ FAILED     t7000  exit: code 1");
    assert_eq!(lines[8], "  … and 9,993 tasks: 9993 pending");
}

#[test]
fn instances_are_counted_and_the_interesting_ones_shown() {
    let mut view = view(json!({"id": "w", "nodes": [
        {"id": "list"},
        {"id": "m", "depends_on": ["list"], "foreach": "nodes.list.output", "parallelism": 2},
    ]}));
    tell(&mut view, &["task.started list", "task.succeeded list", "task.mapped m 20"]);
    for at in 0..12 {
        let id = format!("m[{at}]");
        let end = if at == 5 { "task.failed" } else { "task.succeeded" };
        tell(&mut view, &["", "", "", &format!("task.started {id}"), &format!("{end} {id}")][3..]);
    }
    tell(&mut view, &["task.started m[12]", "task.started m[13]"]);
    assert_eq!(
        shown(&view, 9),
        [
            "RUNNING w  1/2 done · 7.0 s",
            "✔ SUCCEEDED  list     1.0 s",
            "◐ RUNNING    m        12/20, 1 failed · 4.0 s",
            "◐ RUNNING      m[12]  6.0 s",
            "◐ RUNNING      m[13]  5.0 s",
            "✘ FAILED       m[5]   1.0 s  exit: code 1",
        ]
    );
}

#[test]
fn loops_say_which_iteration_it_is() {
    let mut view = view(json!({"id": "w", "nodes": [
        {"id": "g", "repeat": {"max_iterations": 5}, "group": {"nodes": [
            {"id": "x"},
            {"id": "y", "depends_on": ["x"]},
        ]}},
        {"id": "a", "depends_on": ["g"]},
        {"id": "b", "depends_on": ["a"]},
    ], "edges": [{"from": "b", "to": "a", "max_iterations": 3}]}));
    let first = ["loop.iterated g 1", "task.started g#1/x", "task.succeeded g#1/x", "task.started g#1/y"];
    tell(&mut view, &first);
    tell(&mut view, &["task.succeeded g#1/y", "loop.iterated g 2", "task.started g#2/x"]);
    assert_eq!(
        shown(&view, 6),
        [
            "RUNNING w  0/3 done · 4.0 s",
            "◐ RUNNING    g    #2/5 · 3.0 s",
            "◐ RUNNING    ┊ x  1.0 s",
            "· PENDING    ┊ y",
            "· PENDING    a",
            "· PENDING    b",
        ]
    );
    tell(&mut view, &["task.succeeded g#2/x", "task.started g#2/y", "task.succeeded g#2/y", "task.succeeded g"]);
    tell(&mut view, &["task.started a", "task.succeeded a", "task.started b", "task.succeeded b"]);
    tell(&mut view, &["loop.iterated b 2", "task.started a"]);
    assert_eq!(
        shown(&view, 6)[1..],
        [
            "✔ SUCCEEDED  g    #2/5 · 3.0 s",
            "✔ SUCCEEDED  ┊ x  0 ms",
            "✔ SUCCEEDED  ┊ y  1.0 s",
            "◐ RUNNING    a    2.0 s",
            "· PENDING    b    #2"
        ]
        .map(str::to_owned)
    );
}

#[test]
fn members_of_instances_are_counted() {
    let mut view = view(json!({"id": "w", "nodes": [
        {"id": "g", "foreach": [1, 2, 3], "group": {"nodes": [{"id": "x"}, {"id": "y", "depends_on": ["x"]}]}},
    ]}));
    let story = ["task.mapped g 3", "task.started g[0]", "task.started g[0]/x", "task.succeeded g[0]/x"];
    tell(&mut view, &story);
    tell(&mut view, &["task.started g[0]/y", "task.failed g[0]/y", "task.started g[1]/x"]);
    assert_eq!(
        shown(&view, 6)[1..],
        [
            "◐ RUNNING    g           0/3 · 3.0 s",
            "◐ RUNNING    ┊ x         1/3",
            "◐ RUNNING    ┊   g[1]/x  1.0 s",
            "◐ RUNNING    ┊ y         1/3, 1 failed",
            "✘ FAILED     ┊   g[0]/y  1.0 s  exit: code 1",
        ]
        .map(str::to_owned)
    );
}

#[test]
fn a_question_says_how_to_answer_it() {
    let mut view = view(json!({"id": "w", "nodes": [{"id": "sign", "approval": {"title": "May it go out?"}}]}));
    let question = json!({"kind": "approval", "title": "May it go out?"});
    view.apply(&event(3, "task.waiting", Some("sign"), question));
    view.apply(&event(4, "run.waiting", None, json!({})));
    assert_eq!(
        shown(&view, 6),
        [
            "WAITING w  0/1 done · 4.0 s",
            "⏸ WAITING    sign  3.0 s  for an answer: \"May it go out?\"",
            "answer: segue approve 07070707-0707 sign   (or: segue reject)",
        ]
    );
    view.apply(&event(5, "task.signaled", Some("sign"), json!({"data": {"decision": "approve"}})));
    view.apply(&event(5, "task.succeeded", Some("sign"), json!({})));
    assert_eq!(shown(&view, 6), ["RUNNING w  1/1 done · 4.0 s", "✔ SUCCEEDED  sign  2.0 s"]);
}

/// As the log has it: a time that comes ends the waiting of its own task, and says nothing of the others.
#[test]
fn a_run_waits_on_when_one_of_two_has_what_it_waited_for() {
    let mut view = view(json!({"id": "w", "nodes": [
        {"id": "pause", "wait": {"seconds": 1}},
        {"id": "paid", "wait": {"event": "paid"}},
        {"id": "send", "depends_on": ["pause"]},
    ]}));
    for task in ["pause", "paid"] {
        view.apply(&event(3, "task.waiting", Some(task), json!({"kind": "event", "event": task})));
    }
    view.apply(&event(3, "run.waiting", None, json!({})));
    tell(&mut view, &["task.succeeded pause"]);
    assert_eq!(view.status, Status::Waiting);
    tell(&mut view, &["task.started send"]);
    assert_eq!(view.status, Status::Running);
}

#[test]
fn what_is_there_for_a_failure_is_shown_when_it_is_needed() {
    let document =
        json!({"id": "w", "nodes": [{"id": "a"}], "on_failure": [{"id": "tell"}], "finally": [{"id": "close"}]});
    let mut view = view(document);
    tell(&mut view, &["task.started a"]);
    assert_eq!(
        shown(&view, 4)[1..],
        ["◐ RUNNING    a        1.0 s", "  finally:", "· PENDING      close"].map(str::to_owned)
    );
    tell(&mut view, &["task.failed a", "task.started tell"]);
    assert_eq!(
        shown(&view, 4)[1..],
        [
            "✘ FAILED     a        0 ms  exit: code 1",
            "  on failure:",
            "◐ RUNNING      tell   0 ms",
            "  finally:",
            "· PENDING      close"
        ]
        .map(str::to_owned)
    );
}

/// Ten thousand instances: an event costs what it costs in a run of ten, and the picture stays small.
#[test]
fn many_instances_stay_a_few_lines() {
    let mut view = view(json!({"id": "w", "nodes": [{"id": "m", "foreach": "params.all", "parallelism": 100}]}));
    tell(&mut view, &["task.mapped m 10000"]);
    for at in 0..10_000 {
        tell(&mut view, &[&format!("task.started m[{at}]")]);
        if at >= 100 {
            tell(&mut view, &[&format!("task.succeeded m[{}]", at - 100)]);
        }
    }
    let lines = shown(&view, 6);
    assert_eq!(lines[1], "◐ RUNNING    m          9,900/10,000 · 3.0 s");
    assert_eq!(lines.len(), 6);
    assert!(lines[5].ends_with("(and 96 more)"), "{lines:#?}");
}

#[test]
fn what_a_limit_keeps_from_beginning_says_so() {
    let mut view = view(json!({"id": "w", "nodes": [{"id": "a"}, {"id": "b", "name": "The second"}, {"id": "m"}]}));
    tell(&mut view, &["task.started a", "task.mapped m 3", "task.started m[0]"]);
    for node in ["a", "b", "m"] {
        view.limit_waits.insert(node.to_owned(), "the limit site: 1 of 1 run".to_owned());
    }
    let lines = shown(&view, 6);
    assert!(lines[1].contains("── a ") && !lines[1].contains("limit"), "it has begun: {lines:?}");
    let of = |node: &str| lines.iter().find(|line| line.contains(node)).unwrap().as_str();
    let b = of("── b ");
    assert!(b.starts_with("· PENDING") && b.ends_with("  waits for the limit site: 1 of 1 run"), "{b}");
    assert!(of("── m ").ends_with("waits for the limit site: 1 of 1 run"), "some of them have not: {lines:?}");
}
