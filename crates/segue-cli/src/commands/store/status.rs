//! `segue store status`: what is there, how large it is, who works on it.

use std::time::Duration;

use segue_core::{
    ports::{Count, EngineStatus, StoreStatus},
    status::Status,
};
use serde_json::{Map, Value, json};

use crate::{
    args::StoreStatusArgs,
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::text::{bytes, count, grouped, span},
    run_ref::short,
    terminal::{self, Paint},
    wiring,
};

/// All that a run can be in.
const STATUSES: [Status; 6] =
    [Status::Pending, Status::Running, Status::Waiting, Status::Succeeded, Status::Failed, Status::Cancelled];

pub(super) async fn status(args: StoreStatusArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let status = wiring::upkeep(&settings).await?.status().await?;
    if args.json {
        terminal::print(document(&settings, &status).to_string());
    } else {
        show(&settings, &status);
    }
    Ok(Exit::Ok)
}

fn document(settings: &Settings, status: &StoreStatus) -> Value {
    let mut document = json!(status);
    let runs: Map<String, Value> =
        STATUSES.iter().map(|status_| (status_.as_str().to_owned(), json!(of(status, *status_)))).collect();
    document["runs"] = Value::Object(runs);
    document["store"] = json!(settings.store.to_string());
    document
}

fn of(status: &StoreStatus, which: Status) -> u64 {
    status.runs.get(&which).copied().unwrap_or(0)
}

fn show(settings: &Settings, status: &StoreStatus) {
    let paint = Paint::stdout();
    terminal::print(format!("{}  {}", paint.bold(&settings.store.to_string()), size(status)));
    let schema = status.schema;
    if schema.is_current() {
        terminal::print(format!("schema {}", schema.found));
    } else {
        terminal::print(format!(
            "schema {}; this program works with {}, and brings it there when it next opens it for work",
            schema.found, schema.known
        ));
    }
    let all: u64 = status.runs.values().sum();
    terminal::print(format!(
        "{}, {}, {}, {}",
        count(all, "run"),
        counted(status.events, "event"),
        counted(status.blobs, "large value"),
        count(status.workflows, "deployed workflow")
    ));
    for which in STATUSES.into_iter().filter(|which| of(status, *which) > 0) {
        let name = format!("{:<9}", which.as_str());
        terminal::print(format!("  {}  {}", paint.status(which, &name), grouped(of(status, which))));
    }
    if let Some(oldest) = status.oldest_live {
        terminal::print(format!("the oldest live run is {}: segue runs show {oldest}", short(oldest)));
    }
    if status.waiting > 0 {
        let verb = if status.waiting == 1 { "waits" } else { "wait" };
        terminal::print(format!(
            "{} {verb} for something outside: segue approvals list shows the questions",
            count(status.waiting, "task")
        ));
    }
    if status.requests > 0 {
        terminal::print(format!("{} not answered yet", count(status.requests, "request")));
    }
    status.engines.iter().for_each(|engine| terminal::print(lease(engine)));
}

fn size(status: &StoreStatus) -> String {
    let mut text = bytes(status.bytes);
    if let Some(log) = status.log_bytes.filter(|log| *log > 0) {
        text += &format!(", write-ahead log {}", bytes(log));
    }
    if let Some(free) = status.free_bytes.filter(|free| *free > 0) {
        text += &format!(", {} free to be written again", bytes(free));
    }
    text
}

fn counted(n: Count, noun: &str) -> String {
    format!("{}{}", if n.about { "about " } else { "" }, count(n.count, noun))
}

fn lease(engine: &EngineStatus) -> String {
    let milliseconds = |ms: i64| span(Duration::from_millis(ms.unsigned_abs()));
    let lease = match engine.lease_left_ms {
        Some(left) if left > 0 => format!("its lease holds for another {}", milliseconds(left)),
        Some(left) => format!("its lease ended {} ago", milliseconds(left)),
        None => "its lease ended with an earlier start of the machine".to_owned(),
    };
    format!(
        "engine {} (process {}) owns {}; {lease}",
        engine.engine.engine_id,
        engine.engine.proof.pid,
        count(engine.runs, "run")
    )
}
