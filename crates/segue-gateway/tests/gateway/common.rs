//! A gateway before a stub of a provider, and attempts that call it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{CallKey, Invocation, ModelJournal, RecordedCall, StoreError},
};
use segue_gateway::{Gateway, GatewayOptions, ProviderKey, ProviderOptions};
use segue_testkit::{
    conformance::adapter::{Case, Controls},
    http::{self, Reply},
    provider::StubProvider,
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

pub(crate) const KEY: &str = "sk-canary-of-the-provider";

/// Keeps calls of runs that nobody has created.
#[derive(Default)]
pub(crate) struct Journal(pub(crate) Mutex<HashMap<CallKey, RecordedCall>>);

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
pub(crate) async fn start(providers: &[&StubProvider]) -> Gateway {
    Gateway::start(options(providers)).await.unwrap()
}

pub(crate) fn options(providers: &[&StubProvider]) -> GatewayOptions {
    let provider = |stub: &&StubProvider| ProviderOptions {
        key: ProviderKey::Given(KEY.to_owned()),
        ..ProviderOptions::new("stub", stub.base_url())
    };
    let journal = Arc::new(Journal::default());
    GatewayOptions { providers: providers.iter().map(provider).collect(), ..GatewayOptions::new(journal) }
}

/// An attempt in a rehearsal.
pub(crate) fn rehearsed() -> Invocation {
    Invocation { rehearsal: true, ..attempt(1) }
}

/// An attempt, and what a test holds of it.
pub(crate) fn attempt_with_controls(number: u32) -> (Invocation, Controls) {
    let (mut invocation, controls) = Case::new("test.task", json!({})).invocation("task", number);
    invocation.context.answers_since = 1;
    (invocation, controls)
}

/// An attempt of a task whose earlier attempts were lost.
pub(crate) fn attempt(attempt: u32) -> Invocation {
    attempt_with_controls(attempt).0
}

pub(crate) fn port(base_url: &str) -> u16 {
    let port = base_url.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.strip_suffix("/v1"));
    port.unwrap_or_else(|| panic!("{base_url}")).parse().unwrap()
}

/// A question to a model.
pub(crate) fn question(text: &str) -> Value {
    json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": text }] })
}

/// The same, to be answered in pieces.
pub(crate) fn streamed(text: &str) -> Value {
    let mut body = question(text);
    body["stream"] = json!(true);
    body
}

/// Asks through a door.
pub(crate) async fn ask(door: &dyn segue_core::ports::ModelDoor, body: &Value) -> Reply {
    http::call(port(door.base_url()), "POST", "/v1/chat/completions", door.api_key(), body).await
}

/// What an answer in one piece says.
pub(crate) fn said(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    reply.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// What an answer in pieces says.
pub(crate) fn said_in_pieces(reply: &Reply) -> String {
    assert_eq!(reply.status, 200, "{}", reply.body);
    let events = reply.events();
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

/// Begins to ask, and leaves the answer to be read.
pub(crate) async fn begin(door: &dyn segue_core::ports::ModelDoor, body: &Value) -> TcpStream {
    let port = port(door.base_url());
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let bytes = http::request(port, "POST", "/v1/chat/completions", door.api_key(), body);
    stream.write_all(&bytes).await.unwrap();
    stream
}

/// Reads until this text has come. Gives all that has.
pub(crate) async fn read_until(stream: &mut TcpStream, text: &str) -> String {
    let mut seen = String::new();
    while !seen.contains(text) {
        let mut piece = [0; 1024];
        let length = stream.read(&mut piece).await.unwrap();
        assert_ne!(length, 0, "{seen}");
        seen.push_str(std::str::from_utf8(&piece[..length]).unwrap());
    }
    seen
}

/// Waits for something that others are about to do.
pub(crate) async fn until(what: impl Fn() -> bool) {
    let wait = async {
        while !what() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("it happens");
}
