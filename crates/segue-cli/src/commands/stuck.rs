//! Does a run wait for somebody outside, so that waiting with it here is of no use?

use std::io::IsTerminal;

use segue_core::{event::Waiting, ids::RunId, ports::RunStore, status::Status, time::Timestamp};

use crate::{
    failure::Outcome,
    render::{text::harmless, waits},
    run_ref::{short, unique},
};

/// What a run may wait for before nobody here waits with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Anything.
    Endless,
    /// What comes by itself: a time, a child run. Not a person or a signal, even where the time for an answer ends: that
    /// may be in a week.
    WhileItMoves,
}

impl Patience {
    /// A person at a terminal can answer, and so is waited for.
    pub(super) fn suitable(no_wait: bool) -> Self {
        if no_wait || !std::io::stdin().is_terminal() { Self::WhileItMoves } else { Self::Endless }
    }

    /// Will what is waited for come without anybody's help?
    fn outlasts(self, waiting: &Waiting, now: Timestamp) -> bool {
        match (self, waiting) {
            (Self::Endless, _) | (_, Waiting::Time { .. } | Waiting::Child { .. }) => true,
            // What is due already happens as soon as an engine looks.
            (Self::WhileItMoves, waiting) => waiting.due().is_some_and(|due| due <= now),
        }
    }
}

/// What a run, and the runs that it waits for, need from somebody, and the commands that bring it: lines for people.
pub(super) async fn questions(store: &dyn RunStore, run: RunId) -> Outcome<String> {
    let mut lines = vec![format!("run {} waits for somebody:", short(run))];
    let mut open = vec![run];
    let mut ends = false;
    while let Some(run) = open.pop() {
        let name = unique(store, run).await?;
        for task in store.list_waiting(Some(run), 0).await? {
            if let Waiting::Child { run_id, .. } = task.waiting {
                open.push(run_id);
            }
            ends |= task.waiting.due().is_some();
            if let Some(command) = waits::choice(&name, task.task_id.as_str(), &task.waiting) {
                let what = harmless(&waits::what(&task.waiting));
                lines.push(format!("  {} waits for {what}\n    {command}", task.task_id));
            }
        }
    }
    let without = match ends {
        true => format!("; when the time for one has passed: segue resume {}", short(run)),
        false => String::new(),
    };
    lines.push(format!("the run is kept; an answer goes on with it{without}"));
    Ok(lines.join("\n"))
}

/// Can only somebody outside move the run on? It waits, no answer is on its way, and so it is with every child run that
/// it waits for.
pub(super) async fn is_stuck(store: &dyn RunStore, run: RunId, patience: Patience, now: Timestamp) -> Outcome<bool> {
    let mut open = vec![run];
    while let Some(run) = open.pop() {
        if store.get_run(run).await?.status != Status::Waiting || !store.pending_requests(run).await?.is_empty() {
            return Ok(false);
        }
        for task in store.list_waiting(Some(run), 0).await? {
            match &task.waiting {
                Waiting::Child { run_id, .. } => open.push(*run_id),
                waiting if patience.outlasts(waiting, now) => return Ok(false),
                _ => {}
            }
        }
    }
    Ok(true)
}
