//! Names of runs as people give them: an id, its unique beginning, or `@last`.

use segue_core::{
    ids::RunId,
    ports::{RunFilter, RunStore},
};

use crate::{
    exit::Exit,
    failure::{Failure, Outcome},
};

/// Finds the run that `text` names.
pub(crate) async fn resolve(store: &dyn RunStore, text: &str) -> Outcome<RunId> {
    if text == "@last" {
        return last(store).await?.ok_or_else(|| {
            Failure::not_found("there is no run yet").help("`segue run workflow.yaml --rehearse` makes one")
        });
    }
    if let Ok(run) = text.parse::<RunId>() {
        return Ok(store.get_run(run).await?.run_id);
    }
    let prefix = text.to_ascii_lowercase();
    if !looks_like_an_id(&prefix) {
        return Err(Failure::usage(format!("`{text}` is no run"))
            .help("a run is named by its id, the unique beginning of its id, or @last; `segue runs list` shows them"));
    }
    let filter = RunFilter { id_prefix: Some(prefix), limit: 6, ..RunFilter::default() };
    let rows = store.list_runs(filter).await?;
    match rows.as_slice() {
        [row] => Ok(row.run_id),
        [] => Err(Failure::not_found(format!("no run's id starts with `{text}`"))
            .help("`segue runs list` shows the runs of this store; --store names another")),
        several => {
            let ids: Vec<String> = several.iter().take(5).map(|row| row.run_id.to_string()).collect();
            let more = if several.len() > 5 { ", …" } else { "" };
            Err(Failure::new(Exit::Usage, format!("more than one run's id starts with `{text}`"))
                .help(format!("give more of it: {}{more}", ids.join(", "))))
        }
    }
}

/// The newest run that somebody started. A run that another one started as its child is not meant by `@last`.
async fn last(store: &dyn RunStore) -> Outcome<Option<RunId>> {
    let mut filter = RunFilter { limit: 100, ..RunFilter::default() };
    loop {
        let rows = store.list_runs(filter.clone()).await?;
        if let Some(row) = rows.iter().find(|row| row.parent.is_none()) {
            return Ok(Some(row.run_id));
        }
        let Some(oldest) = rows.last() else { return Ok(None) };
        filter.before = Some(oldest.run_id);
    }
}

/// Can `text` be the beginning of a run's id?
pub(crate) fn looks_like_an_id(text: &str) -> bool {
    !text.is_empty() && text.len() <= 36 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// What a command takes for the run: [`short`], or all of its id where another run of the store shares that beginning, as
/// children that were started at once do.
pub(crate) async fn unique(store: &dyn RunStore, run: RunId) -> Outcome<String> {
    let short = short(run);
    let filter = RunFilter { id_prefix: Some(short.clone()), limit: 2, ..RunFilter::default() };
    Ok(if store.list_runs(filter).await?.len() > 1 { run.to_string() } else { short })
}

/// The part of a run's id that people type. Ids of one second share their first eight digits, so it is longer.
pub(crate) fn short(run: RunId) -> String {
    run.to_string()[..13].to_owned()
}
