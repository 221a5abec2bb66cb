//! One attempt at a child workflow: starts the child run or finds it, and follows it to its end.
//!
//! A child run is found by its key, which is that of the task: whatever dies in between, there is one. What follows it
//! only watches; it may be dropped and begun again at any time.

mod birth;
mod end;

use std::{sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};
use segue_core::{
    event::Waiting,
    ids::{RunId, TaskId},
    outcome::{TaskError, TaskOutcome},
    ports::{RequestKind, RunRow},
};
use serde_json::json;
use tokio::sync::{mpsc::UnboundedSender, watch};

pub(crate) use self::birth::{Birth, folder_of};
use crate::{
    live::{End, Message},
    patience::patiently,
    shared::Shared,
};

/// The deepest chain of runs that start one another.
pub(crate) const DEPTH_MAX: u32 = 32;
/// How often to look at a run that another process drives: at first, and at last.
const LOOKS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// What one attempt is to do.
pub(crate) enum Stage {
    /// Start the child run, or find it.
    Begin(Box<Birth>),
    /// Wait for its end.
    Follow(RunId),
}

/// Holds the way to an attempt at a child workflow; dropped, nobody follows the child run any more.
pub(crate) struct ChildHandle {
    wishes: watch::Sender<u32>,
}

impl ChildHandle {
    /// Tells the child run to stop. Asked once more, it also stops what it does at its end.
    pub(crate) fn cancel(&self) {
        self.wishes.send_modify(|times| *times += 1);
    }

    pub(crate) fn is_cancelled(&self) -> bool {
        *self.wishes.borrow() > 0
    }
}

/// Carries out one attempt at a child workflow.
pub(crate) struct ChildTask {
    shared: Arc<Shared>,
    parent: RunId,
    task: TaskId,
    attempt: u32,
    tell: UnboundedSender<Message>,
    /// How often the child run is to be told to stop. Closed: nobody wants to know.
    wishes: watch::Receiver<u32>,
}

/// Why an attempt goes no further.
enum Stop {
    /// With this answer.
    With(TaskOutcome),
    /// Nobody wants to know, or the engine stops.
    Silently,
}

impl From<TaskError> for Stop {
    fn from(error: TaskError) -> Self {
        Self::With(TaskOutcome::Failed { error, usage: Default::default() })
    }
}

impl ChildTask {
    /// Begins on the runtime; answers with [`Message::Ended`], unless the handle is dropped before.
    pub(crate) fn spawn(
        shared: Arc<Shared>,
        (parent, task, attempt): (RunId, TaskId, u32),
        tell: UnboundedSender<Message>,
        stage: Stage,
    ) -> ChildHandle {
        let (wishes, wished) = watch::channel(0);
        let own = Self { shared: shared.clone(), parent, task, attempt, tell, wishes: wished };
        shared.drives.spawn(own.carry_out(stage));
        ChildHandle { wishes }
    }

    /// Boxed: a child run may start runs itself.
    fn carry_out(mut self, stage: Stage) -> BoxFuture<'static, ()> {
        async move {
            if let Err(Stop::With(outcome)) | Ok(outcome) = self.go(stage).await {
                let Self { task, attempt, .. } = self;
                // The parent may have left; then nobody wants to know.
                let _ = self.tell.send(Message::Ended { task, attempt, outcome });
            }
        }
        .boxed()
    }

    async fn go(&mut self, stage: Stage) -> Result<TaskOutcome, Stop> {
        let child = match stage {
            Stage::Follow(child) => child,
            Stage::Begin(birth) => {
                let child = self.begin(&birth).await?;
                if birth.detach {
                    return Ok(TaskOutcome::success(json!({ "run_id": child })));
                }
                let (workflow_id, workflow_hash) = (birth.workflow_id, birth.workflow);
                let waiting = Waiting::Child { run_id: child, workflow_id, workflow_hash };
                let (task, attempt) = (self.task.clone(), self.attempt);
                let _ = self.tell.send(Message::Waits { task, attempt, waiting });
                child
            }
        };
        let row = self.follow(child).await?;
        end::outcome(&self.shared, &row, self.attempt, self.is_cancelled()).await.map_err(Stop::from)
    }

    fn is_cancelled(&self) -> bool {
        *self.wishes.borrow() > 0
    }

    /// Waits for the end of the child run, and tells it to stop whenever that is wished.
    async fn follow(&mut self, child: RunId) -> Result<RunRow, Stop> {
        let mut told = 0;
        let shared = self.shared.clone();
        let mut end = std::pin::pin!(end_of(&shared, child));
        loop {
            while told < *self.wishes.borrow_and_update() {
                self.cancel(child).await?;
                told += 1;
            }
            tokio::select! {
                biased;
                row = &mut end => return row.map_err(Stop::from),
                wish = self.wishes.changed() => wish.map_err(|_| Stop::Silently)?,
            }
        }
    }

    /// A child run that has ended ignores it.
    async fn cancel(&self, child: RunId) -> Result<(), Stop> {
        let reason = format!("task `{}` of run {} does not wait for it any more", self.task, self.parent);
        let post = || self.shared.store.post_request(child, RequestKind::Cancel { reason: reason.clone() });
        match patiently(&self.shared, post).await {
            Ok(_) | Err(End::Unusable(_)) => {
                self.shared.deliver(child).await;
                Ok(())
            }
            Err(_) => Err(Stop::Silently),
        }
    }
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        match end {
            End::Unusable(why) => end::unusable(why).into(),
            End::Ended(_) | End::Left => Self::Silently,
        }
    }
}

/// Waits until a run has ended, wherever it is driven; if nobody drives it, here. Looks again and again: no message
/// that is lost can make it wait for ever.
async fn end_of(shared: &Arc<Shared>, run: RunId) -> Result<RunRow, End> {
    let (mut pause, longest) = LOOKS;
    loop {
        if let Some(mut handle) = shared.live.get(run) {
            let end = handle.end.wait_for(Option::is_some).await.map(|end| end.clone());
            match end.ok().flatten() {
                Some(End::Ended(row)) => return Ok(*row),
                Some(End::Unusable(why)) => return Err(End::Unusable(why)),
                Some(End::Left) | None => {}
            }
        }
        let row = patiently(shared, || shared.store.get_run(run)).await?;
        if row.status.is_terminal() {
            return Ok(row);
        }
        if shared.admit().is_ok()
            && let Err(error) = shared.claim(vec![run], 1).await
        {
            tracing::debug!(run_id = %run, %error, "looked at later");
        }
        if shared.live.get(run).is_none() {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = shared.stopped.cancelled() => return Err(End::Left),
            }
            pause = (pause * 2).min(longest);
        }
    }
}
