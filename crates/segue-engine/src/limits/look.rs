//! What tasks wait for that could begin but for a limit: for those who look at a run from outside.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use segue_core::{
    ids::{LimitKey, RunId, TaskId},
    limits::Rate,
    ports::{LimitStore, LimitView, RunStore, WaitReason},
    spec::LimitSpec,
    time::Timestamp,
};

use super::catalog::{Catalog, Wanted};
use crate::read::{ReadError, read_run};

/// Tasks that are looked at. Those behind them wait for the same.
const TASKS_MAX: usize = 1_000;

/// A limit that is not open to a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitWaiting {
    /// As the document or the configuration names it.
    pub limit: String,
    /// Why it is not open.
    pub why: WaitReason,
    /// Attempts that hold a slot of it, of all runs.
    pub held: u32,
    /// How many may.
    pub concurrent: Option<u32>,
    /// When it opens at the earliest, from now, where a time decides.
    pub opens_in: Option<Duration>,
}

/// By task: the limits that keep it from beginning. `limits` is where `store`'s engines keep their slots, `configured`
/// what their configuration says. Reads the run's log; changes nothing. A task whose limits are all open is left out, and
/// so is one that will fail over a limit that nobody knows.
pub async fn limit_waits(
    store: &dyn RunStore,
    limits: &dyn LimitStore,
    configured: &BTreeMap<String, LimitSpec>,
    run: RunId,
) -> Result<BTreeMap<TaskId, Vec<LimitWaiting>>, ReadError> {
    let run = read_run(store, run).await?;
    let now = store.now().await?;
    let catalog = Catalog::new(configured);
    let tasks: Vec<(TaskId, Vec<Wanted>)> = run
        .ready_nodes(now)
        .filter(|(_, node)| !node.limits.is_empty())
        .filter_map(|(task, node)| Some((task.clone(), catalog.wanted(&run, task, node).ok()?)))
        .take(TASKS_MAX)
        .collect();
    let keys: BTreeSet<LimitKey> = tasks.iter().flat_map(|(_, wanted)| wanted).map(|one| one.key.clone()).collect();
    if keys.is_empty() {
        return Ok(BTreeMap::new());
    }
    let views = limits.look(keys.iter().cloned().collect()).await?;
    let views: BTreeMap<LimitKey, LimitView> = keys.into_iter().zip(views).collect();
    let party = run.plan().workflow_id().as_str();
    let waits = |wanted: &[Wanted]| -> Vec<LimitWaiting> {
        wanted.iter().filter_map(|one| waiting(one, &views[&one.key], party, now)).collect()
    };
    let waiting = tasks.into_iter().map(|(task, wanted)| (task, waits(&wanted)));
    Ok(waiting.filter(|(_, waits)| !waits.is_empty()).collect())
}

/// Why this limit is not open to somebody of this workflow; `None`: it is.
fn waiting(wanted: &Wanted, view: &LimitView, party: &str, now: Timestamp) -> Option<LimitWaiting> {
    let bounds = wanted.bounds;
    let opens = |rate: Option<u64>, used_for: Duration| {
        let time = Rate::per_minute(rate?).opens_at(now.plus(used_for), 1);
        Some(time.since(now)).filter(|left| !left.is_zero())
    };
    let (why, opens_in) = if let Some(left) = view.paused_for {
        (WaitReason::Paused, Some(left))
    } else if bounds.concurrent.is_some_and(|most| view.held >= most.max(1)) {
        (WaitReason::Full, None)
    } else if let Some(left) = opens(bounds.per_minute.map(u64::from), view.requests_for) {
        (WaitReason::Rate, Some(left))
    } else if let Some(left) = opens(bounds.tokens_per_minute, view.tokens_for) {
        (WaitReason::Tokens, Some(left))
    } else if view.waiting.first().is_some_and(|first| **first != *party) {
        (WaitReason::Turn, None)
    } else {
        return None;
    };
    Some(LimitWaiting { limit: wanted.name.clone(), why, held: view.held, concurrent: bounds.concurrent, opens_in })
}
