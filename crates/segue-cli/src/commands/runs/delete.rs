//! `segue runs delete RUN...`: remove runs that have ended, for good.

use std::io::{self, BufRead, IsTerminal};

use segue_core::{
    ids::RunId,
    ports::{RunFilter, RunStore, StoreError},
};
use serde_json::json;

use crate::{
    args::DeleteArgs,
    config::Settings,
    exit::Exit,
    failure::{Failure, Outcome},
    render::text::count,
    run_ref::{self, short},
    terminal, wiring,
};

pub(super) async fn delete(args: DeleteArgs, settings: Settings) -> Outcome {
    let store = wiring::open_store(&settings).await?;
    let mut runs: Vec<RunId> = Vec::new();
    for name in &args.runs {
        let run = run_ref::resolve(&*store, name).await?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    if args.with_children {
        add_children(&*store, &mut runs).await?;
    }
    // All or none, as far as that can be known before.
    for run in &runs {
        let row = store.get_run(*run).await?;
        if !row.status.is_terminal() {
            return Err(Failure::new(
                Exit::Conflict,
                format!("run {} has not ended: it is {}", short(*run), row.status),
            )
            .help(format!("stop it first: segue runs cancel {}", short(*run))));
        }
    }
    if !args.yes {
        confirm(&runs)?;
    }
    // Parents first: what a run that goes on may still need is not removed.
    for run in &runs {
        match store.delete_run(*run).await {
            // Somebody else was faster.
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(StoreError::Refused(why)) => {
                return Err(Failure::new(Exit::Conflict, why)
                    .help(format!("segue runs show {} shows how things stand", short(*run))));
            }
            Err(error) => return Err(error.into()),
        }
    }
    if args.json {
        terminal::print(json!({ "deleted": runs }).to_string());
    } else {
        terminal::say(format!("deleted {}", count(runs.len() as u64, "run")));
    }
    Ok(Exit::Ok)
}

/// Adds the runs of child workflows below those that they belong to.
async fn add_children(store: &dyn RunStore, runs: &mut Vec<RunId>) -> Outcome<()> {
    let mut at = 0;
    while let Some(&run) = runs.get(at) {
        at += 1;
        for child in store.list_runs(RunFilter { parent: Some(run), ..RunFilter::default() }).await? {
            if !runs.contains(&child.run_id) {
                runs.push(child.run_id);
            }
        }
    }
    Ok(())
}

/// Asks where somebody can answer; elsewhere `--yes` is the answer.
fn confirm(runs: &[RunId]) -> Outcome<()> {
    let what = match runs {
        [run] => format!("run {}", short(*run)),
        several => count(several.len() as u64, "run"),
    };
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(format!("{what} would be deleted for good, and nobody is here to confirm it"))
            .help("add --yes"));
    }
    terminal::say(format!("delete {what} for good, with logs and results? [y/N]"));
    let mut answer = String::new();
    // What cannot be read is not a yes.
    let _ = io::stdin().lock().read_line(&mut answer);
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    Err(Failure::new(Exit::Interrupted, "nothing was deleted").help("answer y, or add --yes"))
}
