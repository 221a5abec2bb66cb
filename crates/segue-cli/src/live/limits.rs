//! Limits that keep tasks from beginning. No event tells of them, so the store is asked: at most once a second, less
//! often where it takes long or where nothing waits, and not at all where nothing can.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use segue_core::{
    ids::{RunId, TaskId},
    ports::{LimitStore, RunStore},
    spec::{LimitSpec, TaskNode, WorkflowOnFailure, WorkflowSpec},
    status::Status,
};
use segue_engine::{LimitWaiting, limit_waits};
use tokio::time::{Instant, sleep_until};

use super::RunView;
use crate::{graph::Address, render::waits};

/// Between two looks, as long as something waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Where nothing waits and nothing happens.
const LOOK_SELDOM: Duration = Duration::from_secs(5);
/// A look costs as much as reading the run's log: no more of the time than one part in so many.
const LOOK_SHARE: u32 = 20;

/// Looks again and again what the tasks of a run wait for.
pub(crate) struct LimitLook {
    store: Arc<dyn RunStore>,
    limits: Arc<dyn LimitStore>,
    configured: BTreeMap<String, LimitSpec>,
    run: RunId,
    names_limits: bool,
    looked: Option<Instant>,
    next: Instant,
    told: BTreeMap<TaskId, Vec<LimitWaiting>>,
}

impl LimitLook {
    /// At the tasks of `run`, which is one of `spec`.
    pub(crate) fn new(
        store: Arc<dyn RunStore>,
        limits: Arc<dyn LimitStore>,
        configured: BTreeMap<String, LimitSpec>,
        (run, spec): (RunId, &WorkflowSpec),
    ) -> Self {
        let names_limits = names_limits(spec);
        let told = BTreeMap::new();
        Self { store, limits, configured, run, names_limits, looked: None, next: Instant::now(), told }
    }

    /// Something has happened: what tasks wait for may be another thing now.
    pub(crate) fn stir(&mut self) {
        let soonest = self.looked.map_or_else(Instant::now, |looked| looked + LOOK_EVERY);
        self.next = self.next.min(soonest).max(Instant::now());
    }

    /// Until it is time to look; for ever where nothing can wait for a limit. Cancel-safe.
    pub(crate) async fn due(&self, view: &RunView) {
        if self.names_limits && view.status == Status::Running && view.has_more_to_begin() {
            sleep_until(self.next).await;
        } else {
            std::future::pending().await
        }
    }

    /// Looks, and shows it in the picture. What is new, a line a node: `pages waits for the limit site: 4 of 4 run`.
    pub(crate) async fn look(&mut self, view: &mut RunView) -> Vec<String> {
        let began = Instant::now();
        let waits = match limit_waits(&*self.store, &*self.limits, &self.configured, self.run).await {
            Ok(waits) => waits,
            Err(error) => {
                tracing::debug!(run_id = %self.run, %error, "what tasks wait for cannot be told");
                BTreeMap::new()
            }
        };
        let pause = if waits.is_empty() { LOOK_SELDOM } else { LOOK_EVERY };
        self.looked = Some(Instant::now());
        self.next = Instant::now() + pause.max(began.elapsed() * LOOK_SHARE);
        view.limit_waits.clear();
        let mut news = Vec::new();
        for (task, limits) in &waits {
            // Of many instances that wait for the same one tells it.
            let node = Address::of(task.as_str()).node;
            if let Entry::Vacant(entry) = view.limit_waits.entry(node.to_owned()) {
                let text = waits::limits(limits);
                let before = self.told.iter().find(|(other, _)| Address::of(other.as_str()).node == node);
                if !before.is_some_and(|(_, before)| is_the_same(before, limits)) {
                    news.push(format!("{node} waits for {text}"));
                }
                entry.insert(text);
            }
        }
        self.told = waits;
        news
    }
}

/// The same limits for the same reasons, however long that lasts.
fn is_the_same(before: &[LimitWaiting], now: &[LimitWaiting]) -> bool {
    let what = |waits: &LimitWaiting| (waits.limit.clone(), waits.why);
    before.iter().map(what).eq(now.iter().map(what))
}

fn names_limits(spec: &WorkflowSpec) -> bool {
    fn any(nodes: &[TaskNode]) -> bool {
        nodes
            .iter()
            .any(|node| is_any(node.limits.as_deref()) || node.group.as_ref().is_some_and(|group| any(&group.nodes)))
    }
    fn is_any(names: Option<&[String]>) -> bool {
        names.is_some_and(|names| !names.is_empty())
    }
    let of_failure = match &spec.on_failure {
        Some(WorkflowOnFailure::Nodes(nodes)) => any(nodes),
        _ => false,
    };
    let by_default = spec.defaults.as_ref().is_some_and(|defaults| is_any(defaults.limits.as_deref()));
    by_default || of_failure || any(&spec.nodes) || any(&spec.finally)
}
