//! The journal: looked into before a call, and written before its answer is given.

use axum::http::StatusCode;
use segue_core::{
    outcome::Usage,
    ports::{CallKey, RecordedCall},
};
use serde_json::Value;

use super::Call;
use crate::{ask::Endpoint, upstream::Caller};

/// The answer that an earlier attempt was given to this very call. A journal that cannot be read costs money, and no task.
pub(super) async fn find(call: &Call) -> Option<RecordedCall> {
    let key: &CallKey = call.place.key();
    if call.account.caller.attempt == key.since {
        // The first of those that share their answers: there is none yet.
        return None;
    }
    if call.shared.accounts.is_doubtful(key) {
        return None;
    }
    call.shared.journal.recorded(key).await.unwrap_or_else(|error| {
        let Caller { run_id, task, attempt, .. } = &call.account.caller;
        tracing::warn!(%run_id, task_id = %task, attempt, %error, "the journal of model calls cannot be read");
        None
    })
}

/// Keeps an answer. Once begun it is finished, even if the client goes away meanwhile.
pub(super) async fn keep(call: &Call, content_type: &str, body: Vec<u8>, usage: Usage) {
    let recorded = RecordedCall {
        key: call.place.key().clone(),
        attempt: call.account.caller.attempt,
        model: call.ask.model.clone(),
        content_type: content_type.to_owned(),
        body,
        usage,
    };
    let (journal, caller) = (call.shared.journal.clone(), call.account.caller.clone());
    let recording = tokio::spawn(async move {
        if let Err(error) = journal.record(recorded).await {
            // The answer is paid for: to withhold it would only cost more.
            let Caller { run_id, task, attempt, .. } = caller;
            tracing::warn!(%run_id, task_id = %task, attempt, %error, "an answer of a model is not in the journal");
        }
    });
    if let Err(error) = recording.await {
        tracing::error!(%error, "the journal of model calls broke");
    }
}

/// Is it an answer that may be given again: whole, and of the endpoint's shape?
pub(super) fn is_answer(endpoint: Endpoint, status: StatusCode, answer: &Value) -> bool {
    let is_filled = |list: &Value| list.as_array().is_some_and(|items| !items.is_empty());
    let is_set = |field: &str| answer.get(field).is_some_and(|value| !value.is_null());
    status == StatusCode::OK
        && !is_set("error")
        && match endpoint {
            Endpoint::Chat => {
                is_filled(&answer["choices"])
                    && answer["choices"]
                        .as_array()
                        .is_some_and(|all| all.iter().all(|choice| choice["message"].is_object()))
            }
            Endpoint::Responses => {
                answer["output"].is_array() && !matches!(answer["status"].as_str(), Some("failed" | "cancelled"))
            }
            Endpoint::Embeddings => is_filled(&answer["data"]),
        }
}
