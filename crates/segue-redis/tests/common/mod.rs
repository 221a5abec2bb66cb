//! Buses and events for tests.
#![allow(dead_code, unreachable_pub, reason = "each test uses its part")]

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use futures_util::StreamExt;
use segue_bus::BusOptions;
use segue_core::{
    event::Envelope,
    ids::{RunId, WorkflowId},
    ports::EventStream,
    time::Timestamp,
};
use segue_redis::{RedisBus, RedisOptions};
use segue_testkit::conformance::PATIENCE;

/// A prefix that no other test has, in this process or another.
pub fn own_prefix() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    format!("test-{}-{}-{start}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A bus that is patient with a loaded machine.
pub fn bus(url: &str, prefix: &str) -> RedisBus {
    bus_with(url, prefix, PATIENCE)
}

pub fn bus_with(url: &str, prefix: &str, patience: Duration) -> RedisBus {
    let options = RedisOptions { bus: BusOptions { patience, ..BusOptions::default() }, ..RedisOptions::default() };
    RedisBus::connect(&format!("{url}?prefix={prefix}"), options).unwrap()
}

pub fn run() -> RunId {
    RunId::from_bytes([9; 16])
}

pub fn event(seq: u64) -> Envelope {
    Envelope {
        seq,
        name: "task.started".to_owned(),
        time: Timestamp::from_micros(1_790_000_000_000_000),
        workflow_id: WorkflowId::new("flow"),
        run_id: run(),
        task_id: None,
        attempt: Some(1),
        data: serde_json::json!({}),
        transient: false,
    }
}

pub async fn next(stream: &mut EventStream) -> Envelope {
    tokio::time::timeout(PATIENCE, stream.next()).await.expect("an event comes").expect("the bus goes on")
}
