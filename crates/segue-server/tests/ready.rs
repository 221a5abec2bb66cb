//! `/readyz` says what is wrong and when it is well again; `/healthz` only that somebody answers.
#![allow(clippy::unwrap_used)]

use std::{net::SocketAddr, sync::Arc, time::Duration};

use segue_core::{memory::MemoryStore, ports::Orchestrator};
use segue_engine::{Engine, EngineConfig};
use segue_server::{Bound, PrometheusMetrics, Served, Server};
use segue_testkit::{
    conformance::{block_on, eventually, now},
    faults::{FaultStore, Faults, Journal},
};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// An engine on a store that fails as it is told, and what answers for it.
struct Place {
    faults: Arc<Faults>,
    engine: Arc<Engine>,
    server: Server,
}

impl Place {
    async fn new() -> Self {
        let faults = Arc::new(Faults::calm());
        let store =
            FaultStore::new(Arc::new(MemoryStore::new(Arc::new(now))), faults.clone(), Arc::new(Journal::default()));
        let config = EngineConfig { lease_ttl: Duration::from_secs(1), ..EngineConfig::default() };
        let engine = Arc::new(Engine::builder(Arc::new(store)).config(config).start().await.unwrap());
        let served = Served {
            engine: engine.clone(),
            metrics: Arc::new(PrometheusMetrics::default()),
            measure: Arc::new(|| ()),
        };
        let bound = Bound::to(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        Self { faults, engine, server: bound.serve(served) }
    }

    /// The status and the document.
    async fn get(&self, path: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(self.server.address()).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.server.address());
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }

    async fn is_ready(&self) {
        let ready = async || match self.get("/readyz").await {
            (200, document) => {
                assert_eq!((&document["ready"], &document["reasons"]), (&Value::from(true), &Value::Array(Vec::new())));
                Some(())
            }
            _ => None,
        };
        eventually("it is ready", ready).await;
    }

    /// Waits until exactly these checks fail, and gives what is told about the first of them.
    async fn fails(&self, checks: &[&str]) -> String {
        let failing = async || {
            let (status, document) = self.get("/readyz").await;
            let reasons = document["reasons"].as_array().unwrap();
            assert_eq!((status == 200, &document["ready"]), (reasons.is_empty(), &Value::from(reasons.is_empty())));
            let names: Vec<_> = reasons.iter().map(|reason| reason["check"].as_str().unwrap()).collect();
            (names == checks).then(|| reasons[0]["detail"].as_str().unwrap().to_owned())
        };
        eventually("it says why it is not ready", failing).await
    }
}

#[test]
fn who_has_lost_the_lease_is_not_ready_until_it_is_renewed() {
    block_on(async {
        let place = Place::new().await;
        place.is_ready().await;
        place.faults.refuse_renewals(true);
        let detail = place.fails(&["lease"]).await;
        assert!(detail.contains("lease has ended"), "{detail}");
        assert_eq!(place.get("/healthz").await.0, 200, "nothing is won by another start");
        place.faults.refuse_renewals(false);
        place.is_ready().await;
        place.engine.shutdown().await;
    });
}

#[test]
fn a_store_that_is_away_is_told_and_so_is_its_coming_back() {
    block_on(async {
        let place = Place::new().await;
        place.is_ready().await;
        place.faults.set_away(true);
        let detail = place.fails(&["lease", "store"]).await;
        assert!(detail.contains("lease"), "{detail}");
        assert_eq!(place.get("/healthz").await.0, 200);
        place.faults.set_away(false);
        place.is_ready().await;
        place.engine.shutdown().await;
        place.fails(&["engine"]).await;
    });
}
