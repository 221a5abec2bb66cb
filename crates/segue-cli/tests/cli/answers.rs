//! What waits for somebody: seen, answered, refused, from other processes and over restarts.

use crate::support::{Place, end_of, until};
use serde_json::json;

/// A question with a form, then a task that uses the answer.
const PAY: &str = r#"
id: pay
nodes:
  - id: sign
    approval:
      title: "Pay?"
      message: "It is about tea."
      form:
        amount: { type: integer, minimum: 1 }
        note: { type: string, default: none }
  - id: paid
    task: pass
    depends_on: [sign]
    inputs: { amount: "{{ nodes.sign.output.form.amount }}", note: "{{ nodes.sign.output.form.note }}" }
"#;

#[test]
fn a_question_ends_the_command_and_its_answer_goes_on() {
    let place = Place::new();
    place.write("pay.yaml", PAY);
    let ran = place.segue(&["run", "pay.yaml"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    for part in ["sign waits for an answer: \"Pay?\"", "segue approve ", " sign --form amount=… --form note=…"] {
        assert!(ran.stderr.contains(part), "`{part}` is missing: {ran:#?}");
    }
    let listed = place.json(&["approvals", "list", "--json"]);
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["task_id"], "sign");
    assert_eq!(listed["items"][0]["waiting"]["kind"], "approval");
    let shown = place.segue(&["approvals", "show", "@last"]);
    assert_eq!(shown.code, 0, "{shown:#?}");
    for part in ["Pay?", "It is about tea.", "amount: integer, at least 1, required", "note: string, default \"none\""]
    {
        assert!(shown.stdout.contains(part), "`{part}` is missing: {shown:#?}");
    }
    let shown = place.segue(&["runs", "show", "@last"]).stdout;
    assert!(shown.contains("WAITING    sign") && shown.contains("answer with: segue approve "), "{shown}");

    let ran = place.segue(&["approve", "@last", "--form", "amount=20", "--by", "ann", "--comment", "fine"]);
    assert_eq!(ran.code, 0, "the run goes on here: {ran:#?}");
    let document = place.json(&["runs", "show", "@last", "--json"]);
    assert_eq!(document["status"], "SUCCEEDED");
    assert_eq!(document["outputs"]["paid"], json!({"amount": 20, "note": "none"}));
    assert_eq!(document["tasks"]["sign"]["output"]["by"], "ann");
    assert_eq!(document["tasks"]["sign"]["output"]["comment"], "fine");
    assert_eq!(place.json(&["approvals", "list", "--json"]), json!({"items": []}));
    let ran = place.segue(&["approvals", "list"]);
    assert!(ran.stderr.contains("nothing waits for an answer"), "{ran:#?}");
}

#[test]
fn a_second_answer_is_told_who_was_first() {
    let place = Place::new();
    place.write("pay.yaml", PAY);
    assert_eq!(place.segue(&["submit", "pay.yaml"]).code, 0);
    assert_eq!(place.segue(&["resume", "@last"]).code, 6);
    let ran = place.segue(&["approve", "@last", "sign", "--form", "amount=1", "--by", "ann", "--no-wait"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("segue resume "), "{ran:#?}");
    let ran = place.segue(&["reject", "@last", "sign", "--by", "bob"]);
    assert_eq!(ran.code, 10, "it is not taken yet, and counts all the same: {ran:#?}");
    assert!(ran.stderr.contains("answered by ann"), "{ran:#?}");
    assert_eq!(place.segue(&["resume", "@last"]).code, 0);
    let ran = place.segue(&["reject", "@last", "sign", "--by", "bob", "--json"]);
    assert_eq!(ran.code, 10, "{ran:#?}");
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["code"], "conflict");
    assert!(error["error"]["message"].as_str().unwrap().contains("answered by ann at "), "{error:#}");
}

#[test]
fn an_answer_that_does_not_fit_says_what_would() {
    let place = Place::new();
    place.write("pay.yaml", PAY);
    assert_eq!(place.segue(&["run", "pay.yaml", "--no-wait"]).code, 6);
    let ran = place.segue(&["approve", "@last", "--form", "amuont=0", "--form", "note=x"]);
    assert_eq!(ran.code, 3, "{ran:#?}");
    for part in
        ["the form has no field `amuont`", "the field `amount` is missing", "help: --form amount: integer, at least 1"]
    {
        assert!(ran.stderr.contains(part), "`{part}` is missing: {ran:#?}");
    }
    let ran = place.segue(&["approve", "@last", "--form", "amount=none"]);
    assert!(ran.code == 3 && ran.stderr.contains("`amount` does not fit"), "{ran:#?}");
    let ran = place.segue(&["approve", "@last", "--form", "amount"]);
    assert!(ran.code == 2 && ran.stderr.contains("--form amount=VALUE"), "{ran:#?}");
    let ran = place.segue(&["approve", "@last", "sing"]);
    assert!(ran.code == 7 && ran.stderr.contains("these wait: sign"), "{ran:#?}");
    assert_eq!(place.json(&["runs", "show", "@last", "--json"])["status"], "WAITING", "nothing of that counted");
}

#[test]
fn a_no_is_a_failure_unless_the_workflow_goes_on() {
    let place = Place::new();
    place.write("pay.yaml", PAY);
    assert_eq!(place.segue(&["run", "pay.yaml"]).code, 6);
    let ran = place.segue(&["reject", "@last", "--by", "bob"]);
    assert_eq!(ran.code, 4, "{ran:#?}");
    assert!(ran.stderr.contains("bob said no"), "{ran:#?}");
}

#[test]
fn only_those_who_may_answer_do() {
    let place = Place::new();
    let document = "id: w\nnodes:\n  - { id: a, approval: { title: Go?, approvers: [ann, eve] } }\n";
    place.write("w.yaml", document);
    assert_eq!(place.segue(&["run", "w.yaml"]).code, 6);
    let ran = place.segue(&["approve", "@last", "--by", "bob"]);
    assert!(ran.code == 3 && ran.stderr.contains("ann, eve"), "{ran:#?}");
    assert_eq!(place.segue(&["approve", "@last", "--by", "eve"]).code, 0);
}

#[test]
fn an_event_is_sent_by_its_name() {
    let place = Place::new();
    let document = "id: w\nnodes:\n  - { id: a, wait: { event: paid, match: output.amount > 10 } }\n  - { id: b, task: pass, depends_on: [a], inputs: { got: \"{{ nodes.a.output.amount }}\" } }\n";
    place.write("w.yaml", document);
    let ran = place.segue(&["run", "w.yaml"]);
    assert!(ran.code == 6 && ran.stderr.contains("segue signal "), "{ran:#?}");
    let ran = place.segue(&["signal", "@last", "paid", "--data", "{\"amount\": 5}"]);
    assert_eq!(ran.code, 10, "it does not match: {ran:#?}");
    let ran = place.segue(&["signal", "@last", "paid", "--data", "{amount: 5}"]);
    assert!(ran.code == 2 && ran.stderr.contains("not JSON"), "{ran:#?}");
    let ran = place.segue(&["approve", "@last", "a"]);
    assert!(ran.code == 2 && ran.stderr.contains("segue signal "), "{ran:#?}");
    let ran = place.segue(&["signal", "@last", "paid", "--data", "{\"amount\": 50}", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["outputs"]["b"], json!({"got": 50}));
}

/// Whoever carries the run out hears the answer of another process.
#[test]
fn a_live_run_takes_the_answer_of_another_process() {
    let place = Place::new();
    // The branch beside the question keeps the process there.
    place.write("both.yaml", "id: both\nnodes:\n  - { id: sign, approval: { title: Go? } }\n  - { id: go, task: process.run, depends_on: [sign], inputs: { argv: [touch, go] } }\n  - id: work\n    task: process.run\n    inputs: { argv: [sh, -c, 'while [ ! -e go ]; do sleep 0.02; done'] }\n");
    let child = place.spawn(&["run", "both.yaml", "--json"]);
    until("it waits", || {
        let shown = place.segue(&["approvals", "list", "--json"]);
        (shown.code == 0 && shown.document()["items"] != json!([])).then_some(())
    });
    let ran = place.segue(&["approve", "@last"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert!(ran.stderr.contains("sign is answered at "), "{ran:#?}");
    let ran = end_of(child);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["tasks"]["sign"]["output"]["decision"], "approve");
}

#[test]
fn a_failure_that_pauses_is_decided_about() {
    let place = Place::new();
    let document = "id: w\nnodes:\n  - id: a\n    task: process.run\n    retry_policy: { max_attempts: 1 }\n    on_failure: { action: pause }\n    inputs: { argv: [sh, -c, 'echo x >> log; test -e fixed'] }\n";
    place.write("w.yaml", document);
    let ran = place.segue(&["run", "w.yaml"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    assert!(ran.stderr.contains("a waits for a decision: exit: "), "{ran:#?}");
    assert_eq!(place.segue(&["approve", "@last"]).code, 6, "tried again, and failed again");
    place.write("fixed", "");
    assert_eq!(place.segue(&["approve", "@last"]).code, 0);
    assert_eq!(place.read("log"), "x\nx\nx\n");
    std::fs::remove_file(place.file("fixed")).unwrap();
    assert_eq!(place.segue(&["run", "w.yaml"]).code, 6);
    let ran = place.segue(&["signal", "@last", "a", "--data", "{\"decision\": \"continue\", \"output\": 7}", "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["outputs"]["a"], 7);
    assert_eq!(place.segue(&["run", "w.yaml"]).code, 6);
    assert_eq!(place.segue(&["reject", "@last"]).code, 4);
}

#[test]
fn several_questions_must_be_told_apart() {
    let place = Place::new();
    place.write(
        "two.yaml",
        "id: two\nnodes:\n  - { id: a, approval: { title: A? } }\n  - { id: b, approval: { title: B? } }\n",
    );
    assert_eq!(place.segue(&["run", "two.yaml"]).code, 6);
    let ran = place.segue(&["approve", "@last"]);
    assert!(ran.code == 2 && ran.stderr.contains("help: name one of them: a, b"), "{ran:#?}");
    assert_eq!(place.segue(&["approve", "@last", "a"]).code, 6, "b still waits");
    assert_eq!(place.segue(&["approve", "@last"]).code, 0, "only one is left");
    let ran = place.segue(&["approve", "@last"]);
    assert!(ran.code == 10 && ran.stderr.contains("nothing in run"), "{ran:#?}");
}

/// Times and retries come by themselves and are waited for; people and signals are not, whether or not their time ends.
#[test]
fn times_are_waited_for_and_people_are_not() {
    let place = Place::new();
    place.write("time.yaml", "id: time\nnodes:\n  - { id: a, wait: { seconds: 0.3 } }\n");
    assert_eq!(place.segue(&["run", "time.yaml"]).code, 0);
    assert_eq!(place.segue(&["run", "time.yaml", "--no-wait"]).code, 0);
    let retried = "id: retried\nnodes:\n  - id: a\n    task: process.run\n    retry_policy: { max_attempts: 3, initial_interval_seconds: 0.3, retry_on: [exit] }\n    inputs: { argv: [sh, -c, 'echo x >> tries; test $(wc -l < tries) = 2'] }\n";
    place.write("retried.yaml", retried);
    assert_eq!(place.segue(&["run", "retried.yaml", "--no-wait"]).code, 0);

    for (kind, work) in
        [("question", "approval: { title: Go?, on_timeout: approve }"), ("event", "wait: { event: paid }")]
    {
        let file = format!("{kind}.yaml");
        place.write(&file, &format!("id: {kind}\nnodes:\n  - {{ id: a, timeout_seconds: 604800, {work} }}\n"));
        for given in [&[][..], &["--no-wait"], &["--rehearse"], &["--json"]] {
            let ran = place.segue(&[&["run", file.as_str()], given].concat());
            assert_eq!(ran.code, 6, "{kind} {given:?}: {ran:#?}");
            for part in ["    segue ", " (UTC)\n", "when the time for one has passed: segue resume "] {
                assert!(ran.stderr.contains(part), "`{part}` is missing: {ran:#?}");
            }
        }
        assert_eq!(place.segue(&["resume", "@last"]).code, 6);
    }

    // Once the time has come, only the event is left to wait for.
    let document = "id: both\nnodes:\n  - { id: a, wait: { seconds: 0.3 } }\n  - { id: b, timeout_seconds: 600, wait: { event: paid } }\n";
    place.write("both.yaml", document);
    let ran = place.segue(&["run", "both.yaml", "--json"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    assert_eq!(ran.document()["tasks"]["a"]["status"], "SUCCEEDED");
}

/// The time for an answer may pass while no process is there; whoever comes next sees to it.
#[test]
fn the_end_of_the_time_for_an_answer_comes_with_the_next_command() {
    let place = Place::new();
    let document =
        "id: due\nnodes:\n  - { id: a, timeout_seconds: 0.5, approval: { title: Go?, on_timeout: approve } }\n";
    place.write("due.yaml", document);
    assert_eq!(place.segue(&["run", "due.yaml"]).code, 6);
    let ran = until("its time has passed", || {
        let ran = place.segue(&["resume", "@last", "--json"]);
        (ran.code != 6).then_some(ran)
    });
    assert_eq!(ran.code, 0, "{ran:#?}");
    assert_eq!(ran.document()["outputs"]["a"]["timed_out"], true);
}

/// A question in a child run: the parent says whose it is, and an answer there moves both.
#[test]
fn a_question_of_a_child_run_is_everybodys() {
    let place = Place::new();
    place.write("parent.yaml", "id: parent\nnodes:\n  - { id: ask, workflow: { id: child } }\n  - { id: then, task: pass, depends_on: [ask], inputs: { x: \"{{ nodes.ask.output.said }}\" } }\n");
    place.write("child.yaml", "id: child\nnodes:\n  - { id: sign, approval: { title: Go? } }\noutputs: { said: \"{{ nodes.sign.output.decision }}\" }\n");
    let ran = place.segue(&["run", "parent.yaml"]);
    assert_eq!(ran.code, 6, "{ran:#?}");
    assert!(ran.stderr.contains("sign waits for an answer: \"Go?\""), "{ran:#?}");
    let listed = place.json(&["approvals", "list", "--json"]);
    let child = listed["items"][0]["run_id"].as_str().unwrap();
    let ran = place.segue(&["approve", child, "--json"]);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let document = ran.document();
    assert_eq!(document["workflow_id"], "parent", "the whole is seen to its end: {document:#}");
    assert_eq!(document["outputs"]["then"], json!({"x": "approve"}));
    assert_eq!(document["children"][0]["run_id"], child);
    let shown = place.json(&["runs", "show", child, "--json"]);
    assert_eq!(shown["parent"]["run_id"], document["run_id"]);
    assert_eq!(shown["parent"]["task_id"], "ask");
}
