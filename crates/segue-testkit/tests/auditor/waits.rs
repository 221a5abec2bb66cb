//! What waits for a person, or for another run; results that fit or do not.

use segue_testkit::auditor::Rule;
use serde_json::{Value, json};

use crate::log::{bad, good};

fn one(more: Value) -> Value {
    let mut node = json!({ "id": "a", "retry_policy": { "max_attempts": 1, "jitter": "none" } });
    node.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "id": "w", "nodes": [node] })
}

#[test]
fn a_failure_waits_where_the_document_says_so() {
    let paused = || one(json!({ "on_failure": { "action": "pause" } }));
    let failed = "a:starts@1 a:pauses=auth waiting";
    let retry = r#"a:says={"decision":"retry"}"#;
    let goes_on = r#"a:says={"decision":"continue","output":1}"#;
    good(paused(), &format!(r#"{failed} {retry} a:starts@2 a:succeeds@2=1 succeeded={{"a":1}}"#));
    good(paused(), &format!(r#"{failed} {goes_on} a:continues=auth/1 succeeded={{"a":1}}"#));
    good(paused(), &format!(r#"{failed} a:says={{"decision":"fail"}} a:fails=auth failed=auth/a"#));
    bad(Rule::Paused, paused(), "a:starts@1 a:fails@1=auth");
    bad(Rule::Paused, one(json!({})), failed);
    bad(Rule::Paused, paused(), &format!("{failed} a:fails=auth"));
    bad(Rule::Paused, paused(), &format!(r#"{failed} a:says={{"decision":"fail"}} a:fails=timeout"#));
    bad(Rule::ContinueWith, paused(), &format!("{failed} {goes_on} a:continues=auth/2"));
    bad(Rule::Answer, paused(), &format!(r#"{failed} a:says={{"decision":"approve"}}"#));
    bad(Rule::Settled, paused(), &format!("{failed} {goes_on}"));
    bad(Rule::Ready, paused(), &format!("{failed} a:starts@2"));
    let tried = || one(json!({ "on_failure": { "action": "pause" }, "retry_policy": { "max_attempts": 2 } }));
    bad(Rule::Retry, tried(), "a:starts@1 a:pauses=provider");
}

#[test]
fn a_question_ends_its_attempt() {
    let asks = "a:starts@1 a:asks@1 waiting";
    good(one(json!({})), &format!(r#"{asks} a:says={{"answers":{{"answer":1}}}} a:starts@2"#));
    good(one(json!({})), &format!(r#"{asks} a:says={{"decision":"reject"}} a:fails=rejected failed=rejected/a"#));
    bad(Rule::Answer, one(json!({})), &format!(r#"{asks} a:says={{"answers":{{}}}}"#));
    bad(Rule::Attempt, one(json!({})), &format!("{asks} a:succeeds@1=1"));
    bad(Rule::Attempt, one(json!({})), "a:asks@1");
}

#[test]
fn a_child_run_is_the_documents_and_one() {
    let parent = || {
        one(json!({ "workflow": { "id": "letter" }, "timeout_seconds": 9,
            "retry_policy": { "max_attempts": 2, "initial_interval_seconds": 1, "jitter": "none" } }))
    };
    let waits = "a:starts@1 a:awaits@1=7 waiting";
    good(parent(), &format!(r#"{waits} a:succeeds@1=1 succeeded={{"a":1}}"#));
    good(parent(), &format!("{waits} a:retries@1=provider/1 +1 a:starts@2 a:awaits@2=7 waiting"));
    bad(Rule::Child, parent(), &format!("{waits} a:retries@1=provider/1 +1 a:starts@2 a:awaits@2=8"));
    bad(Rule::Child, parent(), &format!("{waits} a:awaits@1=7"));
    bad(Rule::Child, one(json!({})), "a:starts@1 a:awaits@1=7");
    bad(Rule::Child, one(json!({ "workflow": { "id": "letter", "detach": true } })), "a:starts@1 a:awaits@1=7");
    bad(Rule::Child, one(json!({ "workflow": { "id": "other" } })), "a:starts@1 a:awaits@1=7");
    bad(Rule::Attempt, parent(), "a:starts@1 a:awaits@2=7");
    good(parent(), &format!("{waits} cancelling=request a:cancels@1 cancelled"));
    bad(Rule::End, parent(), &format!("{waits} cancelling=request cancelled"));
    bad(Rule::Attempt, parent(), &format!("{waits} cancelling=request a:cancels"));
}

#[test]
fn a_result_fits_its_schema() {
    let typed = || one(json!({ "output_schema": { "type": "object", "properties": { "n": { "type": "integer" } } } }));
    good(typed(), r#"a:starts@1 a:succeeds@1={"n":1} succeeded={"a":{"n":1}}"#);
    bad(Rule::Schema, typed(), r#"a:starts@1 a:succeeds@1={"n":"one"}"#);
    bad(Rule::Schema, typed(), "a:starts@1 a:succeeds@1=1");
    good(typed(), "a:starts@1 a:fails@1=model_output failed=model_output/a");
}

#[test]
fn old_results_are_taken_over_before_anything_runs() {
    let document = || {
        json!({ "id": "w",
            "nodes": [{ "id": "a" }, { "id": "b", "depends_on": ["a"] }, { "id": "c", "depends_on": ["b"] }],
            "edges": [{ "from": "b", "to": "a", "max_iterations": 3 }] })
    };
    let again = "created=again started";
    good(document(), &format!("{again} a:reuses=1 b:reuses=2 c:starts@1"));
    bad(Rule::Reused, document(), "a:reuses=1");
    bad(Rule::Reused, document(), &format!("{again} b:reuses=2"));
    bad(Rule::Reused, document(), &format!("{again} a:reuses=1"));
    bad(Rule::Reused, document(), &format!("{again} a:starts@1 a:reuses=1"));
    bad(Rule::Reused, document(), &format!("{again} a:reuses=1 b:reuses=2 +1 c:reuses=3"));
    bad(Rule::Reused, document(), &format!("{again} a:reuses@1=1"));
    bad(Rule::TaskEnded, document(), &format!("{again} a:reuses=1 b:reuses=2 b:iterates=2"));
}
