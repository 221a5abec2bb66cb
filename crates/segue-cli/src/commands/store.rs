//! `segue store …`: what the store holds, and what may go.

use std::path::Path;

use segue_core::{
    ids::RunId,
    ports::{RunFilter, RunRow},
    status::Status,
    time::Timestamp,
};
use serde_json::{Value, json};

use super::drive::now;
use crate::{
    args::{StoreCommand, StoreGcArgs, StoreStatusArgs},
    config::{Settings, StoreUrl},
    exit::Exit,
    failure::Outcome,
    render::text::{bytes, count, grouped, second},
    run_ref::short,
    terminal::{self, Paint},
    wiring,
};

/// Runs that a rehearsed collection names; the others are counted.
const NAMED_MAX: usize = 20;

pub(super) async fn store(command: StoreCommand, settings: Settings) -> Outcome {
    match command {
        StoreCommand::Status(args) => status(args, settings).await,
        StoreCommand::Gc(args) => collect(args, settings).await,
    }
}

async fn status(args: StoreStatusArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings)?;
    let rows = store.list_runs(RunFilter::default()).await?;
    let statuses =
        [Status::Pending, Status::Running, Status::Waiting, Status::Succeeded, Status::Failed, Status::Cancelled];
    let by_status: Vec<(Status, usize)> =
        statuses.into_iter().map(|status| (status, rows.iter().filter(|row| row.status == status).count())).collect();
    let workflows = store.deployments(None, 0).await?.len();
    let waiting = super::approvals::waiting(&*store, None).await?.len();
    let size = size_of(&settings.store);
    let oldest = rows.last().map(|row| row.created_at);
    if args.json {
        let runs: serde_json::Map<String, Value> =
            by_status.iter().map(|(status, n)| (status.as_str().to_owned(), json!(n))).collect();
        let document = json!({
            "store": settings.store.to_string(),
            "bytes": size,
            "runs": runs,
            "oldest_run_at": oldest,
            "workflows": workflows,
            "waiting": waiting,
        });
        terminal::print(document.to_string());
        return Ok(Exit::Ok);
    }
    let paint = Paint::stdout();
    let size = size.map_or(String::new(), |size| format!("  {}", bytes(size)));
    terminal::print(format!("{}{size}", paint.bold(&settings.store.to_string())));
    terminal::print(format!("{}, {}", count(rows.len() as u64, "run"), count(workflows as u64, "deployed workflow")));
    for (status, n) in by_status.into_iter().filter(|(_, n)| *n > 0) {
        let name = format!("{:<9}", status.as_str());
        terminal::print(format!("  {}  {}", paint.status(status, &name), grouped(n as u64)));
    }
    if waiting > 0 {
        terminal::print(format!("{} for an answer: segue approvals list", verb(waiting, "task")));
    }
    if let Some(oldest) = oldest {
        terminal::print(format!("the oldest run is of {} (UTC)", second(oldest)));
    }
    Ok(Exit::Ok)
}

fn verb(n: usize, noun: &str) -> String {
    format!("{} wait{}", count(n as u64, noun), if n == 1 { "s" } else { "" })
}

/// The bytes of a store's files, with those beside it.
fn size_of(store: &StoreUrl) -> Option<u64> {
    let StoreUrl::Sqlite(path) = store else { return None };
    let of = |suffix: &str| {
        let mut name = path.clone().into_os_string();
        name.push(suffix);
        std::fs::metadata(Path::new(&name)).map_or(0, |file| file.len())
    };
    Some(["", "-wal", "-shm"].iter().map(|suffix| of(suffix)).sum())
}

async fn collect(args: StoreGcArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings)?;
    let before = Timestamp::from_micros(
        now().as_micros().saturating_sub(i64::try_from(args.older_than.as_micros()).unwrap_or(i64::MAX)).max(0),
    );
    if args.dry_run {
        let rows = store.list_runs(RunFilter::default()).await?;
        show_what_would_go(&rows, &would_go(&rows, before), before, args.json);
        return Ok(Exit::Ok);
    }
    let collected = store.collect_garbage(before).await?;
    if args.json {
        let mut document = json!(collected);
        document["ended_before"] = json!(before);
        terminal::print(document.to_string());
    } else {
        terminal::say(format!(
            "removed {}, {} and {}: about {}",
            count(collected.runs, "run"),
            count(collected.blobs, "large value"),
            match collected.cache_entries {
                1 => "1 cached result".to_owned(),
                n => format!("{} cached results", grouped(n)),
            },
            bytes(collected.bytes)
        ));
    }
    Ok(Exit::Ok)
}

/// The runs that a collection removes: those that ended before, unless a run above them did not.
fn would_go<'a>(rows: &'a [RunRow], before: Timestamp) -> Vec<&'a RunRow> {
    let by_id: std::collections::HashMap<RunId, &RunRow> = rows.iter().map(|row| (row.run_id, row)).collect();
    let is_old = |row: &RunRow| row.status.is_terminal() && row.finished_at.is_some_and(|time| time < before);
    let goes = |row: &&'a RunRow| {
        let mut next = Some(*row);
        while let Some(row) = next {
            if !is_old(row) {
                return false;
            }
            next = row.parent.and_then(|parent| by_id.get(&parent).copied());
        }
        true
    };
    rows.iter().filter(goes).collect()
}

fn show_what_would_go(all: &[RunRow], going: &[&RunRow], before: Timestamp, json: bool) {
    if json {
        let runs: Vec<RunId> = going.iter().map(|row| row.run_id).collect();
        terminal::print(json!({ "dry_run": true, "ended_before": before, "runs": runs }).to_string());
        return;
    }
    for row in going.iter().take(NAMED_MAX) {
        let ended = row.finished_at.map_or(String::new(), second);
        terminal::print(format!("{}  {:<9}  {ended}  {}", short(row.run_id), row.status.as_str(), row.workflow_id));
    }
    if going.len() > NAMED_MAX {
        terminal::print(format!("… and {} more", grouped((going.len() - NAMED_MAX) as u64)));
    }
    terminal::say(format!(
        "{} of {} ended before {} (UTC) and would go; nothing was removed",
        grouped(going.len() as u64),
        count(all.len() as u64, "run"),
        second(before)
    ));
}
