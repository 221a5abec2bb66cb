//! Taking up a run from its log: after a claim, and after somebody else wrote to it.

use std::sync::atomic::Ordering;

use segue_core::{
    ids::TaskId,
    outcome::{Loss, TaskOutcome, Usage},
    run::Input,
    time::Timestamp,
};

use super::{Batch, Drive, load};
use crate::{
    live::End,
    mutants::planted,
    patience::{patiently, pause_before_retry},
};

impl Drive {
    /// Somebody else wrote to the run, or took it. Forgets everything, and starts again from the log if it is ours.
    pub(super) async fn come_back(&mut self) -> Result<(), End> {
        let run_id = self.run.id();
        tracing::warn!(%run_id, "the run was changed by another engine");
        let dying = if planted!(LetsLostAttemptsRun) { Vec::new() } else { self.let_go().await };
        if self.conflicts > 0 {
            tokio::time::sleep(pause_before_retry(self.conflicts)).await;
        }
        self.conflicts += 1;
        self.places.reset(dying.into_iter());
        self.batch = Batch::default();
        self.cache.clear();
        self.seen.clear();
        let lease = patiently(&self.shared, || self.shared.reclaim(vec![run_id])).await?;
        let Some(lease) = lease.first() else { return Err(End::Left) };
        self.handle.fence.store(lease.fence, Ordering::Release);
        let loaded = load::load(&self.shared, run_id).await?;
        self.run = loaded.run;
        self.take_over(loaded.last).await;
        Ok(())
    }

    /// What an attempt is known to have consumed that took its own figures along.
    async fn recorded_usage(&self, task: &TaskId, attempt: u32) -> Usage {
        let Some(journal) = &self.shared.journal else { return Usage::default() };
        match journal.usage(self.run.id(), &self.run.effect_key(task), attempt).await {
            Ok(usage) => usage,
            Err(error) => {
                tracing::warn!(run_id = %self.run.id(), task_id = %task, %error, "what a lost attempt consumed is not counted");
                Usage::default()
            }
        }
    }

    /// Begins with a run from the log: what runs there and not here was lost with its engine. The inbox is read.
    pub(super) async fn take_over(&mut self, last: Timestamp) {
        self.last = last;
        self.skew = last.since(self.shared.config.clock.now());
        self.claimed_at = Some(self.run.version());
        self.seq.store(self.run.version(), Ordering::Release);
        let lost: Vec<_> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in lost {
            let usage = self.recorded_usage(&task, attempt).await;
            let outcome = TaskOutcome::lost(Loss::Engine, "its engine is gone").with_usage(usage);
            self.feed(Input::TaskEnded { task, attempt, outcome, jitter: 0.0 });
        }
        self.follow_awaited();
        self.look_for_parent();
        match self.shared.store.pending_requests(self.run.id()).await {
            Ok(requests) => requests.into_iter().for_each(|request| self.answer(request)),
            Err(error) => tracing::warn!(run_id = %self.run.id(), %error, "requests are read later"),
        }
    }
}
