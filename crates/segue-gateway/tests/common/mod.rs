//! A gateway before a stub of a provider, and attempts that call it.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used)]

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{CallKey, Invocation, ModelJournal, RecordedCall, StoreError},
};
use segue_gateway::{Gateway, GatewayOptions, ProviderKey, ProviderOptions};
use segue_testkit::{
    conformance::adapter::Case,
    http::{self, Reply},
    provider::StubProvider,
};
use serde_json::{Value, json};

pub const KEY: &str = "sk-canary-of-the-provider";

/// Keeps calls of runs that nobody has created.
#[derive(Default)]
pub struct Journal(pub Mutex<HashMap<CallKey, RecordedCall>>);

#[async_trait]
impl ModelJournal for Journal {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        self.0.lock().unwrap().entry(call.key.clone()).or_insert(call);
        Ok(())
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn usage(&self, _: RunId, _: &str, attempt: u32) -> Result<Usage, StoreError> {
        let calls = self.0.lock().unwrap();
        Ok(calls.values().filter(|call| call.attempt == attempt).fold(Usage::default(), |mut sum, call| {
            sum += call.usage;
            sum
        }))
    }
}

/// Before these providers, with no limits.
pub async fn start(providers: &[&StubProvider]) -> Gateway {
    Gateway::start(options(providers)).await.unwrap()
}

pub fn options(providers: &[&StubProvider]) -> GatewayOptions {
    let provider = |stub: &&StubProvider| ProviderOptions {
        key: ProviderKey::Given(KEY.to_owned()),
        ..ProviderOptions::new("stub", stub.base_url())
    };
    let journal = Arc::new(Journal::default());
    GatewayOptions { providers: providers.iter().map(provider).collect(), ..GatewayOptions::new(journal) }
}

/// An attempt in a rehearsal.
pub fn rehearsed() -> Invocation {
    Invocation { rehearsal: true, ..attempt(1) }
}

/// An attempt of a task whose earlier attempts were lost.
pub fn attempt(attempt: u32) -> Invocation {
    let mut invocation = Case::new("test.task", json!({})).invocation("task", attempt).0;
    invocation.context.run_id = RunId::from_bytes([7; 16]);
    invocation.context.effect_key = "run/task".to_owned();
    invocation.context.answers_since = 1;
    invocation
}

pub fn port(base_url: &str) -> u16 {
    let port = base_url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/v1"));
    port.unwrap_or_else(|| panic!("{base_url}")).parse().unwrap()
}

/// A question to a model.
pub fn question(text: &str) -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }] })
}

/// The same, to be answered in pieces.
pub fn streamed(text: &str) -> Value {
    let mut body = question(text);
    body["stream"] = json!(true);
    body
}

/// Asks through a door.
pub async fn ask(door: &dyn segue_core::ports::ModelDoor, body: &Value) -> Reply {
    http::call(port(door.base_url()), "POST", "/v1/chat/completions", door.api_key(), body).await
}

/// What an answer in one piece says.
pub fn said(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// What an answer in pieces says.
pub fn said_in_pieces(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let events = reply.events();
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}
