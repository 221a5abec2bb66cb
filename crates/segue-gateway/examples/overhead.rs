//! What the gateway adds to a call: the same client against a stub without latency, directly and through gateways with
//! and without limits, in turns, so that whatever else the machine does harms all alike.
//!
//! ```text
//! cargo xtask bench gateway [CALLS]
//! ```
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::{
    collections::HashMap,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use futures_util::StreamExt as _;
use segue_core::{
    ids::{EngineId, RunId},
    memory::MemoryStore,
    outcome::Usage,
    ports::{
        CallKey, EngineRecord, LimitStore, ModelAccess as _, ModelJournal, OwnerProof, RecordedCall, RunStore,
        StoreError,
    },
};
use segue_gateway::{Gateway, GatewayOptions, ModelOptions, ProviderOptions, SharedLimits};
use segue_sqlite::{SqliteOptions, SqliteStore};
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

/// Where the limits of the model are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Limits {
    None,
    OfThisProcess,
    InMemory,
    OnSqlite,
}

impl Limits {
    const ALL: [Self; 4] = [Self::None, Self::OfThisProcess, Self::InMemory, Self::OnSqlite];

    const fn name(self) -> &'static str {
        match self {
            Self::None => "no limits",
            Self::OfThisProcess => "limits of this process",
            Self::InMemory => "limits in memory, for several engines",
            Self::OnSqlite => "limits on SQLite, for several engines",
        }
    }

    async fn gateway(self, stub: &StubProvider, file: Option<Arc<File>>, folder: &Path) -> Gateway {
        let journal = Arc::new(Journal { calls: Mutex::default(), file });
        let providers = vec![ProviderOptions::new("stub", stub.base_url())];
        let wide = ModelOptions {
            pattern: "gpt-*".into(),
            concurrent: Some(8),
            requests_per_minute: Some(10_000_000),
            tokens_per_minute: Some(100_000_000_000),
            price: None,
        };
        let models = if self == Self::None { Vec::new() } else { vec![wide] };
        let limits = match self {
            Self::None | Self::OfThisProcess => None,
            Self::InMemory => Some(shared(Arc::new(MemoryStore::new(Arc::new(segue_testkit::conformance::now)))).await),
            Self::OnSqlite => {
                let store = SqliteStore::open(&folder.join("limits.db"), SqliteOptions::default()).unwrap();
                Some(shared(Arc::new(store)).await)
            }
        };
        Gateway::start(GatewayOptions { providers, models, limits, ..GatewayOptions::new(journal) }).await.unwrap()
    }
}

/// For an engine that lives on.
async fn shared<S: RunStore + LimitStore + 'static>(store: Arc<S>) -> SharedLimits {
    let engine = EngineId::new("bench");
    let proof = OwnerProof { boot_id: "bench".to_owned(), pid: 1, started_ticks: 1 };
    let record = EngineRecord { engine_id: engine.clone(), proof };
    store.renew_engine(&record, Duration::from_secs(86_400)).await.unwrap();
    SharedLimits { store, engine }
}

#[tokio::main]
async fn main() {
    let calls = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(2_000);
    let stub = StubProvider::start();
    stub.always(Reply::text(&"A word and another. ".repeat(50)));
    // Beside the program: a folder for temporary files may be in memory.
    let program = std::env::current_exe().unwrap();
    let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
    let file = Arc::new(tempfile::tempfile_in(folder.path()).unwrap());
    println!("{calls} calls each, one after the other; all times in ms\n");
    println!("limits; the journal in memory");
    compare(&stub, calls, None, &Limits::ALL, folder.path()).await;
    println!("journal on disk, one fsync a call");
    compare(&stub, calls, Some(file), &[Limits::None], folder.path()).await;
}

/// Calls directly and through gateways that keep limits so, in turns.
async fn compare(stub: &StubProvider, calls: usize, file: Option<Arc<File>>, limits: &[Limits], folder: &Path) {
    let mut through = Vec::new();
    for limits in limits {
        let gateway = limits.gateway(stub, file.clone(), folder).await;
        let door = gateway.open(&Case::new("test.task", json!({})).invocation("task", 1).0).unwrap();
        through.push((*limits, gateway, door));
    }
    for stream in [false, true] {
        let mut clients = vec![Client::new(&stub.base_url(), "sk")];
        clients.extend(through.iter().map(|(_, _, door)| Client::new(door.base_url(), door.api_key())));
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); clients.len()];
        for number in 0..calls + 50 {
            for (client, samples) in clients.iter().zip(&mut samples) {
                let sample = client.call(number, stream).await;
                // The first ones warm up.
                samples.extend((number >= 50).then_some(sample));
            }
        }
        for ((limits, ..), of_it) in through.iter().zip(&samples[1..]) {
            println!("  {}, {}", limits.name(), if stream { "streamed" } else { "plain" });
            report(&samples[0], of_it);
        }
    }
    for (_, gateway, door) in through {
        drop(door);
        gateway.shutdown().await;
    }
    println!();
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

fn report(direct: &[Sample], through: &[Sample]) {
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
            "    {what:<11} median {one:.3} -> {two:.3} (+{:.3}, x{:.2})   99 % {:.3} -> {:.3}",
            two - one,
            two / one,
            at(direct, 0.99),
            at(through, 0.99)
        );
    }
}
