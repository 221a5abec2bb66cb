//! The commit of a batch, and what becomes of it when the store does not answer.

use std::sync::atomic::Ordering;

use segue_core::{
    event::{Envelope, Event},
    ports::{Commit, StoreError},
    status::Status,
};

use super::{Batch, Drive};
use crate::{live::Message, mutants::planted, patience::pause_before_retry};

/// What became of a batch.
pub(super) enum Committed {
    /// It is in the log.
    Yes(Vec<Event>),
    /// The run was changed by somebody else, or is somebody else's.
    NotOurs,
    /// The engine stops.
    Stopped,
}

/// What an error of the store means for the batch.
enum Verdict {
    Repeat,
    IsIn,
    NotOurs,
    Stop,
}

impl Drive {
    /// Commits the batch. While the store is away or full it is kept, and everything that comes in meanwhile waits in
    /// the inbox behind it.
    pub(super) async fn commit(&mut self) -> Committed {
        let batch = self.take_batch();
        if batch.events.is_empty() {
            return self.dismiss(batch).await;
        }
        let mut is_unknown = false;
        for n in 0.. {
            let stopped = &self.shared.stopped;
            tokio::select! {
                biased;
                () = self.shared.lease.valid() => {}
                () = stopped.cancelled() => return Committed::Stopped,
            }
            let Err(error) = self.shared.store.commit(self.write(&batch)).await else { break };
            let is_conflict = matches!(error, StoreError::Conflict { .. });
            let verdict = match error {
                // It may be our own commit, which was still under way when we were told that it had failed.
                StoreError::Conflict { .. } if is_unknown => self.compare(&batch.events).await,
                error => {
                    is_unknown |= matches!(error, StoreError::Unavailable(_)) && !planted!(RepeatsUnknownCommits);
                    self.judge(error, &batch.events, n).await
                }
            };
            match verdict {
                // Still not in: then it was somebody else.
                Verdict::Repeat if is_conflict => return Committed::NotOurs,
                Verdict::Repeat if planted!(DropsCompletionsWhileAway) => self.lose_completions(),
                Verdict::Repeat => {}
                Verdict::IsIn => break,
                Verdict::NotOurs => return Committed::NotOurs,
                Verdict::Stop => return Committed::Stopped,
            }
        }
        self.tell(&batch.events);
        Committed::Yes(batch.events)
    }

    fn write(&self, batch: &Batch) -> Commit {
        Commit {
            lease: self.lease(),
            expected_version: self.version_before(&batch.events),
            events: batch.events.clone(),
            run: self.run.run_row(),
            tasks: self.run.task_rows(&batch.events),
            answered: batch.answered.clone(),
        }
    }

    /// A planted bug.
    fn lose_completions(&mut self) {
        let messages: Vec<_> = std::iter::from_fn(|| self.inbox.try_recv().ok()).collect();
        for message in messages.into_iter().filter(|message| !matches!(message, Message::Ended { .. })) {
            let _ = self.handle.sender.send(message);
        }
    }

    fn version_before(&self, events: &[Event]) -> u64 {
        self.run.version() - events.len() as u64
    }

    async fn judge(&self, error: StoreError, events: &[Event], n: u32) -> Verdict {
        let run_id = self.run.id();
        match error {
            StoreError::Conflict { .. } | StoreError::NotFound(_) => return Verdict::NotOurs,
            StoreError::Broken(why) => {
                self.shared.break_down(why);
                return Verdict::Stop;
            }
            StoreError::Unavailable(_)
            | StoreError::Full(_)
            | StoreError::KeyReused { .. }
            | StoreError::Refused(_) => {}
        }
        tracing::warn!(%run_id, %error, attempt = n + 1, "a commit failed; it is kept");
        self.wait(n).await;
        if matches!(error, StoreError::Full(_)) || planted!(RepeatsUnknownCommits) {
            return Verdict::Repeat;
        }
        if planted!(GivesUpAfterAFailedCommit) {
            return Verdict::IsIn;
        }
        self.compare(events).await
    }

    /// A commit whose answer was lost may be in the log or not: only the log knows.
    async fn compare(&self, events: &[Event]) -> Verdict {
        let before = self.version_before(events);
        for n in 0.. {
            if self.shared.stopped.is_cancelled() {
                return Verdict::Stop;
            }
            match self.shared.store.events(self.run.id(), before, 0).await {
                Ok(log) if log.is_empty() => return Verdict::Repeat,
                Ok(log) if log == events => return Verdict::IsIn,
                Ok(_) | Err(StoreError::NotFound(_)) => return Verdict::NotOurs,
                Err(StoreError::Broken(why)) => {
                    self.shared.break_down(why);
                    return Verdict::Stop;
                }
                Err(error) => {
                    tracing::warn!(run_id = %self.run.id(), %error, "the store is still away");
                    self.wait(n).await;
                }
            }
        }
        Verdict::Stop
    }

    async fn wait(&self, n: u32) {
        tokio::select! {
            () = tokio::time::sleep(pause_before_retry(n)) => {}
            () = self.shared.stopped.cancelled() => {}
        }
    }

    /// Requests that changed nothing leave the inbox without a trace in the log.
    async fn dismiss(&mut self, batch: Batch) -> Committed {
        match self.shared.store.dismiss_requests(self.run.id(), &batch.answered).await {
            Ok(()) | Err(StoreError::NotFound(_)) => {}
            Err(StoreError::Broken(why)) => {
                self.shared.break_down(why);
                return Committed::Stopped;
            }
            // They are delivered again, and dismissed again.
            Err(_) => batch.answered.iter().for_each(|id| {
                self.seen.remove(id);
            }),
        }
        Committed::Yes(Vec::new())
    }

    /// Tells those who listen and those who count what is in the log now.
    pub(super) fn tell(&self, events: &[Event]) {
        self.seq.store(self.run.version(), Ordering::Release);
        let rests = self.run.status() == Status::Waiting;
        if self.handle.rests.swap(rests, Ordering::AcqRel) != rests && rests {
            // There is room for another run.
            self.shared.look.notify_one();
        }
        self.shared.observer.committed(&self.run, events);
        let run_id = self.run.id();
        if self.shared.bus.is_listened(run_id) {
            let workflow_id = self.run.plan().workflow_id();
            self.shared.bus.publish(events.iter().map(|event| Envelope::of(event, workflow_id, run_id)).collect());
        }
    }
}
