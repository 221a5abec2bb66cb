//! Requests to a server of the test's own.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use segue_core::{
    outcome::{TaskError, TaskOutcome},
    ports::Adapter,
};
use segue_http::{HttpAdapter, HttpOptions};
use segue_testkit::{conformance::adapter::Case, web::WebServer};
use serde_json::{Value, json};

pub fn adapter() -> HttpAdapter {
    HttpAdapter::new(HttpOptions::default())
}

/// A request that may reach 127.0.0.1.
pub fn case(inputs: Value) -> Case {
    with_hints(inputs, json!({}))
}

/// With further hints.
pub fn with_hints(inputs: Value, mut hints: Value) -> Case {
    hints["allow_private"] = json!(["127.0.0.1"]);
    Case::new("http.request", inputs).with_hints(json!({ "http": hints }))
}

/// A GET of this path.
pub fn get(server: &WebServer, path: &str) -> Case {
    case(json!({ "url": server.url(path) }))
}

pub async fn run(case: &Case) -> TaskOutcome {
    adapter().execute(case.invocation("task", 1).0).await
}

pub async fn output(case: &Case) -> Value {
    match run(case).await {
        TaskOutcome::Succeeded { output, .. } => (**output.value().unwrap()).clone(),
        other => panic!("{case:?}: {other:?}"),
    }
}

pub async fn error(case: &Case) -> TaskError {
    match run(case).await {
        TaskOutcome::Failed { error, .. } => error,
        other => panic!("{case:?}: {other:?}"),
    }
}
