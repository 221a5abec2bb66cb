//! `segue runs list`

use std::collections::BTreeMap;

use segue_core::{
    ids::WorkflowId,
    ports::{RunFilter, RunRow},
    status::Status,
};
use serde_json::json;

use crate::{
    args::ListArgs,
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::{
        table::{Cell, table},
        text::{grouped, span},
    },
    run_ref::{self, short},
    terminal::{self, Paint},
    wiring,
};

pub(super) async fn list(args: ListArgs, settings: Settings) -> Outcome {
    // Where nothing has run yet there is nothing to list, and that is no error.
    let rows = match wiring::open_store(&settings).await {
        Ok(store) => {
            let parent = match &args.parent {
                Some(run) => Some(run_ref::resolve(&*store, run).await?),
                None => None,
            };
            let filter = RunFilter {
                statuses: args.status.iter().copied().map(Status::from).collect(),
                workflow_id: args.workflow.as_deref().map(WorkflowId::from),
                label: args.label.clone(),
                parent,
                limit: args.limit,
                ..RunFilter::default()
            };
            store.list_runs(filter).await?
        }
        Err(failure) if failure.exit == Exit::NotFound && args.parent.is_none() => Vec::new(),
        Err(failure) => return Err(failure),
    };
    let is_filtered =
        !args.status.is_empty() || args.workflow.is_some() || args.label.is_some() || args.parent.is_some();
    if args.json {
        terminal::print(json!({ "items": rows }).to_string());
    } else if rows.is_empty() {
        terminal::say(match is_filtered {
            false => "no runs yet; `segue run workflow.yaml --rehearse` makes one",
            true => "no such runs",
        });
    } else {
        terminal::print(overview(&rows, Paint::stdout()));
    }
    Ok(Exit::Ok)
}

fn overview(rows: &[RunRow], paint: Paint) -> String {
    let head = ["RUN", "WORKFLOW", "STATUS", "TASKS", "TOKENS", "CREATED (UTC)", "TOOK"];
    let mut lines = vec![head.map(|name| Cell::painted(paint.dim(name), name))];
    let mut sharing: BTreeMap<String, u32> = BTreeMap::new();
    for row in rows {
        *sharing.entry(short(row.run_id)).or_default() += 1;
    }
    lines.extend(rows.iter().map(|row| {
        let short = short(row.run_id);
        // Child runs that were started at once share more than people type.
        let name = if sharing[&short] > 1 { row.run_id.to_string() } else { short };
        line(row, name, paint)
    }));
    table(&lines)
}

fn line(row: &RunRow, name: String, paint: Paint) -> [Cell; 7] {
    let created = row.created_at.to_string();
    let took = match (row.started_at, row.finished_at) {
        (Some(started), Some(finished)) => span(finished.since(started)),
        _ => String::new(),
    };
    let status = if row.cancelling && !row.status.is_terminal() { "CANCELLING" } else { row.status.as_str() };
    [
        Cell::new(name),
        // A child run belongs to another one in the list.
        Cell::new(match row.parent {
            Some(parent) => format!("{} (of {})", row.workflow_id, short(parent)),
            None => row.workflow_id.to_string(),
        }),
        Cell::painted(paint.status(row.status, status), status),
        Cell::new(format!("{}/{}", row.tasks_done, row.tasks_total)),
        Cell::new(grouped(row.usage.total_tokens())),
        Cell::new(created.get(..19).unwrap_or(&created).replace('T', " ")),
        Cell::new(took),
    ]
}
