//! Is the process alive, and is it ready for work? Two questions: what is not ready need not be started again.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use segue_core::ports::RunFilter;
use serde_json::{Value, json};

use crate::Served;

/// A store that takes longer is of no use to anybody who waits.
const STORE_PATIENCE: Duration = Duration::from_secs(2);

/// The process answers: that is all.
pub(crate) async fn healthz() -> impl IntoResponse {
    Json(json!({ "status": "ok" }))
}

/// 200 if the engine takes work now; else 503 with all reasons why not.
pub(crate) async fn readyz(State(served): State<Served>) -> Response {
    let reasons = reasons(&served).await;
    let ready = reasons.is_empty();
    let state = served.engine.state();
    let body = json!({
        "ready": ready,
        "engine_id": served.engine.id(),
        "runs_live": state.runs_live,
        "reasons": reasons,
    });
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn reasons(served: &Served) -> Vec<Value> {
    let reason = |check: &str, detail: String| json!({ "check": check, "detail": detail });
    let mut reasons = Vec::new();
    let state = served.engine.state();
    if let Some(why) = served.engine.failure() {
        reasons.push(reason("engine", format!("the store cannot be used, and the engine has stopped: {why}")));
    } else if state.draining {
        reasons.push(reason("engine", "the engine was asked to leave and takes no more work".to_owned()));
    }
    if !state.lease_valid {
        reasons.push(reason("lease", "the engine's lease has ended, and the store has not renewed it".to_owned()));
    }
    let look = served.engine.store().list_runs(RunFilter { limit: 1, ..RunFilter::default() });
    match tokio::time::timeout(STORE_PATIENCE, look).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => reasons.push(reason("store", error.to_string())),
        Err(_) => {
            reasons.push(reason("store", format!("no answer within {} s", STORE_PATIENCE.as_secs())));
        }
    }
    reasons
}
