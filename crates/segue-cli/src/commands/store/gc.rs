//! `segue store gc`: what ended long ago goes.

use segue_core::{
    ids::RunId,
    ports::{RunFilter, RunRow},
    time::Timestamp,
};
use serde_json::json;

use crate::{
    args::StoreGcArgs,
    commands::drive::now,
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::text::{bytes, count, grouped, second},
    run_ref::short,
    terminal, wiring,
};

/// Runs that a rehearsed collection names; the others are counted.
const NAMED_MAX: usize = 20;

pub(super) async fn collect(args: StoreGcArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
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
