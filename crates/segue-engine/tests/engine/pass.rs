//! `pass` against the adapters' suite.

use std::sync::Arc;

use segue_engine::Pass;
use segue_testkit::conformance::adapter::{AdapterCases, Case, check_adapter};
use serde_json::json;

#[tokio::test]
async fn keeps_every_promise_of_an_adapter() {
    check_adapter(AdapterCases {
        adapter: Arc::new(Pass),
        succeeds: (Case::new("pass", json!({ "a": [1, null] })), json!({ "a": [1, null] })),
        fails: vec![],
        is_lost: vec![],
        endless: vec![],
        tells_context: None,
        counts_to: None,
        is_anything_left: Box::new(|| false),
    })
    .await;
}
