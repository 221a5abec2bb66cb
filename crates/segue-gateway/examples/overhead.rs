//! What the gateway adds to a call: the same client against a stub without latency, directly and through the gateway, in
//! turns, so that whatever else the machine does harms both alike.
//!
//! ```text
//! cargo xtask bench gateway [CALLS]
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{CallKey, ModelAccess as _, ModelJournal, RecordedCall, StoreError},
};
use segue_gateway::{Gateway, GatewayOptions, ProviderOptions};
use segue_testkit::{
    conformance::adapter::Case,
    provider::{Reply, StubProvider},
};
use serde_json::{Value, json};

/// Keeps calls in memory and, if it has a file, on disk before it returns.
struct Journal {
    calls: Mutex<HashMap<CallKey, RecordedCall>>,
    file: Option<Arc<File>>,
}

#[async_trait]
impl ModelJournal for Journal {
    async fn record(&self, call: RecordedCall) -> Result<(), StoreError> {
        if let Some(file) = self.file.clone() {
            let body = call.body.clone();
            let write = move || (&*file).write_all(&body).and_then(|()| file.sync_data());
            tokio::task::spawn_blocking(write).await.unwrap().unwrap();
        }
        self.calls.lock().unwrap().entry(call.key.clone()).or_insert(call);
        Ok(())
    }

    async fn recorded(&self, key: &CallKey) -> Result<Option<RecordedCall>, StoreError> {
        Ok(self.calls.lock().unwrap().get(key).cloned())
    }

    async fn usage(&self, _: RunId, _: &str, _: u32) -> Result<Usage, StoreError> {
        Ok(Usage::default())
    }
}

#[tokio::main]
async fn main() {
    let calls = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let stub = StubProvider::start();
    stub.always(Reply::text(&"A word and another. ".repeat(50)));
    let file = tempfile::tempfile().unwrap();
    println!("{calls} calls each, one after the other; all times in ms\n");
    for (name, file) in [("journal in memory", None), ("journal on disk, one fsync a call", Some(Arc::new(file)))] {
        let journal = Arc::new(Journal { calls: Mutex::default(), file });
        let providers = vec![ProviderOptions::new("stub", stub.base_url())];
        let gateway = Gateway::start(GatewayOptions { providers, ..GatewayOptions::new(journal) }).await.unwrap();
        let door = gateway.open(&Case::new("test.task", json!({})).invocation("task", 1).0).unwrap();
        println!("{name}");
        for stream in [false, true] {
            let direct = Client::new(&stub.base_url(), "sk");
            let through = Client::new(door.base_url(), door.api_key());
            let mut samples: [Vec<Sample>; 2] = [Vec::new(), Vec::new()];
            for number in 0..calls + 50 {
                for (client, samples) in [&direct, &through].into_iter().zip(&mut samples) {
                    let sample = client.call(number, stream).await;
                    // The first ones warm up.
                    samples.extend((number >= 50).then_some(sample));
                }
            }
            report(if stream { "streamed" } else { "plain" }, &samples);
        }
        drop(door);
        gateway.shutdown().await;
        println!();
    }
}

#[derive(Clone, Copy)]
struct Sample {
    first_byte: Duration,
    whole: Duration,
}

struct Client {
    client: reqwest::Client,
    url: String,
    key: String,
}

impl Client {
    fn new(base_url: &str, key: &str) -> Self {
        let client = reqwest::Client::builder().no_proxy().tcp_nodelay(true).build().unwrap();
        Self { client, url: format!("{base_url}/chat/completions"), key: key.to_owned() }
    }

    async fn call(&self, number: usize, stream: bool) -> Sample {
        let messages = json!([{ "role": "user", "content": format!("Question {number}: {}", "why? ".repeat(100)) }]);
        let body: Value = json!({ "model": "gpt-4o", "messages": messages, "stream": stream });
        let begun = Instant::now();
        let request = self.client.post(&self.url).bearer_auth(&self.key).header("content-type", "application/json");
        let reply = request.body(body.to_string()).send().await.unwrap();
        assert!(reply.status().is_success());
        let mut pieces = reply.bytes_stream();
        pieces.next().await.unwrap().unwrap();
        let first_byte = begun.elapsed();
        while let Some(piece) = pieces.next().await {
            piece.unwrap();
        }
        Sample { first_byte, whole: begun.elapsed() }
    }
}

fn report(name: &str, [direct, through]: &[Vec<Sample>; 2]) {
    for (what, of) in [
        ("first byte", (|sample: &Sample| sample.first_byte) as fn(&Sample) -> Duration),
        ("whole", |sample: &Sample| sample.whole),
    ] {
        let at = |samples: &[Sample], share: f64| {
            let mut times: Vec<f64> = samples.iter().map(|sample| of(sample).as_secs_f64() * 1e3).collect();
            times.sort_by(f64::total_cmp);
            times[((times.len() - 1) as f64 * share) as usize]
        };
        let (one, two) = (at(direct, 0.5), at(through, 0.5));
        println!(
            "  {name:<9} {what:<11} median {one:.3} -> {two:.3} (+{:.3}, x{:.2})   99 % {:.3} -> {:.3}",
            two - one,
            two / one,
            at(direct, 0.99),
            at(through, 0.99)
        );
    }
}
