//! What runs at the end of a run: the nodes of `on_failure` and of `finally`.

use segue_testkit::auditor::Rule;
use serde_json::{Value, json};

use crate::log::{bad, good};

fn staged() -> Value {
    json!({ "id": "w", "timeout_seconds": 100, "nodes": [{ "id": "a", "retry_policy": { "max_attempts": 1 } }],
        "on_failure": [{ "id": "t", "when": "error.kind == \"auth\"" }],
        "finally": [{ "id": "f", "when": "run.status != \"RUNNING\"" }] })
}

const WELL: &str = "a:starts@1 a:succeeds@1=1 t:skips=nothing_failed";
const BADLY: &str = "a:starts@1 a:fails@1=auth";
const STOPPED: &str = "a:starts@1 cancelling=request a:cancels@1 t:skips=nothing_failed";

#[test]
fn the_end_follows_what_is_before_it() {
    good(staged(), &format!(r#"{WELL} f:starts@1 f:succeeds@1=2 succeeded={{"a":1}}"#));
    good(staged(), &format!("{BADLY} t:starts@1 t:succeeds@1=2 f:starts@1 f:succeeds@1=2 failed=auth/a"));
    bad(Rule::Ready, staged(), "f:starts@1");
    bad(Rule::Ready, staged(), "a:starts@1 a:succeeds@1=1 t:starts@1");
    bad(Rule::Settled, staged(), "a:starts@1 a:succeeds@1=1");
    bad(Rule::Ready, staged(), &format!("{BADLY} f:starts@1"));
    bad(Rule::Skip, staged(), &format!("{BADLY} t:skips=nothing_failed"));
    bad(Rule::End, staged(), &format!(r#"{WELL} succeeded={{"a":1}}"#));
    bad(Rule::Skip, staged(), &format!("{WELL} f:skips=when"));
}

#[test]
fn the_end_decides_about_the_run_only_if_all_went_well_before() {
    good(staged(), &format!("{WELL} f:starts@1 f:fails@1=auth failed=auth/f"));
    bad(Rule::End, staged(), &format!(r#"{WELL} f:starts@1 f:fails@1=auth succeeded={{"a":1}}"#));
    let both = format!("{BADLY} t:starts@1 t:fails@1=quota f:starts@1 f:fails@1=budget");
    good(staged(), &format!("{both} failed=auth/a"));
    bad(Rule::End, staged(), &format!("{both} failed=budget/f"));
    bad(Rule::End, staged(), &format!("{both} failed=quota/t"));
}

#[test]
fn a_run_that_is_stopped_has_half_a_minute_for_its_end() {
    good(staged(), &format!("{STOPPED} f:starts@1 f:succeeds@1=1 cancelled"));
    bad(Rule::Settled, staged(), "a:starts@1 cancelling=request a:cancels@1");
    bad(Rule::Cancelling, staged(), "a:starts@1 cancelling=request a:cancels@1 t:cancels");
    bad(Rule::End, staged(), &format!("{STOPPED} cancelled"));
    good(staged(), &format!("{STOPPED} f:starts@1 cancelling=request f:cancels@1 cancelled"));
    good(staged(), &format!("{STOPPED} f:starts@1 +30 cancelling=deadline f:cancels@1 cancelled"));
    bad(Rule::Cause, staged(), &format!("{STOPPED} f:starts@1 +29 cancelling=deadline"));
    bad(Rule::Cancelling, staged(), &format!("{STOPPED} f:starts@1 f:cancels@1"));
    good(staged(), &format!("{WELL} f:starts@1 cancelling=request f:succeeds@1=1 cancelled"));
    bad(Rule::Cancelling, staged(), &format!("{WELL} f:starts@1 cancelling=request f:cancels@1"));
    bad(Rule::Cause, staged(), "a:starts@1 cancelling=request cancelling=request");
}

#[test]
fn reopening_goes_on_with_what_is_left_and_ends_anew() {
    let ended = format!("{WELL} f:starts@1 f:fails@1=auth failed=auth/f reopened t:skips=nothing_failed");
    good(staged(), &format!(r#"{ended} f:starts@2 f:succeeds@2=1 succeeded={{"a":1}}"#));
    bad(Rule::TaskEnded, staged(), &format!("{ended} a:starts@2"));
    bad(Rule::Attempt, staged(), &format!("{ended} f:starts@1"));
}
